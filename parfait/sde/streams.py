"""Random numbers that depend on the path and on what they are for, never on how the work is cut.

One 63-bit integer is taken from the caller's generator. Every purpose (price noise, jump sizes,
...) and every block of 4096 consecutive paths then has a generator of its own, and every draw fills
a whole block before it is trimmed. So path i is the same path whatever the number of paths, and its
diffusion is the same with and without jumps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

BLOCK = 4096
_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What a stream is for; "same seed, same paths" rests on these numbers."""

    VARIANCE = 1
    PRICE = 2
    JUMP_COUNTS = 3
    JUMP_TIMES = 4
    JUMP_SIZES = 5
    FINE_NOISE = 6
    COMMON_COUNTS = 7
    COMMON_TIMES = 8
    COMMON_MARKS = 9
    COMMON_SIZES = 10


def draw_root(generator: torch.Generator) -> int:
    """One integer in [0, 2^63 - 1): all that a simulation takes from the caller's generator."""
    limit = 2**63 - 1
    return int(torch.randint(limit, (), generator=generator, device=generator.device))


def asset_root(root: int, asset: int) -> int:
    """The integer of one of several assets; the first one's is that of a single asset."""
    return root if asset == 0 else _mix(_mix(root) ^ (asset << 32))


@dataclass(frozen=True)
class Jumps:
    """Some jumps of one block of paths.

    Args:
        columns: the paths of the block.
        bar: the bar of every jump.
        owner: its path, counted within the block.
        normal: draws a standard normal for every jump.
        uniform: draws a uniform in [0, 1) for every jump.
        ranked: large numbers must mean large jumps, since other assets see like numbers.
    """

    columns: slice
    bar: Int64[Tensor, " jumps"]
    owner: Int64[Tensor, " jumps"]
    normal: Callable[[], Tensor]
    uniform: Callable[[], Tensor]
    ranked: bool = False

    def pick(self, table: Float64[Tensor, "steps width"]) -> Float64[Tensor, " jumps"]:
        """The parameter of every jump's bar and path."""
        return table[:, self.columns][self.bar, self.owner]


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
    def of(cls, lam: Float64[Tensor, "..."], years: float, steps: int, width: int) -> "Arrivals":
        """Arrivals at rate ``lam`` per year, of shape (), (width,) or (steps, width)."""
        if lam.ndim < 2:
            return cls((lam * years).expand(width), None, steps)
        # A path whose rate never changes keeps the clock, and so the jumps, of a constant rate.
        steady = (lam == lam[0]).all(dim=0)
        count = torch.arange(1, steps + 1, dtype=torch.float64, device=lam.device)
        clock = torch.where(steady, count[:, None], lam.cumsum(dim=0))
        expected = torch.where(steady, lam[0] * years, clock[-1] * (years / steps))
        return cls(expected, clock, steps)

    def draw(
        self, columns: slice, counting: torch.Generator, uniform: Callable[[int], Tensor]
    ) -> tuple[Int64[Tensor, " jumps"], Int64[Tensor, " jumps"]]:
        """Bar and owner (within the block) of every jump of one block."""
        expected = torch.zeros(BLOCK, dtype=torch.float64, device=self.expected.device)
        expected[: columns.stop - columns.start] = self.expected[columns]
        owner = torch.repeat_interleave(torch.poisson(expected, counting).long())
        when = uniform(owner.numel())
        last = self.steps - 1
        if self.clock is None:
            return (when * self.steps).long().clamp_(max=last), owner
        clock = self.clock[:, columns]
        target = when * clock[-1][owner]
        # Bisection for the first bar whose clock exceeds the target, in every path's own column.
        low, high = torch.zeros_like(owner), torch.full_like(owner, last)
        for _ in range(last.bit_length()):
            middle = (low + high) // 2
            later = clock[middle, owner] <= target
            low = torch.where(later, middle + 1, low).clamp_(max=last)
            high = torch.where(later, high, middle)
        return low, owner


