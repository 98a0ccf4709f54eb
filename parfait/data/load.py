"""``load_bars``: a file as it came -> valid bars and an account of what was done to it."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from parfait.bars import BAR_COLUMNS, check_bars
from parfait.data.clean import clean_rows
from parfait.data.describe import describe
from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.data.rows import file_symbol, typed_rows
from parfait.data.table import read_table
from parfait.utils.errors import UserError


def load_bars(path: str | Path, **options: Any) -> tuple[pl.DataFrame, LoadReport]:
    """Valid bars of a CSV (plain, gzip or zip) or Parquet file.

    Every column is read as text and cast with counts, but for the times and whole or double numbers
    of a Parquet file, which give the same without it. Nothing is guessed silently and nothing is
    filled: a row without usable prices is dropped and counted, a gap stays a gap.

    Args:
        path: the file.
        **options: see ``LoadOptions``.

    Returns:
        The frame of ``BAR_COLUMNS``, sorted, plus ``symbol`` where the file holds several; and the
        report of what was repaired, dropped and flagged.

    Raises:
        UserError: one sentence, beginning with the path, on why the file cannot be used.
    """
    path = Path(path)
    asked = LoadOptions.read(options)
    frames, total = [], None
    for symbol, frame, report in clean_series(path, asked):
        if isinstance(report, UserError):
            raise report
        try:
            describe(frame, asked, report)
        except UserError as error:
            raise located(error, path, symbol if "symbol" in report.columns else None) from error
        frames.append(frame.select(BAR_COLUMNS).with_columns(pl.lit(symbol).alias("symbol")))
        total = report if total is None else total.merge(report)
    if total is None:
        raise UserError(f"{path}: no row has a symbol; name its column in columns")
    several = len(frames) > 1
    frame = pl.concat(frames).select([*BAR_COLUMNS, "symbol"] if several else list(BAR_COLUMNS))
    check_bars(frame, str(path))
    return frame, total


def clean_series(
    path: Path, options: LoadOptions, name: str | None = None
) -> Iterator[tuple[str, pl.DataFrame, LoadReport | UserError]]:
    """The series of a file one by one: symbol, what ``clean_rows`` returns, and report so far.

    A series that cannot be used comes with its ``UserError`` in place of a report, so that the
    others can be.

    Args:
        path: the file.
        options: how to read it.
        name: symbol of a file without such a column; ``None`` takes the name of the file.

    Raises:
        UserError: the file as a whole cannot be used.
    """
    shared = LoadReport(str(path))
    try:
        table = read_table(path, options)
        shared.sha256, shared.notes = table.sha256, list(table.notes)
        rows = typed_rows(table, options, path, shared, name or file_symbol(path))
        del table
        parts = _series(rows, options, shared)
        del rows
    except UserError as error:
        raise located(error, path) from error
    # What holds for the file as a whole is told once, by its first series.
    other = replace(shared, repaired={}, dropped={}, notes=[], rows_in=0)
    several = len(parts) > 1
    for i in range(len(parts)):
        symbol, part = parts[i]
        parts[i] = (symbol, pl.DataFrame())
        report = deepcopy(other if i else shared)
        report.rows_in += part.height
        report.symbols = [symbol]
        try:
            frame = clean_rows(part, options, report)
        except UserError as error:
            yield symbol, pl.DataFrame(), located(error, path, symbol if several else None)
        else:
            yield symbol, frame, report


def located(error: UserError, path: Path, symbol: str | None = None) -> UserError:
    """The same sentence, beginning with the file and, where it matters, the symbol."""
    sentence = str(error)
    if sentence.startswith(str(path)):
        return error
    return UserError(f"{path}: {f'symbol {symbol!r}: ' if symbol else ''}{sentence}")


def _series(
    rows: pl.DataFrame, options: LoadOptions, report: LoadReport
) -> list[tuple[str, pl.DataFrame]]:
    """Rows by symbol, in order of appearance; those without a symbol are dropped."""
    if options.symbol is not None:
        mine = rows.filter(pl.col("symbol") == options.symbol)
        if mine.is_empty():
            held = ", ".join(rows["symbol"].unique().sort().head(10).to_list())
            raise UserError(f"symbol {options.symbol!r} is not in the file; it holds {held}")
        if mine.height < rows.height:
            report.notes.append(f"{rows.height - mine.height} rows of other symbols left out")
        return [(options.symbol, mine)]
    first = rows["symbol"][0]
    if first and bool((rows["symbol"] == first).all()):
        return [(first, rows)]
    nameless = rows.filter(pl.col("symbol") == "")["row"].to_list()
    report.count("dropped", "no symbol", nameless)
    report.rows_in += len(nameless)
    rows = rows.filter(pl.col("symbol") != "")
    if len(nameless) > 0.05 * (rows.height + len(nameless)):
        raise UserError(
            f"{len(nameless)} rows have no symbol, first row {nameless[0]}; name its column with "
            "columns={'symbol': 'NAME'}"
        )
    parts = rows.partition_by("symbol", maintain_order=True)
    if options.factors is not None and len(parts) > 1 and not Path(options.factors).is_dir():
        raise UserError(
            f"factors={str(options.factors)!r} is of one symbol and the file holds {len(parts)}; "
            "choose one with symbol='NAME', or give a folder of files named SYMBOL.csv"
        )
    return [(str(part["symbol"][0]), part) for part in parts]
