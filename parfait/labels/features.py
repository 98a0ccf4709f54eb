"""What the network reads of a window: numbers that hold the same for any length and bar size."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from parfait.labels.grid import GridPosterior
from parfait.labels.hurst import hurst_posterior
from parfait.labels.prior import DAILY
from parfait.labels.reversion import reversion_posterior
from parfait.labels.truncated import Core, split_core
from parfait.labels.volatility import WindowParts, window_parts

_LEVELS = (0.05, 0.1, 0.25, 0.75, 0.9, 0.95)  # quantiles of the returns
_EXTREMES = 4  # returns at either end
_SHARES = (0.5, 1.0, 1.5, 2.0)  # diffusive sd, beyond which shares are read
_COUNTS = (2.5, 3.0, 3.5, 4.0, 5.0, 7.0, 12.0)  # and counts
_SPANS = (2, 3, 4, 6, 8, 12, 16)  # lags of the structure function
_EDGES = (3, 5, 8, 16)  # bars at either end, for the variance there
_EARLIER = (4, 10, 20)  # bars before the window, likewise
_BLOCKS = (4, 8, 16)  # bars a block, for how the variance wanders
_CLIP = 4.0  # diffusive sd: beyond, autocovariances know a return's sign only
_LONGEST_EXACT = 40  # returns: beyond, Whittle's likelihood serves
_BOUND = 50.0
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Summary:
    """Features of each window, and what they were made from.

    Args:
        features: finite.
        log_volatility: ln of the truncated diffusive volatility at 252 bars a year, which the
            network's volatilities are relative to.
        growth, error: mean log return a year, and its standard error if returns without jumps were
            all there is and independent; at 252 bars a year.
        parts: of the windows.
        memory, pull: posteriors of H and of the mean reversion given that there is no other, of
            returns without their jumps.
    """

    features: Float32[Tensor, "windows features"]
    log_volatility: Float64[Tensor, " windows"]
    growth: Float64[Tensor, " windows"]
    error: Float64[Tensor, " windows"]
    parts: WindowParts
    memory: GridPosterior
    pull: GridPosterior


def summarise(
    bars: Float64[Tensor, "windows bars 5"],
    before: Float64[Tensor, "windows earlier 5"] | None = None,
    range_correction: float = 1.0,
) -> Summary:
    """Features of windows of n + 1 bars, in bar units (as though 252 bars made a year).

    Logarithms of the scale and of n; what grids say of memory and reversion, with their doubt; of
    the returns in diffusive sd (``split_core``): quantiles, extremes, counts beyond 2.5 to 20,
    autocorrelations, also of their size, the structure function; of the ranges: spread and
    autocorrelation of the log variance of a bar, its covariance with returns and with their size;
    how the variance starts, ends and was before; bars whose extreme is their open or close.
    """
    parts = window_parts(bars, range_correction)
    core = split_core(parts)
    n = core.z.shape[1]
    size = core.z.abs()
    memory = hurst_posterior(
        core.cleaned,
        (1 + core.jumped.clamp_max(1e3)).double() / DAILY,
        "exact" if n <= _LONGEST_EXACT else "whittle",
    )
    pull = reversion_posterior(core.cleaned)
    log_volatility = ((core.variance * DAILY).log() / 2).clamp_min(-16.0)
    zero = torch.zeros_like(core.night)
    columns = [
        *(zero + math.log(n), zero + 1 / math.sqrt(n), log_volatility.float()),
        *(parts.closes.float(), core.night, (parts.moving / n).float()),
        *_of_grids(memory, pull),
        *_of_sizes(core, size),
        *_of_order(core),
        *_of_ranges(parts, core, size),
        *_of_time(core, size),
        *_of_bars(bars, parts),
        *_earlier(before, core, range_correction),
    ]
    features = torch.stack(columns, dim=1)
    features = torch.nan_to_num(features, 0.0, _BOUND, -_BOUND).clamp_(-_BOUND, _BOUND)
    growth = parts.returns.mean(dim=1) * DAILY
    error = log_volatility.exp() * math.sqrt(DAILY / n)
    return Summary(features, log_volatility, growth, error, parts, memory, pull)


def _of_grids(memory: GridPosterior, pull: GridPosterior) -> list[Tensor]:
    columns = [
        *memory.moments(memory.values.logit()),
        memory.log_bayes.clamp(-5, 20),
        *pull.moments((pull.values * DAILY).log()),
        pull.log_bayes.clamp(-5, 20),
    ]
    return [column.float() for column in columns]


def _of_sizes(core: Core, size: Tensor) -> list[Tensor]:
    """How many returns are large, how large, to which side."""
    columns = [(size > bound).float().mean(dim=1) for bound in _SHARES]
    columns += [(size > bound).float().sum(dim=1).log1p() for bound in _COUNTS]
    q, square, n = core.probability, core.z.square(), size.shape[1]
    jumped = q * core.z
    columns += [q.sum(dim=1).log1p(), (q * (1 - q)).sum(dim=1).sqrt(), core.jumped.log1p()]
    columns.append(jumped.sum(dim=1) / (1 + (jumped * core.z).sum(dim=1)).sqrt())
    second = square.mean(dim=1).clamp_min(_TINY)
    columns.append((square.square().mean(dim=1) / second.square()).clamp(1, 1e4).log())
    columns.append((size[:, 1:] * size[:, :-1]).mean(dim=1).clamp_min(1e-6).log())
    # The sum of all returns, which memory makes large and a pull small.
    for mean in (core.z.mean(dim=1) + core.mean, core.cleaned.mean(dim=1).float()):
        total = mean * math.sqrt(n)
        columns += [total.clamp(-20, 20), total.square().clamp_min(1e-4).log()]
    return columns


def _of_order(core: Core) -> list[Tensor]:
    ordered, n = core.ordered, core.ordered.shape[1]
    rows = [min(round(level * (n - 1)), n - 1) for level in _LEVELS]
    rows += [*range(_EXTREMES), *range(n - _EXTREMES, n)]
    chosen = ordered[:, [min(max(i, 0), n - 1) for i in rows]]
    chosen = chosen.abs().log1p() * chosen.sign()
    return [*chosen.unbind(dim=1)]


def _of_ranges(parts: WindowParts, core: Core, size: Tensor) -> list[Tensor]:
    """Of ln of each bar's variance by its range and its night, the window's being 1."""
    own = core.own
    level = own.clamp(1e-4, 1e6).log()
    mean = level.mean(dim=1, keepdim=True)
    centred = level - mean
    columns = [mean[:, 0], centred.square().mean(dim=1).sqrt()]
    columns.append(own.clamp_max(1e4).mean(dim=1).clamp_min(1e-4).log())
    columns += _autocorrelations(centred, (1, 2, 3, 5, 8))
    # A range does not know the return it came with, unless that holds a jump or fat tails.
    for low, high in ((1.0, 2.0), (2.0, 3.0), (3.0, 4.5), (4.5, 1e6)):
        inside = ((size > low) & (size <= high)).float()
        columns.append((inside * centred).sum(dim=1) / (1 + inside.sum(dim=1)))
    calm = torch.where(size > _CLIP, 0.0, centred).clamp(-3, 3)
    spread = calm.square().mean(dim=1).clamp_min(1e-6)
    for block in _BLOCKS:
        count = calm.shape[1] // block
        means = calm[:, : count * block].unflatten(1, (count, block)).mean(dim=2) if count else calm
        columns.append((means.square().mean(dim=1) * block / spread).clamp_min(1e-3).log())
    x = core.z.clamp(-_CLIP, _CLIP)
    for lag in (0, 1, 2, 3):
        columns.append((centred[:, lag:] * x[:, : x.shape[1] - lag]).mean(dim=1))
    for edge in _EDGES:
        columns += [_mean_log(own[:, :edge]), _mean_log(own[:, -edge:])]
    # Log ranges over log returns: tails move both, jumps the returns, few trades the ranges.
    columns += [core.closing.clamp(1e-3, 1e3).log(), core.daily.clamp(1e-3, 1e3).log()]
    large = core.overnight.square() > _CLIP**2 * core.night[:, None]
    columns.append(large.float().sum(dim=1).log1p())
    return columns


def _of_time(core: Core, size: Tensor) -> list[Tensor]:
    """Of the order in which returns came."""
    clipped = core.z.clamp(-_CLIP, _CLIP)
    columns = _autocorrelations(clipped, (1, 2, 3, 4, 5, 7))
    columns += _autocorrelations(size.clamp_max(2 * _CLIP).log1p(), (1, 2, 3, 5, 8))
    path = clipped.cumsum(dim=1)
    step = clipped.square().mean(dim=1).clamp_min(_TINY)
    for span in _SPANS:
        moved = path[:, span:] - path[:, :-span] if span < path.shape[1] else path[:, -1:] * 0
        columns.append((moved.square().mean(dim=1) / (span * step)).clamp_min(1e-4).log())
    # What follows a jump: a pull takes it back.
    jumped = torch.where(size > _CLIP, core.z, 0.0)
    jumps = jumped.square().sum(dim=1) + 1
    total = core.z.cumsum(dim=1)
    for span in (4, 12):
        if span < total.shape[1]:
            later = total[:, span:] - total[:, :-span]
            columns.append((jumped[:, :-span] * later).sum(dim=1) / jumps)
        else:
            columns.append(torch.zeros_like(jumps))
    return columns


def _of_bars(bars: Tensor, parts: WindowParts) -> list[Tensor]:
    """Shares of bars whose extremes were not seen inside, of returns of zero, of stale opens."""
    o, high, low, close = (bars[:, 1:, j] for j in range(4))
    seen = [high == torch.maximum(o, close), low == torch.minimum(o, close)]
    seen += [parts.returns == 0, parts.overnight == 0]
    return [share.float().mean(dim=1) for share in seen]


def _earlier(before: Tensor | None, core: Core, range_correction: float) -> list[Tensor]:
    """ln of the variance of the last bars ``before``, the window's being 1; with their number."""
    zero = torch.zeros_like(core.night)
    if before is None:
        return [zero] * (len(_EARLIER) + 1)
    parts = window_parts(before[:, -1 - _EARLIER[-1] :], range_correction)
    own = core.relative(parts)
    known = zero + math.log1p(own.shape[1])
    return [known, *(_mean_log(own[:, -edge:]) for edge in _EARLIER)]


def _mean_log(own: Tensor) -> Tensor:
    return own.clamp_max(20).mean(dim=1).clamp_min(1e-4).log()


def _autocorrelations(x: Tensor, lags: tuple[int, ...]) -> list[Tensor]:
    x = x - x.mean(dim=1, keepdim=True)
    variance = x.square().sum(dim=1).clamp_min(_TINY)
    return [
        (x[:, lag:] * x[:, :-lag]).sum(dim=1) / variance if lag < x.shape[1] else variance * 0
        for lag in lags
    ]
