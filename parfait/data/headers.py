"""Where a file's header stands, what a file without one holds, headers repeated further down."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from parfait.data.columns import HEADERLESS, is_header
from parfait.data.names import role_of
from parfait.data.numbers import looks_numeric
from parfait.data.options import QUOTES, LoadOptions
from parfait.data.report import LoadReport
from parfait.data.table import Lines, TextTable
from parfait.utils.errors import UserError

JUNK_LINES = 10  # lines before the header that some vendors use for a title
_QUOTE_NAMES = (*QUOTES[:4], "bid size", *QUOTES[4:], "ask size")
_CLOCK = r"^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$"
_DATE = (
    r"^(\d{4}[-/.]?\d{1,2}[-/.]?\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}-?[A-Za-z]{3}-?\d{2,4})\b"
)
_BINANCE = (
    *HEADERLESS,
    *["close_time", "quote_volume", "trades", "taker_base_volume", "taker_quote_volume", "ignore"],
)
_MOST_HEADERS = 100  # records without a digit that are looked at


def find_header(
    table: TextTable, options: LoadOptions, report: LoadReport
) -> tuple[TextTable, list[str], int]:
    """The table without headers that are repeated in it, column names, index of the first data row.

    Raises:
        UserError: a file without header, or with a second one of other columns, leaves open what
            its columns are.
    """
    if table.header is not None:
        return table, table.header, 0
    header, first = _at_the_top(table, options, report)
    if first and options.names is None and isinstance(table.cells, Lines):
        table = _without_repetitions(table, table.cells, header, first, report)
    return table, header, first


def _at_the_top(
    table: TextTable, options: LoadOptions, report: LoadReport
) -> tuple[list[str], int]:
    head = table.head
    named = {name for name in (options.columns or {}).values() if isinstance(name, str)}
    if options.header is not False and options.names is None:
        for i, cells in enumerate(head[:JUNK_LINES]):
            stacked = stacked_header(head, i)
            if stacked is not None or is_header(cells) or (named and named <= set(cells)):
                report.count("repaired", "lines before the header", table.numbers(i))
                return stacked or (cells, i + 1)
        if options.header:
            return head[0], 1
        if (unknown := _unknown_header(head)) is not None:
            report.count("repaired", "lines before the header", table.numbers(unknown))
            return head[unknown], unknown + 1
    width = max(len(cells) for cells in head[:JUNK_LINES])
    if options.names is None:
        return _headerless(head, width), 0
    names = [str(name) for name in options.names]
    if len(names) > width:
        raise UserError(f"names has {len(names)} entries and the file {width} columns")
    skip = 0
    below = head[1] if len(head) > 1 else []
    if not any(map(looks_numeric, head[0])) and sum(map(looks_numeric, below)) >= 3:
        report.count("repaired", "lines before the header", table.numbers(1))  # is renamed
        skip = 1
    return names, skip


def _unknown_header(head: Sequence[Sequence[str]]) -> int | None:
    """The first line as wide as most and without numbers, unless numbers stand before it."""
    usual = Counter(map(len, head)).most_common(1)[0][0]
    for i, cells in enumerate(head[:JUNK_LINES]):
        if sum(map(looks_numeric, cells[1:])) >= 3:
            return None
        if len(cells) == usual:
            return i
    return 0


def stacked_header(head: Sequence[Sequence[str]], i: int) -> tuple[list[str], int] | None:
    """Names and next index where line i and the one below are fields and symbols, or reversed.

    That is how a frame with two levels of columns is written; a third line may name the index.
    """
    if i + 1 >= len(head) or len(head[i]) != len(head[i + 1]) or len(head[i]) < 5:
        return None
    for fields, symbols in ((head[i], head[i + 1]), (head[i + 1], head[i])):
        roles = [role_of(cell) for cell in fields[1:]]
        if not {"open", "high", "low", "close"} <= set(roles) or not all(symbols[1:]):
            continue
        worded = all(re.search(r"[^\W\d_]", cell) for cell in symbols[1:])
        if not worded or re.search(r"\d", symbols[0]) or len(roles) < 1.2 * roles.count(None):
            continue
        closes = {s for s, role in zip(symbols[1:], roles, strict=True) if role == "close"}
        if set(symbols[1:]) != closes or any(role_of(s) and len(s) > 1 for s in closes):
            continue  # a line of units, or the header once more
        names = [f"('{f}', '{s}')" for f, s in zip(fields[1:], symbols[1:], strict=True)]
        below = head[i + 2] if i + 2 < len(head) else []
        third = bool(below) and bool(below[0]) and not any(below[1:])
        return ["", *names], i + 2 + third
    return None


def _headerless(head: Sequence[Sequence[str]], width: int) -> list[str]:
    rows = [cells for cells in head if len(cells) == width]
    frame = pl.DataFrame(rows, schema=[str(i) for i in range(width)], orient="row")
    times = _starts_with_two(frame)
    if 5 <= width <= 6 and times == ["time"] and not _is_second_close(frame):
        return list(HEADERLESS[:width])
    if len(times) == 2 and 6 <= width <= 7:
        return [*times, *HEADERLESS[1 : width - 1]]
    if width == len(_BINANCE) and _is_binance(frame):
        return list(_BINANCE)
    if 3 <= width <= 4:
        raise UserError(
            f"no header and {width} columns: if they are a date, a price factor and a split "
            "factor, give this file as factors= beside the file of prices; else name the columns, "
            "as in names=['time', 'close'] with close_only=True"
        )
    quotes = width == 1 + len(_QUOTE_NAMES)
    adjusted = ["adjusted"] if times == ["time"] and _is_second_close(frame) else []
    prices = [*times, *HEADERLESS[1:5], *adjusted, "volume"][:width]
    proposed = ["time", *_QUOTE_NAMES] if quotes else prices
    raise UserError(
        f"no header and {width} columns, not {', '.join(HEADERLESS)}; name them in their "
        f"order{'; if they are quotes' if quotes else ''}, as in names={proposed} (another word "
        "skips a column, columns after the last name are left out)"
    )


def _starts_with_two(frame: pl.DataFrame) -> list[str]:
    """What stands before the prices: a time, a date and a clock, or a symbol and a date."""
    if frame.width < 6:
        return ["time"]
    first, second = frame["0"], frame["1"]
    if first.str.contains(_DATE).all():
        if second.str.contains(_CLOCK).all():
            return ["time", "clock"]
        digits = second.str.contains(r"^(\d{1,2}){1,3}$").all() and second.n_unique() > 1
        if digits and _ordered(frame, 2) and not _ordered(frame, 1):
            return ["time", "clock"]
    letters = first.str.contains("[A-Za-z]").all() and not first.str.contains(_DATE).any()
    if letters and second.str.contains(_DATE).all() and _ordered(frame, 2):
        return ["symbol", "time"]
    return ["time"]


def _ordered(frame: pl.DataFrame, at: int) -> bool:
    """Whether four columns from ``at`` on are open, high, low and close, as far as order tells."""
    if frame.width < at + 4:
        return False
    part = frame.select(pl.nth(range(at, at + 4)).cast(pl.Float64, strict=False)).to_numpy()
    if not np.isfinite(part).all():
        return False
    inside = (part[:, 1] * 1.001 >= part.max(axis=1)) & (part[:, 2] <= part.min(axis=1) * 1.001)
    return bool(inside.mean() > 0.95)


def _is_second_close(frame: pl.DataFrame) -> bool:
    """Whether what would be the volume follows the close bar by bar, as an adjusted close does."""
    if frame.width < 6 or frame.height < 3:
        return False
    close, last = frame.select(pl.nth(4, 5).cast(pl.Float64, strict=False)).to_numpy().T
    with np.errstate(all="ignore"):
        step = np.abs(np.diff(np.log(last / close)))
    return bool(np.nanmedian(step) < 0.01) if np.isfinite(step).any() else False


def _is_binance(frame: pl.DataFrame) -> bool:
    """Twelve columns: prices in order, the epoch of the bar's end in the seventh, a last of 0."""
    part = frame.select(pl.nth(0, 6, 11).cast(pl.Float64, strict=False)).to_numpy()
    return bool((part[:, 1] > part[:, 0]).all() and (part[:, 0] > 1e11).all()) and (
        bool((part[:, 2] == 0).all()) and _ordered(frame, 1)
    )


def _without_repetitions(
    table: TextTable, lines: Lines, header: list[str], first: int, report: LoadReport
) -> TextTable:
    """Files joined end to end repeat their header; another header would make columns change place.

    Raises:
        UserError: a header with other columns stands further down.
    """
    again = lines.text == lines.text[first - 1]
    again[first - 1] = False
    if again.any():
        report.count("repaired", "repeated header lines", lines.numbers.filter(again).to_list())
        kept = ~again
        lines = Lines(lines.text.filter(kept), lines.separator, lines.numbers.filter(kept))
        table = replace(table, cells=lines, height=len(lines.text))
    wordy = ~lines.text.slice(first).str.contains(r"[0-9]")
    for i in (wordy.arg_true() + first).head(_MOST_HEADERS):
        cells = [cell.strip() for cell in lines.text[int(i)].split(lines.separator)]
        if is_header(cells) and list(map(role_of, cells)) != list(map(role_of, header)):
            raise UserError(
                f"row {lines.numbers[int(i)]} is a header with other columns ({', '.join(cells)}); "
                "split the file there"
            )
    return table
