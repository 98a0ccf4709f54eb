"""Times as vendors write them -> microseconds since 1970, one form for the whole column."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from parfait.data.options import LoadOptions
from parfait.utils.errors import UserError

_CLOCK = (
    r"(?:[T\s]+(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?(?:[.,](\d{1,9}))?(?:[\s-]*([AaPp])[Mm])?"
    r"\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2})?)?$"
)
_FORMS = {
    "YYYY-MM-DD": r"^(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?" + _CLOCK,
    "YYYYMMDD": r"^(\d{4})(\d{2})(\d{2})" + _CLOCK,
    "dd.mm.YYYY": r"^(\d{1,2})\.(\d{1,2})\.(\d{4})" + _CLOCK,
    "M/D/YYYY": r"^(\d{1,2})[-/](\d{1,2})[-/](\d{4})" + _CLOCK,
}
_PARTS = ("a", "b", "c", "hour", "minute", "second", "fraction", "half", "zone")
_EPOCHS = (  # magnitude below, microseconds per unit, name
    (1e11, 1e6, "epoch seconds"),
    (1e14, 1e3, "epoch milliseconds"),
    (1e17, 1.0, "epoch microseconds"),
    (float("inf"), 1e-3, "epoch nanoseconds"),
)
_DAY_MS = 86_400_000
UNKNOWN_ZONE = "none given, taken as UTC"
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
    """

    values: pl.Series
    form: str
    timezone: str
    absolute: bool = False


def parse_times(
    text: pl.Series, rows: pl.Series, options: LoadOptions, file_names: Sequence[str]
) -> Times:
    """Decides the form on the whole column and reads it.

    Args:
        text: cells.
        rows: their row numbers, for messages.
        options: what the user knows of them.
        file_names: where the date of times of day may stand.

    Raises:
        UserError: no form reads 99 % of the column (or all but one of it); day and month cannot be
            told apart; UTC offsets differ; a time of day without a date.
    """
    cells = text.str.strip_chars()
    times = _parse_fast(cells) or _parse_any(cells, rows, options, file_names)
    bad = (times.values.is_null() & (cells != "")).arg_true()
    if len(bad) > _allowed(len(cells)):
        raise UserError(
            f"{len(bad)} of {len(cells)} times are none ({times.form}), first "
            f"{cells[bad[0]][:40]!r} in row {rows[bad[0]]}; mend them, or name another column with "
            "columns={'time': 'NAME'}"
        )
    return times


def _allowed(count: int) -> float:
    """How many times may be unreadable: a footer in a short file is no doubt of its form."""
    return max(_ALLOWED * count, float(count >= 20))


def _parse_any(
    cells: pl.Series, rows: pl.Series, options: LoadOptions, file_names: Sequence[str]
) -> Times:
    known = cells.filter(cells != "")
    if known.is_empty():
        raise UserError("the time column is empty")
    enough = len(known) - _allowed(len(known))
    numeric = known.str.contains(r"^-?\d+(\.\d*)?(e\+?\d+)?$").sum()
    compact = known.str.contains(r"^(1[89]|2[01])\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])$").sum()
    if numeric >= enough > compact:
        return _numeric(cells, options, file_names)
    shares = {form: int(known.str.contains(regex).sum()) for form, regex in _FORMS.items()}
    form = max(shares, key=lambda name: shares[name])
    if shares[form] < enough:
        odd = ((cells != "") & ~cells.str.contains(_FORMS[form])).arg_true()
        raise UserError(
            f"{len(odd)} of {len(known)} times are not of one known form, first "
            f"{cells[odd[0]][:40]!r} in row {rows[odd[0]]}; use YYYY-MM-DD HH:MM:SS or an epoch, "
            "or name the time column with columns={'time': 'NAME'}"
        )
    parts = cells.str.extract_groups(_FORMS[form]).struct.rename_fields(list(_PARTS))
    frame = parts.struct.unnest()
    if form in ("dd.mm.YYYY", "M/D/YYYY"):
        day_first = form == "dd.mm.YYYY" or _day_first(frame, options)
        form = form if form == "dd.mm.YYYY" or not day_first else "D/M/YYYY"
        order = ("c", "b", "a") if day_first else ("c", "a", "b")
    else:
        order = ("a", "b", "c")
    moments = _assemble(frame, order)
    offsets = frame["zone"].drop_nulls().unique().sort().to_list()
    if len(offsets) > 1 and options.local_time is None:
        zone = frame["zone"]
        changed = int((zone != zone.drop_nulls()[0]).fill_null(False).arg_max() or 0)
        raise UserError(
            f"times have differing UTC offsets ({', '.join(offsets[:3])}, see {cells[changed]!r} "
            f"in row {rows[changed]}); keep the file's clock with local_time=True or convert to "
            "UTC with local_time=False"
        )
    moments, timezone = _to_utc(moments, frame["zone"], offsets, options)
    form += " with time" if frame["hour"].is_not_null().any() else ""
    return Times(_in_range(moments), form, timezone, timezone.startswith("UTC"))


