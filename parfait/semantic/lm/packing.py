"""Prompts end to end in one row: nothing is padded, and no prompt sees another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """A row of prompts, each followed by places for queries.

    Args:
        ids: tokens of all prompts; 0 in the places of queries.
        positions: they start again with every prompt.
        bounds: first place of each prompt, and the number of all.
        cells: place of each token in the padded table of ``rows``, counted along its rows.
        longest: tokens of the longest prompt, its queries included.
        extra: places for queries behind each prompt.
    """

    ids: Int64[Tensor, " tokens"]
    positions: Int64[Tensor, " tokens"]
    bounds: Int32[Tensor, " prompts_and_one"]
    cells: Int64[Tensor, " tokens"]
    longest: int
    extra: int = 0

    @classmethod
    def of(cls, prompts: Sequence[Int64[Tensor, " n"]], extra: int = 0) -> "Packed":
        """Prompts in the order given, on the CPU."""
        lengths = torch.tensor([len(p) + extra for p in prompts])
        bounds = torch.zeros(len(prompts) + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=bounds[1:])
        owner = torch.repeat_interleave(torch.arange(len(prompts)), lengths)
        positions = torch.arange(int(bounds[-1])) - bounds[owner]
        ids = torch.zeros(int(bounds[-1]), dtype=torch.int64)
        for first, prompt in zip(bounds.tolist(), prompts, strict=False):
            ids[first : first + len(prompt)] = prompt
        longest = int(lengths.max())
        cells = owner * longest + positions
        return cls(ids, positions, bounds.to(torch.int32), cells, longest, extra)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def to(self, device: torch.device | str) -> "Packed":
        """On a device."""
        return Packed(
            self.ids.to(device),
            self.positions.to(device),
            self.bounds.to(device),
            self.cells.to(device),
            self.longest,
            self.extra,
        )

    def query_places(self) -> Int64[Tensor, "prompts extra"]:
        """Where the queries of each prompt are."""
        last = self.bounds[1:, None].long() - self.extra
        return last + torch.arange(self.extra, device=self.ids.device)

    def rows(self, flat: Shaped[Tensor, "tokens *d"]) -> Shaped[Tensor, "prompts longest *d"]:
        """A row per prompt, padded on the right with anything."""
        places = self.bounds[:-1, None].long() + torch.arange(self.longest, device=flat.device)
        return flat[places.clamp(max=len(flat) - 1)]

    def flat(self, rows: Shaped[Tensor, "prompts longest *d"]) -> Shaped[Tensor, "tokens *d"]:
        """Inverse of ``rows``."""
        return rows.flatten(0, 1)[self.cells]

    def pooled(self, flat: Float[Tensor, "tokens d"]) -> Float[Tensor, "prompts two_d"]:
        """Mean and last state of each prompt, its queries left out."""
        lengths = (self.bounds.diff() - self.extra).long()
        rows = self.rows(flat)
        seen = torch.arange(self.longest, device=flat.device) < lengths[:, None]
        mean = (rows * seen[..., None]).sum(1) / lengths[:, None]
        return torch.cat([mean, flat[self.bounds[:-1].long() + lengths - 1]], dim=-1)
