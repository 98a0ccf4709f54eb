"""Facts of whole bars: ranges, gaps, where the close lies, point masses, volume."""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.functional import pooling
from parfait.metrics.functional.facts import ZERO, range_ratio, traded_volume
from parfait.metrics.functional.pooling import Draws, Weights
from parfait.metrics.functional.windows import WindowCode


def ohlc_facts(code: WindowCode, weights: Weights) -> dict[str, Draws]:
    """Facts of the bars of every draw of ``weights`` (``pooling``).

    ``std`` of r; ``range_ratio`` (``facts``); ``gap_ratio`` = mean |ln O_t/C_{t-1}| / mean |r|;
    ``close_mean``, ``close_sd`` of ln(C/L)/ln(H/L); ``roll`` (``roll_spread``); shares of exact
    zeros ``zero_upper``, ``zero_lower`` (wicks), ``zero_gap``, ``zero_volume``; ``acf_volume`` =
    ac(ln V, 1) within paths; ``volume_range`` = corr(ln V, ln H/L).
    """
    volume = traded_volume(code.volume)
    size, gap = (pooling.quadratic_mean(x.abs().sqrt(), weights) for x in (code.r, code.gap))
    place = close_location(code)
    known = torch.isfinite(place)
    placed = torch.where(known, place, 0.0)
    sums = weights @ torch.stack([known.double(), placed, placed**2], dim=-1).sum(1)
    mean, square = (pooling.ratio(sums[:, i], sums[:, 0]) for i in (1, 2))
    return {
        "std": pooling.deviation(code.r, weights),
        "range_ratio": range_ratio(code, weights),
        "gap_ratio": pooling.ratio(gap**2, size**2),
        "close_mean": mean,
        "close_sd": (square - mean**2).clamp_min(0).sqrt(),
        "roll": roll_spread(code.r, weights),
        "zero_upper": pooling.share(code.upper.abs() <= ZERO, weights),
        "zero_lower": pooling.share(code.lower.abs() <= ZERO, weights),
        "zero_gap": pooling.share(code.gap.abs() <= ZERO, weights),
        "zero_volume": pooling.share(~torch.isfinite(code.volume), weights),
        "acf_volume": pooling.autocorrelation(volume, [1], weights, within=True)[:, 0],
        "volume_range": pooling.correlation(volume, code.range, weights),
    }


def close_location(code: WindowCode) -> Float64[Tensor, "paths steps"]:
    """ln(C/L) / ln(H/L) in [0, 1]; NaN for a bar without a range."""
    above = code.lower + (code.r - code.gap).clamp_min(0)
    return torch.where(code.range > ZERO, above / code.range, torch.nan)


def roll_spread(r: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """Roll's (1984) spread 2 sqrt(-cov(r_t, r_{t+1})) over sd(r), with the sign of -cov: below 0
    there is no spread to see, but momentum."""
    acf = pooling.autocorrelation(r, [1], weights)[:, 0]
    return -2 * acf.sign() * acf.abs().sqrt()
