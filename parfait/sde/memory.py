"""Memory on top of a moving variance: correlated noise, and the variance it accumulates."""

from functools import lru_cache

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from parfait.sde.columns import TILE, by_tile, pick, tiles
from parfait.sde.fractional import autocovariance
from parfait.utils.errors import UserError

MAX_STEPS = 4096  # the Cholesky factor costs n^2 memory and n^3 time
GRID = 1e-2  # exponents this close share a factor: at most 2.8 % on the sd of a year of days
_CACHED_STEPS = 512  # a hundred factors of 4096 steps would take 13 GB
_STRIDE = 8  # bars of the filter made in one pass over a path's past
_BLOCK = 256  # paths whose filter rows fit the cache of a core


def memory(
    u: Float[Tensor, "steps width"],
    v_dt: Float[Tensor, "steps width"],
    hurst: Float64[Tensor, "*steps width"],
    decay: Float64[Tensor, "*steps width"],
    phi: Float64[Tensor, "*steps width"],
) -> tuple[Float[Tensor, "steps width"], Float[Tensor, "steps width"]]:
    """Innovations become noise with memory; returns it and the variance of its reverting sum.

    With L the Cholesky factor of the noise's covariance and B_kj = a_k B_(k-1)j + sqrt(phi_k) L_kj
    the rows of the reverting sum: noise_k = sqrt(phi_k) sum_j L_kj u_j, Q_k = sum_j B_kj^2 v_j dt.

    Args:
        u: sqrt(v_j dt) w_j, each at the variance known before it.
        v_dt: v_j dt.
        hurst: H, rounded to ``GRID``. Like the next two it is (width,), or (steps, width) where it
            changes; row k of L is then that of the H of bar k, on innovations common to all H.
        decay: a = exp(-kappa dt), 1 without reversion.
        phi: (1 - a^2) / (2 kappa dt), 1 without reversion.
    """
    if max(hurst.ndim, decay.ndim, phi.ndim) == 2:
        return _changing(u, v_dt, *(p.expand(u.shape) for p in (hurst, decay, phi)))
    # Sorted by exponent, and by reversion within it, groups are whole tiles.
    order, names, back = tiles(2 * (hurst / GRID).round().long() + (decay < 1))
    innovations, variances = pick(u, order), pick(v_dt, order)
    noise, q = torch.empty_like(innovations), torch.empty_like(innovations)
    keys, counts = torch.unique_consecutive(names, return_counts=True)
    start = 0
    for key, count in zip(keys.tolist(), (TILE * counts).tolist(), strict=True):
        columns = slice(start, start + count)
        start += count
        lower = factor(key // 2 * GRID, u.shape[0]).to(u.device)
        _lower_product(lower, innovations[:, columns], noise[:, columns])
        if not key % 2:
            _lower_product(lower.cumsum(dim=0) ** 2, variances[:, columns], q[:, columns])
    _fill_reverting(q, variances, decay[order], names)
    return pick(noise, back).mul_(phi.sqrt().to(u.dtype)), pick(q, back).mul_(phi.to(u.dtype))


def factor(hurst: float, steps: int) -> Float64[Tensor, "steps steps"]:
    """Lower Cholesky factor of the covariance of fractional noise."""
    return (_cached_factor if steps <= _CACHED_STEPS else _factor)(hurst, steps)


def _factor(hurst: float, steps: int) -> Tensor:
    gamma = autocovariance(torch.tensor(hurst, dtype=torch.float64), steps)
    lag = torch.arange(steps)
    return torch.linalg.cholesky(gamma[(lag[:, None] - lag).abs()])


_cached_factor = lru_cache(maxsize=128)(_factor)


def _lower_product(lower: Tensor, columns: Tensor, out: Tensor) -> None:
    """out = lower @ columns in four parts, which leave most of the zeros out.

    Tile by tile: products of other widths round differently, in double precision on some
    processors even where the width is a multiple of ``TILE``.
    """
    for rows in torch.arange(lower.shape[0]).chunk(4):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        weights = lower[part, : part.stop].to(columns.dtype)
        past = by_tile(columns[: part.stop])
        by_tile(out[part]).copy_(torch.bmm(weights.expand(len(past), -1, -1), past))


def _fill_reverting(
    q: Float[Tensor, "steps width"],
    v_dt: Float[Tensor, "steps width"],
    decay: Float64[Tensor, " width"],
    names: Int64[Tensor, " tiles"],
) -> None:
    """Q/phi of the tiles with an odd name: a reversion of its own for every path.

    Some tiles at a time, chosen by the number of steps alone so that their past stays in the cache.
    """
    odd = (names % 2).nonzero().squeeze(1)
    steps = q.shape[0]
    many = max(1, 2048 * 252 // steps // TILE)
    for few in odd.split(many) if odd.numel() else ():
        levels, which = torch.unique(names[few] // 2, return_inverse=True)
        lower = torch.stack([factor(h * GRID, steps).to(q) for h in levels.tolist()])
        v = by_tile(v_dt)[few].contiguous()
        a = decay.unflatten(0, (-1, 1, TILE))[few]
        by_tile(q)[few] = _reverting_variance(lower, which, v, a)


def _reverting_variance(lower: Tensor, which: Tensor, v_dt: Tensor, decay: Tensor) -> Tensor:
    """Q/phi, (tiles, steps, TILE), of rows B_k = a B_(k-1) + L_k without ever making most of them.

    With P the row before a pass of some bars, the row r bars later is a^(r+1) P + sum_i a^(r-i) L_i
    and its square, weighted by v, needs the inner products of P and L_i, and of L_i and L_j, alone:
    matrix products, whose sizes here are the same however many tiles there are. Powers of a start
    anew in every pass, from float64: in float32 Q is within 3e-6 of its float64 value (252 steps).
    """
    steps = v_dt.shape[1]
    exponents = torch.arange(2 * _STRIDE + 1, device=decay.device)[:, None]
    power = (decay**exponents).to(v_dt.dtype)
    rising = list(power.unbind(1))
    falling = power.flip(1)
    q, past, last = torch.empty_like(v_dt), v_dt[:, :0], torch.zeros_like(v_dt[:, 0])
    for k in range(0, steps, _STRIDE):
        bars = min(_STRIDE, steps - k)
        seen = k + bars
        first, second = torch.tril_indices(bars, bars, device=lower.device)
        rows = lower[:, k:seen, :seen]
        pairs = rows.index_select(1, first) * rows.index_select(1, second)
        pairs, rows = pairs.index_select(0, which), rows.index_select(0, which)
        own = torch.bmm(pairs, v_dt[:, :seen])
        cross = torch.bmm(rows[:, :, :k], past * v_dt[:, :k])
        fresh = known = torch.zeros_like(last)  # of the new rows alone, and of them with the past
        entry = 0
        for r in range(bars):
            others, square = own[:, entry : entry + r], own[:, entry + r]
            entry += r + 1
            mixed = (others * falling[:, -1 - r : -1]).sum(dim=1)
            fresh = torch.addcmul(square, fresh, rising[2]).add_(mixed, alpha=2)
            known = torch.addcmul(cross[:, r], known, rising[1])
            total = torch.addcmul(fresh, last, rising[2 * r + 2])
            q[:, k + r] = total.addcmul_(known, rising[r + 1], value=2)
        last = q[:, seen - 1]
        longer = torch.bmm(rows.transpose(1, 2), falling[:, -bars:])
        longer[:, :k].addcmul_(past, rising[bars][:, None])
        past = longer
    return q


def _changing(
    u: Tensor, v_dt: Tensor, hurst: Tensor, decay: Tensor, phi: Tensor
) -> tuple[Tensor, Tensor]:
    """Parameters of each bar: every path reads rows of its own, one after the other."""
    steps, width = u.shape
    levels, which = torch.unique((hurst / GRID).round().long(), return_inverse=True)
    lower = torch.stack([factor(h * GRID, steps).to(u) for h in levels.tolist()])
    noise, q = torch.empty_like(u), torch.empty_like(u)
    for start in range(0, width, _BLOCK):
        block = slice(start, min(start + _BLOCK, width))
        innovations, sd = u[:, block].T.contiguous(), v_dt[:, block].sqrt().T.contiguous()
        a, root = (p[:, block, None].to(u.dtype) for p in (decay, phi.sqrt()))
        sums = torch.zeros_like(sd)  # B_kj sqrt(v_j dt)
        for k in range(steps):
            row = lower[:, k, : k + 1].index_select(0, which[k, block]).mul_(root[k])
            noise[k, block] = torch.linalg.vecdot(row, innovations[:, : k + 1])
            made = sums[:, : k + 1].mul_(a[k]).addcmul_(row, sd[:, : k + 1])
            q[k, block] = torch.linalg.vecdot(made, made)
    return noise, q


def on_grid(hurst: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The nearest exponents of which there is a factor."""
    return ((hurst / GRID).round() * GRID).clamp(GRID, 1 - GRID)


def causal_noise(
    white: Float[Tensor, "steps width"], hurst: Float64[Tensor, " width"]
) -> Float[Tensor, "steps width"]:
    """Unit fractional noise L u, whose bar k is made of the innovations up to bar k.

    Args:
        white: u, independent N(0, 1).
        hurst: H, as ``on_grid`` gives it.

    Raises:
        UserError: more than 4096 steps.
    """
    if white.shape[0] > MAX_STEPS:
        raise UserError(
            f"{white.shape[0]} steps are too many for memory (hurst) in several assets at once; "
            f"use at most {MAX_STEPS}"
        )
    order, names, back = tiles((hurst / GRID).round().long())
    innovations = pick(white, order)
    noise = torch.empty_like(innovations)
    levels, counts = torch.unique_consecutive(names, return_counts=True)
    start = 0
    for level, count in zip(levels.tolist(), (TILE * counts).tolist(), strict=True):
        columns = slice(start, start + count)
        start += count
        lower = factor(level * GRID, white.shape[0]).to(white.device)
        _lower_product(lower, innovations[:, columns], noise[:, columns])
    return pick(noise, back)
