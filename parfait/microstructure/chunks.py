"""Windows of the trained length that cover any horizon under one guide."""

from jaxtyping import Bool
from torch import Tensor


def plan_chunks(
    anchored: Bool[Tensor, "paths steps"], longest: int
) -> list[tuple[int, int, Bool[Tensor, "paths chunk"]]]:
    """(begin, end, anchors inside) of windows of at most ``longest`` bars covering the horizon.

    Cuts depend on the horizon alone, never on other paths' anchors, or a path would change with its
    neighbours. Windows are about equally long, in multiples of 4 bars. A path that is guided later
    is anchored at the cut; a path with no later anchor stays free.
    """
    horizon = anchored.shape[1]
    count = -(-horizon // longest)
    length = min(longest, -(-horizon // (4 * count)) * 4)
    later = anchored.flip(1).cummax(1).values.flip(1)  # an anchor at or after this bar
    chunks = []
    for begin in range(0, horizon, length):
        end = min(begin + length, horizon)
        cut = anchored[:, begin:end].clone()
        if end < horizon:
            cut[:, -1] |= later[:, end - 1]
        chunks.append((begin, end, cut))
    return chunks
