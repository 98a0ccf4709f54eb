"""Compound Poisson jumps scattered over bars, and the two laws of their sizes."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.sde.process import Chunk, Value
from parfait.sde.streams import Jumps

SizeLaw = Callable[[Jumps], Float64[Tensor, " jumps"]]


def scatter_jumps(chunk: Chunk, lam: Float64[Tensor, "..."], sizes: SizeLaw) -> None:
    """Fills ``chunk.jumps``, the sum of the log jumps of every bar.

    N ~ Poisson(int lam dt) per path, times by inverting the cumulative rate, sizes from the law of
    their bar. The same law as a Poisson count in every bar, at a cost that grows with the jumps and
    not with the bars. On a GPU the sums use float atomics, so their last bits need
    ``torch.use_deterministic_algorithms``.

    Args:
        chunk: where to.
        lam: jumps per year; a scalar, one per path, or (steps, width) when it changes over time.
        sizes: law of the log jumps, whose parameters have any of these shapes too.
    """
    assert chunk.jumps is not None
    chunk.jumps.zero_()
    for jumps in chunk.streams.jumps(lam.detach(), chunk.years, chunk.steps):
        if jumps.owner.numel() == 0:
            continue
        size = sizes(jumps)
        width = jumps.columns.stop - jumps.columns.start
        bars = torch.zeros(chunk.steps * width, dtype=chunk.jumps.dtype, device=size.device)
        bars.index_add_(0, jumps.bar * width + jumps.owner, chunk.cast(size))
        bars, own = bars.view(-1, width), chunk.jumps[:, jumps.columns]
        if bars.requires_grad:  # autograd refuses a change in place
            chunk.jumps[:, jumps.columns] = own + bars
        else:
            own += bars


def normal_sizes(chunk: Chunk, mean: Value, std: Value) -> SizeLaw:
    """log J ~ N(mean, std^2); parameters by path and by bar as in ``scatter_jumps``."""
    m, s = (_table(chunk, v) for v in (mean, std))

    def draw(jumps: Jumps) -> Tensor:
        return jumps.pick(m) + jumps.pick(s) * jumps.normal()

    return draw


def double_exponential_sizes(chunk: Chunk, p_up: Value, eta_up: Value, eta_down: Value) -> SizeLaw:
    """log J = +Exp(eta_up) with probability p_up, else -Exp(eta_down), from one uniform."""
    p, up, down = (_table(chunk, v) for v in (p_up, eta_up, eta_down))

    def draw(jumps: Jumps) -> Tensor:
        u, q = jumps.uniform(), jumps.pick(p)
        if jumps.ranked:
            u = torch.where(u < 1 - q, 1 - u, u - (1 - q))  # sizes then grow with the uniform
        # Given its side, the uniform is uniform again: 1 - u/p above, (1 - u)/(1 - p) below.
        share = (u / q.clamp(min=1e-300)).clamp(max=1 - 1e-16)
        rising = -torch.log1p(-share) / jumps.pick(up)
        falling = torch.log((1 - u) / (1 - q).clamp(min=1e-300)) / jumps.pick(down)
        return torch.where(u < q, rising, falling)

    return draw


def _table(chunk: Chunk, value: Value) -> Float64[Tensor, "steps width"]:
    """A parameter of any shape as a view with one row per bar."""
    return chunk.exact(value).expand(chunk.steps, chunk.width)


def merton_kbar(jump_mean: Tensor, jump_std: Tensor) -> Tensor:
    """E[J] - 1 = exp(m + s^2/2) - 1 for lognormal jumps."""
    return torch.expm1(jump_mean + 0.5 * jump_std**2)
