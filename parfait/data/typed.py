"""Rows of a Parquet file whose columns are times and numbers already: nothing to read as text.

What this module gives is what the text of the same cells gives. Whatever leaves a question open (a
null time, a NaN, single precision, a decimal comma) is left to the text.
"""

import polars as pl
from polars.exceptions import PolarsError

from parfait.data.ambiguity import UNKNOWN_ZONE
from parfait.data.options import LoadOptions
from parfait.data.parquet import ParquetCells
from parfait.data.times import EARLIEST, LATEST, Times


def typed_columns(
    cells: ParquetCells, roles: dict[str, int], options: LoadOptions
) -> dict[str, pl.Series] | None:
    """Role -> values: microseconds of "time" (int64), float64 of the others, null where absent.

    ``None`` where the text of the cells has to be read, because a type or a value needs a look.
    """
    if {"clock", "epoch"} & roles.keys() or "time" not in roles:
        return None
    if options.start or options.decimal == "," or options.time_format:
        return None
    names = cells.names
    wanted = {role: names[i] for role, i in roles.items() if role != "symbol"}
    if not all(_is_plain(cells.types[name], role) for role, name in wanted.items()):
        return None
    try:
        frame = cells.source.select(set(wanted.values())).collect()
    except (PolarsError, MemoryError, OSError, ValueError):
        return None  # the text says what is wrong
    found = {}
    for role, name in wanted.items():
        values = _microseconds(frame[name]) if role == "time" else _floats(frame[name])
        if values is None:
            return None
        found[role] = values
    return found


def typed_times(micro: pl.Series, stored: pl.DataType) -> Times:
    """As ``parse_times`` tells of the text of such a column."""
    form = "YYYY-MM-DD" if stored == pl.Date else "YYYY-MM-DD with time"
    return Times(micro, form, UNKNOWN_ZONE)


def _is_plain(stored: pl.DataType, role: str) -> bool:
    if role == "time":
        return stored == pl.Date or isinstance(stored, pl.Datetime)
    return stored == pl.Float64 or stored.is_integer()


def _microseconds(values: pl.Series) -> pl.Series | None:
    """Of moments with a zone those in UTC, which is how they are stored."""
    micro = values.cast(pl.Datetime("us")) if values.dtype == pl.Date else values
    if isinstance(micro.dtype, pl.Datetime):
        micro = micro.dt.cast_time_unit("us")
    micro = micro.cast(pl.Int64)
    if micro.null_count() or micro.is_empty():
        return None
    low, high = int(micro.min()), int(micro.max())  # pyright: ignore[reportArgumentType]
    return micro if low >= EARLIEST and high <= LATEST else None


def _floats(values: pl.Series) -> pl.Series | None:
    numbers = values.cast(pl.Float64)
    return numbers if numbers.is_finite().all() else None  # nulls are left out of ``all``
