"""What is known about the market before the sentence is read."""

import math
from dataclasses import dataclass

from parfait.utils.errors import UserError

# (variance_reversion kappa_v, relative vol-of-vol xi/sigma, leverage rho) by asset class. Equity:
# the order of the daily S&P 500 estimates in Eraker, Johannes & Polson (2003, table III: kappa
# about 3-6/year, rho about -0.5) and the option-implied -0.7 of Bakshi, Cao & Chen (1997); rho = 0
# for currencies, positive for gold, whose volatility rises with its price. xi scales with sigma so
# that a calm and a wild market have equally shaped variance laws.
VARIANCE_DEFAULTS: dict[str, tuple[float, float, float]] = {
    "equity": (5.0, 2.0, -0.6),
    "stock": (6.0, 2.0, -0.4),
    "gold": (5.0, 1.5, 0.2),
    "commodity": (5.0, 1.5, 0.0),
    "oil": (5.0, 2.0, -0.2),
    "bond": (4.0, 1.5, 0.0),
    "currency": (6.0, 1.5, 0.0),
    "crypto": (8.0, 2.5, -0.2),
}
ASSET_CLASSES: tuple[str, ...] = tuple(VARIANCE_DEFAULTS)


def check_asset_class(name: str) -> str:
    """The name itself when it is a known asset class, else ``UserError`` listing them."""
    if name not in VARIANCE_DEFAULTS:
        raise UserError(f"asset class {name!r} is unknown; use one of {', '.join(ASSET_CLASSES)}")
    return name


@dataclass(frozen=True)
class Outlook:
    """What a history tells of the volatility to come, diffusion and jumps together.

    Args:
        present: of the next bar [1/sqrt(year)], before any effect of ``falls``.
        level: where it returns to [1/sqrt(year)].
        falls: share of recent squared returns that were losses, less one half.
        doubt: standard error of ln level by the length of the history alone.

    Raises:
        UserError: a volatility that is not finite and above 0.
    """

    present: float
    level: float
    falls: float = 0.0
    doubt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("present", "level"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"Outlook.{name} = {value} must be finite and above 0")


@dataclass(frozen=True)
class MarketContext:
    """The present state a sentence is read against.

    Args:
        asset_class: one of ``ASSET_CLASSES``; ``None`` lets the sentence decide (a broad equity
            index if silent). Where it is given, the text tells the moves of other markets.
        volatility: present annualised volatility of the history [1/sqrt(year)]; ``None`` means the
            class's prior.
        trend: present annualised log drift of the history [1/year]; serves only "continues" and
            "reverses".
        bars_per_year: bar frequency of what will be generated; never a silent 252.
        outlook: the volatility to come where nothing happens; ``None`` without a history.

    Raises:
        UserError: an unknown asset class, a non-positive or non-finite volatility or
            ``bars_per_year``.
    """

    asset_class: str | None = None
    volatility: float | None = None
    trend: float | None = None
    bars_per_year: float | None = None
    outlook: Outlook | None = None

    def __post_init__(self) -> None:
        if self.asset_class is not None:
            check_asset_class(self.asset_class)
        for name in ("volatility", "bars_per_year"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"MarketContext.{name} = {value} must be finite and above 0")
        if self.trend is not None and not math.isfinite(self.trend):
            raise UserError(f"MarketContext.trend = {self.trend} must be finite")
