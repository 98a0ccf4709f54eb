"""The largest fall of a path, and paths made to fall by a given amount."""

import math
from itertools import product

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from parfait.sde.freedom import Freedom

_SHARE = 4  # the imposed fall takes at least one part in so many of the bars, and so does its end
_MOST_STEPS = 60  # a handful are needed
_EXACT = 1e-14  # log price


def log_drawdown(
    x: Float64[Tensor, "paths points"], until: int, apart: int = 1
) -> tuple[Float64[Tensor, " paths"], Int64[Tensor, " paths"], Int64[Tensor, " paths"]]:
    """max (x_i - x_j) over i + apart <= j <= until, negative for a path that only rises.

    Returns:
        The fall in logarithms, the point of its peak and the point of its trough.
    """
    summit, where = x[:, : until + 1 - apart].cummax(dim=1)
    depth, offset = (summit - x[:, apart : until + 1]).max(dim=1)
    return depth, where.gather(1, offset[:, None])[:, 0], offset + apart


def impose_drawdown(
    x: Float64[Tensor, "paths points"], free: Freedom, drawdown: float, until: int
) -> Float64[Tensor, "paths points"]:
    """Paths whose largest fall until a step is exactly ``drawdown``.

    A path that falls too little is pinned at its peak, at its trough, and at the end where that is
    far enough from the trough to climb back without a leap; the trough is lowered until the largest
    fall of the path fits. Peak and trough are those of its largest fall that takes a quarter of the
    bars or more, so that the fall is no single bar. A path that falls too much is scaled towards
    its start, which scales its largest fall alike.

    Args:
        x: log(S / S_0) at every point.
        free: gives the shape of the move between the pinned points.
        drawdown: in (0, 1), of the price.
        until: last step of the measured window; later steps move along with it.
    """
    wished = -math.log1p(-drawdown)
    x = x.clone()
    depth, _, _ = log_drawdown(x, until)
    deep = (depth > wished).nonzero().squeeze(1)
    if deep.numel():
        share = (wished / depth[deep])[:, None]
        end = x[deep, until][:, None]
        x[deep, until + 1 :] -= (1 - share) * end
        x[deep, : until + 1] *= share
    flat = (depth < wished).nonzero().squeeze(1)
    if flat.numel():
        _, peak, trough = log_drawdown(x[flat], until, max(1, until // _SHARE))
        shape = _dip(free.rows(flat), peak, trough, until)
        x[flat] = _lowered(x[flat], shape, wished, until)
    return x


def turning_points(x: Float64[Tensor, "paths points"], until: int) -> Bool[Tensor, "paths steps"]:
    """Where the largest fall until a step begins and ends; a peak at the start is no step."""
    _, peak, trough = log_drawdown(x, until)
    turns = torch.zeros_like(x, dtype=torch.bool)
    return turns.scatter(1, torch.stack([peak, trough], dim=1), True)[:, 1:]


def _dip(free: Freedom, peak: Tensor, trough: Tensor, until: int) -> Tensor:
    """The move of every point when the trough falls by 1 while peak and end stay."""
    rises, ends = peak > 0, until - trough >= max(1, until // _SHARE)
    shape = free.variance.new_zeros((len(peak), free.variance.shape[1] + 1))
    for rise, end in product((False, True), repeat=2):
        rows = ((rises == rise) & (ends == end)).nonzero().squeeze(1)
        if rows.numel():
            at = [trough[rows]] + [peak[rows]] * rise + [torch.full_like(rows, until)] * end
            gap = shape.new_zeros((len(rows), len(at)))
            gap[:, 0] = -1.0
            shape[rows] = free.rows(rows).move(torch.stack(at, dim=1), gap)
    return shape


def _lowered(x: Tensor, shape: Tensor, wished: float, until: int) -> Tensor:
    """x + s shape with the s >= 0 whose largest fall is ``wished``, by Newton's method.

    The fall is a maximum of functions linear in s, one for every pair of points, hence convex; from
    above, where it is too deep, the steps go down without passing the root and end on its piece.
    """
    window = x[:, : until + 1]
    s = wished + (window.amax(dim=1) - window.amin(dim=1))[:, None]
    for _ in range(_MOST_STEPS):
        depth, peak, trough = log_drawdown(x + s * shape, until)
        excess = depth[:, None] - wished
        if bool((excess.abs() <= _EXACT).all()):
            break
        slope = shape.gather(1, peak[:, None]) - shape.gather(1, trough[:, None])
        s = s - torch.where(excess > _EXACT, excess / slope, 0.0)
    return x + s * shape
