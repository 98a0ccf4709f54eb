"""The posterior of the joint model by a network trained on simulated windows."""

from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.estimate import closed_labels, drift_posterior
from parfait.labels.features import Summary, summarise
from parfait.labels.network import TARGETS, LabelerModel
from parfait.labels.posterior import FLAGS, Labels
from parfait.labels.prior import DAILY, prior_coordinates
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import field_named, from_coordinate, to_coordinate

WIDTH = 256  # windows at a time, always as many, so that a window alone has the bytes of a batch
_Z95 = 1.6448536269514722
_NODES = (-1.3, 0.0, 1.3)  # of H and ln kappa, in sd, to average the variance of a mean over
# How a field at 252 bars a year grows with their number.
_POWERS = {
    "volatility": 0.5,
    "initial_volatility": 0.5,
    "jump_intensity": 1.0,
    "mean_reversion": 1.0,
    "variance_reversion": 1.0,
    "vol_of_vol": 1.0,
}


@lru_cache(maxsize=1)
def embedded_labeler() -> LabelerModel:
    """The network that ships with the package, read once."""
    return LabelerModel.load()


def amortised_labels(
    bars: Float64[Tensor, "windows n 5"],
    frequency: Float64[Tensor, " windows"],
    before: Float64[Tensor, "windows m 5"] | None = None,
    range_correction: float = 1.0,
    model: LabelerModel | None = None,
) -> Labels:
    """Posteriors of all eleven fields by ``model``, the embedded one by default.

    The network reads the features of a window (``summarise``) and knows the prior of
    ``RegimeSimulator``, in bar units. The drift has its normal posterior given those fields. The
    variance process is that of a market whose variance moves, the jump fields those of one that
    jumps, kappa the pull there is beside the memory.

    A window whose features are farther from training than 999 of 1000 simulated ones is flagged
    "foreign" and its variances grow by up to the prior's. Windows that hardly move or are shorter
    or longer than those of training keep the closed form, as does the initial volatility where
    bars ``before`` are given. Evidence, flags and total volatility are those of the closed form.
    """
    model = embedded_labeler() if model is None else model
    chunks = []
    for i in range(0, len(bars), WIDTH):
        rows = torch.arange(i, i + WIDTH).clamp_max(len(bars) - 1)
        earlier = None if before is None else before[rows]
        chunk = _label(bars[rows], frequency[rows], earlier, range_correction, model)
        chunks.append(chunk.first(len(bars) - i))
    return Labels.concatenate(chunks)


def _label(
    bars: Tensor,
    frequency: Tensor,
    before: Tensor | None,
    range_correction: float,
    model: LabelerModel,
) -> Labels:
    n = bars.shape[1] - 1
    summary = summarise(bars, range_correction)
    known = (summary.split, summary.parts)
    closed = closed_labels(bars, frequency, before, range_correction, known)
    still = summary.parts.still
    if not model.lengths[0] <= n <= model.lengths[-1]:
        return closed.by("amortised")
    calibration, farthest = model.at(n)
    found, spread = model.posterior(summary.features, summary.log_volatility)
    ratio = frequency / DAILY
    loc, scale = closed.loc.clone(), closed.scale.clone()
    for j, name in enumerate(TARGETS):
        if name == "initial_volatility" and before is not None:
            continue
        column = FIELD_NAMES.index(name)
        wide = spread[:, j] * calibration[column]
        loc[:, column], scale[:, column] = _rescaled(name, found[:, j], wide, ratio)
    drift = _drift(summary, frequency, loc, scale)
    loc[:, 0], scale[:, 0] = drift[0], drift[1] * calibration[0]
    distance = model.distance(summary.features) / farthest
    foreign = (distance > 1) & ~still
    _, prior = prior_coordinates(frequency)
    share = (1 - distance.clamp_min(1).square().reciprocal())[:, None]
    scale = (scale.square() + share * prior.square()).sqrt()
    loc = torch.where(still[:, None], closed.loc, loc)
    scale = torch.where(still[:, None], closed.scale, scale)
    flags = closed.flags.clone()
    flags[:, FLAGS.index("foreign")] = foreign
    every = torch.ones(len(FIELD_NAMES), dtype=torch.bool)
    return closed.by("amortised", loc=loc, scale=scale, flags=flags, identified=every)


def _rescaled(name: str, loc: Tensor, scale: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinate of a field at 252 bars a year, at ``ratio`` times as many: by its quantiles."""
    if name not in _POWERS:
        return loc, scale
    factor = ratio ** _POWERS[name]
    if name == "volatility":
        return loc + factor.log(), scale
    field = field_named(name)
    ends = []
    for z in (loc - _Z95 * scale, loc + _Z95 * scale):
        value = field.inverse(z).clamp_min(0) * factor
        # Where a clamp at zero or no change of units bends nothing, the coordinate stays linear.
        below = z < to_coordinate(name, torch.zeros(()))
        ends.append(torch.where(below, z, field.forward(value)))
    return (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / (2 * _Z95)


def _drift(
    summary: Summary, frequency: Tensor, loc: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Normal posterior of the drift given the other fields (``drift_posterior``)."""
    n = summary.parts.returns.shape[1]
    column = {name: j for j, name in enumerate(FIELD_NAMES)}

    def value(name: str, z: float = 0.0) -> Tensor:
        j = column[name]
        return from_coordinate(name, loc[:, j] + z * scale[:, j])

    sigma = value("volatility")
    intensity, mean, size = (value(f"jump_{name}") for name in ("intensity", "mean", "std"))
    jumped = intensity * (mean.square() + size.square())
    total = (sigma.square() + jumped).sqrt()
    memory = sum(float(n) ** (2 * value("hurst", z) - 1) for z in _NODES) / len(_NODES)
    pull = torch.zeros_like(sigma)
    for z in _NODES:
        speed = (value("mean_reversion", z) * n / frequency).clamp_min(1e-6)
        pull = pull - torch.expm1(-speed) / speed / len(_NODES)
    spread = [scale[:, column[f"jump_{name}"]] for name in ("intensity", "std")]
    doubt = (spread[0].square() + (2 * spread[1]).square()).clamp_max(4.0)
    # Memory is that of the diffusion: jumps average out whatever H is.
    stretch = (sigma.square() * memory + jumped) / total.square() * pull
    moved = summary.parts.returns
    return drift_posterior(moved, frequency, sigma, total, stretch, (intensity, mean, size), doubt)
