"""What looks odd in valid bars: flagged, never repaired."""

import math

import numpy as np
import polars as pl

_SPLITS = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0)
_WIDE_RANGE = 3.0  # high over low: a bar that straddles a split, or a false print
_COMMON = 0.05  # share of bars above which repeated prices are more than chance
_DAY = 86_400_000_000  # microseconds
UNIT_CHANGE = 100.0


def suspected_splits(frame: pl.DataFrame) -> np.ndarray:
    """Boolean per row: the price moved to a bar's level by what may be a split.

    The log return exceeds both 20 % and six median absolute deviations; the close or open stands
    at a usual split ratio to the previous close, within 2 % and the move of an ordinary bar (twice
    the median), or the price rose more than five times, as no market does overnight; and the
    bar's own range is below a third of the move. Only a suspicion: vendors' automatic repairs have
    rescaled true crashes.
    """
    opened, high, low, close = (
        frame[name].log().to_numpy() for name in ("open", "high", "low", "close")
    )
    span = high - low
    found = np.zeros(frame.height, dtype=bool)
    if frame.height < 3:
        return found
    rise = close[1:] - close[:-1]
    move = np.abs(rise)
    gap = np.abs(opened[1:] - close[:-1])
    large = (move > 0.2) & (gap > 0.2)
    if not large.any():
        return found
    usual = float(np.median(move))
    large &= move > 6 * float(np.median(np.abs(move - usual)))
    near = rise > math.log(5)
    for ratio in _SPLITS:
        for jump in (move, gap):
            near |= np.abs(jump - math.log(ratio)) < 0.02 + min(2 * usual, 0.03)
    found[1:] = large & near & (span[1:] < move / 3)
    return found


def unit_changes(frame: pl.DataFrame) -> np.ndarray:
    """Boolean per row: the close is more than 100 times, or under 1/100 of, the one before."""
    close = np.log(frame["close"].to_numpy())
    return np.append(False, np.abs(np.diff(close)) > math.log(UNIT_CHANGE))


def odd_bars(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Reason -> boolean per row of one series, for reasons of a bar and the one before it."""
    time, volume = frame["timestamp"], frame["volume"].to_numpy()
    opened, low, high, close = (frame[n].to_numpy() for n in ("open", "low", "high", "close"))
    sunday = (time.dt.weekday() == 7).to_numpy()
    saturday = bool((time.dt.weekday() == 6).any())
    return {
        "suspected splits": suspected_splits(frame),
        "high more than 3 times low": low < high / _WIDE_RANGE,
        "flat bars": high == low,
        "zero-volume bars": volume == 0,
        "zero returns (over 5 %)": _if_common(np.append(False, close[1:] == close[:-1])),
        "stale opens (over 5 %)": _if_common(
            np.append(False, (opened[1:] == close[:-1]) & (high[1:] > low[1:]))
        ),
        # On a market open at weekends, a Sunday is a day like others.
        "Sunday bars": sunday & (not saturday),
    }


def _if_common(found: np.ndarray) -> np.ndarray:
    return found & bool(found.mean() > _COMMON)


def coarse_ticks(frame: pl.DataFrame) -> np.ndarray:
    """Boolean per row: one tick of the close as written is above a tenth of the median |return|.

    The tick is the largest power of ten that divides every close.
    """
    quoted, close = frame["quoted"].to_numpy(), frame["close"].to_numpy()
    usual = float(np.median(np.abs(np.diff(np.log(close)))))
    for exponent in range(6, -9, -1):
        units = quoted / 10.0**exponent
        if usual == 0 or units.max() > 1e9:
            break
        whole = np.rint(units)
        if whole.min() >= 1 and np.abs(units - whole).max() < 1e-6:
            return 10.0**exponent / quoted > usual / 10
    return np.zeros(frame.height, dtype=bool)


def shifted_weekdays(times: pl.Series) -> tuple[np.ndarray, str]:
    """Boolean per row and a proposal, for daily bars whose dates seem a day off.

    Midnight of an eastern zone, written in UTC, is a day early: no Friday and many Sundays. A day
    late: no Monday and many Saturdays.
    """
    weekday = times.dt.weekday().to_numpy()
    none = np.zeros(len(times), dtype=bool)
    counts = np.bincount(weekday, minlength=8)[1:]
    if len(times) < 10 or _usual_step(times.cast(pl.Int64).to_numpy()) != _DAY:
        return none, ""
    many = 0.1 * len(times)
    shown = ", ".join(map(str, counts))
    for absent, other, extra, shift in ((5, 6, 7, 1), (1, 7, 6, -1)):
        if counts[absent - 1] == counts[other - 1] == 0 and counts[extra - 1] > many:
            return weekday == extra, (
                f"bars from Monday to Sunday: {shown}, as if every date were a day "
                f"{'early' if shift > 0 else 'late'}; if so, move them with date_shift={shift}"
            )
    return none, ""


def truncated_day(times: pl.Series) -> str | None:
    """A sentence where the last day of intraday bars ends well before the days before it."""
    micro = times.cast(pl.Int64).to_numpy()
    if _usual_step(micro) >= _DAY / 2:
        return None
    days, starts = np.unique(micro // _DAY, return_index=True)
    ends = micro[np.append(starts[1:], len(micro)) - 1] % _DAY
    first = micro[starts] % _DAY
    # A single day that begins at midnight is one of a market that never closes.
    usual = int(np.median(ends[:-1])) if len(days) > 2 else _DAY if first[0] == 0 else 0
    if usual - ends[-1] <= 0.1 * _DAY:
        return None
    date, clock = str(np.datetime64(int(days[-1]), "D")), _clock(int(ends[-1]))
    before = f"days before it at about {_clock(usual)}" if usual < _DAY else "and began at midnight"
    return f"the last day ({date}) ends at {clock}, {before}: it may be truncated"


def _usual_step(micro: np.ndarray) -> float:
    """The median; counted where the shortest step is that of most bars, as it nearly always is."""
    steps = np.diff(micro)
    least = steps.min()
    return float(least if 2 * np.count_nonzero(steps == least) > len(steps) else np.median(steps))


def _clock(micro: int) -> str:
    return f"{micro // 3_600_000_000:02}:{micro // 60_000_000 % 60:02}"
