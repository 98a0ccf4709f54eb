"""What is noteworthy in valid bars: flagged and noted, never repaired."""

import numpy as np
import polars as pl

from parfait.bars import estimate_bars_per_year, missing_sessions
from parfait.data.checks import (
    UNIT_CHANGE,
    coarse_ticks,
    odd_bars,
    shifted_weekdays,
    truncated_day,
    unit_changes,
)
from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.utils.errors import UserError


def describe(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> None:
    """Flags, notes, frequency and segments of one cleaned series, into its report.

    Raises:
        UserError: the price level changes as if the unit did.
    """
    report.rows_out = frame.height
    rows = frame["row"].to_numpy()
    jump = unit_changes(frame)
    if jump.any():
        i = int(jump.argmax())
        before, after = frame["close"][i - 1], frame["close"][i]
        raise UserError(
            f"row {rows[i]}: the close goes from {before:g} to {after:g}, more than a factor "
            f"of {UNIT_CHANGE:g}, as if the unit changed; split the file there or bring it to one "
            "unit"
        )
    for reason, found in odd_bars(frame).items():
        if reason == "zero-volume bars" and "volume" not in report.columns:
            continue
        report.count("flagged", reason, rows[found].tolist())
    report.count(
        "flagged", "tick coarse against the median move", rows[coarse_ticks(frame)].tolist()
    )
    weekdays, proposal = shifted_weekdays(frame["timestamp"])
    report.count("flagged", "weekdays look shifted", rows[weekdays].tolist())
    gaps = missing_sessions(frame["timestamp"]) > options.max_gap
    report.count("flagged", f"gaps of over {options.max_gap} sessions", rows[1:][gaps].tolist())
    report.notes += [proposal] if proposal else []
    report.notes += [s] if (s := truncated_day(frame["timestamp"])) else []
    report.notes += [s] if (s := _scaled(frame["quoted"], options)) else []
    report.segments = int(gaps.sum()) + 1
    report.bars_per_year = estimate_bars_per_year(frame["timestamp"])


def _scaled(quoted: pl.Series, options: LoadOptions) -> str | None:
    """Whole prices, mostly hundreds and in the ten thousands, are dollars in ten-thousandths."""
    if options.price_scale != 1 or len(quoted) < 20:
        return None
    values = quoted.to_numpy()
    whole = bool((values == np.rint(values)).all())
    if whole and np.mean(values % 100 == 0) > 0.9 and np.median(values) >= 10_000:
        return (
            "every price is a whole number, most are hundreds; if they are ten-thousandths, say so "
            "with price_scale=1e-4"
        )
    return None
