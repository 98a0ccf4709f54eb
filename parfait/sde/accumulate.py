"""Running sums of increments down the time axis, with and without decay."""

from itertools import count

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from parfait.sde.process import Chunk, at_bar

_BLOCK = 8192  # paths whose jumps fade together
_NEGLIGIBLE = 1e-18  # share of the first term of a series


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
    """log_price[k] = a log_price[k - 1] + noise[k - 1], a = exp(-kappa dt) of bar k - 1.

    A recursion, since sums weighted by a^-k overflow where kappa times the horizon is large.
    """
    decay = chunk.cast(torch.exp(-kappa * chunk.dt))
    y = chunk.log_price[0].clone()
    for k in range(chunk.steps):
        y = torch.addcmul(noise[k], at_bar(decay, k), y)
        chunk.log_price[k + 1] = y


def fading_compensators(
    rate: Float64[Tensor, "*#steps width"],
    mean: Float64[Tensor, "*#steps width"],
    std: Float64[Tensor, "*#steps width"],
    decay: Float64[Tensor, "*#steps width"],
    steps: int,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "steps width"]:
    """Lambda_k = log E exp(J_k) for k = 1 .. steps, of jumps that fade with the reverting price.

    A jump of bar l has faded by D_l = a_(l+1) ... a_(k-1) at point k, so Lambda_k = sum_(l<k)
    rate_l (exp(m_l D_l + s_l^2 D_l^2 / 2) - 1).

    Args:
        rate: expected jumps of a bar, lambda dt.
        mean, std: m and s of the log jumps.
        decay: a of every bar, 1 without reversion.
        dtype: of the result; where nothing changes, its terms have this precision too.
    """
    parts = (rate, mean, std, decay)
    changes = torch.zeros(decay.shape[-1], dtype=torch.bool, device=decay.device)
    for part in parts:
        changes = changes | ever(part != at_bar(part, 0))
    lasting = _steady_compensators(*(at_bar(part, 0) for part in parts), steps=steps, dtype=dtype)
    index = changes.nonzero().squeeze(1)
    if index.numel() > 0:
        some = (part[..., index] for part in parts)
        lasting[:, index] = _changing_compensators(*some, steps=steps).to(dtype)
    return lasting


def _changing_compensators(
    rate: Tensor, mean: Tensor, std: Tensor, decay: Tensor, *, steps: int
) -> Tensor:
    """The same for paths that change."""
    width = decay.shape[-1]
    parts = (rate, mean, std, decay)
    term = rate * torch.expm1(mean + 0.5 * std**2)
    total, rows = term.new_zeros(width), []
    for k in range(steps):
        total = total + at_bar(term, k)
        rows.append(total)
    lasting = torch.stack(rows)
    fades = ever(decay < 1) & ever(rate > 0)
    for some in fades.nonzero().squeeze(1).split(_BLOCK):
        lasting[:, some] = _fading_series(*(part[..., some] for part in parts), steps=steps)
    return lasting


def _steady_compensators(
    rate: Tensor, mean: Tensor, std: Tensor, decay: Tensor, *, steps: int, dtype: torch.dtype
) -> Tensor:
    """The same where every bar is alike: D_l = a^l, and only that needs float64 to stay exact."""
    rows = torch.zeros((steps, decay.shape[0]), dtype=dtype, device=decay.device)
    if not bool((rate > 0).any()):
        return rows
    m, half = mean.to(dtype), (0.5 * std**2).to(dtype)
    faded, total, expected = torch.ones_like(decay), torch.zeros_like(decay), rate.to(dtype)
    for row in rows:
        d = faded.to(dtype)
        total += torch.addcmul(m, half, d).mul_(d).expm1_().mul_(expected)
        row.copy_(total)
        faded *= decay
    return rows


def _fading_series(rate: Tensor, mean: Tensor, std: Tensor, decay: Tensor, *, steps: int) -> Tensor:
    """The same by powers: exp(m D + s^2 D^2 / 2) = sum_r c_r D^r, r c_r = m c_(r-1) + s^2 c_(r-2).

    sum_l rate_l c_r D_l^r follows a recursion of its own for every r, so the cost grows with the
    bars and not with their square. A path's terms end where they no longer count, hence do not
    depend on other paths.
    """
    total = torch.zeros((steps, decay.shape[-1]), dtype=decay.dtype, device=decay.device)
    variance = std**2
    older, newer = torch.zeros_like(variance * mean), torch.ones_like(variance * mean)
    size_older, size = older, newer  # the same coefficients with every term positive
    least = _NEGLIGIBLE * (mean.abs() + variance)
    power = torch.ones_like(decay)
    for r in count(1):
        older, newer = newer, (mean * newer + variance * older) / r
        size_older, size = size, (mean.abs() * size + variance * size_older) / r
        counts = torch.maximum(size, size_older) > least
        if r > 1 and not bool(counts.any()):
            break
        power = power * decay
        source = rate * torch.where(counts, newer, 0.0)
        moment = torch.zeros_like(total[0])
        for k in range(steps):
            moment = torch.addcmul(at_bar(source, k), at_bar(power, k), moment)
            total[k] += moment
    return total


def ever(flags: Bool[Tensor, "*steps width"]) -> Bool[Tensor, " width"]:
    """Is the flag of a path set in some bar?"""
    return flags.any(dim=0) if flags.ndim == 2 else flags
