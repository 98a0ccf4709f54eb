"""A table of text cells -> one row per bar with parsed cells, nothing dropped yet."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from parfait.data.columns import (
    assign_roles,
    listed,
    shared_header,
    side_by_side,
)
from parfait.data.headers import find_header
from parfait.data.names import EPOCHS, WEAK, hints_at_volume, plain_name, ranked_role
from parfait.data.numbers import currencies, find_decimal, parse_numbers
from parfait.data.options import QUOTES, LoadOptions
from parfait.data.parquet import ParquetCells
from parfait.data.report import LoadReport
from parfait.data.table import TextTable
from parfait.data.times import Times
from parfait.data.timestamps import bar_times
from parfait.data.typed import typed_columns, typed_times
from parfait.data.zones import to_utc
from parfait.utils.errors import UserError

PRICES = ("open", "high", "low", "close")
MARKS = ("grouped", "comma", "suffixed", "currency")
_MAX_NOTES = 5


def typed_rows(
    table: TextTable, options: LoadOptions, path: Path, report: LoadReport, name: str
) -> pl.DataFrame:
    """One row per bar and symbol; ``report`` gets what holds for the whole file.

    Args:
        table: the cells.
        options: how to read them.
        path: whose name may hold the date.
        report: is changed.
        name: symbol of a file without such a column.

    Returns:
        Columns row, time and local (microseconds), open, high, low, close, volume, symbol,
        adjusted where the file has it (null marks an absent value), and booleans skipped,
        too_long, unreadable, action (a dividend or split, no bar), crossed and ``MARKS``.

    Raises:
        UserError: columns, times or numbers leave a question open.
    """
    table, header, first = find_header(table, options, report)
    if table.height <= first:
        raise UserError("it holds a header and no rows of bars; give a file with rows")
    wide = side_by_side(header, options.symbol)
    layouts: dict[str | None, list[str]] = {None: header}
    if wide:
        shared = shared_header(header)
        layouts = {s: [c.get(i, n) for i, n in enumerate(shared)] for s, c in wide.items()}
    roles: dict[str | None, dict[str, int]] = {}
    for symbol, names in layouts.items():
        try:
            roles[symbol] = _roles(names, options)
        except UserError as error:
            if symbol is None:
                raise
            raise UserError(
                f"symbol {symbol!r}: {error}; other symbols alone are read with symbol='NAME'"
            ) from error
    if not wide and isinstance(table.cells, ParquetCells):
        found = typed_columns(table.cells, roles[None], options)
        if found is not None:
            symbols = _typed_symbols(table.cells, layouts[None], roles[None], options, name)
            _note_columns(layouts, roles, report)
            return _typed_layout(table.cells, roles[None], found, symbols, options, report)
    used = sorted({i for one in roles.values() for i in one.values()})
    cells = table.cells.columns(used, first, len(header))
    cells = _unwrapped(cells) if table.wrapped else cells
    times: Times | None = None  # the same for symbols side by side
    frames = []
    for symbol, names in layouts.items():
        text = {role: cells[str(i)].rename(role) for role, i in roles[symbol].items()}
        _leave_out_one_name(text, names, roles[symbol], options)
        if times is None:
            where = (path.name, *table.names[1:])
            times = bar_times(
                text, _with_prices(cells, layouts, roles), options, where, names, roles[symbol]
            )
            report.time_format = times.form
        frame = _one_layout(cells, text, times, options, report)
        called = {role: names[i] for role, i in roles[symbol].items()}
        frame = _with_numbers(frame, text, table.delimiter, options, called, report)
        if symbol is not None or "symbol" not in text:
            frame = frame.with_columns(pl.lit(symbol or options.symbol or name).alias("symbol"))
        frames.append(frame)
    _note_columns(layouts, roles, report)
    return pl.concat(frames, how="diagonal")


def _unwrapped(cells: pl.DataFrame) -> pl.DataFrame:
    """Cells without ="..." of a spreadsheet, without '...', and without a text's apostrophe."""
    quoted = pl.col(pl.String).str.replace(r"""^='?"?([^"']*)'?"?$|^'([^']*)'?$""", "${1}${2}")
    return cells.with_columns(quoted)


