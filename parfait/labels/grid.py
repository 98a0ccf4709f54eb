"""Posteriors on a grid: moments of weights, for all windows at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GridPosterior:
    """What one parameter's grid says, per window.

    Args:
        values: the grid, natural units.
        weights: posterior probabilities, rows sum to 1.
        log_bayes: ln of the marginal likelihood over the likelihood of a random walk.
    """

    values: Float64[Tensor, " grid"]
    weights: Float64[Tensor, "windows grid"]
    log_bayes: Float64[Tensor, " windows"]

    def moments(
        self, coordinate: Float64[Tensor, " grid"] | Float64[Tensor, "windows grid"] | None = None
    ) -> tuple[Float64[Tensor, " windows"], Float64[Tensor, " windows"]]:
        """Mean and standard deviation of ``coordinate``, which defaults to the parameter itself."""
        return moments(self.weights, self.values if coordinate is None else coordinate)


def filled(matrix: Float64[Tensor, "rows columns"]) -> Float64[Tensor, "rows filled"]:
    """The matrix with columns of zeros up to a multiple of eight.

    The last digits of a product of another width depend on where in a batch a row stands.
    """
    return torch.nn.functional.pad(matrix, (0, -matrix.shape[1] % 8))


def moments(
    weights: Float64[Tensor, "windows grid"],
    values: Float64[Tensor, " grid"] | Float64[Tensor, "windows grid"],
) -> tuple[Float64[Tensor, " windows"], Float64[Tensor, " windows"]]:
    """Mean and standard deviation of ``values`` under ``weights``."""
    mean = (weights * values).sum(dim=1)
    deviation = values - mean[:, None]
    return mean, (weights * deviation.square()).sum(dim=1).sqrt()


def chebyshev_nodes(low: float, high: float, count: int) -> Float64[Tensor, " count"]:
    """Chebyshev points of the second kind, both ends included, ascending."""
    k = torch.arange(count, dtype=torch.float64)
    return (low + high) / 2 - (high - low) / 2 * torch.cos(torch.pi * k / (count - 1))


def chebyshev_interpolation(
    nodes: Float64[Tensor, " count"], points: Float64[Tensor, " points"]
) -> Float64[Tensor, "count points"]:
    """Matrix that takes values at ``nodes`` to those of their polynomial at ``points``.

    Barycentric formula (Berrut & Trefethen 2004).
    """
    sign = torch.ones_like(nodes)
    sign[1::2] = -1
    sign[[0, -1]] *= 0.5
    gap = points[None, :] - nodes[:, None]
    hit = gap == 0
    term = sign[:, None] / torch.where(hit, 1.0, gap)
    matrix = term / term.sum(dim=0)
    return torch.where(hit.any(dim=0), hit.to(torch.float64), matrix)
