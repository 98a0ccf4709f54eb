"""Returns split by a threshold into diffusion and the rest: rough, fast, in single precision."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from parfait.labels.jumps import BARS, COUNT, SIZE, SIZE_WEIGHT, jump_probability
from parfait.labels.volatility import LEAST_SD, WindowParts

_CUTS = (4.0, 3.5)  # sd, of each pass
_WIDE = 1.349  # a normal's interquartile range, in sd
_MOST_JUMPS = 0.5  # of the bars
_LEAST = 1e-4  # of the variance that the start knows
_LEAST_UNIT = 0.02  # of the root mean square return


@dataclass(frozen=True, eq=False)
class Core:
    """Windows in units of their diffusive standard deviation per bar.

    Args:
        z: returns less the mean of those within the cut.
        ordered: z by size.
        overnight: returns between close and open.
        own: each bar's variance by its range and its night; by its return where ranges say nothing.
        night: share of the variance between close and open.
        probability: that a bar holds a jump, by its return and its range, given the share and the
            size of the returns beyond the cut.
        jumped: their variance a bar, by that.
        closing: variance of the returns within the cut, close to close.
        daily: variance of the session's returns within the cut.
        cleaned: returns less their expected jumps, float64.
        mean: of the returns within the cut.
        variance: the unit squared, float64.
    """

    z: Float32[Tensor, "windows n"]
    ordered: Float32[Tensor, "windows n"]
    overnight: Float32[Tensor, "windows n"]
    own: Float32[Tensor, "windows n"]
    night: Float32[Tensor, " windows"]
    probability: Float32[Tensor, "windows n"]
    jumped: Float32[Tensor, " windows"]
    closing: Float32[Tensor, " windows"]
    daily: Float32[Tensor, " windows"]
    cleaned: Float64[Tensor, "windows n"]
    mean: Float32[Tensor, " windows"]
    variance: Float64[Tensor, " windows"]

    def relative(self, parts: WindowParts) -> Float32[Tensor, "windows m"]:
        """Variance of every bar of other windows, in this one's units."""
        return _own(parts, self.variance)


def split_core(parts: WindowParts) -> Core:
    """Starts at the interquartile range; every pass takes the variance of the bars whose return is
    within the cut (Mancini 2009), the last one by Yang & Zhang (2000), of closes where ranges say
    nothing.
    """
    r = parts.returns.float()
    n = r.shape[1]
    ordered = r.sort(dim=1).values
    low, middle, high = (ordered[:, round(q * (n - 1))] for q in (0.25, 0.5, 0.75))
    unit = (high - low) / _WIDE
    rms = (r - middle[:, None]).square().mean(dim=1).sqrt()
    # Where half of the bars did not trade the quartiles are nearly one.
    unit = torch.where(unit > _LEAST_UNIT * rms, unit, rms).clamp_min(LEAST_SD)
    scale = unit.double()[:, None]
    x = (r - middle[:, None]) / unit[:, None]
    o, c = (parts.overnight / scale).float(), (parts.session / scale).float()
    ranged = (parts.ranged / scale.square()).float()
    x2, o2 = x.square(), o.square()
    rough = torch.where(parts.closes[:, None], x2, (ranged + o2) * parts.correction)
    v, mean = torch.ones_like(unit), torch.zeros_like(unit)
    whole = rough.mean(dim=1).clamp_min(_LEAST)

    def kept_or_all(kept: Tensor) -> Tensor:
        # What is left of bars that mostly did not trade may be the untraded ones alone.
        return torch.where(kept > _LEAST, kept, whole)

    for cut in _CUTS:
        keep, count = _kept(x, mean, v, cut)
        mean = (keep * x).sum(dim=1) / count
        v = kept_or_all((keep * rough).sum(dim=1) / count)
    keep, count = _kept(x, mean, v, _CUTS[-1])
    sums = [(keep * part).sum(dim=1) for part in (x, x2, o, o2, c, c.square(), ranged)]
    mean = sums[0] / count
    closing, overnight, session = (
        ((sums[i + 1] - sums[i].square() / count) / (count - 1)).clamp_min(0) for i in (0, 2, 4)
    )
    k = 0.34 / (1.34 + (count + 1) / (count - 1))
    seen = (overnight + k * session + (1 - k) * sums[6] / count) * parts.correction
    v = kept_or_all(torch.where(parts.closes, closing, seen))
    variance = v.double() * scale[:, 0].square()
    root = v.sqrt()[:, None]
    z = (x - mean[:, None]) / root
    level = (mean + middle / unit) / root[:, 0]
    night = (overnight * parts.correction / seen.clamp_min(_LEAST)).clamp(0, 1)
    own = torch.where(parts.closes[:, None], z.square(), _own(parts, variance))
    square = z.square()
    far = 1 - keep
    count = far.sum(dim=1)
    p = ((count + COUNT) / (n + BARS)).clamp_max(_MOST_JUMPS)
    prior = (SIZE**2 / variance).float().clamp_max(1e6)
    second = ((far * square).sum(dim=1) + SIZE_WEIGHT * (prior + 1)) / (count + SIZE_WEIGHT)
    s2 = torch.maximum(second - 1, prior / 16)
    one, none = torch.ones_like(v), torch.zeros_like(v)
    ranged = ranged * (parts.correction / v)[:, None]
    q, _ = jump_probability(
        z, ranged, parts.closes, one, none, night.clamp(0.02, 0.95), p, none, s2
    )
    ordered = ((ordered - middle[:, None]) / unit[:, None] - mean[:, None]) / root
    return Core(
        z=z,
        ordered=ordered,
        overnight=o / root,
        own=own,
        night=torch.where(parts.closes, 0.0, night),
        probability=q,
        jumped=(q * square).sum(dim=1) / n,
        closing=closing / v,
        daily=session / v,
        cleaned=(z * (1 - q * (s2 / (1 + s2))[:, None]) + level[:, None]).double(),
        mean=level,
        variance=variance,
    )


def _kept(x: Tensor, mean: Tensor, v: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    keep = ((x - mean[:, None]).abs() <= cut * v.sqrt()[:, None]).float()
    return keep, keep.sum(dim=1).clamp_min(2)


def _own(parts: WindowParts, variance: Tensor) -> Tensor:
    by_range = parts.ranged.clamp_min(0) + parts.overnight.square()
    mixed = torch.where(parts.closes[:, None], parts.returns.square(), by_range * parts.correction)
    return (mixed / variance[:, None]).float()
