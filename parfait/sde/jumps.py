"""Compound Poisson jumps scattered over bars, and the two laws of their sizes."""

from collections.abc import Callable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.sde.process import Chunk, Value
from parfait.sde.streams import BLOCK, Purpose

# (owner of each jump within the block, block, columns of the block) -> log sizes of those jumps
SizeLaw = Callable[[Int64[Tensor, " jumps"], int, slice], Float64[Tensor, " jumps"]]


def scatter_jumps(chunk: Chunk, lam: Float64[Tensor, "..."], sizes: SizeLaw) -> None:
    """Fills ``chunk.jumps``, the sum of the log jumps of every bar.

    N ~ Poisson(lam T) per path, times uniform, sizes from their law.

    The same law as a Poisson count in every bar, at a cost that grows with the jumps and not with
    the bars. On a GPU the sums use float atomics, so their last bits need
    ``torch.use_deterministic_algorithms``.
    """
    assert chunk.jumps is not None
    chunk.jumps.zero_()
    rate = (lam.detach() * chunk.years).expand(chunk.width)
    for block, columns in chunk.streams.blocks():
        expected = torch.zeros(BLOCK, dtype=torch.float64, device=rate.device)
        expected[: columns.stop - columns.start] = rate[columns]
        counts = torch.poisson(expected, chunk.streams.generator(Purpose.JUMP_COUNTS, block)).long()
        owner = torch.repeat_interleave(counts)
        if owner.numel() == 0:
            continue
        when = chunk.streams.flat_uniform(Purpose.JUMP_TIMES, block, owner.numel())
        bar = (when * chunk.steps).long().clamp_(max=chunk.steps - 1)
        size = sizes(owner, block, columns)
        width = columns.stop - columns.start
        bars = torch.zeros(chunk.steps * width, dtype=chunk.jumps.dtype, device=size.device)
        bars.index_add_(0, bar * width + owner, chunk.cast(size))
        chunk.jumps[:, columns] = bars.view(chunk.steps, width)


def normal_sizes(chunk: Chunk, mean: Value, std: Value) -> SizeLaw:
    """log J ~ N(mean, std^2), per-path parameters allowed."""
    m, s = (chunk.exact(v).expand(chunk.width) for v in (mean, std))

    def draw(owner: Tensor, block: int, columns: slice) -> Tensor:
        noise = chunk.streams.flat_normal(Purpose.JUMP_SIZES, block, owner.numel())
        return m[columns][owner] + s[columns][owner] * noise

    return draw


def double_exponential_sizes(chunk: Chunk, p_up: Value, eta_up: Value, eta_down: Value) -> SizeLaw:
    """log J = +Exp(eta_up) with probability p_up, else -Exp(eta_down), from one uniform."""
    p, up, down = (chunk.exact(v).expand(chunk.width) for v in (p_up, eta_up, eta_down))

    def draw(owner: Tensor, block: int, columns: slice) -> Tensor:
        u = chunk.streams.flat_uniform(Purpose.JUMP_SIZES, block, owner.numel())
        q = p[columns][owner]
        # Given its side, the uniform is uniform again: 1 - u/p above, (1 - u)/(1 - p) below.
        share = (u / q.clamp(min=1e-300)).clamp(max=1 - 1e-16)
        rising = -torch.log1p(-share) / up[columns][owner]
        falling = torch.log((1 - u) / (1 - q).clamp(min=1e-300)) / down[columns][owner]
        return torch.where(u < q, rising, falling)

    return draw


def merton_kbar(jump_mean: Tensor, jump_std: Tensor) -> Tensor:
    """E[J] - 1 = exp(m + s^2/2) - 1 for lognormal jumps."""
    return torch.expm1(jump_mean + 0.5 * jump_std**2)
