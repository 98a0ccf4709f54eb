"""Cells of a Parquet file as text: its types are believed no more than a CSV's."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from parfait.utils.errors import UserError

_MAX_CELL = 4096  # characters: one long text, repeated by a dictionary, costs a file nothing
_SLICE = 100_000  # rows


@dataclass(frozen=True, eq=False)
class ParquetCells:
    """An opened Parquet file; ``numbers`` are positions of its rows from 1."""

    source: pl.LazyFrame
    path: Path
    max_bytes: int
    types: dict[str, pl.DataType]
    numbers: pl.Series

    @classmethod
    def open(cls, raw: bytes, path: Path, max_bytes: int) -> "ParquetCells":
        """Reads the number of rows and the names; ``UserError`` where there are none."""
        try:
            source = pl.scan_parquet(io.BytesIO(raw))
            height = int(source.select(pl.len()).collect().item())
            types = dict(source.collect_schema())
        except (PolarsError, MemoryError, OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        if height > max_bytes:
            raise UserError(f"{path} holds more than {max_bytes} rows; split it or thin it out")
        numbers = pl.int_range(1, height + 1, dtype=pl.Int64, eager=True)
        return cls(source, path, max_bytes, types, numbers)

    @property
    def names(self) -> list[str]:
        """Of the columns, in order."""
        return list(self.types)

    def columns(self, positions: Sequence[int], first: int, width: int) -> pl.DataFrame:
        """As ``Lines.columns``; only these columns are decoded, some rows at a time."""
        del width  # rows of a Parquet file have one length
        named = self.names
        names = [named[i] for i in positions]
        parts, total = [], 0
        try:
            for start in range(first, max(len(self.numbers), first + 1), _SLICE):
                part = self.source.select(names).slice(start, _SLICE).collect()
                total += _checked_size(part, self.path)
                if total > self.max_bytes:
                    raise UserError(
                        f"{self.path} holds more than {self.max_bytes} bytes; split it, thin it "
                        f"out, or allow more with max_bytes={2 * self.max_bytes}"
                    )
                parts.append(_as_text(part))
            text = pl.concat(parts)
        except UserError:
            raise
        except (PolarsError, MemoryError, OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        text.columns = [str(i) for i in positions]
        return text.with_columns(
            self.numbers.slice(first).alias("row"), pl.lit(False).alias("too_long")
        )


def _checked_size(part: pl.DataFrame, path: Path) -> int:
    """Bytes of the texts, refused before anything copies them where one is too long."""
    total = 0
    for column in part:
        if column.dtype == pl.Categorical or isinstance(column.dtype, pl.Enum):
            lengths = column.unique().cast(pl.String).str.len_bytes()
            total += column.len() * int(lengths.max() or 0)  # pyright: ignore[reportArgumentType]
        elif column.dtype == pl.String:
            lengths = column.str.len_bytes()
            total += int(lengths.sum())
        else:
            continue
        longest = int(lengths.max() or 0)  # pyright: ignore[reportArgumentType]
        if longest > _MAX_CELL:
            raise UserError(
                f"{path}: column {column.name!r} holds a cell of {longest} characters, more than "
                f"{_MAX_CELL}; name other columns, as in columns={{'time': 'NAME'}}"
            )
    return total


def _as_text(part: pl.DataFrame) -> pl.DataFrame:
    for name, dtype in part.schema.items():
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            naive = pl.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            part = part.with_columns(naive)
    return part.select(pl.all().cast(pl.String, strict=False).fill_null("").str.strip_chars())


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error)[:200].split())
    return UserError(f"{path} is not readable as Parquet: {reason}")
