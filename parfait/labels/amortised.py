"""The posterior of the joint model by a network trained on simulated windows."""

import math
from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.estimate import SHORT, closed_labels, drift_posterior, reverts
from parfait.labels.features import Summary, summarise
from parfait.labels.network import BLOCK, GROWTH_ERROR, TARGETS, TOTAL, LabelerModel
from parfait.labels.posterior import FLAGS, Labels
from parfait.labels.prior import DAILY, PRIOR, prior_coordinates
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import field_named, from_coordinate, to_coordinate

_BARS = 245_760  # at a time: fewer cost more, each operation has its price
_Z95 = 1.6448536269514722
# How a field at 252 bars a year grows with their number.
_POWERS = {
    "volatility": 0.5,
    "initial_volatility": 0.5,
    "jump_intensity": 1.0,
    "mean_reversion": 1.0,
    "variance_reversion": 1.0,
    "vol_of_vol": 1.0,
    "jump_mean": 0.0,
    "jump_std": 0.0,
}
_SIZES = ("volatility", "initial_volatility", "vol_of_vol", "jump_mean", "jump_std")
# Volatilities at 252 bars a year beyond which returns are stretched to those in the middle, whose
# jumps are to the diffusion as in training: minute bars are calmer than any daily window.
_CALMEST, _CALM, _WILD, _WILDEST = 0.045, 0.1, 0.4, 0.9


@lru_cache(maxsize=1)
def embedded_labeler() -> LabelerModel:
    """The network that ships with the package, read once."""
    return LabelerModel.load()


def knows(n: int, model: LabelerModel | None = None) -> bool:
    """Whether ``model``, the embedded one by default, was trained on windows of n returns."""
    lengths = (embedded_labeler() if model is None else model).lengths
    return lengths[0] <= n <= lengths[-1]


