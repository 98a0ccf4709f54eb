"""Fractional geometric Brownian motion."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from parfait.regime import Regime
from parfait.sde.accumulate import fill_sums
from parfait.sde.checks import DRIFT, VOLATILITY, Bound
from parfait.sde.fractional import (
    HURST_GRID,
    fractional_noise,
    hurst_levels,
    power,
    summed_variance,
)
from parfait.sde.memory import causal_noise, on_grid
from parfait.sde.process import Chunk, Process, SdeWarning, Value, at_bar, at_start
from parfait.sde.streams import Purpose
from parfait.utils.errors import UserError

ANCHORS = ("bar", "year")


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalGBM(Process):
    """x_k = mu t_k + sigma sqrt(dt) (g_1 + ... + g_k) - sigma^2 dt k^2H / 2, g unit fractional
    Gaussian noise.

    A volatility that changes scales the noise of its bars, and the last term is half of Var =
    dt sum_ij sigma_i sigma_j gamma(i - j). A scenario generator, never a pricing model: E[S_t] =
    S_0 exp(mu t) at every t, but for H other than 1/2 the price is no martingale and the market has
    arbitrage.

    Args:
        mu: total drift [1/year].
        sigma: volatility [1/sqrt(year)], at least 0.
        hurst: H in (0, 1), rounded to 0.001, one for the whole path; above 1/2 moves persist, below
            they revert.
        vol_anchor: ``bar`` gives every bar the deviation sigma sqrt(dt), so k bars have sigma
            sqrt(dt) k^H; sigma and H then belong to one bar size. ``year`` is the textbook sigma
            t^H, exact at one year.

    Source: Mandelbrot & Van Ness (1968).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": DRIFT,
        "sigma": VOLATILITY,
        "hurst": Bound(HURST_GRID, 1 - HURST_GRID),
    }
    options: ClassVar[tuple[str, ...]] = ("vol_anchor",)
    whole_path: ClassVar[tuple[str, ...]] = ("hurst",)
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
            "hurst": _steady_hurst(regime.hurst),
            **options,
        }

    def _fill(self, chunk: Chunk) -> None:
        mu, sigma, hurst = (chunk.exact(v) for v in (self.mu, self.sigma, self.hurst))
        if chunk.streams.joint:
            hurst = on_grid(hurst)
        levels, which = hurst_levels(hurst.expand(chunk.width))
        hurst, dt = levels[which], chunk.dt  # the mean below must be that of the rounded exponent
        bar_sd = sigma * (dt**0.5 if self.vol_anchor == "bar" else power(dt, hurst))
        noise = self._unit_noise(chunk, hurst).mul_(chunk.cast(bar_sd))
        fill_sums(chunk, noise)
        drift, trend = mu * dt, chunk.exact(0.0)
        for k, variance in enumerate(_variances(bar_sd, levels, which, chunk.steps)):
            trend = trend + at_bar(drift, k)
            chunk.log_price[k + 1] += chunk.cast(trend - 0.5 * variance)

    @staticmethod
    def _unit_noise(chunk: Chunk, hurst: Tensor) -> Tensor:
        if chunk.streams.joint:
            return causal_noise(chunk.streams.normal(Purpose.PRICE, chunk.steps), hurst)
        return fractional_noise(chunk.streams.normal(Purpose.PRICE, 2 * chunk.steps), hurst)


def _variances(sd: Tensor, levels: Tensor, which: Tensor, steps: int) -> Iterator[Tensor]:
    """Var(x_k) for k = 1 .. steps, in closed form for every path whose volatility is constant."""
    powers = (power(float(k), 2 * levels) for k in range(1, steps + 1))
    first = at_bar(sd, 0)
    moved = (sd != first).any(dim=0).nonzero().squeeze(1) if sd.ndim == 2 else which[:0]
    if moved.numel() == 0:
        yield from (first**2 * row[which] for row in powers)
        return
    changing = summed_variance(sd[:, moved], levels[which[moved]])
    for steady, row in zip(powers, changing, strict=True):
        yield (first**2 * steady[which]).index_copy(0, moved, row)


def _steady_hurst(hurst: Value) -> Value:
    """H of the first bar, saying so where it changes."""
    first = at_start(hurst)
    if isinstance(hurst, Tensor) and bool((hurst != first).any()):
        text = "FractionalGBM: hurst cannot change inside a path; that of the first bar is used"
        warnings.warn(text, SdeWarning, stacklevel=5)
    return first
