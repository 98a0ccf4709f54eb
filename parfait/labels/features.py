"""What the network reads of a window: numbers that hold the same for any length and bar size."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from parfait.labels.hurst import hurst_posterior
from parfait.labels.jump_posterior import jump_posterior
from parfait.labels.jumps import Split, split_jumps
from parfait.labels.prior import DAILY
from parfait.labels.reversion import reversion_posterior
from parfait.labels.volatility import WindowParts, window_parts

_LEVELS = (0.1, 0.25, 0.4, 0.6, 0.75, 0.85, 0.9, 0.95, 0.98)  # quantiles of |x|
_BEYOND = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0)  # medians of |x|
_SPANS = (2, 3, 4, 6, 8)  # lags of the structure function
_EDGES = (3, 5, 8, 16)  # bars at either end, for the variance there
_BLOCKS = (4, 8, 16)  # bars a block, for how the variance wanders
_CLIP = 6.0  # median |x|: beyond, autocovariances know a return's sign only
_BOUND = 50.0


@dataclass(frozen=True, eq=False)
class Summary:
    """Features of each window, and the parts they were made from.

    Args:
        features: float32, finite.
        log_volatility: ln of the closed-form diffusive volatility at 252 bars a year, which the
            network's volatilities are relative to.
    """

    features: Float32[Tensor, "windows features"]
    log_volatility: Float64[Tensor, " windows"]
    parts: WindowParts
    split: Split


def summarise(bars: Float64[Tensor, "windows bars 5"], range_correction: float = 1.0) -> Summary:
    """Features of windows of n + 1 bars, in bar units (as though 252 bars made a year).

    Logarithms of the scale and of n; what the closed forms say of jumps, memory and reversion,
    with their doubt; of x = (r - median) / median|r - median|: quantiles of asinh|x|, shares
    beyond 3 to 12, autocorrelations of clipped x and of asinh|x|, the structure function; of the
    ranges: spread, autocorrelation and covariance with returns of the log variance of a bar.
    """
    parts = window_parts(bars, range_correction)
    split = split_jumps(parts)
    r = parts.returns
    windows, n = r.shape
    frequency = torch.full((windows,), DAILY, dtype=torch.float64)
    jumps = jump_posterior(split, r, frequency)
    log_volatility = (split.variance.clamp_min(1e-14) * DAILY).log() / 2
    ones = torch.ones_like(log_volatility)
    columns = [
        *(ones * math.log(n), ones / math.sqrt(n), log_volatility, parts.closes.double()),
        split.relative.clamp_min(1e-6).log(),
        (split.total / split.variance).clamp(1e-3, 1e6).log(),
        *jumps.intensity,
        *jumps.size,
        *(30 * part for part in jumps.mean),
        split.probability.sum(dim=1).log1p(),
        (split.probability * (1 - split.probability)).sum(dim=1).sqrt(),
        parts.moving / n,
        parts.kurtosis.clamp(1, 1e4).log(),
        (r == 0).double().mean(dim=1),
    ]
    cleaned = split.cleaned(r)
    for returns in (cleaned, cleaned - cleaned.mean(dim=1, keepdim=True)):
        memory = hurst_posterior(returns, (1 + jumps.variance / split.variance) / frequency)
        columns += [*memory.moments(memory.values.logit()), memory.log_bayes.clamp(-5, 20)]
    pull = reversion_posterior(cleaned)
    columns += [*pull.moments((pull.values * DAILY).log()), pull.log_bayes.clamp(-5, 20)]
    columns += _of_returns(r, n)
    columns += _of_ranges(parts, split)
    features = torch.stack(columns, dim=1)
    features = torch.nan_to_num(features, 0.0, _BOUND, -_BOUND).clamp(-_BOUND, _BOUND)
    return Summary(features.float(), log_volatility, parts, split)


def _of_returns(r: Tensor, n: int) -> list[Tensor]:
    x = r - r.median(dim=1, keepdim=True).values
    size = x.abs()
    unit = size.median(dim=1, keepdim=True).values
    x = x / torch.where(unit > 0, unit, size.mean(dim=1, keepdim=True).clamp_min(1e-12))
    size = x.abs()
    heights = size.asinh()
    ordered = heights.sort(dim=1).values
    at = [min(round(level * (n - 1)), n - 1) for level in _LEVELS]
    columns = [ordered[:, i] for i in at]
    columns += [ordered[:, max(n - 1 - k, 0)] for k in range(5)]
    columns += [(size > bound).double().mean(dim=1) for bound in _BEYOND]
    columns.append((size[:, 1:] * size[:, :-1]).mean(dim=1).clamp_min(1e-9).log())
    clipped = x.clamp(-_CLIP, _CLIP)
    columns += _autocorrelations(clipped, (1, 2, 3, 4, 5, 7))
    columns += _autocorrelations(heights, (1, 2, 3, 5, 8))
    path = clipped.cumsum(dim=1)
    step = clipped.square().mean(dim=1).clamp_min(1e-12)
    for span in _SPANS:
        moved = path[:, span:] - path[:, :-span] if span < n else path[:, -1:] * 0
        mean = moved.square().mean(dim=1) / (span * step)
        columns.append(mean.clamp_min(1e-4).log())
    return columns


def _of_ranges(parts: WindowParts, split: Split) -> list[Tensor]:
    """Of ln of each bar's variance by its range and its return, the window's being 1."""
    v = split.variance[:, None]
    own = (parts.ranged.clamp_min(0) * parts.correction + parts.overnight.square()) / v
    level = own.clamp(1e-4, 1e6).log()
    centred = level - level.mean(dim=1, keepdim=True)
    columns = [level.mean(dim=1), centred.square().mean(dim=1).sqrt()]
    columns.append(own.clamp_max(1e4).mean(dim=1).clamp_min(1e-4).log())
    columns += _autocorrelations(centred, (1, 2, 3, 5, 8))
    calm = torch.where(split.probability > 0.5, 0.0, centred).clamp(-3, 3)
    spread = calm.square().mean(dim=1).clamp_min(1e-6)
    for block in _BLOCKS:
        count = calm.shape[1] // block
        means = calm[:, : count * block].unflatten(1, (count, block)).mean(dim=2) if count else calm
        columns.append((means.square().mean(dim=1) * block / spread).clamp_min(1e-3).log())
    x = (parts.returns / v.sqrt()).clamp(-_CLIP, _CLIP)
    for lag in (0, 1, 2, 3):
        late, early = centred[:, lag:], x[:, : x.shape[1] - lag]
        columns.append((late * early).mean(dim=1) if late.shape[1] else x[:, 0] * 0)
    for edge in _EDGES:
        columns += [
            side.clamp_max(20).mean(dim=1).clamp_min(1e-4).log()
            for side in (own[:, :edge], own[:, -edge:])
        ]
    night = parts.overnight.square().clamp_max(9 * v).mean(dim=1)
    day = parts.session.square().clamp_max(9 * v).mean(dim=1)
    columns.append(night / (night + day).clamp_min(1e-30))
    # Log ranges over log returns: tails move both, jumps the returns, few trades the ranges.
    columns.append((day.clamp_min(1e-30) / split.variance).log())
    ranged = (parts.ranged * parts.correction).clamp_min(0)
    return [*columns, (ranged.median(dim=1).values / v[:, 0]).clamp_min(1e-4).log()]


def _autocorrelations(x: Tensor, lags: tuple[int, ...]) -> list[Tensor]:
    x = x - x.mean(dim=1, keepdim=True)
    variance = x.square().sum(dim=1).clamp_min(1e-12)
    return [
        (x[:, lag:] * x[:, :-lag]).sum(dim=1) / variance if lag < x.shape[1] else variance * 0
        for lag in lags
    ]
