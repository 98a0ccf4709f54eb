"""Streams of several assets: the same independent numbers, mixed so that assets move together."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.sde.streams import Arrivals, Jumps, Purpose, Streams


@dataclass(frozen=True)
class Noise:
    """What the assets of one chunk share.

    Args:
        own: independent streams, one per asset; the first are those of a single asset.
        factor: L, L L^T the correlation of the price noise.
        leverage: rho of every asset, (), (width,) or (steps, width).
        sizes: Cholesky factor of the correlation of the jump sizes, as ``factor``.
        rate: common jumps per year, the largest rate of any asset, shaped as ``leverage``.
        share: share of every asset's jumps that are common ones.
    """

    own: tuple[Streams, ...]
    factor: Float64[Tensor, "assets assets width"]
    leverage: tuple[Tensor, ...]
    sizes: Float64[Tensor, "assets assets width"]
    rate: Float64[Tensor, "..."]
    share: float
    _drawn: dict = field(default_factory=dict)

    def normal(self, asset: int, purpose: Purpose, rows: int) -> Tensor:
        """The asset's own independent numbers, drawn once for all assets; not to be written to."""
        key = (asset, purpose, rows)
        if key not in self._drawn:
            self._drawn[key] = self.own[asset].normal(purpose, rows)
        return self._drawn[key]

    def times(self, block: int, columns: slice, years: float, steps: int) -> tuple[Tensor, ...]:
        """Bar, owner, mark in [0, 1) of every common jump of a block, and a normal per asset."""
        if block not in self._drawn:
            first = self.own[0]
            arrivals = Arrivals.of(self.share * self.rate, years, steps, first.width)
            uniform = partial(first.flat_uniform, Purpose.COMMON_TIMES, block)
            counting = first.generator(Purpose.COMMON_COUNTS, block)
            bar, owner = arrivals.draw(columns, counting, uniform)
            count = owner.numel()
            marks = first.flat_uniform(Purpose.COMMON_MARKS, block, count)
            draws = [s.flat_normal(Purpose.COMMON_SIZES, block, count) for s in self.own]
            self._drawn[block] = (bar, owner, marks, torch.stack(draws))
        return self._drawn[block]


class JointStreams(Streams):
    """The streams of one of several correlated assets.

    The price noise w = rho Z1 + sqrt(1 - rho^2) Z2 of asset i is sum_j L_ij w_j, and what is
    orthogonal to it, u = sqrt(1 - rho^2) Z1 - rho Z2, is sum_j L_ij u_j. Rotated back,

        Z1_i = sum_j L_ij (c_ij Z1_j + s_ij Z2_j),   Z2_i = sum_j L_ij (c_ij Z2_j - s_ij Z1_j)

    with c_ij, s_ij the cosine and sine of theta_j - theta_i, rho = cos theta. So prices have
    exactly the correlation L L^T whatever the leverages, and variances c_ij times that.

    Args:
        noise: what the assets share.
        asset: which of them this is.
    """

    joint = True

    def __init__(self, noise: Noise, asset: int) -> None:
        own = noise.own[asset]
        super().__init__(own.root, own.first_block, own.width, own.dtype, own.device)
        self.noise, self.asset = noise, asset

    def normal(self, purpose: Purpose, rows: int) -> Float[Tensor, "rows width"]:
        """Normals of this asset, independent in time and correlated with those of the others."""
        noise, i = self.noise, self.asset
        total = noise.normal(i, purpose, rows) * noise.factor[i, i].to(self.dtype)
        turned = purpose in (Purpose.VARIANCE, Purpose.PRICE)
        other = Purpose.PRICE if purpose == Purpose.VARIANCE else Purpose.VARIANCE
        for j in range(i):
            weight = noise.factor[i, j]
            cosine, sine = _turn(noise.leverage[i], noise.leverage[j])
            if turned:
                total.addcmul_(noise.normal(j, purpose, rows), (weight * cosine).to(self.dtype))
            else:
                total.addcmul_(noise.normal(j, purpose, rows), weight.to(self.dtype))
            if turned and bool(sine.any()):
                signed = weight * (sine if purpose == Purpose.VARIANCE else -sine)
                total.addcmul_(noise.normal(j, other, rows), signed.to(self.dtype))
        return total

    def jumps(self, lam: Float64[Tensor, "..."], years: float, steps: int) -> Iterator[Jumps]:
        """The asset's own jumps, then those it takes of the common ones.

        A common jump comes at the largest rate of any asset and is taken where its mark lies below
        the asset's share of that rate, so that assets of equal rates take the same ones.
        """
        noise = self.noise
        yield from super().jumps(lam * (1 - noise.share), years, steps)
        if noise.share == 0:
            return
        rate, own = (value.expand(steps, self.width) for value in (noise.rate, lam))
        for block, columns in self.blocks():
            bar, owner, marks, normals = noise.times(block, columns, years, steps)
            ceiling, wanted = (table[:, columns][bar, owner] for table in (rate, own))
            taken = (marks * ceiling < wanted).nonzero().squeeze(1)
            bar, owner, normals = bar[taken], owner[taken], normals[:, taken]
            size = torch.zeros_like(normals[0])
            for j in range(self.asset + 1):
                size += noise.sizes[self.asset, j, columns][owner] * normals[j]
            uniform = partial(_distribution, size)
            yield Jumps(columns, bar, owner, partial(torch.clone, size), uniform, ranked=True)


def _turn(rho_i: Tensor, rho_j: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of theta_j - theta_i; exactly 1 and 0 where the leverages are equal."""
    rest_i, rest_j = ((1 - rho**2).clamp(min=0).sqrt() for rho in (rho_i, rho_j))
    sine = rho_i * rest_j - rest_i * rho_j
    same = rho_i == rho_j
    return torch.where(same, 1.0, rho_i * rho_j + rest_i * rest_j), torch.where(same, 0.0, sine)


def _distribution(z: Tensor) -> Tensor:
    """Phi(z), below 1."""
    return (0.5 * torch.special.erfc(-z * 0.5**0.5)).clamp(max=1 - 2**-53)