class Streams:
    """The streams of ``width`` consecutive paths that begin at block ``first_block``.

    Args:
        root: the integer of ``draw_root``.
        first_block: index of the block the first path opens.
        width: number of paths.
        dtype: of the noise; float64 noise is float32 noise cast up, so both precisions see the same
            normals.
        device: where the numbers are drawn.
        still: the noise of the price is 0 and all other noise as without it, which gives the mean
            of the price given everything else.

    ``joint`` is true for one of several correlated assets, whose noise of one bar must move that
    bar and no other.
    """

    joint: bool = False

    def __init__(
        self,
        root: int,
        first_block: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        still: bool = False,
    ) -> None:
        self.root, self.first_block, self.width = root, first_block, width
        self.dtype, self.device, self.still = dtype, device, still

    def generator(self, purpose: Purpose, block: int) -> torch.Generator:
        """A fresh generator for one purpose and one block, counted from ``first_block``."""
        seed = _mix(_mix(_mix(self.root) ^ int(purpose)) ^ (self.first_block + block))
        return torch.Generator(device=self.device).manual_seed(seed)

    def blocks(self) -> Iterator[tuple[int, slice]]:
        """(block, its columns) for every block of these paths."""
        for block, start in enumerate(range(0, self.width, BLOCK)):
            yield block, slice(start, min(start + BLOCK, self.width))

    def normal(self, purpose: Purpose, rows: int) -> Float[Tensor, "rows width"]:
        """Independent N(0, 1), one column per path."""
        noise = torch.empty((rows, self.width), dtype=self.dtype, device=self.device)
        if self.still and purpose == Purpose.PRICE:
            return noise.zero_()
        # Whole blocks: torch.randn of fewer numbers is not a prefix of torch.randn of more.
        whole = torch.empty((rows, BLOCK), device=self.device)
        for block, columns in self.blocks():
            whole.normal_(generator=self.generator(purpose, block))
            noise[:, columns] = whole[:, : columns.stop - columns.start]
        return noise

    def jumps(self, lam: Float64[Tensor, "..."], years: float, steps: int) -> Iterator[Jumps]:
        """All jumps of these paths, at ``lam`` per year of shape (), (width,) or (steps, width)."""
        arrivals = Arrivals.of(lam, years, steps, self.width)
        for block, columns in self.blocks():
            times = partial(self.flat_uniform, Purpose.JUMP_TIMES, block)
            counting = self.generator(Purpose.JUMP_COUNTS, block)
            bar, owner = arrivals.draw(columns, counting, times)
            size = (Purpose.JUMP_SIZES, block, owner.numel())
            normal, uniform = partial(self.flat_normal, *size), partial(self.flat_uniform, *size)
            yield Jumps(columns, bar, owner, normal, uniform)

    def flat_uniform(self, purpose: Purpose, block: int, count: int) -> Float64[Tensor, " count"]:
        """``count`` uniforms in [0, 1); a longer draw begins with the shorter one."""
        return self._flat(purpose, block, count, torch.rand)

    def flat_normal(self, purpose: Purpose, block: int, count: int) -> Float64[Tensor, " count"]:
        """``count`` standard normals; a longer draw begins with the shorter one."""
        return self._flat(purpose, block, count, torch.randn)

    def _flat(self, purpose: Purpose, block: int, count: int, draw) -> Tensor:
        generator = self.generator(purpose, block)
        pieces = [
            draw(BLOCK, generator=generator, dtype=torch.float64, device=self.device)
            for _ in range(-(-count // BLOCK))
        ]
        empty = torch.empty(0, dtype=torch.float64, device=self.device)
        return torch.cat(pieces or [empty])[:count]


@dataclass(frozen=True)
class Draw:
    """``streams.normal(purpose, rows)``: all of it at once, or block by block when it is needed."""

    streams: Streams
    purpose: Purpose
    rows: int

    def table(self) -> Float[Tensor, "rows width"]:
        """All of it."""
        return self.streams.normal(self.purpose, self.rows)

    @property
    def by_block(self) -> bool:
        """Whether a block's noise depends on nothing but its own generator."""
        return not self.streams.joint

    def reader(self, block: int) -> Callable[[Float[Tensor, "some 4096"]], Tensor]:
        """Fills tables of float32 with the next rows of a block, bar after bar."""
        if self.streams.still and self.purpose == Purpose.PRICE:
            return torch.zero_
        # Parts of whole rows of a block are parts of what a single draw gives.
        return partial(torch.Tensor.normal_, generator=self.streams.generator(self.purpose, block))


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea & Flood 2014): neighbouring integers become unrelated seeds."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