def _with_prices(
    cells: pl.DataFrame, layouts: Iterable[str | None], roles: dict[str | None, dict[str, int]]
) -> pl.DataFrame:
    """Columns row and bars: whether a row holds any price, as a comment or a footer does not."""
    held = {i for s in layouts for r, i in roles[s].items() if r in (*PRICES, *QUOTES)}
    return cells.select("row", bars=pl.any_horizontal(pl.col(str(i)) != "" for i in sorted(held)))


def file_symbol(path: Path) -> str:
    """The name of a file without its endings."""
    name = path.name
    for ending in (".gz", ".zip", ".csv", ".txt", ".tsv", ".parquet"):
        name = name.removesuffix(ending)
    return name or path.name


def _roles(header: list[str], options: LoadOptions) -> dict[str, int]:
    roles = assign_roles(header, options.columns)
    quoted = all(f"{side} close" in roles for side in ("bid", "ask"))
    wanted = [n for n in PRICES if n not in roles]
    if quoted:
        wanted = [f"{s} {n}" for n in PRICES for s in ("bid", "ask") if f"{s} {n}" not in roles]
    if wanted and not options.close_only:
        raise UserError(
            f"no column for {', '.join(wanted)}; the columns are {listed(header)}: name it with "
            f"columns={{'{wanted[0]}': 'NAME'}}, or accept flat bars made of closes with "
            "close_only=True"
        )
    unix = [i for i, cell in enumerate(header) if plain_name(cell) in EPOCHS]
    if len(unix) == 1 and unix[0] not in roles.values() and "time" in roles:
        roles["epoch"] = unix[0]  # only to be compared
    return roles


def _leave_out_one_name(
    text: dict[str, pl.Series], names: list[str], roles: dict[str, int], options: LoadOptions
) -> None:
    """A column like "Name" tells series apart or is a description, the same in every row."""
    if "symbol" not in text or "symbol" in (options.columns or {}) or options.symbol is not None:
        return
    if ranked_role(names[roles["symbol"]]) == ("symbol", WEAK) and text["symbol"].n_unique() < 2:
        del text["symbol"], roles["symbol"]


def _note_columns(
    layouts: dict[str | None, list[str]],
    roles: dict[str | None, dict[str, int]],
    report: LoadReport,
) -> None:
    header = next(iter(layouts.values()))
    first = next(iter(roles.values()))
    used = {i for one in roles.values() for i in one.values()}
    report.columns = {role: header[i] for role, i in first.items() if role != "epoch"}
    report.ignored_columns = [
        c for i, c in enumerate(header) if c and i not in used - {first.get("epoch")}
    ]
    if "volume" not in first and (maybe := list(filter(hints_at_volume, report.ignored_columns))):
        report.notes.append(
            f"no volume is used, though {maybe[0]!r} may be it; if so, say columns={{'volume': "
            f"{maybe[0]!r}}}"
        )


def _typed_symbols(
    cells: ParquetCells,
    names: list[str],
    roles: dict[str, int],
    options: LoadOptions,
    name: str,
) -> pl.Series:
    text = {}
    if "symbol" in roles:
        text["symbol"] = cells.columns([roles["symbol"]], 0, 1)[str(roles["symbol"])]
        _leave_out_one_name(text, names, roles, options)
    if "symbol" in text:
        return text["symbol"]
    return pl.repeat(options.symbol or name, len(cells.numbers), eager=True)


def _typed_layout(
    cells: ParquetCells,
    roles: dict[str, int],
    found: dict[str, pl.Series],
    symbols: pl.Series,
    options: LoadOptions,
    report: LoadReport,
) -> pl.DataFrame:
    """What ``typed_rows`` returns, of columns that need no reading."""
    times = typed_times(found.pop("time"), cells.types[cells.names[roles["time"]]])
    none = pl.Series(np.zeros(len(cells.numbers), dtype=bool))
    marks = dict.fromkeys(("too_long", *MARKS, "unreadable", "action"), none)
    data = {"row": cells.numbers, "read": times.values, "symbol": symbols} | marks | found
    frame, report.timezone = to_utc(pl.DataFrame(data), times, options)
    report.time_format = times.form
    return _with_mid(frame.drop("read"))


