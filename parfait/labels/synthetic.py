"""Windows whose truth is known: bars with exact ranges around given returns."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

_PARTS = 12  # of a session; the extremes between two points are drawn from their exact law
# Discrete monitoring lowers a Brownian maximum by 0.5826 sd of a step (Broadie, Glasserman & Kou
# 1997): -zeta(1/2) / sqrt(2 pi).
_SEEN = 0.5826


def bars_around(
    returns: Float[Tensor, "windows n"],
    variances: Float[Tensor, "windows n"],
    generator: torch.Generator,
    jumps: Float[Tensor, "windows n"] | None = None,
    overnight: float | Tensor = 0.2,
    tick: float | Tensor = 0.0,
    start: float = 100.0,
    trades: float | Tensor = math.inf,
    parts: int = _PARTS,
    watched: bool = True,
) -> Float64[Tensor, "windows n 5"]:
    """Bars whose log closes move by ``returns`` plus ``jumps``, Brownian inside.

    Inside a bar the log price is a Brownian bridge of that bar's variance, a share of it before
    the open; highs and lows are those of the continuous path, by the law of the extreme of a
    bridge, P(max > m) = exp(-2 (m - a)(m - b) / variance). A jump comes at a uniform time of the
    bar, hence also overnight.

    Args:
        returns: diffusive log returns; their precision is that of the path.
        variances: per bar, the pace of the path inside it.
        jumps: sum of the log jumps of each bar.
        overnight: share of a bar's variance between close and open, one or one each window.
        tick: prices are rounded to its multiples (0: not at all); volumes are 1.
        start: the close before the first bar.
        trades: prices seen in a session; few of them miss the extremes.
        parts: of a session; fewer are faster, and highs and lows then know less of each other.
        watched: continuously; else highs and lows are those of open and the end of every part.
    """
    windows, n = returns.shape
    kind = {"generator": generator, "dtype": returns.dtype}
    night = torch.as_tensor(overnight, dtype=returns.dtype).expand(windows)[:, None, None]
    deviation = variances.clamp_min(0).sqrt()[..., None]
    inside = deviation * ((1 - night) / parts).sqrt()
    steps = torch.randn((windows, n, parts + 1), **kind)
    steps[..., :1] *= deviation * night.sqrt()
    steps[..., 1:] *= inside
    left = returns - steps.sum(dim=2)
    steps[..., :1] += night * left[..., None]
    steps[..., 1:] += (1 - night) / parts * left[..., None]
    if jumps is not None:
        when = torch.rand((windows, n, 1), **kind) - night
        at = (when / (1 - night) * parts).floor_().clamp_(-1, parts - 1).long() + 1
        steps = steps.scatter_add(2, at, jumps[..., None])
    levels = steps.flatten(1).cumsum(1).view(windows, n, parts + 1)
    opens, closes = levels[..., 0], levels[..., -1]
    if watched:
        high, low = _extremes(levels, inside, deviation * (1 - night).sqrt(), trades, generator)
        high = torch.maximum(high, torch.maximum(opens, closes))
        low = torch.minimum(low, torch.minimum(opens, closes))
    else:
        low, high = levels.aminmax(dim=2)
    prices = start * torch.stack([opens, high, low, closes], dim=-1).to(torch.float64).exp_()
    step = torch.as_tensor(tick, dtype=torch.float64).expand(windows)[:, None, None]
    grid = torch.where(step > 0, step, 1.0)
    prices = torch.where(step > 0, (prices / grid).round().clamp_min(1) * grid, prices)
    return torch.cat([prices, torch.ones(windows, n, 1, dtype=torch.float64)], dim=-1)


def _extremes(
    levels: Tensor,
    inside: Tensor,
    session: Tensor,
    trades: float | Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """High and low of bridges between ``levels``, less what ``trades`` prices miss of them."""
    a, b = levels[..., :-1], levels[..., 1:]
    middle, gap, spread = (a + b) / 2, (b - a).square() / 4, inside.square() / 2

    def reach() -> Tensor:
        u = torch.rand(a.shape, generator=generator, dtype=a.dtype).clamp_min_(1e-30)
        return torch.addcmul(gap, spread, u.log_(), value=-1).sqrt_()

    prices = torch.as_tensor(trades, dtype=a.dtype).expand(len(a))[:, None]
    lost = session[..., 0] * _SEEN * prices.rsqrt()
    return (middle + reach()).amax(2) - lost, (middle - reach()).amin(2) + lost


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