def amortised_labels(
    bars: Float64[Tensor, "windows n 5"],
    frequency: Float64[Tensor, " windows"],
    before: Float64[Tensor, "windows m 5"] | None = None,
    range_correction: float = 1.0,
    model: LabelerModel | None = None,
) -> Labels:
    """Posteriors of all eleven fields and of the total volatility by ``model``, the embedded one by
    default.

    The network reads the features of a window (``summarise``) and knows the prior of
    ``RegimeSimulator``, in bar units. The drift has its normal posterior given the other fields.
    The variance process is that of a market whose variance moves, the jump fields those of one
    that jumps, kappa the pull there is beside the memory. Evidence is that of the grids.

    Returns calmer or wilder than any of training are stretched to those first, with their jumps.
    A window whose features are farther from training than 999 of 1000 simulated ones is flagged
    "foreign" and its variances grow by up to the prior's. Windows that hardly move hold the prior;
    those shorter or longer than in training have the closed forms.
    """
    model = embedded_labeler() if model is None else model
    n = bars.shape[1] - 1
    if not knows(n, model):
        return closed_labels(bars, frequency, before, range_correction).by("amortised")
    size = max(_BARS // (n * BLOCK), 1) * BLOCK
    chunks = []
    for i in range(0, len(bars), size):
        count = min(size, len(bars) - i)
        # Filled up to whole blocks, so that a window alone has the bytes of a batch.
        fill = -count % BLOCK
        chunk = _label(
            _filled(bars[i : i + count], fill),
            _filled(frequency[i : i + count], fill),
            None if before is None else _filled(before[i : i + count], fill),
            range_correction,
            model,
        )
        chunks.append(chunk.first(count))
    return Labels.concatenate(chunks)


def _filled(rows: Tensor, fill: int) -> Tensor:
    """The rows, the last one ``fill`` times more."""
    return torch.cat([rows, rows[-1:].expand(fill, *rows.shape[1:])]) if fill else rows


def _label(
    bars: Tensor,
    frequency: Tensor,
    before: Tensor | None,
    range_correction: float,
    model: LabelerModel,
) -> Labels:
    n = bars.shape[1] - 1
    summary = summarise(bars, before, range_correction)
    parts, size = summary.parts, _stretch(summary)
    rows = (size != 1).nonzero()[:, 0]
    if len(rows):
        some = _filled(rows, -len(rows) % BLOCK)
        earlier = None if before is None else _stretched(before[some], size[some])
        read = summarise(_stretched(bars[some], size[some]), earlier, range_correction)
        names = ("features", "log_volatility", "growth", "error")
        kept = {name: getattr(summary, name).clone() for name in names}
        for name, values in kept.items():
            values[rows] = getattr(read, name)[: len(rows)]
        summary = replace(summary, **kept)
    calibration, farthest = model.at(n)
    found, spread = model.posterior(summary)
    ratio = frequency / DAILY
    prior_loc, prior = prior_coordinates(frequency)
    loc, scale = prior_loc.clone(), prior.clone()
    of = {name: (found[:, j], spread[:, j]) for j, name in enumerate(TARGETS)}
    for name in TARGETS[:-2]:
        column = FIELD_NAMES.index(name)
        wide = of[name][1] * calibration[column]
        loc[:, column], scale[:, column] = _rescaled(name, of[name][0], wide, ratio, size)
    total = (of[TOTAL][0] + ratio.log() / 2).exp() / size
    drift = _drift(summary, ratio / size, loc, scale, total, of[GROWTH_ERROR])
    loc[:, 0], scale[:, 0] = drift[0], drift[1] * calibration[0]

    distance = model.distance(summary.features) / farthest
    share = 1 - distance.clamp_min(1).square().reciprocal()
    scale = (scale.square() + share[:, None] * prior.square()).sqrt()
    still = parts.still[:, None]
    loc, scale = torch.where(still, prior_loc, loc), torch.where(still, prior, scale)

    total_spread = of[TOTAL][1] * calibration[-1]
    widest = PRIOR["volatility"][1]
    total_spread = (total_spread.square() + share * widest**2).sqrt()
    closes = (parts.second * n / (n - 1) * frequency).sqrt()
    sigma = from_coordinate("volatility", loc[:, 1])
    flags = {
        "closes": parts.closes,
        "still": parts.still,
        "short": torch.full_like(parts.still, n < SHORT),
        "jumps": (total.square() > 2 * sigma.square()) & ~parts.still,
        "reverting": reverts(summary.memory, summary.pull) & ~parts.still,
        "foreign": (distance > 1) & ~parts.still,
    }
    evidence = torch.stack([summary.memory.log_bayes, summary.pull.log_bayes], dim=1)
    above = (summary.pull.values > math.log(2) / n).to(torch.float64)
    return Labels(
        loc,
        scale,
        identified=torch.ones(len(FIELD_NAMES), dtype=torch.bool),
        flags=torch.stack([flags[name] for name in FLAGS], dim=1),
        n_eff=parts.moving,
        total_volatility=torch.where(parts.still, closes, total),
        total_spread=torch.where(parts.still, widest, total_spread),
        reversion_probability=summary.pull.weights @ above,
        log_bayes=torch.where(still, 0.0, evidence),
        method="amortised",
    )


def _stretch(summary: Summary) -> Tensor:
    """Factor that takes returns calmer or wilder than in training among those, else 1."""
    volatility = summary.log_volatility.exp()
    size = torch.where(volatility < _CALMEST, _CALM / volatility, 1.0)
    size = torch.where(volatility > _WILDEST, _WILD / volatility, size)
    return torch.where(summary.parts.still, 1.0, size)


def _stretched(bars: Tensor, size: Tensor) -> Tensor:
    """Bars whose log returns are ``size`` times as large; the same bytes where that is 1."""
    size = size[:, None, None]
    start = bars[:, :1, 3:4]
    prices = torch.exp(size * (bars[..., :4] / start).log())
    return torch.where(size == 1, bars, torch.cat([prices, bars[..., 4:]], dim=2))


def _rescaled(
    name: str, loc: Tensor, scale: Tensor, ratio: Tensor, size: Tensor
) -> tuple[Tensor, Tensor]:
    """Coordinate of a field at 252 bars a year and of returns ``size`` times as large, at ``ratio``
    times as many bars and of the returns themselves.

    The median moves as the field does, and the spread so that 90 % intervals are as wide.
    """
    if name not in _POWERS:
        return loc, scale
    factor = ratio ** _POWERS[name] / torch.where(torch.tensor(name in _SIZES), size, 1.0)
    if name == "jump_mean":
        return loc * factor, scale * factor
    if name == "volatility":
        return loc + factor.log(), scale
    field = field_named(name)
    ends = []
    for z in (loc - _Z95 * scale, loc, loc + _Z95 * scale):
        value = field.inverse(z).clamp_min(0) * factor
        # Where a clamp at zero or no change of units bends nothing, the coordinate stays linear.
        below = z < to_coordinate(name, torch.zeros(()))
        ends.append(torch.where(below, z, field.forward(value)))
    highest = float(to_coordinate(name, torch.tensor(field.high, dtype=torch.float64)))
    return ends[1].clamp_max(highest), (ends[2] - ends[0]) / (2 * _Z95)


def _drift(
    summary: Summary,
    ratio: Tensor,
    loc: Tensor,
    scale: Tensor,
    total: Tensor,
    missed: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Normal posterior of the drift given the other fields and the error of the mean return."""
    column = {name: j for j, name in enumerate(FIELD_NAMES)}
    sigma, intensity, mean, size = (
        from_coordinate(name, loc[:, column[name]])
        for name in ("volatility", "jump_intensity", "jump_mean", "jump_std")
    )
    spread = [scale[:, column[f"jump_{name}"]] for name in ("intensity", "std")]
    doubt = (spread[0].square() + (2 * spread[1]).square()).clamp_max(4.0)
    growth = (summary.growth - missed[0] * summary.error) * ratio
    error = missed[1] * summary.error * ratio
    return drift_posterior(growth, error, sigma, total, (intensity, mean, size), doubt)
