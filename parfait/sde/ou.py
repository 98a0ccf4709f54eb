"""Geometric Ornstein-Uhlenbeck: a log price that is pulled to its trend."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from parfait.regime import Regime
from parfait.sde.accumulate import fill_reversion
from parfait.sde.checks import DRIFT, REVERSION, VOLATILITY, Bound
from parfait.sde.process import Chunk, Process, Value, at_bar, phi
from parfait.sde.streams import Purpose


@dataclass(frozen=True, kw_only=True, eq=False)
class OU(Process):
    """x = mu t + Y - Var(Y_t)/2, dY = -kappa Y dt + sigma dW: exact, and E[S_t] = S_0 exp(mu t).

    Var(Y_t) = sigma^2 t phi(2 kappa t), so kappa = 0 is GBM, path by path. Where parameters change,
    Var(Y) = exp(-2 kappa dt) Var(Y) + sigma^2 dt phi(2 kappa dt) bar by bar.

    Args:
        mu: total drift [1/year]; unused where ``theta`` is given.
        sigma: volatility [1/sqrt(year)], at least 0.
        kappa: pull to the trend [1/year], at least 0.
        theta: a fixed level of log(S/S_0) makes this the textbook dx = kappa (theta - x) dt + sigma
            dW, started at 0; the law of E[S_t] above then does not hold.

    Source: Uhlenbeck & Ornstein (1930); the price form is Schwartz (1997, model 1) with the mean
        kept at S_0 exp(mu t).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": DRIFT,
        "sigma": VOLATILITY,
        "kappa": REVERSION,
        "theta": DRIFT,
    }
    expresses: ClassVar[tuple[str, ...]] = ("mean_reversion",)

    mu: Value
    sigma: Value
    kappa: Value
    theta: Value | None = None

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return {
            "mu": regime.drift,
            "sigma": regime.volatility,
            "kappa": regime.mean_reversion,
            **options,
        }

    def _fill(self, chunk: Chunk) -> None:
        mu, sigma, kappa = (chunk.exact(v) for v in (self.mu, self.sigma, self.kappa))
        decay = torch.exp(-kappa * chunk.dt)
        bar_variance = sigma**2 * chunk.dt * phi(2 * kappa * chunk.dt)
        noise = chunk.streams.normal(Purpose.PRICE, chunk.steps)
        noise.mul_(chunk.cast(bar_variance.sqrt()))
        if self.theta is not None:
            noise.add_(chunk.cast(chunk.exact(self.theta) * (1 - decay)))
            fill_reversion(chunk, kappa, noise)
            return
        fill_reversion(chunk, kappa, noise)
        trend, variance = (chunk.exact(0.0) for _ in range(2))
        faded, drift = decay**2, mu * chunk.dt
        for k in range(chunk.steps):
            variance = at_bar(faded, k) * variance + at_bar(bar_variance, k)
            trend = trend + at_bar(drift, k)
            chunk.log_price[k + 1] += chunk.cast(trend - 0.5 * variance)
