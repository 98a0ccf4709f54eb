"""The correlation of price noise that gives bar returns the correlation asked for."""

from functools import reduce
from itertools import combinations

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.sde.correlation import cholesky, repaired_where
from parfait.sde.profile import Profile, overlap

_TINY = 1e-30  # a product of variances below this has no correlation to speak of


def solve_diffusive(
    profiles: list[Profile],
    wanted: Float64[Tensor, "paths assets assets"],
    share: float,
    steps: int,
) -> tuple[Tensor, ...]:
    """D of ``MultiAsset``, the correlation of bar returns it gives, and the least and most that each
    pair alone could have, all of shape (paths, assets, assets).

    With E[sqrt v_i v_j] = E[sqrt v_i] E[sqrt v_j] + cos D_ij sd(sqrt v_i) sd(sqrt v_j), where cos is
    that of the difference of the leverages' angles, the equation for D_ij is quadratic.
    """
    paths, assets = wanted.shape[:2]
    diffusive, attainable, least, most = (
        torch.eye(assets, dtype=torch.float64, device=wanted.device).repeat(paths, 1, 1)
        for _ in range(4)
    )
    pairs = {}
    for i, j in combinations(range(assets), 2):
        pair = pairs[i, j] = _Pair(profiles[i], profiles[j], wanted[:, i, j], share, steps)
        diffusive[:, i, j] = diffusive[:, j, i] = pair.solution()
        least[:, i, j] = least[:, j, i] = pair.result(torch.full_like(pair.wanted, -1.0))
        most[:, i, j] = most[:, j, i] = pair.result(torch.ones_like(pair.wanted))
    diffusive = repaired_where(diffusive, ~cholesky(diffusive)[1])
    for (i, j), pair in pairs.items():
        attainable[:, i, j] = attainable[:, j, i] = pair.result(diffusive[:, i, j])
    return diffusive, attainable, least, most


class _Pair:
    """Covariance of two assets as a function of the correlation d of their price noise.

    ``slope`` d + ``bend`` d^2 + ``jumps``, of bar returns per year, averaged over the bars.
    """

    def __init__(
        self, a: Profile, b: Profile, wanted: Float64[Tensor, " paths"], share: float, steps: int
    ) -> None:
        self.wanted = wanted
        memory = overlap(a.hurst, b.hurst, steps)
        cosine = _mean(_cosine(a.leverage, b.leverage))
        self.slope = memory * _mean(a.root * b.root)
        self.bend = memory * cosine * _mean(a.spread * b.spread)
        rate = share * torch.minimum(a.jump_rate, b.jump_rate)
        sizes = a.jump_mean * b.jump_mean + wanted * a.jump_std * b.jump_std
        self.jumps = _mean(rate * sizes)
        self.square = (_mean(a.variance) + _mean(a.jump_variance)) * (
            _mean(b.variance) + _mean(b.jump_variance)
        )

    def solution(self) -> Float64[Tensor, " paths"]:
        """The d that gives the correlation asked for, or the nearest one in [-1, 1]."""
        target = self.wanted * self.square.sqrt() - self.jumps
        inside = (self.slope**2 + 4 * self.bend * target).clamp(min=0)
        below = self.slope + inside.sqrt()
        d = 2 * target / below.clamp(min=_TINY)
        return torch.where(below > _TINY, d, self.wanted).clamp(-1, 1)

    def result(self, d: Float64[Tensor, " paths"]) -> Float64[Tensor, " paths"]:
        """The correlation of bar returns."""
        covariance = (self.slope + self.bend * d) * d + self.jumps
        result = covariance / self.square.clamp(min=_TINY).sqrt()
        return torch.where(self.square > _TINY, result, self.wanted)


def _cosine(rho_a: Tensor, rho_b: Tensor) -> Tensor:
    rest = ((1 - rho_a**2) * (1 - rho_b**2)).clamp(min=0).sqrt()
    cosine = rho_a * rho_b + rest
    return cosine if cosine.ndim == 2 else cosine.reshape(1, -1)


def _mean(rows: Float64[Tensor, "rows width"]) -> Float64[Tensor, " width"]:
    """Down the columns, one row after another: a path's sum must not depend on the width."""
    return reduce(torch.add, rows.unbind(0)) / rows.shape[0]
