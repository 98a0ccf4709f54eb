"""The questions a file may leave open, and the answers a user may give."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from parfait.utils.errors import UserError

_PRICES = ("open", "high", "low", "close")
QUOTES = tuple(f"{side} {name}" for side in ("bid", "ask") for name in _PRICES)
ROLES = ("time", "clock", "open", "high", "low", "close", "volume", "adjusted", "symbol", *QUOTES)
MAX_BYTES = 1 << 28  # of text after unpacking: a small archive can hold a disk of zeros
EXCEL = "excel"  # the time_format of a spreadsheet's days
_MOST_BYTES = (1 << 32) - 1  # what one column of text can address


@dataclass(frozen=True)
class LoadOptions:
    """Options of ``load_bars``; the defaults never guess.

    Args:
        columns: role -> column name, or its position from 1 where two have one name, where names
            are unknown or two compete; roles are ``ROLES``.
        names: column names of a file without header, in order; columns beyond are ignored.
        header: whether the file has a header line; ``None`` looks.
        member: which file of a zip archive that holds several.
        symbol: which series of a file that holds several.
        decimal: decimal mark, "." or ","; ``None`` looks.
        day_first: whether 3/4/2020 is the third of April; ``None`` looks, and refuses a tie.
        time_format: how times are written, as "%d%m%Y %H:%M"; "excel" for days of a spreadsheet.
            ``None`` looks.
        timezone: IANA name of the zone of the file's clock ("America/New_York"). Times with a
            clock are converted to UTC and hours that occur twice are told apart; plain dates stay.
        local_time: with differing UTC offsets or a zone in the file, whether to keep the file's
            clock (True) or convert each time to UTC (False).
        date: the day of a file timed in milliseconds since midnight, when its name holds none.
        date_shift: days added to every time (1 undoes dates that were moved a day back).
        start, frequency: first time and spacing ("1bd" business days, "1d", "1h", "5m", "1w",
            "1mo") of a file without times.
        session: clock times "09:30-16:00", end excluded; bars outside are dropped. In the zone
            ``timezone`` where it is given, else as times are returned.
        adjust: whether an adjusted close beside the close scales open, high, low and close; the
            last bar keeps its traded price.
        factors: file of factors ``date,price_factor,split_factor[,reference_close]`` (Lean's
            layout) that apply up to their date, or a folder of them named SYMBOL.csv. Prices are
            multiplied by both, volume is divided by the split factor.
        price_scale: prices are multiplied by it (1e-4 for prices in ten-thousandths).
        close_only: whether open, high and low that are missing or 0 may be replaced by the close.
        drop_suspended: whether bars without volume and range are dropped as days without trading;
            ``None`` does so where no bar falls on a weekend and most bars have a volume.
        max_range: bars whose high exceeds so many times the low are dropped; ``None`` flags those
            over 3.
        max_gap: more missing sessions than this end a segment in the report's count.
        min_rows: fewer bars than this are refused.
        max_bytes: largest file, packed or unpacked.
    """

    columns: Mapping[str, str | int] | None = None
    names: Sequence[str] | None = None
    header: bool | None = None
    member: str | None = None
    symbol: str | None = None
    decimal: str | None = None
    day_first: bool | None = None
    time_format: str | None = None
    timezone: str | None = None
    local_time: bool | None = None
    date: str | None = None
    date_shift: int = 0
    start: str | None = None
    frequency: str | None = None
    session: str | None = None
    adjust: bool = True
    factors: str | Path | None = None
    price_scale: float = 1.0
    close_only: bool = False
    drop_suspended: bool | None = None
    max_range: float | None = None
    max_gap: int = 5
    min_rows: int = 2
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        if not isinstance(self.columns or {}, Mapping):
            raise UserError(
                f"columns={self.columns!r} must map roles to names, as in "
                "columns={'close': 'NAME'}"
            )
        if isinstance(self.names, str) or not isinstance(self.names or [], Sequence):
            raise UserError(
                f"names={self.names!r} must be a list, as in names=['time', 'open', 'close']"
            )
        for role, name in (self.columns or {}).items():
            if role not in ROLES:
                raise UserError(f"columns: role {role!r} is unknown; roles are {', '.join(ROLES)}")
            if isinstance(name, bool) or not isinstance(name, str | int):
                raise UserError(f"columns: {role}={name!r} must be a name or a position from 1")
        if self.decimal not in (None, ".", ","):
            raise UserError(f"decimal {self.decimal!r} must be '.' or ','")
        if (self.start is None) != (self.frequency is None):
            raise UserError("start and frequency belong together; give both or neither")
        self._check_numbers()
        if self.timezone is not None:
            check_timezone(self.timezone)
        self.session_limits()

    def _check_numbers(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "price_scale": (1e-12, 1e12),
            "max_range": (1.0, math.inf),
            "max_gap": (0, 1_000_000),
            "min_rows": (2, math.inf),
            "max_bytes": (1, _MOST_BYTES),
            "date_shift": (-7, 7),
        }
        for name, (low, high) in bounds.items():
            value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
            if value is None:
                continue
            whole = isinstance(default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "a whole number" if whole else "a number"
                raise UserError(f"{name}={value!r} must be {kind}")
            if not low <= value <= high:
                raise UserError(f"{name}={value} must be within [{low:g}, {high:g}]")

    def session_limits(self) -> tuple[int, int] | None:
        """Start and end of ``session`` in microseconds since midnight.

        Raises:
            UserError: the text is not "HH:MM-HH:MM".
        """
        if self.session is None:
            return None
        found = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", str(self.session).strip())
        h, m, end_h, end_m = map(int, found.groups()) if found else (99, 0, 0, 0)
        if h > 23 or end_h > 24 or max(m, end_m) > 59 or (h, m) == (end_h, end_m):
            raise UserError(f"session={self.session!r} must be like '09:30-16:00'")
        return (h * 60 + m) * 60_000_000, (end_h * 60 + end_m) * 60_000_000

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> "LoadOptions":
        """From keyword arguments; an unknown one raises ``UserError`` with the list."""
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise UserError(f"load_bars has no option {name!r}; it has {', '.join(known)}")
        # Typed on a command line, a symbol or a date of digits alone arrives as a number.
        digits = ("symbol", "date", "start", "frequency", "member", "timezone", "time_format")
        texts = {n: str(options[n]) for n in digits if options.get(n) is not None}
        return cls(**{**options, **texts})


def check_timezone(name: str) -> None:
    """``UserError`` unless ``name`` is a zone of the IANA database."""
    try:
        pl.Series([0], dtype=pl.Datetime("us")).dt.replace_time_zone(name)
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"timezone {name!r} is unknown; give an IANA name such as 'America/New_York' or 'UTC'"
        ) from error
