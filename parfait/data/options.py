"""The questions a file may leave open, and the answers a user may give."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from parfait.utils.errors import UserError

ROLES = ("time", "clock", "open", "high", "low", "close", "volume", "adjusted", "symbol")


@dataclass(frozen=True)
class LoadOptions:
    """Options of ``load_bars``; the defaults never guess.

    Args:
        columns: role -> column name, where names are unknown or two compete; roles are ``ROLES``.
        names: column names of a file without header, in order; columns beyond are ignored.
        header: whether the file has a header line; ``None`` looks.
        decimal: decimal mark, "." or ","; ``None`` looks.
        day_first: whether 3/4/2020 is the third of April; ``None`` looks, and refuses a tie.
        local_time: with differing UTC offsets, whether to keep the file's clock (True) or convert
            each time to UTC (False).
        date: the day of a file timed in milliseconds since midnight, when its name holds none.
        start, frequency: first time and spacing ("1bd" business days, "1d", "1h", "5m", "1w",
            "1mo") of a file without times.
        adjust: whether an adjusted close beside the close scales open, high, low and close; the
            last bar keeps its traded price.
        close_only: whether missing open, high and low may be replaced by the close.
        price_scale: prices are multiplied by it (1e-4 for prices in ten-thousandths).
        symbol: which series of a file that holds several.
        max_gap: more missing sessions than this end a segment in the report's count.
    """

    columns: Mapping[str, str] | None = None
    names: Sequence[str] | None = None
    header: bool | None = None
    decimal: str | None = None
    day_first: bool | None = None
    local_time: bool | None = None
    date: str | None = None
    start: str | None = None
    frequency: str | None = None
    adjust: bool = True
    close_only: bool = False
    price_scale: float = 1.0
    symbol: str | None = None
    max_gap: int = 5

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
        for role in self.columns or {}:
            if role not in ROLES:
                raise UserError(f"columns: role {role!r} is unknown; roles are {', '.join(ROLES)}")
        if self.decimal not in (None, ".", ","):
            raise UserError(f"decimal {self.decimal!r} must be '.' or ','")
        if not (math.isfinite(self.price_scale) and self.price_scale > 0):
            raise UserError(f"price_scale {self.price_scale} must be finite and above 0")
        if (self.start is None) != (self.frequency is None):
            raise UserError("start and frequency belong together; give both or neither")

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> "LoadOptions":
        """From keyword arguments; an unknown one raises ``UserError`` with the list."""
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise UserError(f"load_bars has no option {name!r}; it has {', '.join(known)}")
        # Typed on a command line, a symbol or a date of digits alone arrives as a number.
        digits = ("symbol", "date", "start", "frequency")
        texts = {n: str(options[n]) for n in digits if options.get(n) is not None}
        return cls(**{**options, **texts})
