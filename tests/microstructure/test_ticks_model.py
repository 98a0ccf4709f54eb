"""What ticks are made of: spread, session, the day learned from minutes; files and mistakes."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from parfait.microstructure.ticks import (
    TICK_COLUMNS,
    Intraday,
    TickModel,
    edge,
    learn_day,
    load_minutes,
    parametric_day,
    refine_ticks,
    roll,
    write_ticks,
)
from parfait.microstructure.ticks.intraday import PARAMETRIC, MinuteVolume, u_shape
from parfait.microstructure.ticks.learn import minute_moments
from parfait.microstructure.ticks.spread import Spread, choose_spread, pooled
from parfait.utils.errors import UserError
from tests.microstructure.tick_bars import brownian, frame, grid

MINUTE = 60_000_000


def bounced(bars: int, trades: int, spread: float, seed: int) -> np.ndarray:
    """Log trade prices (bars, trades) of a random walk with Roll's bounce."""
    random = np.random.default_rng(seed)
    mid = np.cumsum(random.standard_normal(bars * trades) * 0.01 / np.sqrt(trades))
    side = random.choice([-1.0, 1.0], bars * trades)
    return (mid + spread / 2 * side).reshape(bars, trades)


def test_edge_and_roll_find_the_spread_of_trades() -> None:
    spread = 0.01
    log = bounced(5000, 200, spread, seed=1)
    p = np.exp(log)
    found = edge(p[:, 0], p.max(1), p.min(1), p[:, -1])
    assert found.value is not None
    assert abs(found.square - spread**2) < 4 * found.error
    assert found.value == np.sqrt(found.square)
    assert 4 * roll(log) == pytest.approx(-(spread**2), rel=0.03)


def test_no_spread_is_told_of_bars_without_one() -> None:
    p = np.exp(bounced(2000, 50, 0.0, seed=2))
    found = edge(p[:, 0], p.max(1), p.min(1), p[:, -1])
    assert abs(found.square) < 4 * found.error
    if found.value is None:
        assert "two standard errors" in found.reason
    flat = np.ones(10)
    assert edge(flat, flat, flat, flat).reason == "the prices hardly move within bars"
    assert edge(flat[:2], flat[:2], flat[:2], flat[:2]).reason == "2 bars are too few"


def test_pooling_weighs_by_bars_and_keeps_negative_squares() -> None:
    parts = [Spread(None, -2e-6, 1e-6, 100), Spread(3e-3, 9e-6, 1e-6, 300)]
    found = pooled(parts)
    assert found.square == pytest.approx((-2e-6 * 100 + 9e-6 * 300) / 400)
    assert found.error == pytest.approx(np.sqrt(1e-4**2 + 3e-4**2) / 400)
    assert found.value == pytest.approx(np.sqrt(found.square))
    assert pooled([]).value is None


def test_the_spread_leaves_room_in_ordinary_bars() -> None:
    rows = brownian(30, seed=3, volatility=1e-4)
    spread, source = choose_spread(None, frame(rows))
    ranges = np.log(rows[:, 1] / rows[:, 2])
    assert spread == pytest.approx(np.median(ranges) / 20)
    assert source.startswith("a twentieth of the median range")
    assert choose_spread(None, frame(brownian(30, seed=3, volatility=0.03)))[0] == 5e-4


def minutes_of(day: Intraday, days: int, per_bar: int, seed: int, spread: float) -> pl.DataFrame:
    """Minute bars put together from ticks of daily bars."""
    rows = brownian(days, seed)
    rows[:, 4] = 1e7
    options = {"per_bar": per_bar, "spread": spread, "session": "09:30-16:00", "seed": seed}
    ticks = refine_ticks(frame(rows), day=day, **options)
    return (
        ticks.group_by(pl.col("timestamp").dt.truncate("1m"), maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
        )
        .sort("timestamp")
    )


