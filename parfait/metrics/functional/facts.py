"""Stylised facts of short windows of bars (Cont 2001), each one number that needs no model.

Short windows cannot tell their own mean from the market's: pooled statistics centre on the mean
over *all* paths unless they say ``within``. Compare only values of equal window length.
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.functional import pooling
from parfait.metrics.functional.pooling import Draws, Weights
from parfait.metrics.functional.windows import WindowCode

ZERO = 1e-12  # a wick or gap of ln-size below this is a point mass of the source, not a small move


def traded_volume(volume: Float64[Tensor, "paths steps"]) -> Float64[Tensor, "paths steps"]:
    """Log volume with bars that did not trade at the mean, where they add nothing to a product."""
    traded = torch.isfinite(volume)
    mean = volume[traded].mean() if bool(traded.any()) else 0.0
    return torch.where(traded, volume, mean)


def range_ratio(code: WindowCode, weights: Weights) -> Draws:
    """sqrt(E ln(H/L)^2 / (4 ln 2)) / sd(r): Parkinson (1980) volatility over close-to-close; 1
    without gaps or drift."""
    parkinson = pooling.quadratic_mean(code.range, weights) / math.sqrt(4 * math.log(2))
    return pooling.ratio(parkinson, pooling.deviation(code.r, weights))


def short_facts(code: WindowCode, weights: Weights | None = None) -> dict[str, Draws]:
    """The facts of ``stylised_facts`` for every draw of ``weights`` (``pooling``)."""
    weights = pooling.once(code.r) if weights is None else weights
    a, steps, volume = code.r.abs(), code.r.shape[1], traded_volume(code.volume)
    lags, few = range(1, min(11, steps)), range(1, min(6, steps))
    acf = pooling.autocorrelation(a, lags, weights)
    return {
        "std": pooling.deviation(code.r, weights),
        "kurtosis": pooling.excess_kurtosis(code.r, weights),
        "acf_abs_1": acf[:, 0],
        "acf_abs_1_10": acf.mean(1),
        "acf_abs_1_within": pooling.autocorrelation(a, [1], weights, within=True)[:, 0],
        "leverage_1_5": pooling.leverage(code.r, few, weights).mean(1),
        "range_ratio": range_ratio(code, weights),
        "volume_abs": pooling.correlation(volume, a, weights),
        "volume_range": pooling.correlation(volume, code.range, weights),
        "acf_volume": pooling.autocorrelation(volume, [1], weights)[:, 0],
        "zero_wick": pooling.share(
            torch.cat([code.upper.abs() <= ZERO, code.lower.abs() <= ZERO], dim=1), weights
        ),
        "zero_gap": pooling.share(code.gap.abs() <= ZERO, weights),
        "zero_volume": pooling.share(~torch.isfinite(code.volume), weights),
    }


def stylised_facts(code: WindowCode) -> dict[str, float]:
    """All facts of a set of short windows, without those that are not defined on it
    (``suite.measure_facts`` says why).

    ``std``, ``kurtosis`` (excess, pooled) of returns in history units; ``acf_abs_1``,
    ``acf_abs_1_10`` (mean of lags 1..10) of |r| and ``acf_abs_1_within``; ``leverage_1_5``;
    ``range_ratio``; ``volume_abs`` and ``volume_range``, correlations of log volume;
    ``acf_volume``, lag 1, of the bars that traded; ``zero_wick`` (both wicks), ``zero_gap`` and
    ``zero_volume``, shares of exact zeros. Windows need more than 10 steps for the longest lag;
    lags that do not fit are left out of the means.
    """
    values = {name: float(value[0]) for name, value in short_facts(code).items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}
