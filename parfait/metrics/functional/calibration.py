"""Are forecasts calibrated, and sharper than a rival's? Scores of samples against what came."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.metrics.resampling import block_weights
from parfait.utils.errors import UserError

LEVELS = (0.5, 0.8, 0.9)
_PAIRS = 4_000_000  # numbers of a table of distances at a time


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def crps(
    samples: Float64[Tensor, "forecasts paths"], truth: Float64[Tensor, " forecasts"]
) -> Float64[Tensor, " forecasts"]:
    """Continuous ranked probability score of every forecast, in the unit of the target.

        CRPS = mean_i |x_i - y| - (1/2) mean_ij |x_i - x_j|,
        (1/2) mean_ij |x_i - x_j| = (1/m^2) sum_i (2 i - m - 1) x_(i)      of the sorted samples

    Raises:
        UserError: shapes that do not fit, no samples, or numbers that are not finite.

    Source: Gneiting and Raftery (2007), equation 21; Jordan, Krueger and Lerch (2019).
    """
    _check(samples, truth)
    m = samples.shape[1]
    rank = 2.0 * torch.arange(1, m + 1, dtype=torch.float64) - m - 1
    spread = samples.sort(dim=1).values @ rank / m**2
    return (samples - truth[:, None]).abs().mean(1) - spread


def energy_score(
    samples: Float64[Tensor, "forecasts paths steps"], truth: Float64[Tensor, "forecasts steps"]
) -> Float64[Tensor, " forecasts"]:
    """mean_i ||x_i - y|| - (1/2) mean_ij ||x_i - x_j||, Euclidean: the CRPS of whole paths.

    Raises:
        UserError: as ``crps``.

    Source: Gneiting and Raftery (2007), equation 22.
    """
    _check(samples, truth)
    group = max(_PAIRS // samples.shape[1] ** 2, 1)
    scores = []
    for x, y in zip(samples.split(group), truth.split(group), strict=True):
        pairs = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        near = torch.linalg.vector_norm(x - y[:, None], dim=2).mean(1)
        scores.append(near - pairs.mean((1, 2)) / 2)
    return torch.cat(scores)


def covered(
    samples: Float64[Tensor, "forecasts paths"], truth: Float64[Tensor, " forecasts"], level: float
) -> Float64[Tensor, " forecasts"]:
    """1 where the truth lies within the central interval of probability ``level``, else 0.

    The ends are the sample quantiles whose ranks are q (m + 1): a new draw of the same law lies
    below the i-th of m sorted samples with probability i / (m + 1).

    Raises:
        UserError: as ``crps``, or a level outside (0, 1).
    """
    _check(samples, truth)
    if not 0 < level < 1:
        raise UserError(f"coverage level {level} must be inside (0, 1)")
    ordered = samples.sort(dim=1).values
    low, high = (_quantile(ordered, q) for q in ((1 - level) / 2, (1 + level) / 2))
    return ((truth >= low) & (truth <= high)).to(torch.float64)


def pit(
    samples: Float64[Tensor, "forecasts paths"],
    truth: Float64[Tensor, " forecasts"],
    generator: torch.Generator,
) -> Float64[Tensor, " forecasts"]:
    """Randomised probability integral transform, (#{x < y} + U (#{x = y} + 1)) / (m + 1).

    Uniform on (0, 1) when truth and samples have one law, ties included.

    Raises:
        UserError: as ``crps``.

    Source: Czado, Gneiting and Held (2009).
    """
    _check(samples, truth)
    below = (samples < truth[:, None]).sum(1)
    equal = (samples == truth[:, None]).sum(1)
    u = torch.rand(truth.shape, generator=generator, dtype=torch.float64)
    return (below + u * (equal + 1)) / (samples.shape[1] + 1)


def ks_uniform(values: Float64[Tensor, " forecasts"]) -> float:
    """Kolmogorov's distance of values in [0, 1] from the uniform law, sup |F_n(u) - u|."""
    ordered, n = values.sort().values, len(values)
    above = torch.arange(1, n + 1, dtype=torch.float64) / n - ordered
    below = ordered - torch.arange(n, dtype=torch.float64) / n
    return float(torch.maximum(above, below).max())


def skill(
    score: Float64[Tensor, " forecasts"],
    rival: Float64[Tensor, " forecasts"],
    dates: Int64[Tensor, " forecasts"],
    block: int,
    *,
    draws: int = 1000,
    level: float = 0.95,
    generator: torch.Generator,
) -> Interval:
    """1 - mean score / mean score of the rival, with a paired block-bootstrap interval.

    Forecasts of one date stay together whatever their asset, and so do those of a stretch of time:
    overlapping horizons and common shocks are no independent evidence.

    Args:
        score, rival: of the same forecasts, lower is better; in one unit, so divide those of
            different assets by a scale of the asset.
        dates: when each was made, any integer unit, in any order.
        block: length of a stretch in that unit, at least three horizons.
        draws: bootstrap samples.
        level: probability of the interval.
        generator: of the draws.

    Raises:
        UserError: different lengths, a rival without error, or dates of fewer than three blocks.
    """
    if not len(score) == len(rival) == len(dates):
        raise UserError(
            f"skill: {len(score)} scores, {len(rival)} of the rival and {len(dates)} dates; give "
            "the same forecasts"
        )
    if not float(rival.sum()) > 0:
        raise UserError("skill: the rival's mean score is not above 0; there is nothing to beat")
    weights = block_weights(dates, block, draws, generator)
    drawn = 1 - (weights @ score) / (weights @ rival).clamp_min(1e-300)
    return Interval(float(1 - score.sum() / rival.sum()), *_ends(drawn, level))


def mean_interval(
    values: Float64[Tensor, " forecasts"],
    dates: Int64[Tensor, " forecasts"],
    block: int,
    *,
    draws: int = 1000,
    level: float = 0.95,
    generator: torch.Generator,
) -> Interval:
    """Mean with a block-bootstrap interval, as ``skill``: of coverage, say.

    Raises:
        UserError: dates that cover fewer than three blocks.
    """
    weights = block_weights(dates, block, draws, generator)
    drawn = (weights @ values) / weights.sum(1).clamp_min(1)
    return Interval(float(values.mean()), *_ends(drawn, level))


def _ends(values: Float64[Tensor, " draws"], level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    ends = torch.quantile(values, torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(ends[0]), float(ends[1])


def _quantile(ordered: Tensor, q: float) -> Tensor:
    """Sample quantile of rank q (m + 1), between two neighbours linearly."""
    m = ordered.shape[1]
    rank = min(max(q * (m + 1) - 1, 0.0), m - 1.0)
    low = math.floor(rank)
    high = min(low + 1, m - 1)
    return ordered[:, low] + (rank - low) * (ordered[:, high] - ordered[:, low])


def _check(samples: Tensor, truth: Tensor) -> None:
    fits = samples.ndim == truth.ndim + 1 and samples.shape[:1] + samples.shape[2:] == truth.shape
    if not fits or not samples.shape[1]:
        raise UserError(
            f"samples of shape {tuple(samples.shape)} do not fit a truth of shape "
            f"{tuple(truth.shape)}; give (forecasts, paths, ...) and (forecasts, ...)"
        )
    if not bool(torch.isfinite(samples).all()) or not bool(torch.isfinite(truth).all()):
        raise UserError("samples and truth must be finite; leave out what is not known")
