"""Block bootstrap over time: the sampling error of anything computed from windows that overlap, or
that share their days with windows of other assets.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.utils.errors import UserError

LEAST_BLOCKS = 3


def block_indices(
    dates: Int64[Tensor, " windows"], block: int, draws: int, generator: torch.Generator
) -> list[Int64[Tensor, " rows"]]:
    """Rows of each draw of a circular block bootstrap (Politis & Romano 1992) over dates.

    Time is bent to a circle; blocks start anywhere on it with equal chance until they cover its
    length, the last one cut short. So every row is expected once a draw, all windows of one
    date go together, and draws differ in length where windows lie unevenly in time. Stretches
    without windows longer than a block count as one block.

    Args:
        dates: of the windows, in any integer unit and order.
        block: length in the unit of ``dates``: about a year for facts, at least three horizons
            for forecasts.
        draws: how many samples.
        generator: of the draws.

    Raises:
        UserError: a block or a number of draws below 1, or dates that cover fewer than three
            blocks.
    """
    if block < 1 or draws < 1:
        raise UserError(f"block {block} and draws {draws} must be at least 1")
    order = torch.argsort(dates, stable=True)
    position, circle = _circle(dates[order], block)
    if circle < LEAST_BLOCKS * block:
        raise UserError(
            f"windows cover {circle} units of time, a block bootstrap needs {LEAST_BLOCKS} blocks "
            f"of {block}; give a longer period or shorter blocks"
        )
    blocks = -(-circle // block)
    start = (torch.rand((draws, blocks), generator=generator, dtype=torch.float64) * circle).long()
    stop = start + block
    stop[:, -1] -= blocks * block - circle
    # Positions laid out twice make a block across the seam one run.
    twice = torch.cat([position, position + circle])
    low, high = (torch.searchsorted(twice, edge) for edge in (start, stop))
    length = high - low
    first = length.flatten().cumsum(0) - length.flatten()  # of each run among all runs of all draws
    shift = (low.flatten() - first).repeat_interleave(length.flatten())
    rows = torch.cat([order, order])[torch.arange(len(shift)) + shift]
    return list(rows.split(length.sum(1).tolist()))


def block_weights(
    dates: Int64[Tensor, " windows"], block: int, draws: int, generator: torch.Generator
) -> Float64[Tensor, "draws windows"]:
    """How often each window occurs in each draw of ``block_indices``: a statistic that is a
    function of sums over windows needs one matrix product for all draws.

    Raises:
        UserError: see ``block_indices``.
    """
    picked = block_indices(dates, block, draws, generator)
    counts = [torch.bincount(rows, minlength=len(dates)) for rows in picked]
    return torch.stack(counts).to(torch.float64)


def block_sd(
    statistic: Callable[[Int64[Tensor, " rows"]], float | Tensor],
    dates: Int64[Tensor, " windows"],
    block: int,
    draws: int,
    generator: torch.Generator,
) -> Float64[Tensor, "*statistic"]:
    """Standard deviation of ``statistic(rows)`` over the draws of ``block_indices``.

    Args:
        statistic: of a sample given by row numbers; a number or a tensor of one shape.
        dates, block, draws, generator: see ``block_indices``.

    Raises:
        UserError: see ``block_indices``.
    """
    picked = block_indices(dates, block, draws, generator)
    values = [torch.as_tensor(statistic(rows), dtype=torch.float64) for rows in picked if len(rows)]
    return known_sd(torch.stack(values))


def known_sd(values: Float64[Tensor, "draws *statistic"]) -> Float64[Tensor, "*statistic"]:
    """Deviation over the draws that have a value; NaN where fewer than half of them do."""
    known = torch.isfinite(values)
    count = known.sum(0)
    mean = torch.where(known, values, 0.0).sum(0) / count
    square = torch.where(known, (values - mean).square(), 0.0).sum(0)
    enough = (2 * count >= len(values)) & (count > 1)
    return torch.where(enough, (square / (count - 1)).sqrt(), torch.nan)


def _circle(dates: Int64[Tensor, " windows"], block: int) -> tuple[Int64[Tensor, " windows"], int]:
    """Positions of sorted dates on the circle, and its length."""
    steps = dates.diff().clamp_max(block)
    position = torch.cat([torch.zeros_like(dates[:1]), steps.cumsum(0)])
    usual = int(steps[steps > 0].median()) if bool((steps > 0).any()) else 1
    return position, int(position[-1]) + usual
