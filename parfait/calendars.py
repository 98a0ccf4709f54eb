"""A history's own trading calendar, read off its timestamps: bar spacing, weekdays, session times.

No exchange calendar is consulted: what a market does is what its history did. Holidays therefore
do not repeat in generated timestamps; weekends, lunch breaks and Sunday evenings do.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from parfait.utils.errors import UserError

_SECOND = 1_000_000  # all times here are microseconds since 1970, as int64
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365.25 * _DAY
_RECENT_WEEKS = (
    8  # weekdays and session times are those of the last weeks: both change over decades
)
_ROUND_THE_CLOCK = 16 * _HOUR  # a day of shares with all extended hours, 4:00 to 20:00
_GAP_DAYS = 10  # a longer pause is a gap in the record, not part of the trading year


@dataclass(frozen=True)
class TradingCalendar:
    """When bars come.

    Args:
        step: most common spacing of bars [microseconds].
        months: bars are this many calendar months apart; 0 when they are not monthly or slower.
        weekdays: which days are open, Monday first.
        sessions: bar times of each weekday [microseconds since midnight]; empty unless bars are
            a second to a day apart.
    """

    step: int
    months: int
    weekdays: tuple[bool, ...]
    sessions: tuple[np.ndarray, ...]


def read_calendar(timestamps: pl.Series) -> TradingCalendar:
    """The calendar of strictly increasing timestamps; fewer than two raise ``UserError``."""
    times = _microseconds(timestamps)
    if len(times) < 2:
        raise UserError(
            f"a history of {len(times)} bar(s) has no calendar; give at least 2 bars, "
            "or bars_per_year"
        )
    step = _most_common(np.diff(times))
    days = times // _DAY
    days = days[np.append(True, days[1:] > days[:-1])]
    round_the_clock = step < _DAY and _covers_the_day(times, step)
    weekdays = _open_weekdays(days, round_the_clock)
    if _DAY < step < 5 * _DAY and _most_common(_open_days_between(times, weekdays)) == 0:
        step = _DAY  # a short daily history whose only spacing is a weekend
    months = round(step / (_YEAR / 12)) if step >= 27 * _DAY else 0
    sessions = _sessions(times, step, weekdays, round_the_clock) if _SECOND <= step < _DAY else ()
    return TradingCalendar(step, months, weekdays, sessions)


def missing_sessions(timestamps: pl.Series) -> np.ndarray:
    """How many sessions are absent between each bar and the next, int64 (bars - 1,).

    A session is an open day for daily and intraday bars, a bar for slower ones.
    """
    times = _microseconds(timestamps)
    if len(times) < 2:
        return np.zeros(0, dtype=np.int64)
    calendar = read_calendar(timestamps)
    if calendar.step <= _DAY:
        return np.maximum(_open_days_between(times, calendar.weekdays), 0)
    return np.maximum(np.rint(np.diff(times) / calendar.step).astype(np.int64) - 1, 0)


def estimate_bars_per_year(timestamps: pl.Series) -> float:
    """Bars per calendar year, pauses of more than ten days left out.

    The conventional 252, 365, 52 or 12 when the estimate is within 3 % of it. Histories of less
    than a year count open weekdays and bars per session instead, with 252 sessions for five
    weekdays: a few weeks without a holiday would promise 261. Too short to hold a weekend, a
    history with bars in more than 16 hours of the clock is that of a market open every day.

    Raises:
        UserError: fewer than two timestamps.
    """
    calendar = read_calendar(timestamps)
    times = _microseconds(timestamps)
    gaps = np.diff(times)
    inside = gaps[gaps <= max(_GAP_DAYS * _DAY, 2 * calendar.step)]
    if calendar.months:
        estimate = 12 / calendar.months
    elif calendar.step > _DAY or inside.sum() >= _YEAR:
        estimate = len(inside) * _YEAR / inside.sum()
    else:
        open_days = sum(calendar.weekdays)
        days_a_year = 252.0 if open_days == 5 else open_days * 365 / 7
        estimate = days_a_year * (_bars_per_day(times, calendar) if calendar.step < _DAY else 1.0)
    near = [usual for usual in (252, 365, 52, 12) if abs(estimate / usual - 1) <= 0.03]
    return float(near[0]) if near else float(estimate)


def future_timestamps(timestamps: pl.Series, horizon: int) -> pl.Series:
    """The next ``horizon`` bar times after the last of a history, ``Datetime("us")``.

    Intraday bars follow the session times of the same weekdays in recent weeks, daily bars the
    open weekdays, weekly ones the usual weekday, monthly ones the usual day of the month (its
    first or last weekday where that is the habit).

    Raises:
        UserError: fewer than two timestamps, or a horizon below 1.
    """
    if horizon < 1:
        raise UserError(f"horizon {horizon} must be at least 1")
    calendar = read_calendar(timestamps)
    times = _microseconds(timestamps)
    if calendar.months:
        future = _next_months(times, calendar.months, horizon)
    elif calendar.sessions or calendar.step == _DAY:
        future = _next_sessions(int(times[-1]), calendar, horizon)
    else:
        future = _next_steps(times, calendar, horizon)
    return pl.Series("timestamp", future, dtype=pl.Int64).cast(pl.Datetime("us"))


def _microseconds(timestamps: pl.Series) -> np.ndarray:
    return timestamps.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()


def _most_common(values: np.ndarray) -> int:
    """The mode; the smallest of several."""
    least = values.min()
    if 2 * np.count_nonzero(values == least) > len(values):
        return int(least)  # almost always: the spacing of bars
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def _weekday(days: np.ndarray) -> np.ndarray:
    return (days + 3) % 7  # 1970-01-01 was a Thursday; Monday = 0


def _open_days_between(times: np.ndarray, weekdays: tuple[bool, ...]) -> np.ndarray:
    """Open days strictly between each bar and the next; -1 within one day."""
    days = times // _DAY
    dates = days.astype("datetime64[D]")
    between = np.busday_count(dates[:-1] + 1, dates[1:], weekmask=list(weekdays))
    return np.where(days[1:] == days[:-1], -1, between)


def _covers_the_day(times: np.ndarray, step: int) -> bool:
    """Whether bars come in more than 16 hours of the clock, evenly.

    Counted by the hour, so that missing prints do not matter; an hour with less than a quarter of
    the bars of the fullest holds stray ones.
    """
    recent = times[times > times[-1] - 7 * _DAY]
    slot = max(step, _HOUR)
    counts = np.bincount(recent % _DAY // slot)
    return int((4 * counts >= counts.max()).sum()) * slot > _ROUND_THE_CLOCK


def _open_weekdays(days: np.ndarray, round_the_clock: bool) -> tuple[bool, ...]:
    """A weekday is open when bars came on most of its recent dates.

    Monday to Friday are closed only after three empty occurrences (a holiday week proves
    nothing); Saturday and Sunday are open only when seen more often than not (stray Sunday
    prints are no session), or, when the history is too short to contain one, round the clock.
    """
    first = max(int(days[0]), int(days[-1]) - 7 * _RECENT_WEEKS + 1)
    possible = np.bincount(_weekday(np.arange(first, int(days[-1]) + 1)), minlength=7)
    seen = np.bincount(_weekday(days[days >= first]), minlength=7)
    is_open = [seen[d] > 0.25 * possible[d] or possible[d] < 3 for d in range(5)]
    for d in (5, 6):
        is_open.append(2 * seen[d] >= possible[d] if possible[d] else round_the_clock)
    if not any(is_open):  # slower than weekly: every day will do
        is_open = [True] * 7
    return tuple(bool(o) for o in is_open)


def _sessions(
    times: np.ndarray, step: int, weekdays: tuple[bool, ...], round_the_clock: bool
) -> tuple[np.ndarray, ...]:
    """Bar times by weekday: those met on at least half of the weekday's last five dates."""
    times = times[times > times[-1] - 7 * _RECENT_WEEKS * _DAY]
    days = times // _DAY
    dates = np.unique(days)
    whole = dates[1:-1] if len(dates) > 2 else dates  # the first and last day may be cut off
    span = max(int(np.ptp(times[days == date])) for date in dates)
    if len(dates) <= 2 and (
        round_the_clock or span < 5 * _HOUR
    ):  # no session end seen yet: carry on
        phase = int(times[-1] % step)
        return (np.arange(phase, _DAY, step),) * 7
    hole = 4 * _HOUR if len(dates) <= 2 else 30 * _MINUTE
    common = _usual_times(times, whole[-5:], step, hole)
    sessions = []
    for weekday in range(7):
        mine = whole[_weekday(whole) == weekday][-5:]
        known = weekdays[weekday] and len(mine) > 0
        sessions.append(_usual_times(times, mine, step, hole) if known else common)
    return tuple(sessions)


