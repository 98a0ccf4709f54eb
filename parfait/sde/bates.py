"""Bates: Heston's variance plus Merton's jumps."""

from dataclasses import dataclass
from typing import Any, ClassVar

from parfait.regime import Regime
from parfait.sde.checks import INTENSITY, JUMP_MEAN, JUMP_STD, Bound
from parfait.sde.heston import Heston
from parfait.sde.jumps import merton_kbar, normal_sizes, scatter_jumps
from parfait.sde.process import Chunk, Value


@dataclass(frozen=True, kw_only=True, eq=False)
class Bates(Heston):
    """``Heston`` with compensated lognormal jumps scattered on top; lam = 0 is Heston, path by
    path.

    Args:
        lam: jumps per year, at least 0.
        jump_mean, jump_std: m and s of the log jumps, log J ~ N(m, s^2).
        compensate: ``False`` leaves the jumps in the drift, E[S_T] = S_0 exp((mu + lam E[J - 1])
            T).

    Source: Bates (1996).
    """

    bounds: ClassVar[dict[str, Bound]] = Heston.bounds | {
        "lam": INTENSITY,
        "jump_mean": JUMP_MEAN,
        "jump_std": JUMP_STD,
    }
    options: ClassVar[tuple[str, ...]] = ("compensate", "scheme", "compile")
    expresses: ClassVar[tuple[str, ...]] = ("jump_intensity",)
    has_jumps: ClassVar[bool] = True

    lam: Value
    jump_mean: Value
    jump_std: Value
    compensate: bool = True

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return super()._parameters(regime, **options) | {
            "lam": regime.jump_intensity,
            "jump_mean": regime.jump_mean,
            "jump_std": regime.jump_std,
        }

    def _fill(self, chunk: Chunk) -> None:
        lam = chunk.exact(self.lam)
        scatter_jumps(chunk, lam, normal_sizes(chunk, self.jump_mean, self.jump_std))
        kbar = merton_kbar(chunk.exact(self.jump_mean), chunk.exact(self.jump_std))
        mu = chunk.exact(self.mu) - (lam * kbar if self.compensate else 0.0)
        self._fill_heston(chunk, mu)
