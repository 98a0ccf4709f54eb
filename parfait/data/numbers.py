"""Numbers as people and vendors write them -> float64."""

import re
from collections.abc import Sequence

import polars as pl

from parfait.utils.errors import UserError

_NULLS = [
    *("", "-", "--", "---", ".", "null", "none", "nil", "nan", "na", "n/a", "#n/a", "nat", "<na>"),
    *("#value!", "#div/0!", "#ref!", "#name?", "#num!", "\\n", "?", "\u2013", "\u2014"),
]
_SUFFIXES = {
    **{"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "万": 1e4, "亿": 1e8, "萬": 1e4, "億": 1e8},
    **{"mn": 1e6, "mio": 1e6, "mln": 1e6, "bn": 1e9, "mrd": 1e9, "bln": 1e9, "tn": 1e12},
    **{"lakh": 1e5, "cr": 1e7},
}
_CODES = r"us\$|[$€£¥₹₿₩₽]|usdt?|eur|gbp|jpy|cny|inr|chf|cad|aud|rs\.?|元|円|원"
_BEFORE, _AFTER = rf"^([+-]?)\s*(?:{_CODES})\s*", rf"\s*(?:{_CODES})$"
_GROUPED = {  # digits in groups of three, by decimal mark
    ".": r"^[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?$",  # or Indian
    ",": r"^[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?$",
}
_SPACED = r"^[^\d]*\d{1,3}(?:[\s'’]\d{3})+(?:[^\d\s'’].*)?$"
_MARKS = ("unreadable", "grouped", "comma", "suffixed", "currency")
_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?$"


def looks_numeric(cell: str) -> bool:
    """Whether one cell is a number or a null marker, under either decimal mark."""
    bare = re.sub(r"(?<=\d)[\s'’,](?=\d)", "", cell.strip().lower())
    bare = re.sub(_AFTER, "", re.sub(_BEFORE, r"\1", bare))
    return bare in _NULLS or re.match(_NUMBER, bare.rstrip("kmbt万亿")) is not None


def currencies(text: pl.Series) -> set[str]:
    """The signs and codes of currency that cells begin or end with."""
    lower = text.str.strip_chars().str.to_lowercase()
    found = (lower.str.extract(rf"(?:^|\d\s*)({_CODES})\s*[+-]?(?:\d|$)", 1)).drop_nulls()
    return set(found.unique().to_list())


def find_decimal(cells: Sequence[pl.Series], delimiter: str) -> str:
    """The decimal mark of the price columns, decided on all of them together.

    Raises:
        UserError: every comma stands before exactly three digits, so that 1,234 may be either, in
            a file not separated by commas or where every price has one.
    """
    text = pl.concat([cell.rename("cell") for cell in cells])
    commas = text.filter(text.str.contains(",", literal=True))
    if commas.is_empty():
        return "."
    both = commas.filter(commas.str.contains(".", literal=True))
    if not both.is_empty():
        return "," if 2 * both.str.contains(r"\..*,").sum() > len(both) else "."
    if commas.str.contains(r",.*,").any():
        return "."
    if not commas.str.strip_chars().str.contains(_GROUPED["."]).all():
        return ","
    if commas.str.contains(r"^\s*[+-]?0\d*,").any():
        return ","  # no thousand begins with 0
    if delimiter in (",", "") and len(commas) < text.str.contains(r"\d").sum():
        return "."
    raise UserError(
        f"{commas[0]!r} may hold a thousands or a decimal comma; say which with decimal='.' or "
        "decimal=','"
    )


def parse_numbers(text: pl.Series, decimal: str) -> pl.DataFrame:
    """Columns ``value`` (null where absent or unreadable) and five booleans.

    ``unreadable``: neither a number nor a null marker; ``grouped``: held thousands separators;
    ``comma``: a decimal comma; ``suffixed``: a factor as in 1.2M;
    ``currency``: a sign or code as in $1.2.
    """
    if decimal == ",":  # where 1.234 is not what it seems
        return _parse_any(text, decimal)
    plain = text.cast(pl.Float64, strict=False)
    odd = ~(plain.is_not_null() & plain.is_finite()).fill_null(False)
    frame = pl.DataFrame({"value": plain}).with_columns(pl.lit(False).alias(m) for m in _MARKS)
    if not odd.any():
        return frame
    rows = odd.arg_true()
    rest = _parse_any(text.gather(rows), decimal)
    return frame.with_columns(frame[n].scatter(rows, rest[n]) for n in ("value", *_MARKS))


def _parse_any(text: pl.Series, decimal: str) -> pl.DataFrame:
    cell, body = pl.col("cell"), pl.col("body")
    parts = rf"^(.*?)\s*({'|'.join(sorted(_SUFFIXES, key=len, reverse=True))})?$"
    lower = pl.Series("cell", text.str.strip_chars().str.to_lowercase().str.replace("\u2212", "-"))
    frame = pl.DataFrame({"cell": lower})
    signed = cell.str.replace(r"^\((.*\d.*)\)$", "-${1}")
    priced = signed.str.replace(_BEFORE, "${1}").str.replace(_AFTER, "")
    close = pl.when(priced.str.contains(_SPACED)).then(priced.str.replace_all(r"[\s'’]", ""))
    close = close.otherwise(priced)
    frame = frame.with_columns(
        close.str.extract(parts, 1).alias("body"),
        close.str.extract(parts, 2).replace_strict(_SUFFIXES, default=1.0).alias("factor"),
        priced.str.contains(_SPACED).alias("spaced"),
        (priced != signed).alias("currency"),
    )
    grouped = body.str.contains(_GROUPED[decimal])
    thousands = "," if decimal == "." else "."
    plain = pl.when(grouped).then(body.str.replace_all(thousands, "", literal=True)).otherwise(body)
    if decimal == ",":
        plain = plain.str.replace(",", ".", literal=True)
    comma = body.str.contains(",", literal=True) if decimal == "," else pl.lit(False)
    frame = frame.with_columns(plain.alias("plain"), grouped.alias("grouped"), comma.alias("comma"))
    number = pl.col("plain").str.contains(_NUMBER)
    value = pl.when(number).then(pl.col("plain")).cast(pl.Float64, strict=False)
    return frame.select(
        (value * pl.col("factor")).alias("value"),
        (~number & ~cell.is_in(_NULLS)).fill_null(False).alias("unreadable"),
        (number & (pl.col("grouped") | pl.col("spaced"))).fill_null(False).alias("grouped"),
        (number & pl.col("comma")).fill_null(False).alias("comma"),
        (number & (pl.col("factor") != 1)).fill_null(False).alias("suffixed"),
        (number & pl.col("currency")).fill_null(False).alias("currency"),
    )
