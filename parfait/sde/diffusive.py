"""The correlation of price noise that gives bar returns the correlation asked for."""

import math
from dataclasses import dataclass, fields
from functools import reduce
from itertools import combinations

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.sde.correlation import cholesky, repaired_where
from parfait.sde.profile import Profile, overlap, reversion

_TINY = 1e-30  # a product of variances below this has no correlation to speak of
_STRAIGHT = 1e-9  # a bend below this moves no correlation
_HALLEY = 4  # steps that reach 1e-9 from everywhere


@dataclass(frozen=True, eq=False)
class Solution:
    """Correlations of some paths.

    Args:
        diffusive: D of ``MultiAsset``, the correlation of the price noise.
        attainable: correlation of bar returns that D gives.
        least, most: what every pair could have by itself.
        jumps: correlation that comes from the jumps.
        memory: correlation of bar returns without jumps at equal price noise and variances.
    """

    diffusive: Float64[Tensor, "paths assets assets"]
    attainable: Float64[Tensor, "paths assets assets"]
    least: Float64[Tensor, "paths assets assets"]
    most: Float64[Tensor, "paths assets assets"]
    jumps: Float64[Tensor, "paths assets assets"]
    memory: Float64[Tensor, "paths assets assets"]

    @classmethod
    def of(
        cls,
        profiles: list[Profile],
        wanted: Float64[Tensor, "paths assets assets"],
        share: float,
        steps: int,
    ) -> "Solution":
        """The solution for correlations ``wanted``, ``share`` of the jumps common."""
        paths, assets = wanted.shape[:2]
        identity = torch.eye(assets, dtype=torch.float64, device=wanted.device)
        out = {f.name: identity.repeat(paths, 1, 1) for f in fields(cls)}

        def fill(name: str, i: int, j: int, values: Tensor) -> None:
            out[name][:, i, j] = values
            out[name][:, j, i] = values

        pairs = {
            (i, j): Pair.of(profiles[i], profiles[j], wanted[:, i, j], share, steps)
            for i, j in combinations(range(assets), 2)
        }
        for place, pair in pairs.items():
            fill("diffusive", *place, pair.solution())
            low, high = pair.range()
            fill("least", *place, pair.result(low))
            fill("most", *place, pair.result(high))
            fill("jumps", *place, pair.jumps)
            fill("memory", *place, pair.memory)
        out["diffusive"] = repaired_where(out["diffusive"], ~cholesky(out["diffusive"])[1])
        for (i, j), pair in pairs.items():
            fill("attainable", i, j, pair.result(out["diffusive"][:, i, j]))
        return cls(**out)

    @classmethod
    def joined(cls, parts: list["Solution"]) -> "Solution":
        """Those of consecutive paths as one."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Pair:
    """Correlation of the bar returns of two assets, slope d exp(bend d) + jumps, as a function of
    the correlation d of their price noise.

    E[sqrt v_i v_j] = E[sqrt v_i] E[sqrt v_j] exp(bend d) is exact for lognormal variances whose
    noises have the correlation d cos(theta_i - theta_j), and at both ends, d = 0 and equal assets
    with d = 1, for all.
    """

    wanted: Float64[Tensor, " paths"]
    slope: Float64[Tensor, " width"]
    bend: Float64[Tensor, " width"]
    jumps: Float64[Tensor, " width"]
    memory: Float64[Tensor, " width"]
    real: Tensor  # both assets move

    @classmethod
    def of(
        cls, a: Profile, b: Profile, wanted: Float64[Tensor, " paths"], share: float, steps: int
    ) -> "Pair":
        """The pair of two profiles."""
        pull = reversion(a.decay, b.decay, steps)
        memory = overlap(a.hurst, b.hurst, steps) * pull
        variances = [_mean(p.variance) + _mean(p.jump_variance) for p in (a, b)]
        square = variances[0] * variances[1]
        scale = square.clamp(min=_TINY).rsqrt()
        roots = a.root * b.root
        slope = _mean(roots)
        together = _mean(roots * torch.exp(a.wobble * b.wobble))
        bend = torch.where(slope > _TINY, together / slope.clamp(min=_TINY), 1.0).log()
        rate = share * torch.minimum(a.jump_rate, b.jump_rate)
        sizes = a.jump_mean * b.jump_mean + wanted * a.jump_std * b.jump_std
        return cls(
            wanted,
            memory * slope * scale,
            bend * _mean(_cosine(a.leverage, b.leverage)),
            pull * _mean(rate * sizes) * scale,
            memory,
            square > _TINY,
        )

    def range(self) -> tuple[Tensor, Tensor]:
        """The least and the largest d that are of use: beyond -1/bend correlation turns back."""
        turn = -1 / torch.where(self.bend == 0, _TINY, self.bend)
        low = torch.where(turn < 0, turn, -1.0).clamp(min=-1)
        high = torch.where(turn > 0, turn, 1.0).clamp(max=1)
        return low.expand_as(self.wanted), high.expand_as(self.wanted)

    def solution(self) -> Float64[Tensor, " paths"]:
        """The d that gives the correlation asked for, or the nearest one."""
        low, high = self.range()
        target = (self.wanted - self.jumps) / self.slope.clamp(min=_TINY)
        bent = self.bend.abs() > _STRAIGHT
        if bool(bent.any()):
            bend = torch.where(bent, self.bend, 1.0)
            d = torch.where(bent, lambert_w(bend * target) / bend, target)
        else:
            d = target
        d = torch.minimum(torch.maximum(d, low), high)
        return torch.where(self.slope > _TINY, d, self.wanted)

    def result(self, d: Float64[Tensor, " paths"]) -> Float64[Tensor, " paths"]:
        """The correlation of bar returns."""
        result = self.slope * d * torch.exp(self.bend * d) + self.jumps
        return torch.where(self.real, result, self.wanted)


def lambert_w(x: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The principal w with w exp(w) = x, -1 below -1/e, where there is none.

    Halley's iteration (Corless et al. 1996).
    """
    x = x.clamp(min=-math.exp(-1))
    w = torch.where(x < 0, (2 * (1 + math.e * x)).clamp(min=0).sqrt() - 1, torch.log1p(x))
    for _ in range(_HALLEY):
        growth = torch.exp(w)
        error, beyond = w * growth - x, (w + 1).clamp(min=1e-6)
        w = w - error / (growth * beyond - (w + 2) * error / (2 * beyond))
    return w


def _cosine(rho_a: Tensor, rho_b: Tensor) -> Tensor:
    rest = ((1 - rho_a**2) * (1 - rho_b**2)).clamp(min=0).sqrt()
    cosine = rho_a * rho_b + rest
    return cosine if cosine.ndim == 2 else cosine.reshape(1, -1)


def _mean(rows: Float64[Tensor, "rows width"]) -> Float64[Tensor, " width"]:
    """Down the columns, one row after another: a path's sum must not depend on the width."""
    return reduce(torch.add, rows.unbind(0)) / rows.shape[0]
