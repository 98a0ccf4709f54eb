"""What is kept and flagged: splits, repeated prices, coarse ticks, cut days."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from parfait.bars import BAR_COLUMNS
from parfait.data import load_bars
from parfait.data.checks import suspected_splits

HEADER = "Date,Open,High,Low,Close,Volume"


def series(
    closes: np.ndarray, opens: np.ndarray | None = None, step: timedelta = timedelta(days=1)
) -> pl.DataFrame:
    """Bars at these closes; opens a quarter of the way from the close before, unless given."""
    if opens is None:
        before = np.append(closes[0], closes[:-1])
        opens = closes + 0.25 * (before - closes) * (np.abs(np.log(closes / before)) < 0.2)
    days = [datetime(2021, 1, 4) + step * i for i in range(2 * len(closes))]
    if step == timedelta(days=1):
        days = [d for d in days if d.weekday() < 5]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(days[: len(closes)], dtype=pl.Datetime("us")),
            "open": opens,
            "high": np.maximum(opens, closes) * 1.01,
            "low": np.minimum(opens, closes) * 0.99,
            "close": closes,
            "volume": np.full(len(closes), 1000.0),
        }
    )


def save(folder: Path, bars: pl.DataFrame) -> Path:
    stamps = bars["timestamp"].dt.strftime("%Y-%m-%d %H:%M").to_list()
    rows = bars.select(BAR_COLUMNS[1:]).rows()
    path = folder / "x.csv"
    body = [",".join([t, *(f"{x:.12g}" for x in r)]) for t, r in zip(stamps, rows, strict=True)]
    path.write_text("\n".join([HEADER, *body]))
    return path


def walk(n: int, sd: float = 0.015, seed: int = 1) -> np.ndarray:
    return 80 * np.exp(np.cumsum(sd * np.random.default_rng(seed).standard_normal(n)))


@pytest.mark.parametrize(
    ("move", "split"),
    [
        (-1.93, True),  # 7:1
        (2.77, True),  # 1:20, and a fall the same day
        (-np.log(4) + 0.033, True),  # 4:1, and an ordinary rise
        (-np.log(1.5), True),
        (-0.87, False),  # a crash
        (-2.40, False),  # the last day of a bank
        (-0.19, False),
    ],
)
def test_a_move_is_a_split_only_at_a_usual_ratio_or_beyond_any_rise(
    tmp_path: Path, move: float, split: bool
) -> None:
    closes = walk(200)
    closes[120:] *= np.exp(move) / (closes[120] / closes[119])
    frame, report = load_bars(save(tmp_path, series(closes)))
    found = report.flagged.get("suspected splits")
    assert found == ({"count": 1, "rows": [122]} if split else None)
    assert frame.height == 200
    np.testing.assert_allclose(np.log(frame["close"][120] / frame["close"][119]), move, rtol=1e-9)


def test_a_crash_within_the_day_is_no_split() -> None:
    closes = walk(200)
    closes[120:] *= 0.25
    opens = np.append(closes[0], closes[:-1])  # it traded all the way down
    assert not suspected_splits(series(closes, opens)).any()


def test_repeated_prices_are_flagged_above_a_twentieth(tmp_path: Path) -> None:
    closes = walk(200)
    stale = series(closes, np.append(closes[0], closes[:-1]))
    report = load_bars(save(tmp_path, stale))[1]
    assert report.flagged == {"stale opens (over 5 %)": {"count": 199, "rows": [3, 4, 5, 6, 7]}}
    for every, count in ((10, 20), (25, 0)):
        repeated = closes.copy()
        repeated[1::every] = repeated[::every]
        found = load_bars(save(tmp_path, series(repeated, repeated * 1.001)))[1].flagged
        assert found.get("zero returns (over 5 %)", {"count": 0})["count"] == count


def test_ticks_coarse_against_the_moves(tmp_path: Path) -> None:
    reason = "tick coarse against the median move"
    closes = walk(400) / 80 * 0.185
    found = load_bars(save(tmp_path, series(closes.round(3), closes.round(3))))[1].flagged
    assert found[reason]["count"] == 400
    fine = series(closes.round(6), closes.round(6))
    assert reason not in load_bars(save(tmp_path, fine))[1].flagged
    # Scaling is no rounding: the tick is that of the prices as written.
    coarse = series((closes * 1e3).round(), (closes * 1e3).round())
    found = load_bars(save(tmp_path, coarse), price_scale=1e-3)[1].flagged
    assert found[reason]["count"] == 400


def test_sundays_are_odd_only_where_saturdays_are_closed(tmp_path: Path) -> None:
    days = series(walk(140), step=timedelta(hours=24))
    every = days.with_columns(
        (pl.lit(datetime(2021, 1, 4)) + pl.duration(days=pl.int_range(pl.len()))).alias("timestamp")
    )
    no_saturdays = every.filter(pl.col("timestamp").dt.weekday() != 6)
    assert "Sunday bars" not in load_bars(save(tmp_path, every))[1].flagged
    report = load_bars(save(tmp_path, no_saturdays))[1]
    assert report.flagged["Sunday bars"]["count"] == 20
    assert "weekdays look shifted" not in report.flagged


@pytest.mark.parametrize(("cut", "noted"), [(0, False), (20, False), (200, True)])
def test_a_last_day_that_ends_early_is_noted(tmp_path: Path, cut: int, noted: bool) -> None:
    bars = series(walk(5 * 390, 0.001), step=timedelta(minutes=1))
    i = pl.int_range(pl.len())
    day, minute = i // 390, i % 390
    opening = pl.lit(datetime(2021, 1, 4, 9, 30))
    bars = bars.with_columns((opening + pl.duration(days=day, minutes=minute)).alias("timestamp"))
    report = load_bars(save(tmp_path, bars[: bars.height - cut]))[1]
    assert [("2021-01-08" in n and "truncated" in n) for n in report.notes] == [True] * noted


def test_a_single_day_that_began_at_midnight(tmp_path: Path) -> None:
    bars = series(walk(1440, 0.001), step=timedelta(minutes=1))
    assert load_bars(save(tmp_path, bars))[1].notes == []
    (note,) = load_bars(save(tmp_path, bars[:1000]))[1].notes
    assert "ends at 16:39, and began at midnight" in note


def test_prices_in_ten_thousandths_are_proposed_not_applied(tmp_path: Path) -> None:
    bars = series((walk(60) * 100).round() * 100)
    whole = bars.with_columns((pl.col(BAR_COLUMNS[1:5]) / 100).round() * 100)
    frame, report = load_bars(save(tmp_path, whole))
    assert frame["close"].equals(whole["close"])
    assert any("price_scale=1e-4" in note for note in report.notes)
    frame, report = load_bars(save(tmp_path, whole), price_scale=1e-4)
    assert report.notes == []
    assert report.repaired["prices multiplied by price_scale"]["count"] == 60
    np.testing.assert_allclose(frame["close"], whole["close"] / 1e4, rtol=1e-15)
