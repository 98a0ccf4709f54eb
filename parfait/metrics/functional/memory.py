"""How far memory reaches: in returns, their size, and ranges."""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.hurst import hurst_posterior
from parfait.metrics.functional import pooling
from parfait.metrics.functional.facts import ZERO
from parfait.metrics.functional.pooling import Draws, Weights
from parfait.metrics.functional.windows import WindowCode

SCALES = (8, 12, 16, 24, 32, 48, 64)
RANGE_LAGS = (1, 2, 4, 8, 16, 32)
SUMS = (2, 5, 10, 21)
MEAN_VARIANCE = 1 / 252  # of a path's mean return over its variance: a Sharpe ratio of 1 a year


def memory_facts(code: WindowCode, weights: Weights) -> dict[str, Draws]:
    """Memory of every draw of ``weights`` (``pooling``), of paths of at least 252 steps.

    ``hurst`` of r by the label layer's posterior, mean over paths; ``dfa_abs``, exponent of
    detrended fluctuations of |r| (1/2 without memory); ``hurst_range`` of ln range (rough
    volatility; noise pulls it to 0); ``vr_2``, ``_5``, ``_10``, ``_21`` variance ratios, which
    show seams.
    """
    known = code.range > ZERO
    log_range = torch.where(known, code.range, torch.nan).log()
    ratios = {f"vr_{k}": variance_ratio(code.r, k, weights) for k in SUMS}
    return {
        "hurst": hurst(code.r, weights),
        "dfa_abs": dfa(code.r.abs(), weights),
        "hurst_range": increments_exponent(log_range, weights),
        **ratios,
    }


def hurst(r: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """Mean over paths of the posterior mean of H (``labels.hurst``)."""
    moving = r.square().sum(1) > 0
    posterior = hurst_posterior(r, torch.full_like(r[:, 0], MEAN_VARIANCE))
    mean = torch.where(moving, (posterior.weights * posterior.values).sum(-1), 0.0)
    return pooling.ratio(weights @ mean, weights @ moving.double())


def dfa(x: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """Detrended fluctuation analysis (Peng et al. 1994): slope of ln F(s) on ln s.

    F^2(s) is the mean square of the cumulated, centred series about a line fitted in each box of s
    steps, boxes of all paths together, s = 8..64 as far as four boxes fit. H for fractional
    Gaussian noise.
    """
    profile = (x - x.mean(1, keepdim=True)).cumsum(1)
    scales = [s for s in SCALES if 4 * s <= x.shape[1]]
    columns = []
    for s in scales:
        count = x.shape[1] // s
        boxes = profile[:, : count * s].unflatten(1, (count, s))
        boxes = boxes - boxes.mean(-1, keepdim=True)
        t = torch.arange(s, dtype=torch.float64) - (s - 1) / 2
        rest = boxes.square().sum(-1) - (boxes @ t).square() / t.square().sum()
        columns.append(rest.mean(1) / s)
    fluctuation = weights @ torch.stack(columns, dim=-1)
    smallest = pooling.ROUNDING * (weights @ x.square().sum(1))[:, None]
    known = torch.where(fluctuation > smallest, fluctuation, torch.nan)
    log_scale = torch.tensor(scales, dtype=torch.float64).log()
    return pooling.slope(log_scale, known.log() / 2, least=len(scales))


def increments_exponent(x: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """H of E(x_{t+k} - x_t)^2 ~ k^2H, lags 1..32 (Gatheral, Jaisson & Rosenbaum 2018); NaN
    elements are left out."""
    columns = []
    for k in RANGE_LAGS:
        square = (x[:, k:] - x[:, :-k]).square()
        known = torch.isfinite(square)
        sums = torch.stack([torch.where(known, square, 0.0).sum(1), known.double().sum(1)], dim=-1)
        total, count = (weights @ sums).unbind(-1)
        columns.append(pooling.ratio(total, count))
    level = torch.stack(columns, dim=-1)
    lags = torch.tensor(RANGE_LAGS, dtype=torch.float64).log()
    log_level = torch.where(level > 0, level, torch.nan).log()
    return pooling.slope(lags, log_level / 2, least=len(RANGE_LAGS))


def variance_ratio(r: Float64[Tensor, "paths steps"], k: int, weights: Weights) -> Draws:
    """VR(k) = Var(sum of k) / (k Var r) over overlapping sums within paths (Lo & MacKinlay 1988):
    1 for uncorrelated returns, k^{2H-1} for fractional noise."""
    mean, variance, _, _ = pooling.central_moments(r, weights)
    sums = r.unfold(1, k, 1).sum(-1)
    total, square = (weights @ torch.stack([sums, sums**2], dim=-1).mean(1)).unbind(-1)
    count = weights.sum(1)
    about = square / count - 2 * k * mean * total / count + (k * mean) ** 2
    return pooling.ratio(about, k * variance)
