"""Posterior of the jump fields: how often, how large, which way."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.grid import chebyshev_interpolation, chebyshev_nodes, moments
from parfait.labels.jumps import MEAN_SD, Split

# Priors in the regime's coordinates: per bar 8/252 jumps (sd 1.2 of the logarithm), sizes of 0.04
# (sd 0.5 of ln(s + 0.01), with the tails of a t distribution of 4 degrees, for crashes).
INTENSITY, INTENSITY_SD = 8.0 / 252, 1.2
SIZE, SIZE_SD, SIZE_SHIFT = 0.04, 0.5, 0.01
_TAIL = 4.0
_P_LOW, _P_HIGH = 0.0008, 0.5
_P_NODES, _P_POINTS = 7, 33
_COARSE, _FINE = 5, 41  # sizes: to average over, and of the marginal
_LEAST = 1e-6  # floor of a bar's scaled likelihood; four of them fit single precision
_BLOCK = 4
_MISFIT = 0.3  # sd of ln lambda: which bars jumped is known at the most probable diffusion only


@dataclass(frozen=True, eq=False)
class JumpPosterior:
    """Posterior moments per window.

    Args:
        intensity: (mean, sd) of ln(lambda + 0.05), lambda a year.
        mean: of m.
        size: of ln(s + 0.01).
        typical: lambda a bar, m and s where the posteriors are centred.
        second: m^2 there, the doubt about it included.
        variance: lambda (m^2 + s^2) a bar, of typical lambda and the means of m^2 and (s + 0.01)^2.
    """

    intensity: tuple[Tensor, Tensor]
    mean: tuple[Tensor, Tensor]
    size: tuple[Tensor, Tensor]
    typical: tuple[Tensor, Tensor, Tensor]
    second: Tensor
    variance: Tensor


def jump_posterior(
    split: Split,
    returns: Float64[Tensor, "windows n"],
    bars_per_year: Float64[Tensor, " windows"],
) -> JumpPosterior:
    """Grid posterior of lambda, averaged over s, and of s and m given which bars jumped.

    With the diffusion known, p = 1 - e^{-lambda dt} has the likelihood
    prod_t (1 - p + p rho_t(s)), rho_t = N(r_t; mu + m, v + s^2 + var m) / N(r_t; mu, v) times the
    likelihood ratio of the bar's range. It is evaluated at 7 Chebyshev nodes in ln p and 5 sizes.
    s and m see the jumps through sum q, sum q r and sum q r^2, discounted by the share
    sum (q - p)^2 / sum q of the bars that are not just the prior's (Louis 1982).
    """
    excess = returns - split.mean[:, None]
    log_p, weights = _intensity(split, excess)
    p = log_p.exp()
    per_bar = -torch.log1p(-p)
    intensity = moments(weights, (per_bar * bars_per_year[:, None] + 0.05).log())
    intensity = (intensity[0], (intensity[1].square() + _MISFIT**2).sqrt())
    typical_intensity = torch.exp(weights @ per_bar.log())

    q = split.probability
    count = q.sum(dim=1).clamp_min(1e-12)
    expected = (weights @ p)[:, None]
    discount = ((q - expected).square().sum(dim=1) / count).clamp_max(1)
    mean = (q * excess).sum(dim=1) / count
    spread = (q * (excess - mean[:, None]).square()).sum(dim=1) / count
    count = count * discount
    fine = torch.linspace(math.log(0.013), math.log(1.5), _FINE, dtype=torch.float64)
    s2 = (fine.exp() - SIZE_SHIFT).square()
    wide = split.variance[:, None] + s2
    both = wide + count[:, None] * MEAN_SD**2
    log_l = -0.5 * (count[:, None] - 1).clamp_min(0) * wide.log()
    # Below one jump the mean takes no degree of freedom.
    log_l = log_l - 0.5 * torch.where(count[:, None] > 1, both, wide).log() * count[
        :, None
    ].clamp_max(1)
    log_l = log_l - 0.5 * count[:, None] * (spread[:, None] / wide + mean[:, None] ** 2 / both)
    sizes = torch.softmax(log_l + _size_prior(fine), dim=1)
    typical_s2 = sizes @ s2
    precision = count / (split.variance + typical_s2) + MEAN_SD**-2
    centre = mean * count / (split.variance + typical_s2) / precision
    size = moments(sizes, fine)
    typical_size = size[0].exp() - SIZE_SHIFT
    second = centre.square() + 1 / precision
    widened = typical_size * torch.exp(size[1].square() / 2)
    return JumpPosterior(
        intensity,
        (centre, precision.rsqrt()),
        size,
        (typical_intensity, centre, typical_size),
        second,
        typical_intensity * (second + widened.square()),
    )


def _intensity(split: Split, excess: Tensor) -> tuple[Tensor, Tensor]:
    """The grid of ln p, and its posterior weights per window."""
    low, high = math.log(_P_LOW), math.log(_P_HIGH)
    nodes = chebyshev_nodes(low, high, _P_NODES)
    points = torch.linspace(low, high, _P_POINTS, dtype=torch.float64)
    size = torch.linspace(math.log(0.016), math.log(0.4), _COARSE, dtype=torch.float64)
    v, m = split.variance, split.jump_mean
    jumps = split.probability.sum(dim=1)
    unsure = 1 / (jumps / (v + split.jump_size.square()) + MEAN_SD**-2)
    wide = (v + unsure)[:, None] + (size.exp() - SIZE_SHIFT).square()
    # In units of v, in blocks of four bars, (4, windows, 1, blocks): rho of a pad is 0.
    pad = -excess.shape[1] % _BLOCK
    unit = v.sqrt()[:, None]
    x = _blocks(excess / unit, pad, 0.0)
    wide = (wide / v[:, None]).to(torch.float32)[:, :, None]
    ratio = _blocks(split.ranges, pad, 0.0).clamp_min(1e-30).log()
    ratio = torch.addcmul(ratio, x, x, value=0.5) - 0.5 * wide.log()
    off = x - (m[:, None] / unit).to(torch.float32)[:, :, None]
    ratio = torch.addcmul(ratio, off * off, 1 / wide, value=-0.5)
    top = ratio.amax(dim=2, keepdim=True).clamp_min(0)
    none = torch.exp(-top)
    jump = torch.exp(ratio - top).clamp_min_(_LEAST)
    columns = []
    for node in nodes.exp().tolist():
        term = torch.add(none, jump, alpha=node / (1 - node))
        product = term[0].mul_(term[1]).mul_(term[2]).mul_(term[3])
        columns.append(product.log_().sum(dim=2))
    log_l = torch.stack(columns, dim=2).to(torch.float64)  # (windows, sizes, nodes)
    log_l = log_l + excess.shape[1] * torch.log1p(-nodes.exp())
    log_l = log_l @ chebyshev_interpolation(nodes, points)
    prior = -0.5 * ((points - math.log(INTENSITY)) / INTENSITY_SD).square()
    log_l = log_l + _size_prior(size)[:, None] + prior
    weights = torch.softmax(log_l.flatten(1), dim=1).view_as(log_l).sum(dim=1)
    return points, weights


def _blocks(values: Tensor, pad: int, fill: float) -> Tensor:
    padded = torch.nn.functional.pad(values.to(torch.float32), (0, pad), value=fill)
    return padded.view(len(values), 1, -1, _BLOCK).permute(3, 0, 1, 2).contiguous()


def _size_prior(log_size: Tensor) -> Tensor:
    z = (log_size - math.log(SIZE + SIZE_SHIFT)) / SIZE_SD
    return -0.5 * (_TAIL + 1) * torch.log1p(z.square() / _TAIL)
