"""Statistics pooled over paths, for many weightings of the paths at once.

Products are formed within a path and pooled over paths, so order inside a path counts and order of
paths does not. Each statistic is a function of sums over paths; with ``weights`` (draws, paths),
how often a path occurs in each draw of a bootstrap, all draws cost one matrix product. Without
weights there is one draw that holds every path once. NaN says "not defined on this draw".
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

ROUNDING = 1e-20  # a sum of squares below this share of the raw one is that of a constant

Weights = Float64[Tensor, "draws paths"]
Draws = Float64[Tensor, " draws"]


def once(x: Float64[Tensor, "paths *rest"]) -> Weights:
    """Weights of the one draw with every path once."""
    return torch.ones((1, x.shape[0]), dtype=torch.float64)


def ratio(a: Float64[Tensor, "*shape"], b: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """a / b, NaN where b is not above 0."""
    return torch.where(b > 0, a / b, torch.nan)


def central_moments(
    x: Float64[Tensor, "paths steps"], weights: Weights
) -> tuple[Draws, Draws, Draws, Draws]:
    """Mean and central moments 2, 3, 4 of all elements; the moments are 0 where these agree to
    rounding."""
    mean = x.mean()
    y = x - mean
    powers = torch.stack([torch.ones_like(y), y, y**2, y**3, y**4], dim=-1).sum(1)
    count, s1, s2, s3, s4 = (weights @ powers).unbind(-1)
    m, p2, p3, p4 = s1 / count, s2 / count, s3 / count, s4 / count
    m2 = p2 - m**2
    still = m2 <= ROUNDING * (m2 + mean**2)
    m3 = p3 - 3 * m * p2 + 2 * m**3
    m4 = p4 - 4 * m * p3 + 6 * m**2 * p2 - 3 * m**4
    m2, m3, m4 = (torch.where(still, 0.0, moment) for moment in (m2, m3, m4))
    return mean + m, m2, m3, m4


def deviation(x: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """Standard deviation of all elements, n - 1 in the denominator."""
    count = weights.sum(1) * x.shape[1]
    return (central_moments(x, weights)[1] * ratio(count, count - 1)).sqrt()


def skewness(x: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """E(x - Ex)^3 / Var(x)^(3/2)."""
    _, m2, m3, _ = central_moments(x, weights)
    return ratio(m3, m2**1.5)


def excess_kurtosis(x: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """E(x - Ex)^4 / Var(x)^2 - 3."""
    _, m2, _, m4 = central_moments(x, weights)
    return ratio(m4, m2**2) - 3


def correlation(
    x: Float64[Tensor, "paths steps"], y: Float64[Tensor, "paths steps"], weights: Weights
) -> Draws:
    """Pearson correlation over all elements."""
    x0, y0 = x - x.mean(), y - y.mean()
    sums = weights @ torch.stack([torch.ones_like(x0), x0, y0, x0 * y0], dim=-1).sum(1)
    count, sx, sy, sxy = sums.unbind(-1)
    covariance = sxy / count - sx * sy / count**2
    spread = central_moments(x, weights)[1] * central_moments(y, weights)[1]
    return ratio(covariance, spread.sqrt())


def lagged(
    x: Float64[Tensor, "paths steps"],
    y: Float64[Tensor, "paths steps"],
    lags: Sequence[int],
    weights: Weights,
) -> Float64[Tensor, "draws lags"]:
    """Cov(x_t, y_{t+k}) per lag, both centred on their draw's common mean."""
    steps = x.shape[1]
    x, y = x - x.mean(), y - y.mean()
    count = weights.sum(1)
    mx, my = (weights @ x.sum(1)) / (count * steps), (weights @ y.sum(1)) / (count * steps)
    columns = []
    for k in lags:
        first, last = x[:, : steps - k], y[:, k:]
        sums = torch.stack([(first * last).sum(1), first.sum(1), last.sum(1)], dim=-1)
        product, sx, sy = (weights @ sums).unbind(-1)
        n = count * (steps - k)
        columns.append((product - my * sx - mx * sy) / n + mx * my)
    return torch.stack(columns, dim=-1)


