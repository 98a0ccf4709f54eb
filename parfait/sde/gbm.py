"""Geometric Brownian motion."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from parfait.regime import Regime
from parfait.sde.accumulate import fill_sums
from parfait.sde.checks import DRIFT, VOLATILITY, Bound
from parfait.sde.process import Chunk, Process, Value
from parfait.sde.streams import Purpose


@dataclass(frozen=True, kw_only=True, eq=False)
class GBM(Process):
    """dS = mu S dt + sigma S dW, stepped exactly: x += (mu - sigma^2/2) dt + sigma sqrt(dt) Z.

    Args:
        mu: total drift [1/year].
        sigma: volatility [1/sqrt(year)], at least 0.

    Source: Black & Scholes (1973).
    """

    bounds: ClassVar[dict[str, Bound]] = {"mu": DRIFT, "sigma": VOLATILITY}

    mu: Value
    sigma: Value

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return {"mu": regime.drift, "sigma": regime.volatility, **options}

    def _fill(self, chunk: Chunk) -> None:
        fill_diffusion(chunk, chunk.exact(self.mu), chunk.exact(self.sigma))


def fill_diffusion(chunk: Chunk, mu: Tensor, sigma: Tensor) -> None:
    """Writes exact GBM paths, plus the chunk's jumps where it has them."""
    drift = (mu - 0.5 * sigma**2) * chunk.dt
    increments = chunk.streams.normal(Purpose.PRICE, chunk.steps)
    increments.mul_(chunk.cast(sigma * chunk.dt**0.5)).add_(chunk.cast(drift))
    if chunk.jumps is not None:
        increments.add_(chunk.jumps)
    fill_sums(chunk, increments)
