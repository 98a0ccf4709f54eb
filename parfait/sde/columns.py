"""Taking some paths out of time-major tables and putting them back."""

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

# Matrix products, column sums and complex arithmetic on widths that are no multiple of this finish
# with other instructions, which round differently; a path must not depend on how many others come
# along.
TILE = 64

# index_select takes a third of the time of table[:, index] and of gather on a CPU.


def pick(
    table: Float[Tensor, "rows width"], index: Int64[Tensor, " members"]
) -> Float[Tensor, "rows members"]:
    """A copy of ``table[:, index]``."""
    return table.index_select(1, index)


def put(
    table: Float[Tensor, "rows width"],
    index: Int64[Tensor, " members"],
    values: Float[Tensor, "rows members"],
) -> None:
    """``table[:, index] = values``."""
    table.index_copy_(1, index, values)


def tiles(
    key: Int64[Tensor, " width"],
) -> tuple[Int64[Tensor, " slots"], Int64[Tensor, " tiles"], Int64[Tensor, " width"]]:
    """Columns sorted by a key and cut into tiles of ``TILE`` that have one key each.

    Returns (column in every slot, key of every tile, slot of every column). Slots left over repeat
    a column of the same key.
    """
    sorted_key, order = torch.sort(key, stable=True)
    keys, counts = torch.unique_consecutive(sorted_key, return_counts=True)
    needed = (counts + TILE - 1) // TILE
    begins, slots = counts.cumsum(0) - counts, (needed.cumsum(0) - needed) * TILE
    slot = torch.arange(key.numel(), device=key.device) + (slots - begins).repeat_interleave(counts)
    columns = order[begins].repeat_interleave(needed * TILE)
    columns[slot] = order
    back = torch.empty_like(order)
    back[order] = slot
    return columns, keys.repeat_interleave(needed), back


def by_tile(table: Float[Tensor, "rows slots"]) -> Float[Tensor, "tiles rows 64"]:
    """A view with one table for every tile."""
    return table.unflatten(1, (-1, TILE)).transpose(0, 1)


def pad_width(table: Shaped[Tensor, "*rows width"]) -> Shaped[Tensor, "*rows padded"]:
    """Zero columns up to a multiple of ``TILE``, contiguous."""
    return torch.nn.functional.pad(table, (0, -table.shape[-1] % TILE)).contiguous()
