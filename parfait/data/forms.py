"""How vendors write a moment: one pattern per form, with named parts, and their assembly."""

from collections.abc import Sequence

import polars as pl

_OFFSET = r"(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?"
_ZONE = rf"(?P<zone>{_OFFSET}|[A-Za-z]+(?:/[A-Za-z_+\-0-9]+)*)"
_TIME = (
    r"(?P<hour>\d{1,2})(?::?(?P<minute>\d{2}))?(?::?(?P<second>\d{2}))?(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?:[\s-]*(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_BRACKETS = r"(?:\s*[\[(][^\])]*[\])])?"  # "[America/New_York]" after an offset says it again
_CLOCK = rf"(?:(?:\s*[TD:]|[\s,]+){_TIME}\s*{_ZONE}?{_BRACKETS})?$"
_MON = r"(?P<mon>(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-zA-Z]*)\.?"
_WEEKDAY = r"^(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-zA-Z]*\.?,?\s+)?"
_YEAR, _YY = r"(?P<c>\d{4})", r"(?P<c>\d{2})"

FORMS = {
    "YYYY-MM-DD": _WEEKDAY + r"(?P<c>\d{4})[-/.年](?P<b>\d{1,2})[-/.月](?P<a>\d{1,2})日?" + _CLOCK,
    "YYYYMMDD": r"^(?P<c>\d{4})(?P<b>\d{2})(?P<a>\d{2})(?:\.0+)?" + _CLOCK,
    "YYYYMMDDHHMM": (
        r"^(?P<c>\d{4})(?P<b>\d{2})(?P<a>\d{2})"
        r"(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?(?:\.0+)?$"
    ),
    "dd.mm.YYYY": r"^(?P<a>\d{1,2})\.(?P<b>\d{1,2})\." + _YEAR + _CLOCK,
    "M/D/YYYY": _WEEKDAY + r"(?P<a>\d{1,2})[-/](?P<b>\d{1,2})[-/]" + _YEAR + _CLOCK,
    "dd.mm.YY": r"^(?P<a>\d{1,2})\.(?P<b>\d{1,2})\." + _YY + _CLOCK,
    "M/D/YY": r"^(?P<a>\d{1,2})[-/](?P<b>\d{1,2})[-/]" + _YY + _CLOCK,
    "D Mon YYYY": _WEEKDAY + rf"(?P<a>\d{{1,2}})[-\s./]?{_MON}[-\s./,]*" + _YEAR + _CLOCK,
    "D Mon YY": rf"^(?P<a>\d{{1,2}})[-\s./]?{_MON}[-\s./,]*" + _YY + _CLOCK,
    "Mon D, YYYY": (
        _WEEKDAY + rf"{_MON}[-\s]+(?P<a>\d{{1,2}})(?:st|nd|rd|th)?,?[-\s]+" + _YEAR + _CLOCK
    ),
    "YYYY-Mon-DD": rf"^(?P<c>\d{{4}})[-\s/]{_MON}[-\s/](?P<a>\d{{1,2}})" + _CLOCK,
    "Mon D HH:MM:SS YYYY": _WEEKDAY + rf"{_MON}\s+(?P<a>\d{{1,2}})\s+{_TIME}\s+" + _YEAR + "$",
    "YYYY-MM": r"^(?P<c>\d{4})[-/.年](?P<b>\d{1,2})月?$",
    "Mon YYYY": rf"^{_MON}[-\s,]+" + _YEAR + "$",
    "YYYY-Www": r"^(?P<c>\d{4})-?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?$",
    "HH:MM": rf"^(?:{_TIME})$".replace(r"(?::?(?P<minute>\d{2}))?", r":(?P<minute>\d{2})"),
}
SHORT_YEARS = ("dd.mm.YY", "M/D/YY", "D Mon YY")
PERIODS = ("YYYY-MM", "Mon YYYY", "YYYY-Www")
PLAIN_DATES = (*(form for form in FORMS if form != "HH:MM"), "D/M/YYYY", "D/M/YY", "YY/M/D")
_PARTS = ("a", "b", "c", "mon", "week", "weekday")
_CLOCKS = ("hour", "minute", "second", "fraction", "half", "zone")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAY = 86_400_000_000  # microseconds
_SAMPLE = 500