def autocorrelation(
    x: Float64[Tensor, "paths steps"],
    lags: Sequence[int],
    weights: Weights | None = None,
    *,
    within: bool = False,
) -> Float64[Tensor, "draws lags"]:
    """ac(k) = T/(T-k) sum_paths sum_t x_t x_{t+k} / sum_paths sum_t x_t^2 with x centred.

    Args:
        x: one series per path.
        lags: each below T.
        weights: see the module.
        within: centre every path on its own mean, which removes the part that is persistence of the
            path's level (and biases by about -1/T); otherwise on the common mean.
    """
    weights = once(x) if weights is None else weights
    if within:
        x = torch.where(_still(x), 0.0, x - x.mean(1, keepdim=True))
        steps = x.shape[1]
        total = weights @ x.square().sum(1)
        sums = [(x[:, : steps - k] * x[:, k:]).sum(1) * steps / (steps - k) for k in lags]
        return ratio(weights @ torch.stack(sums, dim=-1), total[:, None].expand(-1, len(lags)))
    variance = central_moments(x, weights)[1]
    return ratio(lagged(x, x, lags, weights), variance[:, None].expand(-1, len(lags)))


def leverage(
    r: Float64[Tensor, "paths steps"], lags: Sequence[int], weights: Weights | None = None
) -> Float64[Tensor, "draws lags"]:
    """E[(r^2_{t+k} - E r^2)(r_t - E r)] / (sd r sd r^2): negative where falls are followed by
    turbulence."""
    weights = once(r) if weights is None else weights
    square = r.square()
    spread = central_moments(r, weights)[1] * central_moments(square, weights)[1]
    cross = lagged(r, square, lags, weights)
    return ratio(cross, spread.sqrt()[:, None].expand(-1, len(lags)))


def share(hit: Tensor, weights: Weights) -> Draws:
    """Share of elements where ``hit`` (paths, steps) holds."""
    return weights @ hit.to(torch.float64).mean(1) / weights.sum(1)


def quadratic_mean(x: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """sqrt(E x^2)."""
    return (weights @ x.square().mean(1) / weights.sum(1)).sqrt()


def slope(
    x: Float64[Tensor, " points"], y: Float64[Tensor, "draws points"], least: int = 2
) -> Draws:
    """Least squares slope of y on x over the finite points; NaN with fewer than ``least``."""
    known = torch.isfinite(y)
    count = known.sum(1).clamp_min(1)
    x, y = x.expand_as(y), torch.where(known, y, 0.0)
    dx = torch.where(known, x - (x * known).sum(1, keepdim=True) / count[:, None], 0.0)
    fitted = ratio((dx * y).sum(1), dx.square().sum(1))
    return torch.where(known.sum(1) >= least, fitted, torch.nan)


def tail_index(x: Float64[Tensor, "paths steps"], weights: Weights, top: float = 0.05) -> Draws:
    """Hill (1975): 1 / mean ln(x_(i) / x_(k)) over the largest ``top`` of the positive elements.

    Args:
        x: magnitudes; elements that are not positive are left out.
        weights: see the module.
        top: share of the elements in the tail.
    """
    path = torch.arange(x.shape[0])[:, None].expand_as(x)
    positive = x > 0
    count = top * (weights @ positive.sum(1).to(torch.float64))
    # Draws that hold more wild paths than the sample reach deeper, not four times as deep.
    value, order = x[positive].sort(descending=True)
    deepest = min(math.ceil(4 * top * len(value)), len(value))
    value, path = value[:deepest].log(), path[positive][order[:deepest]]
    if deepest < 2:
        return torch.full_like(count, torch.nan)
    found = []
    for some, k in zip(weights.split(16), count.split(16), strict=True):
        mass = some[:, path]
        reached = mass.cumsum(1)
        last = torch.searchsorted(reached, (k - 1e-9)[:, None].contiguous())[:, 0]
        inside = torch.arange(deepest) <= last[:, None]
        held = torch.where(inside, mass, 0.0)
        edge = value[last.clamp_max(deepest - 1)]
        excess = (held * (value - edge[:, None])).sum(1)
        found.append(torch.where(last < deepest, ratio(held.sum(1), excess), torch.nan))
    return torch.cat(found)


def _still(x: Float64[Tensor, "paths steps"]) -> Tensor:
    """Paths, as a column, whose elements agree to rounding."""
    return x.var(1, correction=0, keepdim=True) <= ROUNDING * x.square().mean(1, keepdim=True)