def _one_layout(
    cells: pl.DataFrame,
    text: dict[str, pl.Series],
    times: Times,
    options: LoadOptions,
    report: LoadReport,
) -> pl.DataFrame:
    """Columns row, time, local, symbol, skipped and too_long."""
    symbol = text.get("symbol", pl.repeat("", cells.height, eager=True)).alias("symbol")
    too_long = pl.col("too_long") & (options.names is None)  # names may end before the columns
    frame = cells.select("row", too_long).with_columns(times.values.alias("read"), symbol)
    frame, report.timezone = to_utc(frame, times, options)
    return frame.drop("read")


def _with_numbers(
    frame: pl.DataFrame,
    text: dict[str, pl.Series],
    delimiter: str,
    options: LoadOptions,
    names: dict[str, str],
    report: LoadReport,
) -> pl.DataFrame:
    """``names`` are those of the columns by role, for messages."""
    roles = [n for n in (*PRICES, *QUOTES, "adjusted", "volume") if n in text]
    try:
        decimal = options.decimal or find_decimal(
            [text[n] for n in roles if n != "volume"], delimiter
        )
    except UserError as error:
        role, i = next((n, i[0]) for n in roles if len(i := text[n].str.contains(",").arg_true()))
        raise UserError(f"column {names[role][:40]!r}, row {frame['row'][i]}: {error}") from error
    marks = {n: np.zeros(frame.height, dtype=bool) for n in (*MARKS, "unreadable")}
    action = np.zeros(frame.height, dtype=bool)
    for role in roles:
        parsed = parse_numbers(text[role], decimal)
        if parsed["unreadable"].any():
            told = text[role].str.contains(r"(?i)\b(dividend|split)")
            parsed = parsed.with_columns(pl.col("unreadable") & ~told)
            action |= told.to_numpy()
        frame = frame.with_columns(parsed["value"].alias(role))
        for mark, found in marks.items():
            found |= parsed[mark].to_numpy()
        bad = parsed["unreadable"].arg_max()
        if bad is not None and parsed["unreadable"][bad] and len(report.notes) < _MAX_NOTES:
            report.notes.append(
                f"column {names[role][:40]!r}, row {frame['row'][bad]}: {text[role][bad][:40]!r} "
                "is no number"
            )
    if marks["currency"].any():
        _refuse_several_currencies(text, frame["row"], [n for n in roles if n != "volume"], names)
    marks["action"] = action
    frame = frame.with_columns(pl.Series(mark, found) for mark, found in marks.items())
    return _with_mid(frame)


def _refuse_several_currencies(
    text: dict[str, pl.Series], rows: pl.Series, roles: list[str], names: dict[str, str]
) -> None:
    found: dict[str, tuple[int, str]] = {}
    for role in roles:
        odd = text[role].str.contains(r"[^\d.,eE+\-]").arg_true()
        cells = text[role].gather(odd)
        for sign in currencies(cells):
            at = int(cells.str.to_lowercase().str.contains(sign, literal=True).arg_max() or 0)
            found[sign] = (int(rows[int(odd[at])]), names[role])
    if len(found) > 1:
        places = ", ".join(f"{s!r} in row {row} of {name!r}" for s, (row, name) in found.items())
        raise UserError(
            f"prices are in several currencies ({places}); choose columns of one of them, as in "
            "columns={'close': 'NAME'}, or split the file"
        )


def _with_mid(frame: pl.DataFrame) -> pl.DataFrame:
    """Bid and ask to their mean; a side that is absent or not above 0 stands for the row."""
    crossed = pl.lit(False)
    for name in PRICES:
        bid, ask = pl.col(f"bid {name}"), pl.col(f"ask {name}")
        if not {f"bid {name}", f"ask {name}"} <= set(frame.columns):
            continue
        both = pl.when((bid > 0) & (ask > 0)).then((bid + ask) / 2)
        absent = bid.is_null() | ask.is_null()
        mid = both.when(~absent).then(pl.min_horizontal(bid, ask))
        frame = frame.with_columns(mid.alias(name))
        crossed = crossed | (bid > ask).fill_null(False)
    return frame.with_columns(crossed.alias("crossed")).drop(set(QUOTES) & set(frame.columns))
