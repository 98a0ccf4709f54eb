"""Which reading of a date or of a zone holds, where several are possible: decided or asked."""

from collections.abc import Sequence

import polars as pl

from parfait.data.forms import SHORT_YEARS, assemble, shift_of
from parfait.data.options import LoadOptions, check_timezone
from parfait.utils.errors import UserError

UNKNOWN_ZONE = "none given, taken as UTC"
_KEPT = "clock of the file"
_GREENWICH = ("Z", "UTC", "GMT")
_YEAR_FIRST = ("c", "b", "a")  # of a date written day, month, year
_READINGS = {  # orders of year, month and day that a form with two figures for the year may have
    "dd.mm.YY": {"dd.mm.YY": ("c", "b", "a"), "YY.mm.dd": ("a", "b", "c")},
    "D Mon YY": {"D Mon YY": ("c", "b", "a"), "YY Mon D": ("a", "b", "c")},
    "M/D/YY": {
        "D/M/YY": ("c", "b", "a"),
        "M/D/YY": ("c", "a", "b"),
        "YY/M/D": ("a", "b", "c"),
    },
}


def decide_order(frame: pl.DataFrame, form: str, options: LoadOptions) -> tuple[str, Sequence[str]]:
    """The form, and which parts are year, month and day.

    Two figures for the year leave more readings: those that give a date for every cell count, and
    of these the only one under which the file is sorted.

    Raises:
        UserError: day, month and year cannot be told apart.
    """
    if form == "M/D/YYYY":
        day_first = _day_first(frame, options)
        return ("D/M/YYYY", _YEAR_FIRST) if day_first else (form, ("c", "a", "b"))
    if form not in SHORT_YEARS:
        return form, _YEAR_FIRST
    orders: dict[str, Sequence[str]] = dict(_READINGS[form])
    if options.day_first is not None:
        told = "D" if options.day_first else "M"
        orders = {n: o for n, o in orders.items() if n.upper().startswith(told)} or orders
    read = {name: assemble(frame, order) for name, order in orders.items()}
    fewest = min(times.null_count() for times in read.values())
    allowed = max(fewest, 0.01 * frame.height)
    possible = [name for name, times in read.items() if times.null_count() <= allowed]
    in_order = [name for name in possible if _is_sorted(read[name])]
    decided = in_order if len(in_order) == 1 else possible
    if len(decided) == 1:
        return decided[0], orders[decided[0]]
    first = "/".join(str(frame[part].drop_nulls()[0]) for part in ("a", "b", "c"))
    raise UserError(
        f"dates like {first} may be {' or '.join(decided)}; say which with "
        "day_first=True or day_first=False, or with time_format='%y/%m/%d' and the like"
    )


def _is_sorted(times: pl.Series) -> bool:
    steps = times.drop_nulls().diff().drop_nulls()
    return bool((steps >= 0).all() or (steps <= 0).all()) and bool((steps != 0).any())


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
        first = "/".join(str(frame[part].drop_nulls()[0]) for part in ("a", "b", "c"))
        raise UserError(
            f"dates like {first} may be day/month or month/day; say which with day_first=True or "
            "day_first=False"
        )
    return options.day_first


def read_zones(
    moments: pl.Series, cells: pl.Series, zone: pl.Series, rows: pl.Series, options: LoadOptions
) -> tuple[pl.Series, str, str | None]:
    """Moments in UTC where the cells tell how, what the clock was taken for, and a zone to apply.

    Raises:
        UserError: offsets differ, or only an abbreviation names the zone.
    """
    named = zone.drop_nulls().unique().sort().to_list()
    if not named:
        return moments, UNKNOWN_ZONE, None
    words = [n for n in named if n.upper() not in _GREENWICH and not n[-1].isdigit()]
    if words:
        return _by_name(moments, words, named, options)
    shift = shift_of(zone)
    if options.local_time and any(n.upper() not in _GREENWICH for n in named):
        return moments, _KEPT, None
    bare = zone.is_null() & moments.is_not_null()
    other = (shift != shift.filter(zone.is_not_null())[0]) | bare
    if bool(other.any()) and options.local_time is None:
        at = int(other.arg_max() or 0)
        listed = ", ".join([*named[:3], *(["none"] if bare.any() else [])])
        raise UserError(
            f"times have differing UTC offsets ({listed}, see {cells[at][:40]!r} in row "
            f"{rows[at]}); keep the file's clock with local_time=True or convert to UTC with "
            "local_time=False"
        )
    if all(n.upper() in _GREENWICH for n in named):
        return moments, "UTC", None
    return moments + shift, "UTC, converted from offsets", None


def _by_name(
    moments: pl.Series, words: list[str], named: list[str], options: LoadOptions
) -> tuple[pl.Series, str, str | None]:
    if options.timezone is not None:
        return moments, UNKNOWN_ZONE, None
    if options.local_time:
        return moments, _KEPT, None
    if len(named) == 1 and "/" in words[0]:
        check_timezone(words[0])
        return moments, UNKNOWN_ZONE, words[0]
    raise UserError(_which_zone(f"times name the zone {words[0][:40]!r}"))


def zone_in_header(names: Sequence[str], options: LoadOptions) -> bool:
    """Whether the names of the time columns say UTC.

    Args:
        names: such as "Gmt time", "Date (UTC)", "Time (EET)", of times with a clock.
        options: may settle another zone.

    Raises:
        UserError: they name another zone, and the options do not settle it.
    """
    words = {w for name in names for w in name.casefold().replace("_", " ").split()}
    if words & {"utc", "gmt", "(utc)", "(gmt)"}:
        return True
    asked = [n[n.index("(") + 1 : n.index(")")] for n in names if 0 <= n.find("(") < n.find(")")]
    if not asked or options.timezone is not None or options.local_time is not None:
        return False
    raise UserError(_which_zone(f"its name gives the zone {asked[0][:40]!r}"))


def _which_zone(said: str) -> str:
    return (
        f"{said}, which does not say when clocks change; convert to UTC with "
        "timezone='America/New_York' or another such name, or keep the file's clock with "
        "local_time=True"
    )