def most_likely_form(cells: pl.Series) -> str:
    """The form that reads most of some hundred cells taken evenly."""
    few = cells.gather_every(max(1, len(cells) // _SAMPLE))
    shares = {form: int(few.str.contains(regex).sum()) for form, regex in FORMS.items()}
    return max(shares, key=lambda name: shares[name])


def parts_of(cells: pl.Series, form: str) -> pl.DataFrame:
    """Columns a, b, c (numbers as written), mon, week, weekday and those of the clock."""
    found = cells.str.extract_groups(FORMS[form]).struct.unnest()
    absent = [n for n in (*_PARTS, *_CLOCKS) if n not in found.columns]
    frame = found.with_columns(pl.lit(None, pl.String).alias(n) for n in absent)
    named = pl.col("mon").str.to_lowercase().str.slice(0, 3)
    number = named.replace_strict(_MONTHS, [str(i) for i in range(1, 13)], default=None)
    return frame.with_columns(pl.coalesce("b", number).alias("b"))


def assemble(frame: pl.DataFrame, order: Sequence[str]) -> pl.Series:
    """Microseconds of the parts; null where they are no moment (30 February, 25 o'clock).

    Two figures of a year are those of 1969 to 2068. 24:00 is the midnight that follows. A month
    stands for its first day, a week for its Monday.

    Args:
        frame: as ``parts_of`` returns it.
        order: names of the parts that hold year, month and day.
    """
    year, month, day = (pl.col(name) for name in order)
    short = year.str.len_chars() <= 2
    figures = year.cast(pl.Int64, strict=False)
    full = pl.when(short).then(figures + pl.when(figures < 69).then(2000).otherwise(1900))
    whole = full.otherwise(figures).cast(pl.String).str.zfill(4)
    date = pl.concat_str(
        [whole, month.str.zfill(2), day.fill_null("1").str.zfill(2)], separator="-"
    ).str.to_date("%Y-%m-%d", strict=False)
    week = pl.concat_str(
        [whole, pl.col("week"), pl.col("weekday").fill_null("1")], separator="-"
    ).str.to_date("%G-%V-%u", strict=False)
    days = pl.coalesce(date, week).cast(pl.Datetime("us")).cast(pl.Int64)
    return frame.select((days + _since_midnight()).alias("time"))["time"]


def clock_of(frame: pl.DataFrame) -> pl.Series:
    """Microseconds since midnight."""
    return frame.select(_since_midnight().alias("time"))["time"]


def _since_midnight() -> pl.Expr:
    hour, minute, second = (
        pl.col(name).cast(pl.Int64, strict=False).fill_null(0)
        for name in ("hour", "minute", "second")
    )
    half = pl.col("half").str.to_lowercase()
    hour_24 = (
        pl.when(half.is_null())
        .then(hour)
        .when(half == "p")
        .then(hour % 12 + 12)
        .when(hour <= 12)
        .then(hour % 12)
    )
    fraction = pl.col("fraction").str.pad_end(6, "0").str.slice(0, 6)
    micro = fraction.cast(pl.Int64, strict=False).fill_null(0)
    clock = ((hour_24 * 60 + minute) * 60 + second) * 1_000_000 + micro
    possible = (hour <= 24) & (minute < 60) & (second < 60) & (clock <= _DAY)
    return pl.when(possible).then(clock)


def padded_clock(cells: pl.Series) -> pl.Series:
    """Clock cells that are bare digits (930, 93000) as HHMM or HHMMSS; others as they are.

    Whichever of the two every cell can be, HHMM first; hours alone where all are below 24.
    """
    bare = cells.str.strip_suffix(".0")
    if not bare.str.contains(r"^\d{1,6}$").all():
        return cells
    numbers = bare.cast(pl.Int64)
    longest = int(bare.str.len_chars().max() or 0)  # pyright: ignore[reportArgumentType]
    if longest <= 2 and bool((numbers < 24).all()):
        return bare
    hours = bool(((numbers // 100 < 24) & (numbers % 100 < 60)).all())
    return bare.str.zfill(4 if longest <= 4 and hours else 6)


def shift_of(zone: pl.Series) -> pl.Series:
    """Microseconds to add for UTC, from offsets like -05:00, +0530, GMT+1; 0 for names."""
    found = zone.str.extract_groups(r"(?P<sign>[+-])(?P<h>\d{1,2}):?(?P<m>\d{2})?$").struct.unnest()
    minutes = found["h"].cast(pl.Int64) * 60 + found["m"].cast(pl.Int64).fill_null(0)
    sign = (found["sign"] == "-").cast(pl.Int64) * 2 - 1
    return (sign * minutes * 60_000_000).fill_null(0)
