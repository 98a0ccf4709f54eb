"""Are the widths and weights of a student right? Sums over a validation, and what they say."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from parfait.regime.fields import FIELD_NAMES, INITIAL_VOLATILITY
from parfait.semantic.lm.head import Mixture
from parfait.semantic.lm.targets import SlotTargets

FIELDS = FIELD_NAMES[:INITIAL_VOLATILITY]  # the initial volatility is mostly left open
LEVELS = (0.5, 0.8, 0.95)
BINS = 10


def pit(told: list[Mixture], draws: Float[Tensor, "batch n d"]) -> Float[Tensor, "batch n fields"]:
    """Probability integral transform of draws under the equal mixture of several heads.

        F_j(u) = mean_h sum_k w_hk Phi((u_j - m_hkj) / s_hkj)

    Uniform on [0, 1] where the student's marginals are the teacher's (Dawid 1984).

    Args:
        told: mixtures of every head.
        draws: of the teacher, prior units.
    """
    d = len(FIELDS)
    parts = []
    for one in told:
        sd = one.cholesky.square().sum(-1).sqrt()[:, None, :, :d]
        z = (draws[:, :, None, :d] - one.mean[:, None, :, :d]) / sd
        parts.append((one.logits.softmax(-1)[:, None, :, None] * torch.special.ndtr(z)).sum(2))
    return torch.stack(parts).mean(0)


@dataclass
class Calibration:
    """Counts that add up batch by batch.

    Attributes:
        histogram: of the transform, (fields, ``BINS``).
        inside: draws in the central interval of each level, (levels, fields).
        draws: how many.
        weights: of slots by predicted weight, (3, ``BINS``): how many, their sum, the sum of the
            teacher's.
    """

    histogram: Tensor = field(default_factory=lambda: torch.zeros(len(FIELDS), BINS))
    inside: Tensor = field(default_factory=lambda: torch.zeros(len(LEVELS), len(FIELDS)))
    draws: int = 0
    weights: Tensor = field(default_factory=lambda: torch.zeros(3, BINS))

    def to(self, device: torch.device | str) -> "Calibration":
        """On a device, where batches are added without waiting for it."""
        parts = (self.histogram.to(device), self.inside.to(device))
        return Calibration(*parts, self.draws, self.weights.to(device))

    def add(
        self, told: list[Mixture], draws: Float[Tensor, "batch n d"], target: SlotTargets
    ) -> None:
        """Counts the draws of a batch and the weights of its slots."""
        u = pit(told, draws).flatten(0, 1)
        self.draws += len(u)
        place = (u * BINS).long().clamp(0, BINS - 1)
        ones = torch.ones_like(u).T
        self.histogram.scatter_add_(1, place.T.contiguous(), ones.to(self.histogram.dtype))
        for row, level in zip(self.inside, LEVELS, strict=True):
            row += ((u - 0.5).abs() <= level / 2).sum(0)
        mine = torch.stack([m.logits.softmax(-1) for m in told]).mean(0).flatten()
        theirs = target.weights.flatten().to(mine.dtype)
        place = (mine * BINS).long().clamp(0, BINS - 1)
        for row, value in zip(self.weights, (torch.ones_like(mine), mine, theirs), strict=True):
            row.scatter_add_(0, place, value.to(row.dtype))

    def coverage(self) -> Float[Tensor, "levels fields"]:
        """Shares of the draws in the central interval of each level; right where equal to it."""
        return self.inside / max(self.draws, 1)

    def weight_error(self) -> float:
        """Expected calibration error of the weights of slots (Naeini et al. 2015).

        ECE = sum_b |sum of predicted in b - sum of the teacher's in b| / number of all
        """
        count, mine, theirs = self.weights
        return float((mine - theirs).abs().sum() / count.sum().clamp(min=1))

    def uniformity(self) -> float:
        """Largest gap between the distribution of the transform and the uniform one, the mean
        over fields; 0 where calibrated.
        """
        share = self.histogram.cumsum(1) / max(self.draws, 1)
        even = torch.arange(1, BINS + 1, device=share.device) / BINS
        return float((share - even).abs().amax(1).mean())

    def scores(self) -> dict[str, float]:
        """What a log is told, by name."""
        mean = self.coverage().mean(1).tolist()
        told = {f"coverage_{100 * p:.0f}": c for p, c in zip(LEVELS, mean, strict=True)}
        return told | {"weight_error": self.weight_error(), "pit_error": self.uniformity()}
