"""Running sums of increments down the time axis, with and without decay."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.sde.process import Chunk


def fill_sums(chunk: Chunk, increments: Float[Tensor, "steps width"]) -> None:
    """log_price[k] = increments[0] + ... + increments[k - 1]."""
    if increments.requires_grad:
        chunk.log_price[1:] = torch.cumsum(increments, dim=0)
        return
    # Row by row: torch.cumsum down the columns of a CPU tensor costs twice the noise.
    for x, increment, x_next in zip(chunk.log_price, increments, chunk.log_price[1:], strict=False):
        torch.add(x, increment, out=x_next)


def fill_reversion(
    chunk: Chunk, kappa: Float64[Tensor, "..."], noise: Float[Tensor, "steps width"]
) -> None:
    """log_price[k] = a log_price[k - 1] + noise[k - 1], a = exp(-kappa dt).

    A recursion, since sums weighted by a^-k overflow where kappa times the horizon is large.
    """
    decay = chunk.cast(torch.exp(-kappa * chunk.dt)).expand(chunk.width)
    y = chunk.log_price[0].clone()
    for k in range(chunk.steps):
        y = torch.addcmul(noise[k], decay, y)
        chunk.log_price[k + 1] = y
