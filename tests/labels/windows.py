"""Windows whose truth is known, for the laws of the labels."""

import math
from typing import Any

import torch
from torch import Tensor

from parfait.labels import Labels, label_windows
from parfait.labels.hurst import autocovariance
from parfait.labels.synthetic import bars_around, jump_sums

YEAR = 252.0


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def per_window(value: Tensor | float, windows: int) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(windows)


def labelled(bars: Tensor, bars_per_year: Any, **settings: Any) -> Labels:
    """``label_windows`` by the closed forms."""
    return label_windows(bars, bars_per_year, **{"method": "closed", **settings})


def brownian_bars(
    windows: int, n: int, sd: Tensor | float, mean: Tensor | float, overnight: float, seed: int
) -> Tensor:
    """n + 1 bars of Brownian log prices per bar N(mean, sd^2), a share of it overnight."""
    level = per_window(sd, windows)[:, None].expand(windows, n + 1)
    moves = per_window(mean, windows)[:, None] + level * normal(seed, windows, n + 1)
    return bars_around(moves, level.square(), generator(seed + 1000), overnight=overnight)


def merton_bars(
    n: int,
    sigma: Tensor,
    intensity: Tensor,
    mean: Tensor,
    spread: Tensor,
    growth: Tensor,
    seed: int,
) -> Tensor:
    """n + 1 bars of diffusion and jumps, all parameters a year; ``growth`` is E log return."""
    windows = len(sigma)
    level = (sigma / math.sqrt(YEAR))[:, None].expand(windows, n + 1)
    moves = ((growth - intensity * mean) / YEAR)[:, None] + level * normal(seed, windows, n + 1)
    g = generator(seed + 1000)
    jumps = jump_sums(windows, n + 1, intensity / YEAR, mean, spread, g)
    return bars_around(moves, level.square(), g, jumps)


def fractional_noise(windows: int, n: int, hurst: float, seed: int) -> Tensor:
    """Fractional Gaussian noise of unit variance."""
    row = autocovariance(torch.tensor([hurst], dtype=torch.float64), n)[0]
    lag = torch.arange(n)
    factor = torch.linalg.cholesky(row[(lag[:, None] - lag).abs()])
    return normal(seed, windows, n) @ factor.T


def reverting_returns(windows: int, n: int, kappa: Tensor | float, seed: int) -> Tensor:
    """Returns of a stationary Ornstein-Uhlenbeck process; innovations of unit pace."""
    phi = torch.exp(-per_window(kappa, windows) / YEAR)
    noise = normal(seed, windows, n + 1)
    level = [noise[:, 0]]
    for t in range(1, n + 1):
        level.append(phi * level[-1] + (1 - phi.square()).sqrt() * noise[:, t])
    return torch.stack(level, dim=1).diff(dim=1) / (2 * (1 - phi)).sqrt()[:, None]


def coverage(truth: Tensor, centre: Tensor, spread: Tensor) -> float:
    """Share of truths within the central 90 % of normals."""
    return float(((truth - centre).abs() < 1.6448536 * spread).to(torch.float64).mean())
