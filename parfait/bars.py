"""Vocabulary 2: the OHLCV frame, what a valid bar is, and its calendar.

A frame of bars is a polars ``DataFrame`` with the columns ``timestamp`` (``Datetime("us")``, UTC
without zone), ``open, high, low, close, volume`` (float64), and optionally ``symbol`` and ``path``
where it holds several series. Everything that enters or leaves Parfait obeys ``check_bars``.
"""

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.calendars import estimate_bars_per_year, future_timestamps, missing_sessions
from parfait.utils.errors import UserError

__all__ = [
    "BAR_COLUMNS",
    "BAR_FIELDS",
    "bar_violations",
    "bars_to_tensor",
    "check_bars",
    "estimate_bars_per_year",
    "future_timestamps",
    "missing_sessions",
]

BAR_FIELDS = ("open", "high", "low", "close", "volume")
BAR_COLUMNS = ("timestamp", *BAR_FIELDS)
_TYPES = {"timestamp": pl.Datetime("us")} | dict.fromkeys(BAR_FIELDS, pl.Float64())


def bar_violations(frame: pl.DataFrame) -> dict[str, int]:
    """How many rows break each rule; empty when every bar is valid.

    Rules: the columns exist with their types; nothing is null; numbers are finite; prices are
    above 0; low <= min(open, close); high >= max(open, close); volume >= 0; timestamps increase
    strictly within each series (one value of ``symbol`` and ``path``, where those exist).
    A missing or mistyped column counts every row.
    """
    wrong = _wrong_columns(frame)
    if wrong:
        return dict.fromkeys(wrong, max(frame.height, 1))
    broken = _broken_rows(frame)
    return {rule: count for rule in broken.columns if (count := int(broken[rule].sum()))}


def check_bars(frame: pl.DataFrame, what: str = "bars") -> None:
    """Nothing when ``bar_violations`` is empty.

    Raises:
        UserError: names ``what``, the first broken rule, how many rows break it, and the first.
    """
    wrong = _wrong_columns(frame)
    if wrong:
        raise UserError(f"{what}: {wrong[0]}; a bar has {', '.join(BAR_COLUMNS)}")
    broken = _broken_rows(frame)
    for rule in broken.columns:
        count = int(broken[rule].sum())
        if count:
            row = int(broken[rule].arg_max() or 0)
            values = ", ".join(f"{name}={frame[name][row]}" for name in BAR_COLUMNS)
            raise UserError(f"{what}: {rule} in {count} row(s), first in row {row}: {values}")


def bars_to_tensor(frame: pl.DataFrame) -> Float64[Tensor, "bars 5"]:
    """The columns ``BAR_FIELDS`` of a frame as float64, in their order."""
    fields = frame.select(BAR_FIELDS).cast(pl.Float64)
    return torch.from_numpy(fields.to_numpy(order="c", writable=True))  # one bar, one cache line


def _wrong_columns(frame: pl.DataFrame) -> list[str]:
    wrong = []
    for name, dtype in _TYPES.items():
        if name not in frame.columns:
            wrong.append(f"column {name!r} is missing")
        elif frame.schema[name] != dtype:
            wrong.append(f"column {name!r} is {frame.schema[name]} instead of {dtype}")
    return wrong


def _broken_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """One boolean column per rule, in order of severity; a null counts once, under its own rule."""
    prices = ("open", "high", "low", "close")
    series = [name for name in ("symbol", "path") if name in frame.columns]
    step = pl.col("timestamp").diff()
    step = step.over(series) if series else step
    rules = {
        "null values": pl.any_horizontal(pl.col(BAR_COLUMNS).is_null()),
        "numbers that are not finite": ~pl.all_horizontal(pl.col(BAR_FIELDS).is_finite()),
        "prices not above 0": pl.any_horizontal(pl.col(prices) <= 0),
        "low above open or close": pl.col("low") > pl.min_horizontal("open", "close"),
        "high below open or close": pl.col("high") < pl.max_horizontal("open", "close"),
        "negative volume": pl.col("volume") < 0,
        "timestamps not strictly increasing": step <= pl.duration(),
    }
    return frame.select(rule.fill_null(False).alias(name) for name, rule in rules.items())
