"""``load_bars``: a file as it came -> valid bars and an account of what was done to it."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from parfait.bars import BAR_COLUMNS, check_bars, estimate_bars_per_year, missing_sessions
from parfait.data.checks import odd_bars, unit_changes
from parfait.data.clean import clean_rows
from parfait.data.columns import HEADERLESS, assign_roles, is_header, listed, select_symbol
from parfait.data.numbers import find_decimal, looks_numeric, parse_numbers
from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.data.table import TextTable, read_table
from parfait.data.times import parse_times
from parfait.utils.errors import UserError

_PRICES = ("open", "high", "low", "close")
_JUNK_LINES = 10  # lines before the header that some vendors use for a title


def load_bars(path: str | Path, **options: Any) -> tuple[pl.DataFrame, LoadReport]:
    """Valid bars of a CSV (plain or gzip) or Parquet file.

    Every column is read as text and cast with counts. Nothing is guessed silently and nothing is
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
    report = LoadReport(str(path))
    try:
        table = read_table(path)
        report.sha256, report.notes = table.sha256, list(table.notes)
        frame = _typed_rows(table, asked, path, report)
        frame = clean_rows(frame, asked, report)
        _describe(frame, asked, report)
    except UserError as error:
        sentence = str(error)
        raise (
            error if sentence.startswith(str(path)) else UserError(f"{path}: {sentence}")
        ) from error
    several = len(report.symbols) > 1
    frame = frame.select([*BAR_COLUMNS, "symbol"] if several else list(BAR_COLUMNS))
    check_bars(frame, str(path))
    return frame, report


def _typed_rows(
    table: TextTable, options: LoadOptions, path: Path, report: LoadReport
) -> pl.DataFrame:
    """Columns row, timestamp, open, high, low, close, volume, adjusted, symbol; null = unusable."""
    header, first = _header(table, options, report)
    header = select_symbol(header, options.symbol)
    roles = assign_roles(header, options.columns)
    missing = [role for role in _PRICES if role not in roles]
    if missing and not options.close_only:
        raise UserError(
            f"no column for {', '.join(missing)}; the columns are {listed(header)}: name it with "
            f"columns={{'{missing[0]}': 'NAME'}}, or accept flat bars made of closes with "
            "close_only=True"
        )
    rows, numbers = table.rows[first:], table.numbers[first:]
    if not rows:
        raise UserError("a header and no rows of bars")
    report.rows_in = len(rows)
    report.columns = {role: header[i] for role, i in roles.items()}
    used = set(roles.values())
    report.ignored_columns = [c for i, c in enumerate(header) if i not in used and c]
    width = len(header) if options.names is None else max(map(len, rows))
    cells = {
        role: pl.Series(role, [r[i] if i < len(r) else "" for r in rows], dtype=pl.String)
        for role, i in roles.items()
    }
    frame = pl.DataFrame({"row": pl.Series(numbers, dtype=pl.Int64)})
    frame = frame.with_columns(
        _times(cells, options, path, report, header, len(rows)),
        pl.Series("too_long", [any(r[width:]) for r in rows], dtype=pl.Boolean),
        cells.get("symbol", pl.repeat("", len(rows), eager=True)).alias("symbol"),
    )
    return _with_numbers(frame, cells, table.delimiter, options, report)


def _header(table: TextTable, options: LoadOptions, report: LoadReport) -> tuple[list[str], int]:
    """Column names and the index of the first data row."""
    if table.header is not None:
        return table.header, 0
    named = set((options.columns or {}).values())
    if options.header is not False and options.names is None:
        for i, cells in enumerate(table.rows[:_JUNK_LINES]):
            if is_header(cells) or (named and named <= set(cells)):
                report.count("repaired", "lines before the header", table.numbers[:i])
                return cells, i + 1
        if options.header or sum(looks_numeric(c) for c in table.rows[0][1:]) < 3:
            return table.rows[0], 1
    width = max(len(cells) for cells in table.rows[:_JUNK_LINES])
    names = list(options.names or HEADERLESS[:width])
    if len(names) > width or (options.names is None and not 5 <= width <= len(HEADERLESS)):
        raise UserError(
            f"no header and {width} columns, not {', '.join(HEADERLESS)}; name them in their "
            f"order, as in names={list(HEADERLESS)} (another word skips a column, columns after "
            "the last name are left out)"
        )
    return names, 0


