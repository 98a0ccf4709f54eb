"""How far a guide lies from those the network was trained on.

A network answers any guide, exactly and with valid bars, but what it learnt of tails, clustering
and volume holds for guides like those of training. The distance of a guide is that of Mahalanobis
(1936) over four numbers of its moves between anchors; its place among the guides of training tells
whether the network has seen such a thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.microstructure.constraint import Segments

UNFAMILIAR = 0.99  # of the guides of training are nearer
_JUMP = 2.5  # deviations of a bar: as ``training.draw_anchors``
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 1.0)


@dataclass(frozen=True)
class Familiarity:
    """Centre and shape of the guides of training, and quantiles of their distances.

    Args:
        mean: of the four features.
        precision: inverse covariance, row by row.
        distances: squared distances at the quantiles 0, .25, .5, .75, .9, .95, .98, .99, .995,
            .998 and 1 of training; empty where nothing was fitted.
    """

    mean: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()
    distances: tuple[float, ...] = ()

    def quantile(
        self, moves: Float[Tensor, "windows bars"], segments: Segments
    ) -> Float64[Tensor, " windows"]:
        """Share of training's guides that are nearer than each of these; 0 without a guide.

        Args:
            moves: A^+ g sqrt(k) in units of the window's volatility, as the network is told.
            segments: the anchors.
        """
        if not self.distances:
            return torch.zeros(len(moves), dtype=torch.float64)
        distance = self._distance(guide_moments(moves, segments)).contiguous()
        marks = torch.tensor(self.distances, dtype=torch.float64)
        shares = torch.tensor(_QUANTILES, dtype=torch.float64)
        right = torch.searchsorted(marks, distance).clamp(1, len(marks) - 1)
        low, high = marks[right - 1], marks[right]
        along = ((distance - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
        found = shares[right - 1] + along * (shares[right] - shares[right - 1])
        return torch.where(segments.anchored.any(1), found, 0.0)

    def _distance(self, moments: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, dtype=torch.float64)
        shape = torch.tensor(self.precision, dtype=torch.float64).reshape(len(mean), len(mean))
        centred = moments - mean
        return (centred @ shape * centred).sum(1)

    @classmethod
    def fit(
        cls, batches: Sequence[tuple[Float[Tensor, "windows bars"], Segments]]
    ) -> "Familiarity":
        """From guides as training draws them; windows without one are left out."""
        parts = [guide_moments(x, s)[s.anchored.any(1)] for x, s in batches]
        moments = torch.cat(parts)
        mean = moments.mean(0)
        # A ridge: features that hardly vary in training must not make every guide a stranger.
        covariance = torch.cov(moments.T) + 1e-2 * torch.eye(moments.shape[1], dtype=torch.float64)
        known = cls(tuple(mean.tolist()), tuple(torch.linalg.inv(covariance).flatten().tolist()))
        marks = torch.quantile(
            known._distance(moments), torch.tensor(_QUANTILES, dtype=torch.float64)
        )
        return cls(known.mean, known.precision, tuple(marks.tolist()))


def guide_moments(
    moves: Float[Tensor, "windows bars"], segments: Segments
) -> Float64[Tensor, "windows 4"]:
    """Size, largest move, lag-1 correlation and jumps of x_i = g_i / sqrt(k_i) over segments.

    ln of the mean square; ln of the largest |x| over its root mean square; sum x_i x_{i+1} over
    sum x_i^2, which a trending or reverting guide moves; ln(1 + segments of one bar beyond 2.5).
    The first is taken times sqrt(m) about 1, as a mean over m segments wavers.
    """
    guided = ~segments.free & segments.anchored
    x = torch.where(guided, moves.double(), 0.0)
    count = guided.sum(1).clamp_min(1).to(torch.float64)
    square = (x.square().sum(1) / count).clamp_min(1e-4)
    size = square.log() * (count / (count + 8)).sqrt()
    peak = (x.abs().amax(1) / square.sqrt()).clamp_min(1e-2).log()
    # Neighbours among anchors: x is 0 in between, so they are gathered to the front.
    order = torch.argsort((~guided).to(torch.int8), dim=1, stable=True)
    row = x.gather(1, order)
    serial = (row[:, 1:] * row[:, :-1]).sum(1) / x.square().sum(1).clamp_min(1e-8)
    jumps = (guided & (segments.length == 1) & (x.abs() > _JUMP)).sum(1).double().log1p()
    return torch.stack([size, peak, serial, jumps], dim=1)
