"""Stylised facts of windows of bars (Cont 2001), each one number that needs no model.

Products are formed within a path and pooled over paths, so that order inside a window counts and
order of windows does not. Short windows cannot tell their own mean from the market's: pooled
statistics centre on the mean over *all* paths unless they say ``within``. Compare only values of
equal window length.
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.functional.windows import WindowCode

ZERO = 1e-12  # a wick or gap of ln-size below this is a point mass of the source, not a small move


def autocorrelation(x: Float64[Tensor, "paths steps"], lag: int, *, within: bool = False) -> float:
    """ac(k) = T/(T-k) sum_paths sum_t x_t x_{t+k} / sum_paths sum_t x_t^2 with x
    centred; 0 for a constant.

    Args:
        x: one series per path.
        lag: k, below T.
        within: centre every path on its own mean, which removes the part that is persistence of the
            path's level (and biases by about -1/T); otherwise on the common mean.
    """
    x = x - (x.mean(1, keepdim=True) if within else x.mean())
    steps = x.shape[1]
    products = float((x[:, : steps - lag] * x[:, lag:]).sum()) * steps / (steps - lag)
    total = float(x.square().sum())
    return products / total if total > 0 else 0.0


def excess_kurtosis(x: Float64[Tensor, "*shape"]) -> float:
    """E(x - Ex)^4 / Var(x)^2 - 3 over all elements."""
    centred = x - x.mean()
    return float(centred.pow(4).mean() / centred.square().mean().square() - 3)


def leverage(r: Float64[Tensor, "paths steps"], lag: int) -> float:
    """E[(r^2_{t+k} - E r^2)(r_t - E r)] / (sd r sd r^2): negative where falls are followed by
    turbulence."""
    x, square = r - r.mean(), r.square()
    y = square - square.mean()
    steps = r.shape[1]
    covariance = (x[:, : steps - lag] * y[:, lag:]).mean()
    return float(covariance / (x.square().mean() * y.square().mean()).sqrt())


def _traded(volume: Float64[Tensor, "paths steps"]) -> Float64[Tensor, "paths steps"]:
    """Log volume with bars that did not trade at the mean, where they add nothing to a product."""
    traded = torch.isfinite(volume)
    mean = volume[traded].mean() if bool(traded.any()) else 0.0
    return torch.where(traded, volume, mean)


def correlation(x: Float64[Tensor, "*shape"], y: Float64[Tensor, "*shape"]) -> float:
    """Pearson correlation over all elements; 0 where one of them is constant."""
    x, y = x - x.mean(), y - y.mean()
    scale = float((x.square().mean() * y.square().mean()).sqrt())
    return float((x * y).mean()) / scale if scale > 0 else 0.0


def range_ratio(code: WindowCode) -> float:
    """sqrt(E ln(H/L)^2 / (4 ln 2)) / sd(r): Parkinson (1980) volatility over close-to-close; 1
    without gaps or drift."""
    return math.sqrt(float(code.range.square().mean()) / (4 * math.log(2))) / float(code.r.std())


def stylised_facts(code: WindowCode) -> dict[str, float]:
    """All facts of a set of windows.

    ``std``, ``kurtosis`` (excess, pooled) of returns in history units; ``acf_abs_1``,
    ``acf_abs_1_10`` (mean of lags 1..10) of |r| and ``acf_abs_1_within``; ``leverage_1_5``;
    ``range_ratio``; ``volume_abs`` and ``volume_range``, correlations of log volume;
    ``acf_volume``, lag 1, of the bars that traded; ``zero_wick`` (both wicks), ``zero_gap`` and
    ``zero_volume``, shares of exact zeros. Windows need more than 10 steps for the longest lag;
    lags that do not fit are left out of the means.
    """
    a, steps, volume = code.r.abs(), code.r.shape[1], _traded(code.volume)
    lags, short = range(1, min(11, steps)), range(1, min(6, steps))
    wicks = torch.stack([code.upper, code.lower])
    return {
        "std": float(code.r.std()),
        "kurtosis": excess_kurtosis(code.r),
        "acf_abs_1": autocorrelation(a, 1),
        "acf_abs_1_10": sum(autocorrelation(a, k) for k in lags) / len(lags),
        "acf_abs_1_within": autocorrelation(a, 1, within=True),
        "leverage_1_5": sum(leverage(code.r, k) for k in short) / len(short),
        "range_ratio": range_ratio(code),
        "volume_abs": correlation(volume, a),
        "volume_range": correlation(volume, code.range),
        "acf_volume": autocorrelation(volume, 1),
        "zero_wick": float((wicks.abs() <= ZERO).to(torch.float64).mean()),
        "zero_gap": float((code.gap.abs() <= ZERO).to(torch.float64).mean()),
        "zero_volume": float((~torch.isfinite(code.volume)).to(torch.float64).mean()),
    }