def test_a_day_is_learned_back_from_its_minutes() -> None:
    activity, variance = u_shape(3.0, 26), np.linspace(3, 1, 26) / 52
    true = Intraday(activity, variance, branching=0.6, delay=2 / 390, size_sigma=1.0)
    per_bar = 4000
    minutes = minutes_of(true, 30, per_bar, seed=4, spread=4e-4)
    day = learn_day([minutes], session="09:30-16:00")
    assert day.source == "learned from 30 days of minute bars"
    assert day.session == (570 * MINUTE, 960 * MINUTE)
    assert abs(day.activity - activity).max() < 0.006
    assert np.corrcoef(day.variance, variance)[0, 1] > 0.95
    assert day.spread is not None
    resolved = day.for_rate(per_bar)
    assert resolved.branching == pytest.approx(0.6, abs=0.1)
    assert resolved.delay * 390 == pytest.approx(2, rel=0.35)
    assert resolved.size_sigma == pytest.approx(1.0, abs=0.25)


def test_learning_needs_minutes_of_some_length(tmp_path: Path) -> None:
    daily = frame(brownian(40, seed=5))
    with pytest.raises(UserError, match="a minute apart"):
        learn_day([daily])
    few = frame(brownian(20, seed=5), timedelta(minutes=1))
    with pytest.raises(UserError, match="no day of at least 30 minutes"):
        learn_day([few])
    with pytest.raises(UserError, match="no file of minute bars"):
        load_minutes(tmp_path)
    hours = frame(brownian(120, seed=5), timedelta(minutes=1), datetime(2024, 1, 2, 9, 0))
    hours.write_csv(tmp_path / "a.csv")
    (found,) = load_minutes(tmp_path)
    assert found.height == 120
    assert learn_day([found], "09:30-11:00").session == (570 * MINUTE, 660 * MINUTE)
    silent = hours.with_columns(volume=pl.lit(0.0), close=pl.col("open"))
    day = learn_day([silent.with_columns(high=pl.col("open"), low=pl.col("open"))])
    assert np.allclose(day.activity, u_shape(1.5, len(day.activity)))


def test_clustering_has_the_moments_of_the_minutes() -> None:
    eta, gamma, rate = 0.6, 0.3, 12.0
    g = gamma * eta * (2 - eta) / (2 * (1 - eta) ** 2)
    covariance = g * (1 - np.exp(-gamma)) ** 2 / gamma**2 / rate
    kappa = np.exp(0.8**2)
    variance = (kappa + 2 * g * (gamma - 1 + np.exp(-gamma)) / gamma**2) / rate
    found = MinuteVolume(variance, covariance, gamma).clustering(rate)
    assert found == pytest.approx((eta, (1 - eta) / gamma, 0.8))
    fewer = MinuteVolume(variance, covariance, gamma).clustering(rate / 50)
    assert fewer[0] < 0.2
    assert fewer[2] == 0.5
    assert MinuteVolume(variance, -1.0, gamma).clustering(rate)[0] == 0
    even = minute_moments([np.ones(100)])
    assert (even.variance, even.covariance) == (0, 0)


def test_shapes_are_clocks() -> None:
    day = parametric_day()
    fraction = np.linspace(0, 1, 101)
    assert np.allclose(day.when(day.cumulative(fraction)), fraction)
    assert np.allclose(day.activity, day.activity[::-1])
    ends = 1 + 1.5 * (np.array([1, 95]) / 48 - 1) ** 2  # midpoints of the outer bins
    assert np.allclose(day.activity[[0, -1]] * 48 * 1.5, ends, atol=1e-3)
    assert np.allclose(parametric_day(True).activity, 1 / 48)
    with pytest.raises(UserError, match="positive shares"):
        Intraday(np.array([1.0, 0.0]), np.ones(2))
    with pytest.raises(UserError, match="branching=1"):
        Intraday(np.ones(2), np.ones(2), branching=1.0)


