"""Generated timestamps continue the history's own calendar."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from parfait.bars import estimate_bars_per_year, future_timestamps, missing_sessions
from parfait.data import embedded_bars
from parfait.utils.errors import UserError

START = datetime(2020, 1, 1)  # a Wednesday


def series(times: list[datetime]) -> pl.Series:
    return pl.Series("timestamp", times, dtype=pl.Datetime("us"))


def days(n: int, keep: Callable[[datetime], bool] = lambda d: d.weekday() < 5) -> list[datetime]:
    return [d for i in range(n) if keep(d := START + timedelta(days=i))]


def sessions(n: int, minutes: list[int]) -> list[datetime]:
    return [d + timedelta(minutes=m) for d in days(n) for m in minutes]


def equity_minutes(n: int) -> list[datetime]:
    return sessions(n, list(range(570, 960)))


def forex_hours(n: int) -> list[datetime]:
    def trading(t: datetime) -> bool:
        w = t.weekday()
        return not (w == 5 or (w == 4 and t.hour >= 22) or (w == 6 and t.hour < 22))

    hours = [START + timedelta(hours=i) for i in range(24 * n)]
    return [t for t in hours if trading(t)]


def china_minutes(n: int) -> list[datetime]:
    return sessions(n, [*range(570, 690), *range(780, 900)])


WEEKS = [datetime(2020, 1, 3) + timedelta(weeks=i) for i in range(80)]
MONTHS = [datetime(2015 + i // 12, i % 12 + 1, 1) for i in range(60)]
MONTH_ENDS = [m - timedelta(days=1) for m in MONTHS]
LAST_WEEKDAYS = [m - timedelta(days=max(0, m.weekday() - 4)) for m in MONTH_ENDS]
TRUTH = {  # histories that obey their rule without exception: what follows the first half is known
    "weekdays": days(700),
    "every day": days(700, lambda d: True),
    "six days": days(700, lambda d: d.weekday() != 5),
    "Sunday to Thursday": days(700, lambda d: d.weekday() not in (4, 5)),
    "minutes": equity_minutes(60),
    "hours": sessions(100, [570 + 60 * i for i in range(7)]),
    "lunch break": china_minutes(40),
    "forex hours": forex_hours(100),
    "round the clock": [START + timedelta(minutes=15 * i) for i in range(6000)],
    "weeks": WEEKS,
    "months": MONTHS,
    "month ends": MONTH_ENDS,
    "last weekdays": LAST_WEEKDAYS,
    "quarters": MONTHS[::3],
    "ticks": [START + timedelta(milliseconds=100 * i) for i in range(600)],
}


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("cut", [0.5, 0.513, 0.527, 0.541])
def test_the_second_half_follows_from_the_first(name: str, cut: float) -> None:
    times = series(TRUTH[name])
    n = int(cut * len(times))
    assert future_timestamps(times[:n], len(times) - n).to_list() == times[n:].to_list()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weekdays", 260.9),
        ("every day", 365.0),
        ("six days", 313.1),
        ("minutes", 390 * 252.0),
        ("hours", 7 * 252.0),
        ("lunch break", 240 * 252.0),
        ("forex hours", 120 * 52.18),
        ("round the clock", 96 * 365.0),
        ("weeks", 52.0),
        ("months", 12.0),
        ("quarters", 4.0),
    ],
)
def test_bars_per_year(name: str, expected: float) -> None:
    assert estimate_bars_per_year(series(TRUTH[name])) == pytest.approx(expected, rel=0.012)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20, 60, 250, 2000, 5031])
def test_daily_equities_have_252_bars_a_year_however_short(n: int) -> None:
    times = embedded_bars()["SP500"]["timestamp"]
    assert estimate_bars_per_year(times.tail(n)) == 252.0
    future = future_timestamps(times.tail(n), 10)
    assert future[0] == datetime(2019, 1, 1)
    assert (future.dt.weekday() <= 5).all()
    assert (future.diff().drop_nulls() <= timedelta(days=3)).all()


def test_two_bars_around_a_weekend_are_daily() -> None:
    friday_monday = series([datetime(2020, 1, 3), datetime(2020, 1, 6)])
    assert future_timestamps(friday_monday, 1)[0] == datetime(2020, 1, 7)
    assert estimate_bars_per_year(friday_monday) == 252.0


@pytest.mark.parametrize("hour", [0, 7.2, 12, 23])
@pytest.mark.parametrize("kept", [1.0, 0.7])
@pytest.mark.parametrize("minutes", [1, 60])
def test_one_day_round_the_clock_is_a_market_that_never_closes(
    hour: float, kept: float, minutes: int
) -> None:
    rng = np.random.default_rng(2)
    for weekday in range(7):
        start = START + timedelta(days=weekday, hours=hour)
        times = [start + timedelta(minutes=i) for i in range(0, 1440, minutes)]
        if minutes == 1:
            times = [t for t in times if rng.random() < kept]
        assert estimate_bars_per_year(series(times)) == 365 * 1440 / minutes
        future = future_timestamps(series(times), 2000)
        assert future[0] == times[-1] + timedelta(minutes=minutes)
        assert future[-1] == times[-1] + timedelta(minutes=2000 * minutes)


def test_a_day_cut_off_is_told_from_extended_hours() -> None:
    crypto = [START + timedelta(minutes=i) for i in range(1007)]  # a download until 16:47
    assert estimate_bars_per_year(series(crypto)) == 365 * 1440
    shares = [START + timedelta(minutes=i) for i in range(4 * 60, 20 * 60)]
    assert estimate_bars_per_year(series(shares)) == 252 * 960


def test_stray_prints_at_night_do_not_open_the_market_at_weekends() -> None:
    day = [START + timedelta(minutes=m) for m in range(570, 960)]
    night = [START + timedelta(hours=h, minutes=17) for h in range(24) if not 9 <= h <= 16]
    assert estimate_bars_per_year(series(sorted(day + night))) < 253 * 500
    future = future_timestamps(series(sorted(day + night)), 2000)
    assert (future.dt.weekday() <= 5).all()


def test_stray_sundays_do_not_open_the_market() -> None:
    times = days(400, lambda d: d.weekday() < 5 or (d.weekday() == 6 and d.day < 8))
    assert (future_timestamps(series(times), 200).dt.weekday() <= 5).all()
    regular = days(400, lambda d: d.weekday() != 5)
    assert (future_timestamps(series(regular), 200).dt.weekday() == 7).sum() >= 33


def test_missing_minutes_and_holidays_change_nothing() -> None:
    rng = np.random.default_rng(0)
    whole = equity_minutes(60)
    kept = [t for t in whole if rng.random() > 0.15 and t.day != 20]
    times = series(kept[: int(0.6 * len(kept))])
    expected = [t for t in whole if t > times[-1]][:2000]
    assert future_timestamps(times, 2000).to_list() == expected
    assert estimate_bars_per_year(times) == pytest.approx(0.85 * 390 * 252, rel=0.02)


def test_a_shifted_last_week_does_not_shift_the_following() -> None:
    holiday = [*WEEKS[:-1], WEEKS[-1] - timedelta(days=1)]
    assert future_timestamps(series(holiday), 1)[0] == WEEKS[-1] + timedelta(weeks=1)


def test_a_gap_is_not_part_of_the_trading_year() -> None:
    times = series([d for d in TRUTH["every day"] if not 100 <= (d - START).days < 300])
    assert estimate_bars_per_year(times) == 365.0
    assert missing_sessions(times).max() == 200


def test_missing_sessions_count_open_days() -> None:
    assert missing_sessions(series(TRUTH["weekdays"])).max() == 0
    assert missing_sessions(series(TRUTH["minutes"])).max() == 0
    assert missing_sessions(embedded_bars()["SP500"]["timestamp"]).max() == 4  # September 2001
    without = [t for t in TRUTH["weekdays"] if not 200 <= (t - START).days < 214]
    assert sorted(set(missing_sessions(series(without)).tolist())) == [0, 10]
    assert missing_sessions(series(WEEKS[:10] + WEEKS[13:])).max() == 3


def test_irregular_times_still_give_strictly_increasing_ones() -> None:
    rng = np.random.default_rng(1)
    for scale in (1e-3, 1.0, 1e3, 1e5, 1e6):
        seconds = np.cumsum(rng.exponential(scale, 50) + 1e-6)
        times = series([START + timedelta(seconds=float(s)) for s in seconds])
        future = future_timestamps(times, 40)
        assert future.len() == 40
        assert future[0] > times[-1]
        assert (future.diff().drop_nulls() > timedelta(0)).all()
        assert np.isfinite(estimate_bars_per_year(times))


def test_too_little_history() -> None:
    with pytest.raises(UserError, match="at least 2 bars"):
        future_timestamps(series([START]), 3)
    with pytest.raises(UserError, match="horizon 0 must be at least 1"):
        future_timestamps(series(days(20)), 0)
