"""Memory on top of a moving variance: correlated noise, and the variance it accumulates."""

from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.sde.columns import pad_width, pick
from parfait.sde.fractional import autocovariance

MAX_STEPS = 4096  # the Cholesky factor costs n^2 memory and n^3 time
GRID = 1e-2  # exponents this close share a factor: at most 2.8 % on the sd of a year of days
_CACHED_STEPS = 512  # a hundred factors of 4096 steps would take 13 GB
_BLOCK = 256  # paths whose filter rows fit the cache of a core


def memory(
    u: Float[Tensor, "steps width"],
    v_dt: Float[Tensor, "steps width"],
    hurst: Float64[Tensor, "*steps width"],
    decay: Float64[Tensor, "*steps width"],
    phi: Float64[Tensor, "*steps width"],
) -> tuple[Float[Tensor, "steps width"], Float[Tensor, "steps width"]]:
    """Innovations become noise with memory; returns it and the variance of its reverting sum.

    With L the Cholesky factor of the noise's covariance and B_kj = a B_(k-1)j + sqrt(phi) L_kj
    the rows of the reverting sum: noise = sqrt(phi) L u and Q_k = sum_j B_kj^2 v_j dt.

    Args:
        u: sqrt(v_j dt) w_j, each at the variance known before it.
        v_dt: v_j dt.
        hurst: H, rounded to ``GRID``.
        decay: a = exp(-kappa dt), 1 without reversion.
        phi: (1 - a^2) / (2 kappa dt), 1 without reversion.
    """
    if max(hurst.ndim, decay.ndim) == 2:
        return _changing(u, v_dt, hurst, decay, phi)
    # Sorted by exponent, and by reversion within it, groups are contiguous columns.
    level, reverts = (hurst / GRID).round(), decay < 1
    order = torch.argsort(2 * level + reverts, stable=True)
    innovations, variances = pick(u, order), pick(v_dt, order)
    noise, q = torch.empty_like(u), torch.empty_like(u)
    start = 0
    keys, counts = torch.unique_consecutive((2 * level + reverts)[order], return_counts=True)
    for key, count in zip(keys.long().tolist(), counts.tolist(), strict=True):
        columns = slice(start, start + count)
        start += count
        lower = factor(key // 2 * GRID, u.shape[0]).to(device=u.device)
        noise[:, columns] = _product(lower, innovations[:, columns])
        v = variances[:, columns]
        if key % 2:
            rows = order[columns]
            q[:, columns] = _reverting_variance(lower, v, decay[rows], phi[rows])
        else:
            q[:, columns] = _product(lower.cumsum(dim=0) ** 2, v)
    back = torch.argsort(order)
    return pick(noise, back).mul_(phi.sqrt().to(u.dtype)), pick(q, back)


def factor(hurst: float, steps: int) -> Float64[Tensor, "steps steps"]:
    """Lower Cholesky factor of the covariance of fractional noise."""
    return (_cached_factor if steps <= _CACHED_STEPS else _factor)(hurst, steps)


def _factor(hurst: float, steps: int) -> Tensor:
    gamma = autocovariance(torch.tensor(hurst, dtype=torch.float64), steps)
    lag = torch.arange(steps)
    return torch.linalg.cholesky(gamma[(lag[:, None] - lag).abs()])


_cached_factor = lru_cache(maxsize=128)(_factor)


def _product(matrix: Tensor, columns: Tensor) -> Tensor:
    return (matrix.to(columns.dtype) @ pad_width(columns))[:, : columns.shape[1]]


def _reverting_variance(lower: Tensor, v_dt: Tensor, decay: Tensor, phi: Tensor) -> Tensor:
    """Q with a reversion of its own for every path: the rows B_k by recursion."""
    steps, width = v_dt.shape
    q = torch.empty_like(v_dt)
    rows = lower.to(v_dt.dtype)
    for start in range(0, width, _BLOCK):
        columns = slice(start, min(start + _BLOCK, width))
        v = pad_width(v_dt[:, columns])
        a, root = (pad_width(c[columns].to(v.dtype)) for c in (decay, phi.sqrt()))
        weights = torch.zeros_like(v)
        for k in range(steps):
            known = weights[: k + 1].mul_(a).addcmul_(rows[k, : k + 1, None], root)
            total = (known * known).mul_(v[: k + 1]).sum(dim=0)
            q[k, columns] = total[: columns.stop - columns.start]
    return q


def _changing(
    u: Tensor, v_dt: Tensor, hurst: Tensor, decay: Tensor, phi: Tensor
) -> tuple[Tensor, Tensor]:
    """The same with an exponent and a reversion for every bar."""
    hurst, decay, root = (p.expand(u.shape) for p in (hurst, decay, phi.sqrt()))
    levels, which = torch.unique((hurst / GRID).round(), return_inverse=True)
    lower = torch.stack([factor(float(level) * GRID, len(u)) for level in levels]).to(u)
    noise, q, weights = (torch.zeros_like(u) for _ in range(3))
    for k in range(len(u)):
        rows = lower[which[k], k, : k + 1].T * root[k].to(u.dtype)
        weights[: k + 1].mul_(decay[k].to(u.dtype)).add_(rows)
        noise[k] = (rows * u[: k + 1]).sum(dim=0)
        q[k] = (weights[: k + 1] ** 2 * v_dt[: k + 1]).sum(dim=0)
    return noise, q
