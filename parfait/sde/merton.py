"""Merton's jump diffusion."""

from dataclasses import dataclass
from typing import Any, ClassVar

from parfait.regime import Regime
from parfait.sde.checks import DRIFT, INTENSITY, JUMP_MEAN, JUMP_STD, VOLATILITY, Bound
from parfait.sde.gbm import fill_diffusion
from parfait.sde.jumps import merton_kbar, normal_sizes, scatter_jumps
from parfait.sde.process import Chunk, Process, Value


@dataclass(frozen=True, kw_only=True, eq=False)
class Merton(Process):
    """GBM plus lognormal jumps: x += (mu - lam k - sigma^2/2) dt + sigma sqrt(dt) Z + sum of N(m,
    s^2).

    k = E[J] - 1 compensates the jumps, so that E[S_T] = S_0 exp(mu T). Exact for any step; lam = 0
    is GBM, path by path.

    Args:
        mu: total drift [1/year].
        sigma: diffusive volatility [1/sqrt(year)], at least 0.
        lam: jumps per year, at least 0.
        jump_mean, jump_std: m and s of the log jumps.
        compensate: ``False`` leaves the jumps in the drift, E[S_T] = S_0 exp((mu + lam k) T).

    Source: Merton (1976).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": DRIFT,
        "sigma": VOLATILITY,
        "lam": INTENSITY,
        "jump_mean": JUMP_MEAN,
        "jump_std": JUMP_STD,
    }
    options: ClassVar[tuple[str, ...]] = ("compensate",)
    expresses: ClassVar[tuple[str, ...]] = ("jump_intensity",)
    has_jumps: ClassVar[bool] = True

    mu: Value
    sigma: Value
    lam: Value
    jump_mean: Value
    jump_std: Value
    compensate: bool = True

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return {
            "mu": regime.drift,
            "sigma": regime.volatility,
            "lam": regime.jump_intensity,
            "jump_mean": regime.jump_mean,
            "jump_std": regime.jump_std,
            **options,
        }

    def _fill(self, chunk: Chunk) -> None:
        lam = chunk.exact(self.lam)
        scatter_jumps(chunk, lam, normal_sizes(chunk, self.jump_mean, self.jump_std))
        kbar = merton_kbar(chunk.exact(self.jump_mean), chunk.exact(self.jump_std))
        mu = chunk.exact(self.mu) - (lam * kbar if self.compensate else 0.0)
        fill_diffusion(chunk, mu, chunk.exact(self.sigma))
