"""Posteriors over the regimes of windows in closed form or on grids."""

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from parfait.labels.grid import GridPosterior
from parfait.labels.hurst import hurst_posterior
from parfait.labels.jump_posterior import jump_posterior
from parfait.labels.jumps import Split, split_jumps
from parfait.labels.posterior import FLAGS, Labels
from parfait.labels.prior import NONE, PRIOR, VOL_OF_VOL, prior_coordinates
from parfait.labels.reversion import reversion_posterior
from parfait.labels.volatility import WindowParts, window_parts
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import field_named, to_coordinate
from parfait.utils.errors import UserError

UNMEASURED = ("variance_reversion", "vol_of_vol", "leverage")
SHORT = 15  # returns: below, most of what a label says is its prior
SHARPE_SD = 1.0  # prior spread of log drift / volatility, 1/sqrt(year): most assets live below 1
EVIDENCE = math.log(3.0)  # for reversion against its rivals: "substantial" (Jeffreys 1961)
_Z95 = 1.6448536269514722
CHUNK = 100_000  # bars at a time, so that the steps of the search stay in the cache


def total_variance(
    bars: Float64[Tensor, "windows n 5"], range_correction: float = 1.0
) -> Float64[Tensor, " windows"]:
    """Variance per bar of all that moved the closes, diffusion and jumps (``Split.total``)."""
    check_windows(bars, "bars")
    size = max(CHUNK // bars.shape[1], 1)
    chunks = []
    for i in range(0, max(len(bars), 1), size):
        split, parts = _split(bars[i : i + size], range_correction)
        chunks.append(_total(parts, split)[0])
    return torch.cat(chunks)


def closed_labels(
    bars: Float64[Tensor, "windows n 5"],
    frequency: Float64[Tensor, " windows"],
    before: Float64[Tensor, "windows m 5"] | None,
    range_correction: float,
    known: tuple[Split, WindowParts] | None = None,
) -> Labels:
    """What ``label_windows`` says of the method "closed"; ``known``: what ``bars`` split into."""
    windows, n = bars.shape[0], bars.shape[1] - 1
    split, parts = _split(bars, range_correction) if known is None else known
    jumps = jump_posterior(split, parts.returns, frequency)
    cleaned = split.cleaned(parts.returns)
    # Without its jumps a return keeps the drift that made up for them.
    drifting = (split.variance + jumps.variance) / frequency * SHARPE_SD**2
    drifting = drifting + (jumps.typical[0].square() * jumps.second)
    memory = hurst_posterior(cleaned, drifting / split.variance)
    pull = reversion_posterior(cleaned)
    reverting = reverts(memory, pull)

    loc, scale = prior_coordinates(frequency)
    column = {name: j for j, name in enumerate(FIELD_NAMES)}

    def write(name: str, centre: Tensor, spread: Tensor, keep: Tensor | None = None) -> None:
        """Puts a posterior in place of the prior where prices moved."""
        j = column[name]
        missing = parts.still if keep is None else keep
        loc[:, j] = torch.where(missing, loc[:, j], centre)
        scale[:, j] = torch.where(missing, scale[:, j], spread)

    sigma, error = _annual(split.variance, split.relative, frequency, parts.still)
    write("volatility", sigma.log(), error)
    write("jump_intensity", *jumps.intensity)
    write("jump_mean", *jumps.mean)
    write("jump_std", *jumps.size)

    h = to_coordinate("hurst", memory.values)
    write("hurst", *_instead("hurst", reverting, memory.moments(h)))
    kappa = (pull.values * frequency[:, None] + 0.05).log()
    write("mean_reversion", *_instead("mean_reversion", ~reverting, pull.moments(kappa)))

    total, total_relative = _total(parts, split)
    level, spread = _annual(total, total_relative, frequency, parts.moving == 0)
    stretch = memory.weights @ (float(n) ** (2 * memory.values - 1))
    stretch = torch.where(reverting, 1.0, stretch)
    expected = (sigma.square() + jumps.variance * frequency).sqrt()
    typical = (jumps.typical[0] * frequency, *jumps.typical[1:])
    doubt = jumps.intensity[1].square() + (2 * jumps.size[1]).square()
    growth = parts.returns.mean(dim=1) * frequency
    missed = expected * (stretch * frequency / n).sqrt()
    write("drift", *drift_posterior(growth, missed, sigma, expected, typical, doubt))

    start = (split, parts) if before is None else _split(before, range_correction)
    write("initial_volatility", *_initial(*start, frequency), keep=start[1].still)
    loc[:, column["vol_of_vol"]] = to_coordinate(
        "vol_of_vol", (VOL_OF_VOL * sigma).clamp_max(field_named("vol_of_vol").high)
    )

    heavy = (split.probability.sum(dim=1) > 0.5) & (split.variance < 0.5 * split.total)
    flags = {
        "closes": split.closes,
        "still": parts.still,
        "short": torch.full((windows,), n < SHORT),
        "jumps": heavy & ~parts.still,
        "reverting": reverting & ~parts.still,
        "foreign": torch.zeros(windows, dtype=torch.bool),
    }
    above = (pull.values > math.log(2) / n).to(torch.float64)
    return Labels(
        loc,
        scale,
        identified=torch.tensor([name not in UNMEASURED for name in FIELD_NAMES]),
        flags=torch.stack([flags[name] for name in FLAGS], dim=1),
        n_eff=parts.moving,
        total_volatility=level,
        total_spread=spread,
        reversion_probability=pull.weights @ above,
        log_bayes=torch.where(
            parts.still[:, None], 0.0, torch.stack([memory.log_bayes, pull.log_bayes], dim=1)
        ),
        method="closed",
    )


def reverts(memory: GridPosterior, pull: GridPosterior) -> Bool[Tensor, " windows"]:
    """Whether reversion is three times as likely as memory and as a random walk."""
    return pull.log_bayes > memory.log_bayes.clamp_min(0) + EVIDENCE


def _split(bars: Tensor, range_correction: float) -> tuple[Split, WindowParts]:
    parts = window_parts(bars, range_correction)
    return split_jumps(parts), parts


def _initial(split: Split, parts: WindowParts, frequency: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and spread of the initial volatility's coordinate."""
    sigma, error = _annual(split.variance, split.relative, frequency, parts.still)
    # A square-root variance is, over a time T, xi sqrt(T/3) / 2 away from its mean in ln sigma.
    wander = (VOL_OF_VOL / 2) ** 2 * parts.returns.shape[1] / (3 * frequency)
    width = (error.square() + wander).sqrt().clamp_max(PRIOR["initial_volatility"][1])
    start = to_coordinate("initial_volatility", sigma)
    # ln(sqrt(v0) + shift) moves by less than ln sqrt(v0) does, the more so near zero.
    return start, width * sigma / start.exp()


def drift_posterior(
    growth: Float64[Tensor, " windows"],
    error: Float64[Tensor, " windows"],
    sigma: Float64[Tensor, " windows"],
    total: Float64[Tensor, " windows"],
    jumps: tuple[Tensor, Tensor, Tensor],
    doubt: Float64[Tensor, " windows"],
) -> tuple[Float64[Tensor, " windows"], Float64[Tensor, " windows"]]:
    """Centre and spread of the drift's coordinate.

    Args:
        growth, error: log return a year, and its standard error.
        sigma, total: diffusive volatility, and the one of all moves.
        jumps: lambda a year, m and s.
        doubt: variance of ln of the compensation for jumps.
    """
    prior = (SHARPE_SD * total).square()
    share = prior / (prior + error.square())
    intensity, mean, size = jumps
    sizes = torch.expm1((mean + size.square() / 2).clamp_max(2.0)) - mean
    compensation = intensity * sizes
    centre = share * growth + sigma.square() / 2 + compensation
    spread = (share * error.square() + compensation.square() * doubt).sqrt()
    low, high = field_named("drift").low, field_named("drift").high
    centre = centre.clamp(low, high)
    upper = to_coordinate("drift", centre + _Z95 * spread)
    lower = to_coordinate("drift", centre - _Z95 * spread)
    return (upper + lower) / 2, (upper - lower) / (2 * _Z95)


def _instead(
    name: str, replaced: Tensor, posterior: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The posterior, or "none" where the other explanation is better."""
    value, spread = NONE[name]
    none = float(to_coordinate(name, torch.tensor(value)))
    return (
        torch.where(replaced, none, posterior[0]),
        torch.where(replaced, spread, posterior[1]),
    )


def _annual(
    variance: Tensor, relative: Tensor, frequency: Tensor, unknown: Tensor
) -> tuple[Tensor, Tensor]:
    """exp(E ln sigma) a year and the sd of ln sigma; the prior where ``unknown``.

    An estimate v that behaves as sigma^2 chi^2_nu / nu with 2 / nu = r has E ln sigma =
    ln sqrt(v) + r/4 and variance (r + r^2/2) / 4, to second order in r.
    """
    prior, widest = PRIOR["volatility"]
    field = field_named("volatility")
    relative = relative.clamp_max(1.0)
    sigma = (variance * frequency).sqrt() * torch.exp(relative / 4)
    error = ((relative + relative.square() / 2).sqrt() / 2).clamp_max(widest)
    sigma = torch.where(unknown, prior, sigma.clamp(field.low, field.high))
    return sigma, torch.where(unknown, widest, error)


def _total(parts: WindowParts, split: Split) -> tuple[Tensor, Tensor]:
    """Total variance per bar and its relative variance; of closes where prices hardly move."""
    n = parts.returns.shape[1]
    closes = parts.returns.var(dim=1)
    relative = (parts.kurtosis.clamp_min(3) - 1) / max(n - 1, 1)
    return (
        torch.where(parts.still, closes, split.total),
        torch.where(parts.still, relative, split.total_relative),
    )


def check_windows(bars: Tensor, what: str) -> None:
    """``UserError`` unless these are windows of at least 3 valid bars."""
    if bars.ndim != 3 or bars.shape[2] != 5:
        raise UserError(f"{what} has shape {tuple(bars.shape)} instead of (windows, bars, 5)")
    if bars.shape[1] < 3:
        raise UserError(f"{what} has {bars.shape[1]} bars a window; a label needs at least 3")
    prices = bars[..., :4]
    if bars.dtype != torch.float64 or not bool((torch.isfinite(prices) & (prices > 0)).all()):
        raise UserError(f"{what} must be float64 with finite prices above 0")
