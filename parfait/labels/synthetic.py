"""Windows whose truth is known: bars with exact ranges around given returns."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

_PARTS = 12  # of a session; the extremes between two points are drawn from their exact law


def bars_around(
    returns: Float64[Tensor, "windows n"],
    variances: Float64[Tensor, "windows n"],
    generator: torch.Generator,
    jumps: Float64[Tensor, "windows n"] | None = None,
    overnight: float = 0.2,
    tick: float = 0.0,
    start: float = 100.0,
) -> Float64[Tensor, "windows n 5"]:
    """Bars whose log closes move by ``returns`` plus ``jumps``, Brownian inside.

    Inside a bar the log price is a Brownian bridge of that bar's variance, a share of it before
    the open; highs and lows are those of the continuous path, by the law of the extreme of a
    bridge, P(max > m) = exp(-2 (m - a)(m - b) / variance). A jump comes at a uniform time of the
    bar, hence also overnight.

    Args:
        returns: diffusive log returns.
        variances: per bar, the pace of the path inside it.
        jumps: sum of the log jumps of each bar.
        overnight: share of a bar's variance between close and open.
        tick: prices are rounded to its multiples (0: not at all); volumes are 1.
        start: the close before the first bar.
    """
    windows, n = returns.shape

    def draw(*shape: int, normal: bool = True) -> Tensor:
        kind = torch.randn if normal else torch.rand
        return kind((windows, n, *shape), generator=generator, dtype=torch.float64)

    share = torch.full((_PARTS + 1,), (1 - overnight) / _PARTS, dtype=torch.float64)
    share[0] = overnight
    deviation = variances.clamp_min(0).sqrt()[..., None]
    steps = deviation * share.sqrt() * draw(_PARTS + 1)
    steps = steps + share * (returns - steps.sum(dim=2))[..., None]
    if jumps is not None:
        at = torch.searchsorted(share.cumsum(0), draw(normal=False).clamp_max(1 - 1e-9))
        steps = steps.scatter_add(2, at[..., None], jumps[..., None])
    levels = steps.reshape(windows, -1).cumsum(1).reshape(windows, n, _PARTS + 1)
    a, b = levels[..., :-1], levels[..., 1:]
    spread = (deviation * share[1:].sqrt()).square()

    def reach() -> Tensor:
        u = draw(_PARTS, normal=False).clamp_min(1e-300)
        return ((b - a).square() - 2 * spread * u.log()).sqrt()

    high = torch.maximum(((a + b + reach()) / 2).amax(2), levels.amax(2))
    low = torch.minimum(((a + b - reach()) / 2).amin(2), levels.amin(2))
    prices = start * torch.stack([levels[..., 0], high, low, levels[..., -1]], dim=-1).exp()
    if tick:
        prices = (prices / tick).round().clamp_min(1) * tick
    return torch.cat([prices, torch.ones(windows, n, 1, dtype=torch.float64)], dim=-1)


def jump_sums(
    windows: int,
    n: int,
    intensity: Float64[Tensor, " windows"],
    mean: Float64[Tensor, " windows"],
    spread: Float64[Tensor, " windows"],
    generator: torch.Generator,
) -> Float64[Tensor, "windows n"]:
    """Sums of Poisson(``intensity``) jumps N(mean, spread^2) in every bar, all per bar."""
    count = torch.poisson(intensity[:, None].expand(windows, n).contiguous(), generator=generator)
    noise = torch.randn((windows, n), generator=generator, dtype=torch.float64)
    return count * mean[:, None] + count.sqrt() * spread[:, None] * noise


def clustered_variances(
    windows: int, n: int, generator: torch.Generator, spread: float = 0.5, persistence: float = 0.97
) -> Float64[Tensor, "windows n"]:
    """Variances of mean 1 whose logarithm is a stationary AR(1) of sd ``2 spread``."""
    noise = torch.randn((windows, n), generator=generator, dtype=torch.float64)
    rows = [noise[:, 0]]
    for t in range(1, n):
        rows.append(persistence * rows[-1] + math.sqrt(1 - persistence**2) * noise[:, t])
    log = 2 * spread * torch.stack(rows, dim=1)
    return torch.exp(log - 2 * spread**2)
