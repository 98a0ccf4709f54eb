"""Scores of Gaussian mixtures: exact where a mixture has a closed form, by draws where not.

A reading becomes a mixture over the coordinates ``COMPARED`` in units of the prior of its asset
class in the present market, so that one number means the same for gold and for a currency.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.functional.reading import COMPARED, Yardstick
from parfait.regime import RegimeDistribution

FLOOR = 0.05  # prior sd; what is stated literally has no width, and no density without one
_SQRT_PI = math.sqrt(math.pi)


@dataclass(frozen=True, eq=False)
class Mixtures:
    """A batch of Gaussian mixtures.

    Args:
        weights: they sum to 1; 0 for components that a mixture does not have.
        mean: of each component.
        cholesky: lower triangular, of full rank.
    """

    weights: Float64[Tensor, "batch k"]
    mean: Float64[Tensor, "batch k d"]
    cholesky: Float64[Tensor, "batch k d d"]

    @classmethod
    def of(cls, told: Sequence[RegimeDistribution], units: Sequence[Yardstick]) -> "Mixtures":
        """Readings in units of the prior, ``FLOOR`` added to every width; phases and conditions
        are not told.
        """
        d, most = len(COMPARED), max(len(one.components) for one in told)
        weights = torch.zeros(len(told), most, dtype=torch.float64)
        mean = torch.zeros(len(told), most, d, dtype=torch.float64)
        root = torch.zeros(len(told), most, d, d, dtype=torch.float64)
        for i, (one, unit) in enumerate(zip(told, units, strict=True)):
            sd = unit.sd[:d]
            for k, c in enumerate(one.components):
                weights[i, k] = c.weight
                mean[i, k] = (c.mean[:d] - unit.centre[:d]) / sd
                root[i, k] = c.cholesky[:d, :d] / sd[:, None]
        covariance = root @ root.mT + FLOOR**2 * torch.eye(d, dtype=torch.float64)
        return cls(weights / weights.sum(1, keepdim=True), mean, torch.linalg.cholesky(covariance))

    @classmethod
    def normal(
        cls, mean: Float64[Tensor, "batch d"], root: Float64[Tensor, "any d d"]
    ) -> "Mixtures":
        """One Gaussian each, of one width for all or of their own."""
        ones = torch.ones(len(mean), 1, dtype=torch.float64)
        whole = root.expand(len(mean), *root.shape[1:])
        return cls(ones, mean[:, None], whole[:, None])

    def __getitem__(self, rows: Tensor) -> "Mixtures":
        return Mixtures(self.weights[rows], self.mean[rows], self.cholesky[rows])

    def of_fields(self, fields: Sequence[int]) -> "Mixtures":
        """The marginal mixtures of some coordinates."""
        root = self.cholesky[:, :, list(fields)]
        covariance = root @ root.mT
        return Mixtures(
            self.weights, self.mean[..., list(fields)], torch.linalg.cholesky(covariance)
        )

    @property
    def centre(self) -> Float64[Tensor, "batch d"]:
        """sum_k w_k mu_k."""
        return (self.weights[..., None] * self.mean).sum(1)

    @property
    def sd(self) -> Float64[Tensor, "batch k d"]:
        """Of each component and coordinate."""
        return self.cholesky.square().sum(-1).sqrt()

    def draw(self, n: int, generator: torch.Generator) -> Float64[Tensor, "batch n d"]:
        """n draws of each."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(
            (*which.shape, self.mean.shape[-1]), generator=generator, dtype=torch.float64
        )
        rows = torch.arange(len(which))[:, None]
        turned = (self.cholesky[rows, which] @ noise[..., None])[..., 0]
        return self.mean[rows, which] + turned

    def nll(self, points: Float64[Tensor, "batch n d"]) -> Float64[Tensor, "batch n"]:
        """-ln p of every point, in nats."""
        gap = (points[:, None] - self.mean[:, :, None]).mT  # (batch, k, d, n)
        solved = torch.linalg.solve_triangular(self.cholesky, gap, upper=False)
        logs = self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = logs + 0.5 * self.mean.shape[-1] * math.log(2 * math.pi)
        density = -0.5 * solved.square().sum(2) - constant[..., None]
        return -torch.logsumexp(self.weights.log()[..., None] + density, dim=1)

    def cdf(self, points: Float64[Tensor, "batch n d"]) -> Float64[Tensor, "batch n d"]:
        """P(X_j <= x_j) of every point and coordinate: the probability integral transform."""
        z = (points[:, None] - self.mean[:, :, None]) / self.sd[:, :, None]
        return (self.weights[..., None, None] * torch.special.ndtr(z)).sum(1)

    def crps(self, points: Float64[Tensor, "batch n d"]) -> Float64[Tensor, "batch n d"]:
        """Continuous ranked probability score of every point and coordinate.

            sum_i w_i A(x - mu_i, s_i^2) - 1/2 sum_ij w_i w_j A(mu_i - mu_j, s_i^2 + s_j^2),
            A(m, v) = E|N(m, v)| = 2 sqrt(v) phi(m / sqrt v) + m (2 Phi(m / sqrt v) - 1)

        Source: Grimit, Gneiting, Berrocal and Johnson (2006), equation 3.
        """
        variance, w = self.sd.square(), self.weights
        near = _absolute(points[:, None] - self.mean[:, :, None], variance[:, :, None])
        apart = _absolute(
            self.mean[:, :, None] - self.mean[:, None], variance[:, :, None] + variance[:, None]
        )
        pairs = w[:, :, None, None] * w[:, None, :, None]
        spread = (pairs * apart).sum((1, 2))[:, None]
        return (w[..., None, None] * near).sum(1) - spread / 2


