"""``Labels``: what a set of windows says about its regimes, as Gaussians in regime coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from parfait.regime import FIELD_NAMES, Regime
from parfait.regime.fields import COORDINATES_VERSION, from_coordinate
from parfait.utils.errors import UserError

_NODES = 64  # Gauss-Hermite nodes: drift and volatility moments to 1e-10 at prior-sized spreads

# closes: volatility from closes alone, since bars are flat or most of them jump; still: prices
# hardly move, every field holds its prior; short: fewer than 15 returns; jumps: they make most of
# the variance; reverting: mean reversion explains the window better than memory or a random walk;
# foreign: unlike any window that the network was trained on, so that its posterior was widened.
FLAGS = ("closes", "still", "short", "jumps", "reverting", "foreign")


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
        flags: (windows, 6), columns as ``FLAGS``.
        n_eff: (windows,), returns whose bar moved at all: what the window holds at most.
        total_volatility: (windows,) [1/sqrt(year)], diffusion and jumps together; not a field.
        total_spread: (windows,), sd of its logarithm.
        reversion_probability: (windows,), P(kappa > ln 2 / T): a half-life within the window,
            given that there is reversion and no memory.
        log_bayes: (windows, 2), ln evidence of memory and of reversion against a random walk.
        method: how the posteriors were found.
        coordinates: version of the map between fields and coordinates.
    """

    loc: Float64[Tensor, "windows 11"]
    scale: Float64[Tensor, "windows 11"]
    identified: Bool[Tensor, "11"]
    flags: Bool[Tensor, "windows 6"]
    n_eff: Float64[Tensor, " windows"]
    total_volatility: Float64[Tensor, " windows"]
    total_spread: Float64[Tensor, " windows"]
    reversion_probability: Float64[Tensor, " windows"]
    log_bayes: Float64[Tensor, "windows 2"]
    method: str = "closed"
    coordinates: int = COORDINATES_VERSION

    @classmethod
    def concatenate(cls, parts: Sequence["Labels"]) -> "Labels":
        """Labels of the windows of all parts, which were made by one method."""
        first = parts[0]
        if any(p.method != first.method or p.coordinates != first.coordinates for p in parts):
            raise UserError("labels of different methods or coordinates cannot be joined")
        columns = {
            name: torch.cat([getattr(p, name) for p in parts])
            for name, value in vars(first).items()
            if isinstance(value, Tensor) and name != "identified"
        }
        return cls(
            identified=first.identified,
            method=first.method,
            coordinates=first.coordinates,
            **columns,
        )

    def by(self, method: str, **changes: Tensor) -> "Labels":
        """These labels as found by ``method``, with what it found otherwise."""
        return replace(self, method=method, **changes)  # pyright: ignore[reportArgumentType]

    def first(self, count: int) -> "Labels":
        """The labels of the first windows."""
        columns = {
            name: value[:count]
            for name, value in vars(self).items()
            if isinstance(value, Tensor) and name != "identified"
        }
        return replace(self, **columns)

    def flagged(self, name: str) -> Bool[Tensor, " windows"]:
        """Windows with that flag, one of ``FLAGS``."""
        if name not in FLAGS:
            raise UserError(f"label flag {name!r} is unknown; use one of {', '.join(FLAGS)}")
        return self.flags[:, FLAGS.index(name)]

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
            # Weights sum to 1 but for rounding, which must not leave the bounds of a field.
            mean = (value @ w).clamp(value.amin(dim=1), value.amax(dim=1))
            variance = (value - mean[:, None]).square() @ w
            moments[name] = (mean, variance.sqrt())
        return moments
