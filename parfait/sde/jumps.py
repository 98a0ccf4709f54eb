"""Compound Poisson jumps scattered over bars, and the two laws of their sizes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.sde.process import Chunk, Value
from parfait.sde.streams import BLOCK, Purpose, Streams

# (bar and owner of each jump within the block, block, its columns) -> log sizes of those jumps
SizeLaw = Callable[
    [Int64[Tensor, " jumps"], Int64[Tensor, " jumps"], int, slice], Float64[Tensor, " jumps"]
]


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
    arrivals = Arrivals.of(lam.detach(), chunk)
    for block, columns in chunk.streams.blocks():
        bar, owner = arrivals.draw(chunk.streams, block, columns)
        if owner.numel() == 0:
            continue
        size = sizes(bar, owner, block, columns)
        width = columns.stop - columns.start
        bars = torch.zeros(chunk.steps * width, dtype=chunk.jumps.dtype, device=size.device)
        bars.index_add_(0, bar * width + owner, chunk.cast(size))
        chunk.jumps[:, columns] = bars.view(chunk.steps, width)


@dataclass(frozen=True)
class Arrivals:
    """When jumps happen: an inhomogeneous Poisson process, its rate constant within a bar.

    Args:
        expected: number of jumps of every path.
        clock: cumulative rate at the end of every bar, in any unit; ``None`` where no rate changes.
        steps: number of bars.
    """

    expected: Float64[Tensor, " width"]
    clock: Float64[Tensor, "steps width"] | None
    steps: int

    @classmethod
    def of(cls, lam: Float64[Tensor, "..."], chunk: Chunk) -> "Arrivals":
        """The arrivals at rate ``lam`` per year, of any shape ``scatter_jumps`` takes."""
        if lam.ndim < 2:
            return cls((lam * chunk.years).expand(chunk.width), None, chunk.steps)
        # A path whose rate never changes keeps the clock, and so the jumps, of a constant rate.
        steady = (lam == lam[0]).all(dim=0)
        count = torch.arange(1, chunk.steps + 1, dtype=torch.float64, device=lam.device)
        clock = torch.where(steady, count[:, None], lam.cumsum(dim=0))
        expected = torch.where(steady, lam[0] * chunk.years, clock[-1] * chunk.dt)
        return cls(expected, clock, chunk.steps)

    def draw(
        self, streams: Streams, block: int, columns: slice
    ) -> tuple[Int64[Tensor, " jumps"], Int64[Tensor, " jumps"]]:
        """Bar and owner (within the block) of every jump of one block."""
        expected = torch.zeros(BLOCK, dtype=torch.float64, device=self.expected.device)
        expected[: columns.stop - columns.start] = self.expected[columns]
        counts = torch.poisson(expected, streams.generator(Purpose.JUMP_COUNTS, block)).long()
        owner = torch.repeat_interleave(counts)
        when = streams.flat_uniform(Purpose.JUMP_TIMES, block, owner.numel())
        if self.clock is None:
            return (when * self.steps).long().clamp_(max=self.steps - 1), owner
        clock = self.clock[:, columns]
        target = when * clock[-1][owner]
        # Bisection for the first bar whose clock exceeds the target, in every path's own column.
        low, high = torch.zeros_like(owner), torch.full_like(owner, self.steps - 1)
        for _ in range((self.steps - 1).bit_length()):
            middle = (low + high) // 2
            later = clock[middle, owner] <= target
            low = torch.where(later, middle + 1, low).clamp_(max=self.steps - 1)
            high = torch.where(later, high, middle)
        return low, owner


def normal_sizes(chunk: Chunk, mean: Value, std: Value) -> SizeLaw:
    """log J ~ N(mean, std^2); parameters by path and by bar as in ``scatter_jumps``."""
    m, s = (_table(chunk, v) for v in (mean, std))

    def draw(bar: Tensor, owner: Tensor, block: int, columns: slice) -> Tensor:
        noise = chunk.streams.flat_normal(Purpose.JUMP_SIZES, block, owner.numel())
        return m[:, columns][bar, owner] + s[:, columns][bar, owner] * noise

    return draw


def double_exponential_sizes(chunk: Chunk, p_up: Value, eta_up: Value, eta_down: Value) -> SizeLaw:
    """log J = +Exp(eta_up) with probability p_up, else -Exp(eta_down), from one uniform."""
    p, up, down = (_table(chunk, v) for v in (p_up, eta_up, eta_down))

    def draw(bar: Tensor, owner: Tensor, block: int, columns: slice) -> Tensor:
        u = chunk.streams.flat_uniform(Purpose.JUMP_SIZES, block, owner.numel())
        q = p[:, columns][bar, owner]
        # Given its side, the uniform is uniform again: 1 - u/p above, (1 - u)/(1 - p) below.
        share = (u / q.clamp(min=1e-300)).clamp(max=1 - 1e-16)
        rising = -torch.log1p(-share) / up[:, columns][bar, owner]
        falling = torch.log((1 - u) / (1 - q).clamp(min=1e-300)) / down[:, columns][bar, owner]
        return torch.where(u < q, rising, falling)

    return draw


def _table(chunk: Chunk, value: Value) -> Float64[Tensor, "steps width"]:
    """A parameter of any shape as a view with one row per bar."""
    return chunk.exact(value).expand(chunk.steps, chunk.width)


def merton_kbar(jump_mean: Tensor, jump_std: Tensor) -> Tensor:
    """E[J] - 1 = exp(m + s^2/2) - 1 for lognormal jumps."""
    return torch.expm1(jump_mean + 0.5 * jump_std**2)
