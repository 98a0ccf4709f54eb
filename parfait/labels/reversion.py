"""Pull to a trend line: posterior of the speed of an Ornstein-Uhlenbeck process on a grid."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.grid import GridPosterior, filled

# Prior: log-uniform, per bar; at 252 bars a year these are 0.3 and 200 a year.
LOW, HIGH = 0.3 / 252, 200 / 252
_POINTS = 80


def reversion_posterior(returns: Float64[Tensor, "windows n"]) -> GridPosterior:
    """Posterior of kappa dt, per bar, under a log-uniform prior on [0.3/252, 200/252].

    The log price y_0..y_n is a stationary Ornstein-Uhlenbeck process around a + b t; level, slope
    and scale are integrated out under flat priors. With phi = e^{-kappa dt}, q = 1 - phi^2, rows
    z_0 = (1, 0), z_t = (1 - phi, t - phi (t-1)), y'_0 = y_0, y'_t = y_t - phi y_{t-1} and weights
    w = 1, 1/q, 1/q, ...: A = sum w z z^T, g = sum w z y', Q = sum w y'^2 - g^T A^-1 g and

        log L = -((n-1)/2) ln Q - (n/2) ln q - ln|A| / 2

    Once its own line is taken off, a window enters by five numbers: Q is linear in sum y_t^2,
    sum y_t y_{t-1}, y_0^2, y_0 y_n and y_n^2, so all windows and speeds are one product. The
    evidence is against phi -> 1, a random walk with drift.

    Args:
        returns: log returns, any scale, n >= 2; a window without residual keeps the prior.
    """
    windows, n = returns.shape
    y = torch.cat([returns.new_zeros(windows, 1), returns.cumsum(dim=1)], dim=1)
    t = torch.arange(n + 1, dtype=torch.float64) - n / 2
    y = y - y.mean(dim=1, keepdim=True)
    y = y - (y @ t / t.square().sum())[:, None] * t
    size = y.square().mean(dim=1, keepdim=True).sqrt()
    # What is left of a straight line is rounding of its level.
    silent = size <= 1e-12 * returns.abs().sum(dim=1, keepdim=True)
    y = y / torch.where(silent, 1.0, size)
    first, last = y[:, 0], y[:, -1]
    lagged = (y[:, 1:] * y[:, :-1]).sum(dim=1)
    squares = y.square().sum(dim=1)
    features = torch.stack([squares, lagged, first.square(), first * last, last.square()], dim=1)
    table = _constants(n)
    q = (features @ table.quadratic)[:, : _POINTS + 1].clamp_min(1e-300)
    log_l = torch.where(silent, 0.0, table.constant - (n - 1) / 2 * q.log())
    log_l, walk = log_l[:, :-1], log_l[:, -1]
    peak = log_l.amax(dim=1, keepdim=True)
    relative = torch.exp(log_l - peak)
    log_bayes = relative.mean(dim=1).log() + peak[:, 0] - walk
    return GridPosterior(table.points, relative / relative.sum(dim=1, keepdim=True), log_bayes)


@dataclass(frozen=True)
class _Constants:
    points: Tensor  # kappa dt, (80,)
    quadratic: Tensor  # (5, 81 and zeros): Q of the five numbers, the 81st column for phi -> 1
    constant: Tensor  # (81,): -(n/2) ln q - ln|A| / 2


@lru_cache(maxsize=16)
def _constants(n: int) -> _Constants:
    points = torch.logspace(math.log10(LOW), math.log10(HIGH), _POINTS, dtype=torch.float64)
    # A millionth of a bar's reversion stands for none: differences of 1e-6 against rounding 1e-10.
    speed = torch.cat([points, torch.tensor([1e-6], dtype=torch.float64)])
    phi = torch.exp(-speed)
    q = -torch.expm1(-2 * speed)
    t = torch.arange(1, n + 1, dtype=torch.float64)
    level = (1 - phi)[:, None]
    slope = t - phi[:, None] * (t - 1)
    a11 = 1 + n * (1 - phi).square() / q
    a12 = (level * slope).sum(dim=1) / q
    a22 = slope.square().sum(dim=1) / q
    determinant = a11 * a22 - a12.square()
    # The residual is orthogonal to 1 and t, so g needs only its ends:
    # g_1 = y_0 + (1-phi)/q (phi y_n - y_0),  g_2 = (phi (n+1) - phi^2 n) y_n / q - phi y_0 / q.
    g1 = torch.stack([1 - (1 - phi) / q, phi * (1 - phi) / q])
    g2 = torch.stack([-phi / q, (phi * (n + 1) - phi.square() * n) / q])

    def fitted(i: int, j: int) -> Tensor:
        cross = a22 * g1[i] * g1[j] - a12 * (g1[i] * g2[j] + g1[j] * g2[i]) + a11 * g2[i] * g2[j]
        return cross / determinant

    quadratic = torch.stack(
        [
            (1 + phi.square()) / q,
            -2 * phi / q,
            1 - 1 / q - fitted(0, 0),
            -2 * fitted(0, 1),
            -phi.square() / q - fitted(1, 1),
        ]
    )
    constant = -n / 2 * q.log() - 0.5 * determinant.log()
    return _Constants(points, filled(quadratic), constant)