def _parse_fast(cells: pl.Series) -> Times | None:
    """What the general way gives, for a column that is one plain form from end to end."""
    for form, (regex, name) in _FAST.items():
        if re.match(regex, cells[0]) and cells.str.contains(regex).all():
            values = cells.str.to_datetime(form, strict=False, time_unit="us").cast(pl.Int64)
            return Times(_in_range(values), name, UNKNOWN_ZONE)
    return None


def _numeric(cells: pl.Series, options: LoadOptions, file_names: Sequence[str]) -> Times:
    values = cells.cast(pl.Float64, strict=False)
    # Integers first: an epoch in nanoseconds has more digits than a float holds.
    whole = cells.cast(pl.Int64, strict=False)
    known = values.drop_nulls().to_numpy()
    typical = float(np.median(np.abs(known)))
    if known.max() < _DAY_MS:
        midnight = _midnight(options.date, file_names)
        return Times(
            _in_range((values * 1000).round().cast(pl.Int64, strict=False) + midnight),
            "milliseconds since midnight",
            "clock of the file",
        )
    for limit, factor, form in _EPOCHS:
        if typical < limit:
            exact = whole // 1000 if factor < 1 else whole * int(factor)
            rounded = (values * factor).round().cast(pl.Int64, strict=False)
            fits = (whole.is_not_null() & (values * factor).abs().lt(LATEST)).fill_null(False)
            return Times(_in_range(exact.zip_with(fits, rounded)), form, "UTC", True)
    raise AssertionError("the last limit is infinite")


def _midnight(date: str | None, file_names: Sequence[str]) -> int:
    for name in [date] if date else file_names:
        found = re.search(r"((?:19|20)\d{2})[-_]?([01]\d)[-_]?([0-3]\d)", name)
        day = pl.Series(["-".join(found.groups())] if found else [""])
        start = day.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us").cast(pl.Int64)[0]
        if start is not None:
            return int(start)
    raise UserError(
        "times are numbers below one day of milliseconds (time of day only) and "
        + (f"date={date!r} is not a date" if date else "the file name holds no date")
        + "; give date='YYYY-MM-DD', or name another time column with columns={'time': 'NAME'}"
    )


def _day_first(frame: pl.DataFrame, options: LoadOptions) -> bool:
    first_is_day, second_is_day = (
        bool((frame[name].cast(pl.Int64, strict=False) > 12).any()) for name in ("a", "b")
    )
    if first_is_day and second_is_day:
        raise UserError(
            "dates mix day/month and month/day: both the first and the second number exceed 12; "
            "name another time column with columns={'time': 'NAME'}"
        )
    if first_is_day or second_is_day:
        return first_is_day
    if options.day_first is None:
        raise UserError(
            f"dates like {frame['a'][0]}/{frame['b'][0]}/{frame['c'][0]} may be day/month or "
            "month/day; say which with day_first=True or day_first=False"
        )
    return options.day_first


def _assemble(frame: pl.DataFrame, order: tuple[str, str, str]) -> pl.Series:
    """Microseconds of the parts; null where they are no moment (30 February, 25 o'clock)."""
    year, month, day = (pl.col(name).str.zfill(2) for name in order)
    date = pl.concat_str([year, month, day], separator="-").str.to_date("%Y-%m-%d", strict=False)
    hour, minute, second = (
        pl.col(name).cast(pl.Int64, strict=False).fill_null(0)
        for name in ("hour", "minute", "second")
    )
    afternoon = pl.col("half").str.to_lowercase() == "p"
    hour_24 = (
        pl.when(pl.col("half").is_null())
        .then(hour)
        .otherwise(hour % 12 + 12 * afternoon.cast(pl.Int64))
    )
    fraction = pl.col("fraction").str.pad_end(6, "0").str.slice(0, 6)
    micro = fraction.cast(pl.Int64, strict=False).fill_null(0)
    days = date.cast(pl.Datetime("us")).cast(pl.Int64)
    moment = days + ((hour_24 * 60 + minute) * 60 + second) * 1_000_000 + micro
    possible = (hour_24 < 24) & (minute < 60) & (second < 60)
    return frame.select(pl.when(possible).then(moment).alias("time"))["time"]


def _to_utc(
    moments: pl.Series, zone: pl.Series, offsets: list[str], options: LoadOptions
) -> tuple[pl.Series, str]:
    named = [o for o in offsets if o.upper() not in ("Z", "UTC", "GMT")]
    if not named:
        return moments, "UTC" if offsets else UNKNOWN_ZONE
    if options.local_time:
        return moments, "clock of the file"
    parts = zone.str.extract_groups(r"^([+-])(\d{2}):?(\d{2})$").struct.rename_fields(
        ["sign", "hours", "minutes"]
    )
    frame = parts.struct.unnest()
    minutes = frame["hours"].cast(pl.Int64) * 60 + frame["minutes"].cast(pl.Int64)
    sign = (frame["sign"] == "-").cast(pl.Int64) * 2 - 1
    shift = (sign * minutes * 60_000_000).fill_null(0)
    return moments + shift, "UTC, converted from offsets"


def _in_range(moments: pl.Series) -> pl.Series:
    inside = (moments >= EARLIEST) & (moments <= LATEST)
    return moments.zip_with(inside.fill_null(False), pl.Series([None], dtype=pl.Int64))
