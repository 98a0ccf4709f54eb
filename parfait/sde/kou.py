"""Kou's double exponential jump diffusion."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from parfait.regime import Regime
from parfait.sde.checks import DRIFT, INTENSITY, VOLATILITY, Bound
from parfait.sde.gbm import fill_diffusion
from parfait.sde.jumps import double_exponential_sizes, scatter_jumps
from parfait.sde.process import Chunk, Process, SdeWarning, Value

_MIN_ETA_UP = 1.05  # from_regime keeps this far from eta_up = 1, where E[S] becomes infinite
_MAX_ETA = 1e6  # a regime without jump sizes: mean jump 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Kou(Process):
    """GBM plus double exponential jumps: log J is +Exp(eta_up) with probability p_up, else
    -Exp(eta_down).

    E[J] - 1 = p eta_up/(eta_up - 1) + (1 - p) eta_down/(eta_down + 1) - 1 compensates the jumps.
    Exact for any step.

    Args:
        mu: total drift [1/year].
        sigma: diffusive volatility [1/sqrt(year)], at least 0.
        lam: jumps per year, at least 0.
        p_up: probability that a jump goes up.
        eta_up, eta_down: inverse mean sizes; ``eta_up`` above 1, or the expected price would be
            infinite.
        compensate: ``False`` leaves the jumps in the drift.

    Source: Kou (2002).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": DRIFT,
        "sigma": VOLATILITY,
        "lam": INTENSITY,
        "p_up": Bound(0.0, 1.0),
        "eta_up": Bound(1.0, above=True),
        "eta_down": Bound(1e-3),
    }
    options: ClassVar[tuple[str, ...]] = ("compensate",)
    expresses: ClassVar[tuple[str, ...]] = ("jump_intensity",)
    has_jumps: ClassVar[bool] = True

    mu: Value
    sigma: Value
    lam: Value
    p_up: Value
    eta_up: Value
    eta_down: Value
    compensate: bool = True

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        """One scale for both sides matches mean m and sd s of the jumps if |m| < s, else only m."""
        m, s = (
            torch.as_tensor(v, dtype=torch.float64) for v in (regime.jump_mean, regime.jump_std)
        )
        both = m.abs() < s
        eta = torch.where(both, (2 / (m**2 + s**2)).sqrt(), 1 / m.abs()).clamp(max=_MAX_ETA)
        p_up = torch.where(both, 0.5 * (1 + m * eta), (m > 0).to(m.dtype))
        jumping = torch.as_tensor(regime.jump_intensity) > 0
        if bool((jumping & ~both & (m != 0)).any()):
            text = "Kou: jump_std below |jump_mean| cannot be expressed; it becomes |jump_mean|"
            warnings.warn(text, SdeWarning, stacklevel=4)
        if bool((jumping & (p_up > 0) & (eta < _MIN_ETA_UP)).any()):
            text = f"Kou: upward jumps above {1 / _MIN_ETA_UP:.2f} on average are shortened to it"
            warnings.warn(text, SdeWarning, stacklevel=4)
        values = {"p_up": p_up, "eta_up": eta.clamp(min=_MIN_ETA_UP), "eta_down": eta}
        return {
            "mu": regime.drift,
            "sigma": regime.volatility,
            "lam": regime.jump_intensity,
            **{name: v if v.ndim else float(v) for name, v in values.items()},
            **options,
        }

    def _fill(self, chunk: Chunk) -> None:
        lam, p = chunk.exact(self.lam), chunk.exact(self.p_up)
        up, down = chunk.exact(self.eta_up), chunk.exact(self.eta_down)
        sizes = double_exponential_sizes(chunk, self.p_up, self.eta_up, self.eta_down)
        scatter_jumps(chunk, lam, sizes)
        kbar = p * up / (up - 1) + (1 - p) * down / (down + 1) - 1
        mu = chunk.exact(self.mu) - (lam * kbar if self.compensate else 0.0)
        fill_diffusion(chunk, mu, chunk.exact(self.sigma))
