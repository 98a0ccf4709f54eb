"""What looks odd in valid bars: flagged, never repaired."""

import math

import numpy as np
import polars as pl

_SPLITS = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0)
_WIDE_RANGE = 3.0  # high over low: a bar that straddles a split, or a false print
UNIT_CHANGE = 100.0


def suspected_splits(frame: pl.DataFrame) -> np.ndarray:
    """Boolean per row: the price moved to a bar's level by what may be a split.

    The log return exceeds both 20 % and six median absolute deviations; the close or open stands
    within 4 % of a usual split ratio to the previous close, or five times and more away; and the
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
    move = np.abs(close[1:] - close[:-1])
    large = move > max(6 * float(np.median(np.abs(move - np.median(move)))), 0.2)
    gap = np.abs(opened[1:] - close[:-1])
    near = move > math.log(5)
    for ratio in _SPLITS:
        for jump in (move, gap):
            near |= np.abs(jump - math.log(ratio)) < 0.04
    found[1:] = large & near & (gap > 0.2) & (span[1:] < move / 3)
    return found


def unit_changes(frame: pl.DataFrame) -> np.ndarray:
    """Boolean per row: the close is more than 100 times, or under 1/100 of, the one before."""
    close = np.log(frame["close"].to_numpy())
    return np.append(False, np.abs(np.diff(close)) > math.log(UNIT_CHANGE))


def odd_bars(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Reason -> boolean per row of one series, for reasons of the bar itself."""
    time, volume = frame["timestamp"], frame["volume"].to_numpy()
    low, high = frame["low"].to_numpy(), frame["high"].to_numpy()
    sunday = (time.dt.weekday() == 7).to_numpy()
    saturday = bool((time.dt.weekday() == 6).any())
    return {
        "suspected splits": suspected_splits(frame),
        "high more than 3 times low": low < high / _WIDE_RANGE,
        "flat bars": high == low,
        "zero-volume bars": volume == 0,
        # On a market open at weekends, a Sunday is a day like others.
        "Sunday bars": sunday & (not saturday),
    }
