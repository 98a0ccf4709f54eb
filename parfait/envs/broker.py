"""What trading costs and what is allowed, as pure arithmetic on arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from parfait.utils.errors import require

Each = Float64[ndarray, " envs"]


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Costs and limits. Money is in units of the capital at the start, which is 1.

    A trade of ``x`` units at the price ``O`` costs ``|x| O (c + h + s min(|x| K / V, 1))`` with the
    commission c, the half-spread h and the slippage s [shares of the traded value], the capital K
    and the volume V of the bar. What is borrowed, cash below zero or units sold short at O, costs
    its rate over one bar at every bar.

    Args:
        commission_bps: of the traded value [basis points].
        half_spread_bps: paid on every trade [basis points].
        slippage_bps: of a trade as large as the bar's volume; in proportion below [basis points].
        borrow: on what is borrowed [1/year].
        capital: the money at the start, in the currency of the prices; only volumes make it matter.
        max_volume_share: more of a bar's volume is not filled; infinite fills everything.
        max_position: largest absolute value of a position when it is traded, in units of the
            capital.
        ruin: an account at or below this share of the capital is bankrupt.

    Raises:
        UserError: a number outside its bounds.
    """

    commission_bps: float = 1.0
    half_spread_bps: float = 1.0
    slippage_bps: float = 100.0
    borrow: float = 0.02
    capital: float = 1e6
    max_volume_share: float = float("inf")
    max_position: float = float("inf")
    ruin: float = 0.05

    def __post_init__(self) -> None:
        for name in ("commission_bps", "half_spread_bps", "slippage_bps"):
            require(f"broker.{name}", getattr(self, name), 0, 10_000)
        require("broker.borrow", self.borrow, 0, 100)
        require("broker.capital", self.capital, 1e-6, 1e18)
        require("broker.max_volume_share", self.max_volume_share, 0)
        require("broker.max_position", self.max_position, 0)
        require("broker.ruin", self.ruin, 1e-6, 0.999)

    def order(self, weight: Each, cash: Each, units: Each, price: Each, volume: Each) -> Each:
        """Units to trade at ``price`` for a position worth ``weight`` of the account, within the
        limits. A worthless account closes its position.
        """
        wanted = np.maximum(cash + units * price, 0.0)
        wanted *= weight
        if self.max_position < np.inf:
            np.clip(wanted, -self.max_position, self.max_position, out=wanted)
        wanted /= price
        wanted -= units
        if self.max_volume_share < np.inf:
            most = volume * (self.max_volume_share / self.capital)
            np.clip(wanted, -most, most, out=wanted)
        return wanted

    def cost(self, traded: Each, size: Each, volume: Each) -> Each:
        """Of trades of the value ``traded`` and the absolute number of units ``size``."""
        fixed = (self.commission_bps + self.half_spread_bps) / 1e4
        if not self.slippage_bps:
            return traded * fixed
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = size / volume
        rate *= self.capital
        np.fmin(rate, 1.0, out=rate)  # no volume: as if it were all of it
        rate *= self.slippage_bps / 1e4
        rate += fixed
        rate *= traded
        return rate

    def interest(self, cash: Each, worth: Each, years: float) -> Each:
        """Over one bar of ``years``, on cash below zero or a position worth less than zero."""
        borrowed = np.minimum(cash, worth)
        np.minimum(borrowed, 0.0, out=borrowed)
        borrowed *= -self.borrow * years
        return borrowed
