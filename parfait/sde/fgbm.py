"""Fractional geometric Brownian motion."""

from dataclasses import dataclass
from typing import Any, ClassVar

from parfait.regime import Regime
from parfait.sde.accumulate import fill_sums
from parfait.sde.fractional import HURST_GRID, fractional_noise, hurst_levels
from parfait.sde.process import Bound, Chunk, Process, Value
from parfait.sde.streams import Purpose
from parfait.utils.errors import UserError

ANCHORS = ("bar", "year")


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalGBM(Process):
    """x_k = mu t_k + sigma sqrt(dt) (g_1 + ... + g_k) - sigma^2 dt k^2H / 2, g unit fractional
    Gaussian noise.

    A scenario generator, never a pricing model: E[S_t] = S_0 exp(mu t) at every t, but for H other
        than 1/2 the
    price is no martingale and the market has arbitrage.

    Args:
        mu: total drift [1/year].
        sigma: volatility [1/sqrt(year)], at least 0.
        hurst: H in (0, 1), rounded to 0.001; above 1/2 moves persist, below they revert.
        vol_anchor: ``bar`` gives every bar the deviation sigma sqrt(dt), so k bars have sigma
            sqrt(dt) k^H; sigma and H then belong to one bar size. ``year`` is the textbook sigma
            t^H, exact at one year.

    Source: Mandelbrot & Van Ness (1968).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": Bound(),
        "sigma": Bound(0.0),
        "hurst": Bound(HURST_GRID, 1 - HURST_GRID),
    }
    options: ClassVar[tuple[str, ...]] = ("vol_anchor",)
    expresses: ClassVar[tuple[str, ...]] = ("hurst",)

    mu: Value
    sigma: Value
    hurst: Value
    vol_anchor: str = "bar"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vol_anchor not in ANCHORS:
            raise UserError(
                f"FractionalGBM vol_anchor {self.vol_anchor!r} is unknown; "
                f"use {' or '.join(ANCHORS)}"
            )

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return {
            "mu": regime.drift,
            "sigma": regime.volatility,
            "hurst": regime.hurst,
            **options,
        }

    def _fill(self, chunk: Chunk) -> None:
        mu, sigma, hurst = (chunk.exact(v) for v in (self.mu, self.sigma, self.hurst))
        levels, which = hurst_levels(hurst.expand(chunk.width))
        hurst, dt = levels[which], chunk.dt  # the mean below must be that of the rounded exponent
        bar_sd = sigma * (dt**0.5 if self.vol_anchor == "bar" else dt**hurst)
        white = chunk.streams.normal(Purpose.PRICE, 2 * chunk.steps)
        noise = fractional_noise(white, hurst).mul_(chunk.cast(bar_sd))
        fill_sums(chunk, noise)
        for k in range(1, chunk.steps + 1):
            mean = mu * dt * k - 0.5 * bar_sd**2 * (k ** (2 * levels))[which]
            chunk.log_price[k] += chunk.cast(mean)