def _times(
    cells: dict[str, pl.Series],
    options: LoadOptions,
    path: Path,
    report: LoadReport,
    header: list[str],
    n: int,
) -> pl.Series:
    """Microseconds, null where unreadable."""
    if options.start is not None and options.frequency is not None:
        report.time_format = f"none: {options.start} and every {options.frequency}"
        report.timezone = "none given, taken as UTC"
        return regular_times(options.start, options.frequency, n)
    if "time" not in cells:
        raise UserError(
            f"no time column; the columns are {listed(header)}: name it with "
            "columns={'time': 'NAME'}, or give start='YYYY-MM-DD' and frequency='1bd' (business "
            "days; also 1d, 1h, 5m, 1w, 1mo)"
        )
    text = cells["time"]
    if "clock" in cells:
        text = text.str.strip_chars() + " " + cells["clock"].str.strip_chars()
    times = parse_times(text, options, path.name)
    report.time_format, report.timezone = times.form, times.timezone
    return times.values.rename("time")


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
    cells: dict[str, pl.Series],
    delimiter: str,
    options: LoadOptions,
    report: LoadReport,
) -> pl.DataFrame:
    names = [n for n in (*_PRICES, "adjusted", "volume") if n in cells]
    prices = [cells[n] for n in names if n != "volume"]
    decimal = options.decimal or find_decimal(prices, delimiter)
    marks = {n: np.zeros(frame.height, dtype=bool) for n in ("grouped", "comma", "suffixed")}
    unreadable = np.zeros(frame.height, dtype=bool)
    for name in names:
        parsed = parse_numbers(cells[name], decimal)
        frame = frame.with_columns(parsed["value"].alias(name))
        unreadable |= parsed["unreadable"].to_numpy()
        for mark, found in marks.items():
            found |= parsed[mark].to_numpy()
    reasons = {"grouped": "thousands separators", "comma": "decimal commas"}
    reasons["suffixed"] = "numbers with a suffix"
    rows = frame["row"].to_numpy()
    for mark, found in marks.items():
        report.count("repaired", reasons[mark], rows[found].tolist())
    if options.close_only:
        for name in _PRICES[:3]:
            made = pl.lit(True) if name not in frame.columns else pl.col(name).is_null()
            filled = (
                pl.col("close")
                if name not in frame.columns
                else pl.col(name).fill_null(pl.col("close"))
            )
            report.count(
                "flagged",
                "open, high or low taken from the close",
                frame.filter(made)["row"].to_list() if name == "open" else [],
            )
            frame = frame.with_columns(filled.alias(name))
    if "volume" not in frame.columns:
        report.count("flagged", "volume missing, set to 0", rows.tolist())
        frame = frame.with_columns(pl.lit(0.0).alias("volume"))
    return frame.with_columns(pl.Series("unreadable", unreadable))


def _describe(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> None:
    """Flags, frequency and segments of the cleaned rows."""
    report.rows_out = frame.height
    sizes = []
    for (symbol,), part in frame.group_by(["symbol"], maintain_order=True):
        report.symbols.append(str(symbol))
        if part.height < 2:
            raise UserError(f"{part.height} usable bar(s) of {symbol}; at least 2 are needed")
        rows = part["row"].to_numpy()
        jump = unit_changes(part)
        if jump.any():
            i = int(jump.argmax())
            before, after = part["close"][i - 1], part["close"][i]
            raise UserError(
                f"row {rows[i]}: the close goes from {before:g} to {after:g}, more than a factor "
                "of 100, as if the unit changed; split the file there or bring it to one unit"
            )
        for reason, found in odd_bars(part).items():
            if reason == "zero-volume bars" and "volume" not in report.columns:
                continue
            report.count("flagged", reason, rows[found].tolist())
        gaps = missing_sessions(part["timestamp"]) > options.max_gap
        report.count("flagged", f"gaps of over {options.max_gap} sessions", rows[1:][gaps].tolist())
        report.segments += int(gaps.sum()) + 1
        sizes.append((part.height, estimate_bars_per_year(part["timestamp"])))
    report.bars_per_year = max(sizes)[1]
