"""What trading costs and what is allowed, as pure arithmetic on arrays."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from parfait.utils.errors import UserError, require

Each = Float64[ndarray, " envs"]


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Costs and limits, of trades in shares of the account before them.

    A trade of the share x of an account worth e times the capital K costs the share
    ``|x| (c + h + s min(|x| e K / (V O), 1))`` of it, with the commission c, the half-spread h, the
    slippage s, and the volume V of the bar at its open O. What is borrowed, cash or a position
    below zero after the trade, costs its rate over one bar at every bar.

    Args:
        commission_bps: of the traded value [basis points].
        half_spread_bps: paid on every trade [basis points].
        slippage_bps: of a trade as large as the bar's volume, in proportion below [basis points].
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
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"broker.{name}={value!r} must be a number")
        for name in ("commission_bps", "half_spread_bps", "slippage_bps"):
            require(f"broker.{name}", getattr(self, name), 0, 10_000)
        require("broker.borrow", self.borrow, 0, 100)
        require("broker.capital", self.capital, 1e-6, 1e18)
        require("broker.max_volume_share", self.max_volume_share, 0)
        require("broker.max_position", self.max_position, 0)
        require("broker.ruin", self.ruin, 1e-6, 0.999)

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Broker":
        """A broker of named settings.

        Raises:
            UserError: an unknown name, or a number outside its bounds.
        """
        names = [f.name for f in fields(cls)]
        unknown = sorted(set(settings) - set(names))
        if unknown:
            raise UserError(f"broker has no {unknown[0]!r}; it has {', '.join(names)}")
        return cls(**settings)

    def order(self, weight: Each, held: Each, cash: Each, equity: Each, value: Each) -> Each:
        """What to trade for a position of ``weight`` of the account at the open, within limits.

        Args:
            weight: the target; a worthless account closes its position.
            held, cash: the position at the open, and the cash, in shares of the account.
            equity: the account over the capital.
            value: volume of the bar times its open.
        """
        order = held + cash
        np.maximum(order, 0.0, out=order)
        order *= weight
        if self.max_position < np.inf:
            most = self.max_position / equity
            np.clip(order, -most, most, out=order)
        order -= held
        if self.max_volume_share < np.inf:
            most = value / equity
            most *= self.max_volume_share / self.capital
            np.clip(order, -most, most, out=order)
        return order

    def cost(self, traded: Each, equity: Each, value: Each) -> Each:
        """Of trades of the absolute share ``traded`` of accounts."""
        fixed = (self.commission_bps + self.half_spread_bps) / 1e4
        if not self.slippage_bps:
            return traded * fixed
        cost = traded * equity
        cost /= value
        np.minimum(cost, 1 / self.capital, out=cost)  # no volume: as if it were all of it
        cost *= self.capital * self.slippage_bps / 1e4
        cost += fixed
        cost *= traded
        return cost

    def interest(self, cash: Each, held: Each, years: float) -> Each:
        """Over a bar of ``years``, on cash or a position below zero."""
        borrowed = np.minimum(cash, held)
        np.minimum(borrowed, 0.0, out=borrowed)
        borrowed *= -self.borrow * years
        return borrowed
