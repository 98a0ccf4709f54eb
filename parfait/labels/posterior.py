"""``Labels``: what a set of windows says about its regimes, as Gaussians in regime coordinates."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from parfait.regime import FIELD_NAMES, Regime
from parfait.regime.fields import from_coordinate
from parfait.utils.errors import UserError

_NODES = 64  # Gauss-Hermite nodes: drift and volatility moments to 1e-10 at prior-sized spreads


@dataclass(frozen=True, eq=False)
class RegimeSd:
    """Posterior standard deviations by field name, natural units, each (windows,) float64.

    Not a ``Regime``: a spread obeys no parameter's bounds.
    """

    drift: Tensor
    volatility: Tensor
    jump_intensity: Tensor
    jump_mean: Tensor
    jump_std: Tensor
    mean_reversion: Tensor
    hurst: Tensor
    variance_reversion: Tensor
    vol_of_vol: Tensor
    leverage: Tensor
    initial_volatility: Tensor


@dataclass(frozen=True, eq=False)
class Labels:
    """Independent Gaussian posteriors of the eleven unconstrained regime coordinates.

    Args:
        loc: (windows, 11) float64, centres; columns as ``FIELD_NAMES``.
        scale: (windows, 11) float64, standard deviations.
        identified: (11,), which fields the windows were measured for; the others hold the prior.
        fallback: (windows,), windows whose volatility is a weaker estimate than the usual one:
            from closes because bars are flat, or the prior because prices do not move.
    """

    loc: Float64[Tensor, "windows 11"]
    scale: Float64[Tensor, "windows 11"]
    identified: Bool[Tensor, "11"]
    fallback: Bool[Tensor, " windows"]

    def __len__(self) -> int:
        return self.loc.shape[0]

    @property
    def mean(self) -> Regime:
        """Posterior means in natural units, shape (windows,)."""
        return Regime(**{name: moments[0] for name, moments in self._moments().items()})

    @property
    def sd(self) -> RegimeSd:
        """Posterior standard deviations in natural units."""
        return RegimeSd(**{name: moments[1] for name, moments in self._moments().items()})

    def quantile(self, q: float) -> Regime:
        """The q-quantile of every field, shape (windows,); exact, since each map is monotone."""
        if not 0 < q < 1:
            raise UserError(f"quantile {q} must be inside (0, 1)")
        z = torch.special.ndtri(torch.tensor(q, dtype=torch.float64))
        return Regime.from_unconstrained(self.loc + z * self.scale)

    def draw(self, generator: torch.Generator) -> Regime:
        """One regime per window from its posterior, shape (windows,)."""
        noise = torch.randn(self.loc.shape, generator=generator, dtype=torch.float64)
        return Regime.from_unconstrained(self.loc + self.scale * noise)

    def _moments(self) -> dict[str, tuple[Tensor, Tensor]]:
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        x = torch.from_numpy(nodes)
        w = torch.from_numpy(weights / weights.sum())
        moments = {}
        for j, name in enumerate(FIELD_NAMES):
            value = from_coordinate(name, self.loc[:, j, None] + self.scale[:, j, None] * x)
            mean = value @ w
            variance = (value - mean[:, None]).square() @ w
            moments[name] = (mean, variance.sqrt())
        return moments
