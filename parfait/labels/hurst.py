"""Memory of returns: posterior of the Hurst exponent on a grid, exact or by Whittle."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.grid import GridPosterior, chebyshev_interpolation, chebyshev_nodes, filled

LOW, HIGH = 0.02, 0.98  # uniform prior
LONGEST_EXACT = 256  # returns; beyond, Whittle says the same for less
_NODES = 20  # the log likelihood is smooth in H: a polynomial through 20 points carries it
_POINTS = 65
_ALIASES = 30


def autocovariance(hurst: Float64[Tensor, " grid"], n: int) -> Float64[Tensor, "grid n"]:
    """gamma_H(k) = (|k+1|^2H - 2 |k|^2H + |k-1|^2H) / 2 at k = 0..n-1, fractional Gaussian noise
    of unit variance.
    """
    k = torch.arange(n, dtype=torch.float64)
    power = 2 * hurst[:, None]
    return 0.5 * ((k + 1) ** power - 2 * k**power + (k - 1).abs() ** power)


def hurst_posterior(
    returns: Float64[Tensor, "windows n"],
    mean_variance: Float64[Tensor, " windows"],
    likelihood: Literal["exact", "whittle"] | None = None,
) -> GridPosterior:
    """Posterior of H under a uniform prior on [0.02, 0.98], the scale integrated out.

    Exact: returns ~ N(0, sigma^2 R), R = Toeplitz(gamma_H) + a 1 1^T, where the rank one term is
    the prior N(0, a sigma^2) of their mean:

        log L = -ln|R| / 2 - (n/2) ln(x^T R^-1 x)

    Toeplitz matrices split into a symmetric and an antisymmetric half, so a window costs two
    products of half the size per node. Whittle: with the periodogram I_k at the K = (n-1)//2
    frequencies, log L = -K ln sum_k I_k / f_H(w_k), f_H of geometric mean 1; blind to the mean.

    Args:
        returns: log returns, any scale; a window of zeros keeps the prior.
        mean_variance: a, over the variance of a return; S^2 / bars_per_year for a prior N(0, S^2)
            of the Sharpe ratio. The exact likelihood alone uses it.
        likelihood: ``None`` takes the exact one up to 256 returns.
    """
    n = returns.shape[1]
    if likelihood is None:
        likelihood = "exact" if n <= LONGEST_EXACT else "whittle"
    size = returns.square().mean(dim=1, keepdim=True).sqrt()
    silent = size == 0
    x = returns / torch.where(silent, 1.0, size)
    table = _constants(n, likelihood)
    log_l = _exact(x, mean_variance, table) if likelihood == "exact" else _whittle(x, table)
    log_l = (torch.where(silent, 0.0, log_l) @ table.interpolation)[:, :_POINTS]
    peak = log_l.amax(dim=1, keepdim=True)
    relative = torch.exp(log_l - peak)
    half = log_l[:, _POINTS // 2]  # H = 1/2, the middle of the grid
    log_bayes = relative.mean(dim=1).log() + peak[:, 0] - half
    weights = relative / relative.sum(dim=1, keepdim=True)
    return GridPosterior(table.points, weights, log_bayes)


@dataclass(frozen=True)
class _Constants:
    points: Tensor  # the grid, (65,)
    interpolation: Tensor  # from nodes to grid
    blocks: tuple[Tensor, ...]  # exact: even and odd half, (half, nodes * half); whittle: 1/f
    ones: Tensor  # (half, nodes): T^-1 1 of the even half
    ones_squared: Tensor  # (nodes,): 1^T T^-1 1
    log_determinant: Tensor  # (nodes,)


@lru_cache(maxsize=16)
def _constants(n: int, likelihood: str) -> _Constants:
    nodes = chebyshev_nodes(LOW, HIGH, _NODES)
    points = torch.linspace(LOW, HIGH, _POINTS, dtype=torch.float64)
    points[_POINTS // 2] = 0.5
    interpolation = filled(chebyshev_interpolation(nodes, points))
    if likelihood == "whittle":
        nothing = torch.zeros(0, dtype=torch.float64)
        spectrum = (filled(_inverse_spectrum(nodes, n)),)
        return _Constants(points, interpolation, spectrum, nothing, nothing, nothing)
    lag = torch.arange(n)
    toeplitz = autocovariance(nodes, n)[:, (lag[:, None] - lag).abs()]
    flip = torch.eye(n, dtype=torch.float64).flip(0)
    half = n // 2
    root = math.sqrt(0.5)
    even = torch.zeros(n, n - half, dtype=torch.float64)
    even[:, :half] = root * (torch.eye(n, dtype=torch.float64) + flip)[:, :half]
    if n % 2:
        even[half, half] = 1.0
    odd = root * (torch.eye(n, dtype=torch.float64) - flip)[:, :half]
    blocks, log_determinant = [], torch.zeros(_NODES, dtype=torch.float64)
    for basis in (even, odd):
        lower = torch.linalg.cholesky(basis.T @ toeplitz @ basis)
        identity = torch.eye(basis.shape[1], dtype=torch.float64).expand_as(lower)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
        diagonal = lower.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        log_determinant = log_determinant + 2 * diagonal
        blocks.append(inverse)
    whitened = blocks[0] @ even.sum(dim=0)
    ones = (blocks[0].mT @ whitened[..., None])[..., 0].T.contiguous()
    stacked = tuple(
        b.permute(2, 0, 1).reshape(b.shape[2], -1).to(torch.float32).contiguous() for b in blocks
    )
    return _Constants(
        points, interpolation, stacked, filled(ones), whitened.square().sum(dim=1), log_determinant
    )


def _exact(x: Tensor, mean_variance: Tensor, table: _Constants) -> Tensor:
    n = x.shape[1]
    half = n // 2
    # The mean apart, so that what is left can be whitened in single precision.
    mean = x.mean(dim=1, keepdim=True)
    y = x - mean
    first, last = y[:, :half], y.flip(1)[:, :half]
    even = torch.cat([(first + last) * math.sqrt(0.5), y[:, half : n - half]], dim=1)
    odd = (first - last) * math.sqrt(0.5)
    quadratic = torch.zeros(x.shape[0], _NODES, dtype=torch.float64)
    for part, block in zip((even, odd), table.blocks, strict=True):
        if part.shape[1]:
            white = (part.to(torch.float32) @ block).view(x.shape[0], _NODES, -1)
            quadratic = quadratic + white.square_().sum(dim=2)
    cross = (even @ table.ones)[:, :_NODES]
    quadratic = quadratic + mean * (2 * cross + mean * table.ones_squared)
    cross = cross + mean * table.ones_squared
    prior = mean_variance[:, None]
    grown = 1 + prior * table.ones_squared
    log_q = (quadratic - cross.square() * prior / grown).clamp_min(1e-300).log()
    return -0.5 * (table.log_determinant + grown.log() + n * log_q)


def _inverse_spectrum(hurst: Tensor, n: int) -> Tensor:
    frequency = 2 * math.pi * torch.arange(1, (n - 1) // 2 + 1, dtype=torch.float64) / n
    alias = 2 * math.pi * torch.arange(-_ALIASES, _ALIASES + 1, dtype=torch.float64)
    h = hurst[None, :, None]
    power = (frequency[:, None, None] + alias).abs() ** (-2 * h - 1)
    tail = (61 * math.pi) ** (-2 * h[..., 0]) / (2 * math.pi * h[..., 0])
    density = (1 - torch.cos(frequency))[:, None] * (power.sum(dim=2) + tail)
    log_density = density.log()
    return torch.exp(log_density.mean(dim=0) - log_density)


def _whittle(x: Tensor, table: _Constants) -> Tensor:
    inverse = table.blocks[0]
    count = inverse.shape[0]
    power = torch.fft.rfft(x)[:, 1 : count + 1].abs().square()
    return -count * (power @ inverse)[:, :_NODES].clamp_min(1e-300).log()