def _absolute(mean: Tensor, variance: Tensor) -> Tensor:
    sd = variance.sqrt()
    z = mean / sd
    density = (-0.5 * z.square()).exp() * (math.sqrt(2) / _SQRT_PI)
    return sd * density + mean * torch.special.erf(z / math.sqrt(2))


def expected_energy(
    samples: Float64[Tensor, "batch m d"], points: Float64[Tensor, "batch n d"]
) -> Float64[Tensor, " batch"]:
    """mean_n E|X - z_n| - 1/2 E|X - X'|, Euclidean, from draws X of each forecast.

    Pairs of different draws alone count, so that the estimate has no bias and the law that the
    points come from has the least expectation.

    Source: Gneiting and Raftery (2007), equation 22.
    """
    m = samples.shape[1]
    near = torch.cdist(samples, points).mean((1, 2))
    pairs = torch.cdist(samples, samples, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2))
    return near - pairs / (2 * m * (m - 1))


def inside(values: Float64[Tensor, "*n"], level: float) -> Float64[Tensor, "*n"]:
    """1 where a probability integral transform lies in the central interval of that level."""
    return ((values - 0.5).abs() <= level / 2).to(torch.float64)


def reliability(
    told: Float64[Tensor, " n"], happened: Float64[Tensor, " n"], bins: int = 10
) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error of probabilities, and the diagram behind it.

        ECE = sum_b (n_b / n) |mean told in b - mean happened in b|        equal bins of [0, 1]

    Args:
        told: probabilities.
        happened: 0 or 1, or the probability with which it happens.
        bins: how many.

    Returns:
        The error; and for bins that hold any: mean told, mean happened, how many.

    Source: Naeini, Cooper and Hauskrecht (2015).
    """
    place = (told * bins).long().clamp(0, bins - 1)
    error, diagram = 0.0, []
    for b in range(bins):
        mine = place == b
        if bool(mine.any()):
            x, y, n = float(told[mine].mean()), float(happened[mine].mean()), int(mine.sum())
            error += n / len(told) * abs(x - y)
            diagram.append((x, y, n))
    return error, diagram


def auroc(scores: Float64[Tensor, " n"], positive: Float64[Tensor, " m"]) -> float:
    """P(a positive's score > another's) + P(equal) / 2: area under the ROC curve."""
    gap = positive[:, None] - scores[None, :]
    return float((gap > 0).double().mean() + (gap == 0).double().mean() / 2)
