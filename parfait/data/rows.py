"""A table of text cells -> one row per bar with parsed cells, nothing dropped yet."""

from pathlib import Path

import numpy as np
import polars as pl

from parfait.data.columns import (
    HEADERLESS,
    assign_roles,
    is_header,
    listed,
    shared_header,
    side_by_side,
)
from parfait.data.numbers import find_decimal, looks_numeric, parse_numbers
from parfait.data.options import QUOTES, LoadOptions
from parfait.data.parquet import ParquetCells
from parfait.data.report import LoadReport
from parfait.data.table import TextTable
from parfait.data.times import UNKNOWN_ZONE, Times, parse_times
from parfait.data.typed import typed_columns, typed_times
from parfait.data.zones import to_utc
from parfait.utils.errors import UserError

PRICES = ("open", "high", "low", "close")
MARKS = ("grouped", "comma", "suffixed")
_MAX_NOTES = 5
_JUNK_LINES = 10  # lines before the header that some vendors use for a title
_QUOTE_NAMES = (
    *QUOTES[:4],
    "bid size",
    *QUOTES[4:],
    "ask size",
)


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
        too_long, unreadable, crossed and ``MARKS``.

    Raises:
        UserError: columns, times or numbers leave a question open.
    """
    header, first = _header(table, options, report)
    if table.height <= first:
        raise UserError("a header and no rows of bars")
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
    _note_columns(layouts, roles, report)
    if not wide and isinstance(table.cells, ParquetCells):
        found = typed_columns(table.cells, roles[None], options)
        if found is not None:
            return _typed_layout(table.cells, roles[None], found, options, report, name)
    used = sorted({i for one in roles.values() for i in one.values()})
    cells = table.cells.columns(used, first, len(header))
    times: Times | None = None  # the same for symbols side by side
    frames = []
    for symbol, names in layouts.items():
        text = {role: cells[str(i)].rename(role) for role, i in roles[symbol].items()}
        if times is None:
            where = (path.name, *table.names[1:])
            times = _times(text, cells["row"], options, where, names, roles[symbol])
            report.time_format = times.form
        frame = _one_layout(cells, text, times, options, report)
        called = {role: names[i] for role, i in roles[symbol].items()}
        frame = _with_numbers(frame, text, table.delimiter, options, called, report)
        if symbol is not None or "symbol" not in text:
            frame = frame.with_columns(pl.lit(symbol or options.symbol or name).alias("symbol"))
        frames.append(frame)
    return pl.concat(frames, how="diagonal")


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
    return roles


def _note_columns(
    layouts: dict[str | None, list[str]],
    roles: dict[str | None, dict[str, int]],
    report: LoadReport,
) -> None:
    header = next(iter(layouts.values()))
    first = next(iter(roles.values()))
    used = {i for one in roles.values() for i in one.values()}
    report.columns = {role: header[i] for role, i in first.items()}
    report.ignored_columns = [c for i, c in enumerate(header) if i not in used and c]


def _header(table: TextTable, options: LoadOptions, report: LoadReport) -> tuple[list[str], int]:
    """Column names and the index of the first data row."""
    if table.header is not None:
        return table.header, 0
    named = set((options.columns or {}).values())
    if options.header is not False and options.names is None:
        for i, cells in enumerate(table.head[:_JUNK_LINES]):
            if is_header(cells) or (named and named <= set(cells)):
                report.count("repaired", "lines before the header", table.numbers(i))
                return cells, i + 1
        if options.header or sum(looks_numeric(c) for c in table.head[0][1:]) < 3:
            return table.head[0], 1
    width = max(len(cells) for cells in table.head[:_JUNK_LINES])
    if options.names is not None and len(options.names) <= width:
        return [str(name) for name in options.names], 0
    if options.names is None and 5 <= width <= len(HEADERLESS):
        return list(HEADERLESS[:width]), 0
    if options.names is None and 3 <= width <= 4:
        raise UserError(
            f"no header and {width} columns: if they are a date, a price factor and a split "
            "factor, give this file as factors= beside the file of prices; else name the columns, "
            "as in names=['time', 'close'] with close_only=True"
        )
    proposed = ["time", *_QUOTE_NAMES] if width == 1 + len(_QUOTE_NAMES) else list(HEADERLESS)
    quotes = "; if they are quotes" if width == 1 + len(_QUOTE_NAMES) else ""
    raise UserError(
        f"no header and {width} columns, not {', '.join(HEADERLESS)}; name them in their "
        f"order{quotes}, as in names={proposed} (another word skips a column, columns after "
        "the last name are left out)"
    )


def _typed_layout(
    cells: ParquetCells,
    roles: dict[str, int],
    found: dict[str, pl.Series],
    options: LoadOptions,
    report: LoadReport,
    name: str,
) -> pl.DataFrame:
    """What ``typed_rows`` returns, of columns that need no reading."""
    times = typed_times(found.pop("time"), cells.types[cells.names[roles["time"]]])
    if "symbol" in roles:
        symbol = cells.columns([roles["symbol"]], 0, 1)[str(roles["symbol"])]
    else:
        symbol = pl.repeat(options.symbol or name, len(cells.numbers), eager=True)
    none = pl.Series(np.zeros(len(cells.numbers), dtype=bool))
    marks = dict.fromkeys(("too_long", *MARKS, "unreadable"), none)
    data = {"row": cells.numbers, "read": times.values, "symbol": symbol} | marks | found
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


def _times(
    text: dict[str, pl.Series],
    rows: pl.Series,
    options: LoadOptions,
    file_names: tuple[str, ...],
    header: list[str],
    roles: dict[str, int],
) -> Times:
    if options.start is not None and options.frequency is not None:
        values = regular_times(options.start, options.frequency, len(rows))
        return Times(values, f"none: {options.start} and every {options.frequency}", UNKNOWN_ZONE)
    if "time" not in text:
        raise UserError(
            f"no time column; the columns are {listed(header)}: name it with "
            "columns={'time': 'NAME'}, or give start='YYYY-MM-DD' and frequency='1bd' "
            "(business days; also 1d, 1h, 5m, 1w, 1mo)"
        )
    cells = text["time"]
    if "clock" in text:
        cells = cells + " " + text["clock"]
    try:
        return parse_times(cells, rows, options, file_names)
    except UserError as error:
        raise UserError(f"column {header[roles['time']][:40]!r}: {error}") from error


def regular_times(start: str, frequency: str, n: int) -> pl.Series:
    """n times from ``start``, ``frequency`` apart ("1bd", "1d", "1h", "5m", "1w", "1mo").

    Raises:
        UserError: an unreadable start or frequency, or times beyond the calendar.
    """
    try:
        first = pl.Series([start]).str.to_datetime(time_unit="us")
        if frequency.endswith("bd"):
            days = np.busday_offset(
                first.dt.date().to_numpy().astype("datetime64[D]"),
                np.arange(n) * int(frequency[:-2]),
                roll="forward",
            )
            clock = first.cast(pl.Int64)[0] % 86_400_000_000
            return pl.Series("time", days.astype("datetime64[us]").astype(np.int64) + clock)
        steps = pl.DataFrame({"first": first}).select(pl.col("first").repeat_by(n).explode())
        counts = pl.Series("i", np.arange(n))
        amount, unit = (
            int(frequency.rstrip("abcdefghijklmnopqrstuvwxyz")),
            frequency.lstrip("0123456789"),
        )
        offsets = (counts * amount).cast(pl.String) + unit
        times = steps.with_columns(offsets.alias("offset")).select(
            pl.col("first").dt.offset_by(pl.col("offset")).alias("time")
        )["time"]
    except (pl.exceptions.PolarsError, ValueError, OverflowError) as error:
        raise UserError(
            f"start={start!r} and frequency={frequency!r} give no times; use for example "
            "start='2010-01-04', frequency='1bd'"
        ) from error
    return times.cast(pl.Int64)


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
    for role in roles:
        parsed = parse_numbers(text[role], decimal)
        frame = frame.with_columns(parsed["value"].alias(role))
        for mark, found in marks.items():
            found |= parsed[mark].to_numpy()
        bad = parsed["unreadable"].arg_max()
        if bad is not None and parsed["unreadable"][bad] and len(report.notes) < _MAX_NOTES:
            report.notes.append(
                f"column {names[role][:40]!r}, row {frame['row'][bad]}: {text[role][bad][:40]!r} "
                "is no number"
            )
    frame = frame.with_columns(pl.Series(mark, found) for mark, found in marks.items())
    return _with_mid(frame)


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