def test_an_intraday_bar_takes_its_part_of_the_day() -> None:
    """In bars at the open trades come early, for there the U falls; at the close late."""
    times = datetime(2024, 1, 2, 9, 0)
    rows = brownian(7 * 100, seed=6)
    parts = [
        frame(rows[7 * k : 7 * k + 7], timedelta(hours=1), times + timedelta(days=k))
        for k in range(100)
    ]
    bars = pl.concat(parts)
    ticks = refine_ticks(bars, per_bar=50, day=Intraday(u_shape(6.0, 70), np.ones(70)))
    late = grid(ticks, "timestamp", 50).astype(np.int64) % (60 * MINUTE) / (60 * MINUTE)
    expected = (np.arange(10) + 0.5) @ u_shape(6.0, 70).reshape(7, 10).T / 10
    expected /= u_shape(6.0, 70).reshape(7, 10).sum(1)
    assert expected[0] < 0.46 < 0.54 < expected[6]
    for hour, mean in enumerate(expected):
        found = late[hour::7].mean(1)
        assert abs(found.mean() - mean) < 4 * found.std() / np.sqrt(len(found))


def test_the_table_is_written_as_it_is_made(tmp_path: Path) -> None:
    bars = frame(brownian(60, seed=7))
    model = TickModel.of(bars, per_bar=300)
    path = write_ticks(tmp_path / "new", {"": (model, bars)})
    assert [p.name for p in path.parent.iterdir()] == ["ticks.parquet"]
    table = pl.read_parquet(path)
    assert tuple(table.columns) == TICK_COLUMNS
    assert table.equals(model.table(bars))
    said = json.loads(pl.read_parquet_metadata(path)["parfait.ticks"])
    assert said["model"] == PARAMETRIC
    assert said["rows"] == table.height == 60 * 300
    again = write_ticks(tmp_path, {"": (model, bars)})
    assert again.read_bytes() == path.read_bytes()
    several = write_ticks(tmp_path, {"A": (model, bars), "B": (model, bars.head(3))})
    both = pl.read_parquet(several)
    assert both.columns == ["symbol", *TICK_COLUMNS]
    assert both["symbol"].to_list() == ["A"] * 18000 + ["B"] * 900
    assert set(json.loads(pl.read_parquet_metadata(several)["parfait.ticks"])) == {"A", "B"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_bar": 3}, "ticks.per_bar=3 must be at least 4"),
        ({"per_bar": 10.5}, "must be a whole number"),
        ({"per_bar": 10**6}, "within \\[4, 100000\\]"),
        ({"spread": 0.0}, "ticks.spread=0.0 must be within"),
        ({"spread": 0.5}, "ticks.spread=0.5 must be within"),
        ({"spread": float("nan")}, "ticks.spread=nan"),
        ({"persistence": 1.0}, "ticks.persistence=1.0"),
        ({"persistence": -0.1}, "ticks.persistence=-0.1"),
        ({"session": "9-16"}, "ticks.session=9-16 must be like"),
        ({"session": "16:00-09:30"}, "the close after the open"),
        ({"session": "09:75-16:00"}, "the close after the open"),
    ],
)
def test_a_mistake_is_a_sentence(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        refine_ticks(frame(brownian(3, seed=8)), **options)
    assert "\n" not in str(error.value)


def test_bars_that_cannot_be_refined() -> None:
    rows = brownian(12, seed=9)
    for bars, message in [
        (frame(rows, timedelta(days=7)), "7 days apart"),
        (frame(rows[:1]), "at least 2 bars"),
        (frame(rows * 1e289), "change their unit"),
        (frame(np.where(np.arange(5) == 4, 1e-300, rows)), "change their unit"),
        (frame(rows).with_columns(low=pl.lit(-1.0)), "not above 0"),
    ]:
        with pytest.raises(UserError, match=message):
            refine_ticks(bars)
    bars = frame(rows)
    model = TickModel.of(bars, per_bar=100_000)
    with pytest.raises(UserError, match="above the 200,000,000"):
        model.check(pl.concat([bars.with_columns(path=pl.lit(k)) for k in range(170)]))
