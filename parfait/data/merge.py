"""Cleaned bars of one symbol from several files -> one series."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from parfait.data.report import LoadReport
from parfait.utils.errors import UserError

_PRICES = ["open", "high", "low", "close"]


def merge_parts(
    frames: Sequence[pl.DataFrame], reports: Sequence[LoadReport]
) -> tuple[pl.DataFrame, LoadReport]:
    """Joins what ``clean_rows`` returned for each file; later files win.

    Each part was scaled so that its own last bar keeps its price. Scaling by the ratios' quotient
    makes them one series whose very last bar keeps its price.

    Raises:
        UserError: bars of different spacing.

    Returns:
        The frame with the same columns, sorted, and one report of all; where there are several,
        ``path`` names the first and their number, and ``sha256`` is that of the first.
    """
    report = reports[0]
    for other in reports[1:]:
        report = report.merge(other)
    report.symbols = report.symbols[:1]
    if len(frames) == 1:
        return frames[0], report
    _check_spacing(frames, reports)
    report.path = f"{reports[0].path} and {len(reports) - 1} more"
    newest = max(frames, key=lambda frame: frame["timestamp"][-1])
    ratio, split = newest["ratio"][-1], newest["split"][-1]
    scaled = pl.concat(_rescale(frame, ratio, split) for frame in frames)
    content = ["timestamp", *_PRICES, "volume"]
    last = pl.struct(content).is_last_distinct()
    copies = scaled.filter(~last)["row"].to_list()
    report.count("repaired", "exact duplicates", copies)
    unique = scaled.filter(last)
    older = unique.filter(~pl.col("timestamp").is_last_distinct())["row"].to_list()
    report.count("dropped", "other row for the same time, last kept", older)
    return unique.filter(pl.col("timestamp").is_last_distinct()).sort("timestamp"), report


def _rescale(frame: pl.DataFrame, ratio: float, split: float) -> pl.DataFrame:
    """Bars scaled to their own last ratio and split, brought to those of the newest bar."""
    by, shares = frame["ratio"][-1] / ratio, frame["split"][-1] / split
    if by == 1 and shares == 1:
        return frame
    prices = pl.col(_PRICES) * by
    return frame.with_columns(
        prices,
        pl.col("volume") / shares,
        pl.lit(ratio).alias("ratio"),
        pl.lit(split).alias("split"),
    )


def _check_spacing(frames: Sequence[pl.DataFrame], reports: Sequence[LoadReport]) -> None:
    steps = [float(np.median(np.diff(f["timestamp"].cast(pl.Int64).to_numpy()))) for f in frames]
    fast, slow = int(np.argmin(steps)), int(np.argmax(steps))
    if steps[slow] > 3 * steps[fast]:
        raise UserError(
            f"{reports[fast].path} has bars {steps[fast] / 1e6:g} s apart and "
            f"{reports[slow].path} {steps[slow] / 1e6:g} s, for one symbol; convert them into "
            "different folders, or give them names of their own"
        )
