"""Times as vendors write them -> microseconds since 1970, one form for the whole column."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from parfait.data.ambiguity import UNKNOWN_ZONE, decide_order, read_zones
from parfait.data.forms import FORMS, PERIODS, assemble, clock_of, most_likely_form, parts_of
from parfait.data.options import EXCEL, LoadOptions
from parfait.utils.errors import UserError

_EPOCHS = (  # magnitude below, microseconds per unit, name
    (1e11, 1e6, "epoch seconds"),
    (1e14, 1e3, "epoch milliseconds"),
    (1e17, 1.0, "epoch microseconds"),
    (float("inf"), 1e-3, "epoch nanoseconds"),
)
_LIMITS = [limit for limit, _, _ in _EPOCHS[:-1]]
_DAY_MS = 86_400_000
_LEAST_STEP_MS = 500  # between bars timed from midnight; closer numbers are days or ordinals
_EXCEL_ZERO = -25_569  # 1899-12-30, in days since 1970
_CALENDAR = (  # numbers that are dates first: YYYYMMDD, with HHMM, with HHMMSS
    r"^(1[89]|2[01])\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    r"(([01]\d|2[0-4])[0-5]\d([0-5]\d)?)?(\.0+)?$"
)
_OTHERWISE = (
    "say how they are written, as in time_format='%d/%m/%Y %H:%M', or name the time column with "
    "columns={'time': 'NAME'}"
)
EARLIEST, LATEST = -5_364_662_400_000_000, 7_258_118_400_000_000  # years 1800 and 2200
_FAST = {  # whole columns of these need no closer look
    "%Y-%m-%d": (r"^\d{4}-\d{2}-\d{2}$", "YYYY-MM-DD"),
    "%Y-%m-%d %H:%M": (r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}$", "YYYY-MM-DD with time"),
    "%Y-%m-%d %H:%M:%S": (r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$", "YYYY-MM-DD with time"),
    "%Y-%m-%dT%H:%M:%S": (r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$", "YYYY-MM-DD with time"),
}
_ALLOWED = 0.01  # share of times that may be unreadable before the form itself is in doubt


@dataclass(frozen=True)
class Times:
    """Result.

    Args:
        values: microseconds, null where unreadable.
        form: how times were written.
        timezone: what their clock was taken for.
        absolute: whether they are UTC by what the file says of itself.
        zone: IANA name that the cells themselves give.
    """

    values: pl.Series
    form: str
    timezone: str
    absolute: bool = False
    zone: str | None = None


def parse_times(
    text: pl.Series,
    rows: pl.Series,
    options: LoadOptions,
    file_names: Sequence[str],
    bars: pl.Series | None = None,
) -> Times:
    """Decides the form on the whole column and reads it.

    Args:
        text: cells.
        rows: their row numbers, for messages.
        options: what the user knows of them.
        file_names: where the date of times of day may stand.
        bars: which rows hold prices; the others (comments, footers) do not count. ``None`` is all.

    Raises:
        UserError: no form reads 99 % of the column (or all but one of it); day and month cannot be
            told apart; UTC offsets differ; a zone that only the user can know; a time of day
            without a date.
    """
    cells = text.str.strip_chars()
    counted = (cells != "") if bars is None or not bars.any() else (cells != "") & bars
    times = _parse_as_told(cells, options) or _parse_fast(cells)
    times = times or _parse_any(cells, counted, rows, options, file_names)
    bad = (times.values.is_null() & counted).arg_true()
    if len(bad) > _allowed(int(counted.sum())):
        raise UserError(
            f"{len(bad)} of {counted.sum()} times are none ({times.form}), first "
            f"{cells[bad[0]][:40]!r} in row {rows[bad[0]]}; mend them, or {_OTHERWISE}"
        )
    return times


def _allowed(count: int) -> float:
    """How many times may be unreadable: a footer in a short file is no doubt of its form."""
    return max(_ALLOWED * count, float(count >= 20))


def _parse_as_told(cells: pl.Series, options: LoadOptions) -> Times | None:
    form = options.time_format
    if form is None:
        return None
    if form == EXCEL:
        days = cells.cast(pl.Float64, strict=False)
        # Spreadsheets hold a day as a float: seconds are exact, microseconds are not.
        moments = ((days + _EXCEL_ZERO) * 86_400_000).round() * 1000
        return Times(_in_range(moments.cast(pl.Int64, strict=False)), "days of Excel", UNKNOWN_ZONE)
    try:
        read = cells.str.to_datetime(form, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"time_format={form!r} is no format of dates; write it like '%d/%m/%Y %H:%M'"
        ) from error
    absolute = isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone is not None
    values = read.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if absolute else read
    zone = "UTC, converted from offsets" if absolute else UNKNOWN_ZONE
    return Times(_in_range(values.cast(pl.Int64)), form, zone, absolute)


def _parse_any(
    cells: pl.Series,
    counted: pl.Series,
    rows: pl.Series,
    options: LoadOptions,
    file_names: Sequence[str],
) -> Times:
    known = cells.filter(counted)
    if known.is_empty():
        raise UserError("the time column is empty")
    enough = len(known) - _allowed(len(known))
    numeric = known.str.contains(r"^-?(\d|[1-9]\d*)(\.\d*)?(e\+?\d+)?$").sum()
    calendar = known.str.contains(_CALENDAR).sum()
    if numeric >= enough > calendar:
        return _numeric(cells, known, rows.filter(counted), options, file_names)
    form = most_likely_form(known)
    read = cells.str.contains(FORMS[form])
    odd = (counted & ~read).arg_true()
    if len(odd) > len(known) - enough:
        raise UserError(
            f"{len(odd)} of {len(known)} times are not of one known form, first "
            f"{cells[odd[0]][:40]!r} in row {rows[odd[0]]}; use YYYY-MM-DD HH:MM:SS or an epoch, "
            f"or {_OTHERWISE}"
        )
    frame = parts_of(cells, form)
    if form == "HH:MM":
        moments = clock_of(frame) + _midnight(options.date, file_names, known[0])
    else:
        form, order = decide_order(frame, form, options)
        moments = assemble(frame, order)
    moments, timezone, zone = read_zones(moments, cells, frame["zone"], rows, options)
    form += " with time" if frame["hour"].is_not_null().any() and form != "HH:MM" else ""
    form += ", first day" if form in PERIODS else ""
    return Times(_in_range(moments), form, timezone, timezone.startswith("UTC"), zone)


def _parse_fast(cells: pl.Series) -> Times | None:
    """What the general way gives, for a column that is one plain form from end to end."""
    for form, (regex, name) in _FAST.items():
        if re.match(regex, cells[0]) and cells.str.contains(regex).all():
            values = cells.str.to_datetime(form, strict=False, time_unit="us").cast(pl.Int64)
            # 24:00 and the like need the closer look.
            return None if values.null_count() else Times(_in_range(values), name, UNKNOWN_ZONE)
    return None


def _numeric(
    cells: pl.Series,
    known: pl.Series,
    rows: pl.Series,
    options: LoadOptions,
    file_names: Sequence[str],
) -> Times:
    values = cells.cast(pl.Float64, strict=False)
    # Integers first: an epoch in nanoseconds has more digits than a float holds.
    whole = cells.cast(pl.Int64, strict=False)
    size = np.abs(known.cast(pl.Float64, strict=False).drop_nulls().to_numpy())
    if size.max() < _DAY_MS:
        step = np.diff(size)
        step = step[step != 0]
        back = min(np.sum(step < 0), np.sum(step > 0)) > max(1, 0.01 * len(size))
        if len(step) and (back or np.median(np.abs(step)) < _LEAST_STEP_MS):
            raise UserError(_small_number(known[0], int(rows[0])))
        midnight = _midnight(options.date, file_names, known[0])
        return Times(
            _in_range((values * 1000).round().cast(pl.Int64, strict=False) + midnight),
            "milliseconds since midnight",
            "clock of the file",
        )
    unit = _unit_of(float(np.median(size)))
    read = _epochs(values, whole, unit)
    if len({_unit_of(float(x)) for x in (size.min(), size.max())}) > 1:
        # A unit that changes within the file throws times decades apart, or out of the calendar.
        each = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(cells))
        kind = pl.Series(np.digitize(values.abs().fill_null(0).to_numpy(), _LIMITS))
        for i in range(len(_EPOCHS)):
            each = _epochs(values, whole, i).zip_with(kind == i, each)
        if _span(each, values) < 0.2 * _span(read, values):
            units = " and ".join(_EPOCHS[i][2] for i in sorted(set(kind.drop_nulls().to_list())))
            return Times(each, units.replace(" and epoch", " and"), "UTC", True)
    return Times(read, _EPOCHS[unit][2], "UTC", True)


def _unit_of(size: float) -> int:
    return int(np.digitize(size, _LIMITS))


def _epochs(values: pl.Series, whole: pl.Series, unit: int) -> pl.Series:
    factor = _EPOCHS[unit][1]
    exact = whole // 1000 if factor < 1 else whole * int(factor)
    rounded = (values * factor).round().cast(pl.Int64, strict=False)
    fits = (whole.is_not_null() & (values * factor).abs().lt(LATEST)).fill_null(False)
    return _in_range(exact.zip_with(fits, rounded))


def _span(moments: pl.Series, values: pl.Series) -> float:
    """From the first to the last moment; infinite where a number gives none."""
    if moments.null_count() > values.null_count():
        return math.inf
    return float(moments.max() - moments.min())  # pyright: ignore[reportOperatorIssue, reportArgumentType, reportOptionalOperand]


def _midnight(date: str | None, file_names: Sequence[str], example: str) -> int:
    for name in [date] if date else file_names:
        found = re.search(r"((?:19|20)\d{2})[-_]?([01]\d)[-_]?([0-3]\d)", name)
        day = pl.Series(["-".join(found.groups())] if found else [""])
        start = day.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us").cast(pl.Int64)[0]
        if start is not None:
            return int(start)
    if date:
        raise UserError(f"date={date!r} is not a date; give it like date='2020-01-31'")
    if ":" in example:
        raise UserError(
            f"times like {example[:40]!r} have no date, and the file name holds none; give "
            "date='YYYY-MM-DD', or name another time column with columns={'time': 'NAME'}"
        )
    raise UserError(
        f"times are numbers below one day of milliseconds, such as {example[:40]}, and the file "
        "name holds no date; for milliseconds since midnight give date='YYYY-MM-DD', for dates "
        f"written as numbers time_format='%d%m%Y', '%y%m%d' or {EXCEL!r}, or name another time "
        "column with columns={'time': 'NAME'}"
    )


def _small_number(example: str, row: int) -> str:
    return (
        f"times are small numbers such as {example[:40]} in row {row}; for days of a spreadsheet "
        f"give time_format={EXCEL!r}, for dates without marks time_format='%y%m%d' or the like, "
        "for row numbers start='YYYY-MM-DD' and frequency='1bd', or name another time column with "
        "columns={'time': 'NAME'}"
    )


def _in_range(moments: pl.Series) -> pl.Series:
    inside = (moments >= EARLIEST) & (moments <= LATEST)
    return moments.zip_with(inside.fill_null(False), pl.Series([None], dtype=pl.Int64))
