"""Random numbers that depend on the path and on what they are for, never on how the work is cut.

One 63-bit integer is taken from the caller's generator. Every purpose (price noise, jump sizes,
...) and every block of 4096 consecutive paths then has a generator of its own, and every draw fills
a whole block before it is trimmed. So path i is the same path whatever the number of paths, and its
diffusion is the same with and without jumps.
"""

from collections.abc import Iterator
from enum import IntEnum

import torch
from jaxtyping import Float, Float64
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


def draw_root(generator: torch.Generator) -> int:
    """One integer in [0, 2^63 - 1): all that a simulation takes from the caller's generator."""
    limit = 2**63 - 1
    return int(torch.randint(limit, (), generator=generator, device=generator.device))


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
    """

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


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea & Flood 2014): neighbouring integers become unrelated seeds."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