def _usual_times(times: np.ndarray, dates: np.ndarray, step: int, hole: int) -> np.ndarray:
    """Times of day present on half of the dates, with short holes (missing prints) filled."""
    inside = times[np.isin(times // _DAY, dates)]
    slots, counts = np.unique(inside % _DAY, return_counts=True)
    usual = slots[2 * counts >= len(dates)]
    if 2 * len(usual) * len(dates) < len(inside):  # no fixed times of day: an even grid instead
        usual = np.arange(int(slots[0]), int(slots[-1]) + 1, step)
    gaps = np.diff(usual)
    fill = [
        np.arange(start + step, start + gap, step)
        for start, gap in zip(usual[:-1], gaps, strict=True)
        if step < gap <= hole
    ]
    return np.unique(np.concatenate([usual, *fill]))


def _bars_per_day(times: np.ndarray, calendar: TradingCalendar) -> float:
    dates, counts = np.unique(times // _DAY, return_counts=True)
    if len(dates) > 2:
        return float(counts[1:-1].mean())
    if not calendar.sessions or len(calendar.sessions[0]) * calendar.step >= _DAY:
        return _DAY / calendar.step
    return float(counts.max())


def _next_sessions(last: int, calendar: TradingCalendar, horizon: int) -> np.ndarray:
    found, total, day = [], 0, last // _DAY
    while total < horizon:
        weekday = (day + 3) % 7
        if calendar.weekdays[weekday]:
            slots = calendar.sessions[weekday] if calendar.sessions else np.array([last % _DAY])
            times = day * _DAY + slots
            times = times[times > last]
            found.append(times)
            total += len(times)
        day += 1
    return np.concatenate(found)[:horizon]


def _next_steps(times: np.ndarray, calendar: TradingCalendar, horizon: int) -> np.ndarray:
    """Constant steps: under a second, or over a day, on the usual weekday or on days in use."""
    steps = np.arange(1, horizon + 1) * calendar.step
    weekdays = _weekday(times // _DAY)
    if calendar.step < _SECOND:
        return times[-1] + steps
    if calendar.step % (7 * _DAY) == 0:
        shift = (_most_common(weekdays[-52:]) - int(weekdays[-1]) + 3) % 7 - 3
        return times[-1] + shift * _DAY + steps
    used = np.bincount(weekdays, minlength=7) > 0
    return _spread(times[-1] + steps, used)


def _spread(future: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Moves times on days never used, or coinciding after that, to the next day used."""
    result = future.copy()
    for i, time in enumerate(future):
        while not used[(time // _DAY + 3) % 7] or (i and time <= result[i - 1]):
            time = time + _DAY
        result[i] = time
    return result


def _next_months(times: np.ndarray, months: int, horizon: int) -> np.ndarray:
    recent = (times[-12:] // _DAY).astype("datetime64[D]")
    month = recent.astype("datetime64[M]")
    first_weekday = np.busday_offset(month.astype("datetime64[D]"), 0, roll="forward")
    month_end = (month + 1).astype("datetime64[D]") - 1
    last_weekday = np.busday_offset(month_end, 0, roll="backward")
    target = month[-1] + months * np.arange(1, horizon + 1)
    start, end = target.astype("datetime64[D]"), (target + 1).astype("datetime64[D]") - 1
    day = (recent - month.astype("datetime64[D]")).astype(np.int64)
    if np.all(recent == month_end):
        dates = end
    elif np.ptp(day) > 0 and np.mean(recent == last_weekday) > 0.6:
        dates = np.busday_offset(end, 0, roll="backward")
    elif np.ptp(day) > 0 and np.mean(recent == first_weekday) > 0.6:
        dates = np.busday_offset(start, 0, roll="forward")
    else:
        dates = np.minimum(start + _most_common(day), end)
    return dates.astype(np.int64) * _DAY + times[-1] % _DAY
