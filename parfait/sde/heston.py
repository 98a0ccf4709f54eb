"""Heston's stochastic variance model."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from parfait.regime import Regime
from parfait.sde.checks import DRIFT, REVERSION, VARIANCE, VOL_OF_VOL, Bound
from parfait.sde.process import Chunk, Process, Value, at_bar, at_start
from parfait.sde.qe import fill_qe
from parfait.sde.streams import Draw, Purpose
from parfait.utils.errors import UserError

SCHEMES = ("qe_m", "euler")


@dataclass(frozen=True, kw_only=True, eq=False)
class Heston(Process):
    """dS = mu S dt + sqrt(v) S dW, dv = kappa (theta - v) dt + xi sqrt(v) dZ, corr(dW, dZ) = rho.

    Violations of Feller's condition 2 kappa theta >= xi^2 are fine: the variance then touches zero
    and leaves again.

    Args:
        mu: total drift [1/year].
        kappa: reversion speed of the variance [1/year], at least 0.
        theta: long-run variance [1/year], at least 0.
        xi: volatility of variance [1/year], at least 0; 0 makes the variance deterministic.
        rho: leverage, in [-1, 1].
        v0: initial variance [1/year], at least 0.
        scheme: ``qe_m`` (Andersen 2008, quadratic exponential with martingale correction) or
            ``euler`` (full truncation; cheaper, biased when xi is large or steps are long).
        compile: run the step of ``qe_m`` as one compiled loop; needs a C++ compiler, and some
            seconds once per process. Paths are those of the default within rounding.

    Raises:
        UserError: ``sample`` with ``compile`` where torch cannot compile.

    Warns:
        SdeWarning: the martingale correction did not exist on more than 1 % of the steps (rho > 0,
            long steps).

    Source: Heston (1993).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": DRIFT,
        "kappa": REVERSION,
        "theta": VARIANCE,
        "xi": VOL_OF_VOL,
        "rho": Bound(-1.0, 1.0),
        "v0": VARIANCE,
    }
    options: ClassVar[tuple[str, ...]] = ("scheme", "compile")
    whole_path: ClassVar[tuple[str, ...]] = ("v0",)
    has_variance: ClassVar[bool] = True

    mu: Value
    kappa: Value
    theta: Value
    xi: Value
    rho: Value
    v0: Value
    scheme: str = "qe_m"
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheme not in SCHEMES:
            raise UserError(f"Heston scheme {self.scheme!r} is unknown; use {' or '.join(SCHEMES)}")

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        assert regime.initial_volatility is not None
        return {
            "mu": regime.drift,
            "kappa": regime.variance_reversion,
            "theta": regime.volatility**2,
            "xi": regime.vol_of_vol,
            "rho": regime.leverage,
            "v0": at_start(regime.initial_volatility) ** 2,
            **options,
        }

    def _check_grid(self, paths: int, steps: int, years: float) -> None:
        super()._check_grid(paths, steps, years)
        fastest = float(torch.as_tensor(self.kappa).detach().max()) * years / steps
        if self.scheme == "euler" and fastest > 1:
            raise UserError(
                f"Heston: scheme euler needs kappa dt of at most 1, and it is {fastest:.3g}; "
                "take more steps, or scheme qe_m"
            )

    def _fill(self, chunk: Chunk) -> None:
        self._fill_heston(chunk, chunk.exact(self.mu))

    def _fill_heston(self, chunk: Chunk, mu: Tensor) -> None:
        values = (chunk.exact(v) for v in (self.kappa, self.theta, self.xi, self.rho, self.v0))
        z1, z2 = (Draw(chunk.streams, p, chunk.steps) for p in (Purpose.VARIANCE, Purpose.PRICE))
        if self.scheme == "qe_m":
            fill_qe(chunk, z1, z2, mu, *values, compiled=self.compile)
        else:
            fill_euler(chunk, z1.table(), z2.table(), mu, *values)


def fill_euler(
    chunk: Chunk,
    z1: Tensor,
    z2: Tensor,
    mu: Tensor,
    kappa: Tensor,
    theta: Tensor,
    xi: Tensor,
    rho: Tensor,
    v0: Tensor,
) -> None:
    """Full truncation Euler (Lord, Koekkoek & van Dijk 2010); v+ = max(v, 0) is reported."""
    assert chunk.variance is not None
    dt = chunk.dt
    rho_1, rho_2 = chunk.cast(rho), chunk.cast((1 - rho**2).clamp(min=0).sqrt())
    drift, pull, level = chunk.cast(mu * dt), chunk.cast(kappa * dt), chunk.cast(kappa * theta * dt)
    spread = chunk.cast(xi)
    v = chunk.cast(v0).expand(chunk.width)
    x = chunk.log_price[0].clone()
    chunk.variance[0] = v
    for k in range(chunk.steps):
        v_plus = v.clamp(min=0)
        root = (v_plus * dt).sqrt()
        noise = at_bar(rho_1, k) * z1[k] + at_bar(rho_2, k) * z2[k]
        x = x + at_bar(drift, k) - 0.5 * dt * v_plus + root * noise
        if chunk.jumps is not None:
            x = x + chunk.jumps[k]
        v = v + at_bar(level, k) - at_bar(pull, k) * v_plus + at_bar(spread, k) * root * z1[k]
        chunk.log_price[k + 1] = x
        chunk.variance[k + 1] = v.clamp(min=0)
