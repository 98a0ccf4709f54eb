"""What of a window's variance is diffusion, and what are jumps."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from parfait.labels.volatility import LEAST_SD, RANGE_VARIANCE, WindowParts, truncated_variance

# Priors of the search, per bar: 0.5 jumps in 15 bars, sizes of 0.04 around 0 (as many as 2 jumps
# would say), their mean within 0.03.
COUNT, BARS = 0.5, 15.0
SIZE, SIZE_WEIGHT = 0.04, 2.0
MEAN_SD = 0.03
_STEPS = 6
# A range term without a jump is sigma^2 times a variable of mean 1 and variance 0.331, whatever
# the return (2 u (u - c) and 2 d (d - c) are exponential given c): a gamma of shape 3. A jump of j
# sd at a uniform time multiplies it by about sqrt(1 + 1.2 j^2).
_RANGE_SHAPE, _RANGE_JUMP = 3.0, 1.2
_FAR = 40.0  # ln of what a range may say: certainty, in single precision
_MISFIT = 0.6
_MOST = 0.5  # of bars that jump: beyond, the jumps are the diffusion


@dataclass(frozen=True, eq=False)
class Split:
    """Diffusion and jumps of each window, per bar.

    Args:
        mean: of the returns without a jump.
        variance: diffusive.
        relative: relative variance of that estimate, 2/nu of a chi-square.
        probability: that each return holds a jump.
        ranges: likelihood ratio of each bar's range with and without a jump.
        jump_mean, jump_size: the most probable m and s.
        closes: windows whose variance is that of closes.
        total: variance of all returns.
        total_relative: relative variance of that, as a measurement of this window.
    """

    mean: Float64[Tensor, " windows"]
    variance: Float64[Tensor, " windows"]
    relative: Float64[Tensor, " windows"]
    probability: Float64[Tensor, "windows n"]
    ranges: Float64[Tensor, "windows n"]
    jump_mean: Float64[Tensor, " windows"]
    jump_size: Float64[Tensor, " windows"]
    closes: Bool[Tensor, " windows"]
    total: Float64[Tensor, " windows"]
    total_relative: Float64[Tensor, " windows"]

    def cleaned(self, returns: Float64[Tensor, "windows n"]) -> Float64[Tensor, "windows n"]:
        """Returns less what their jumps are expected to have been."""
        wide = (self.variance + self.jump_size.square())[:, None]
        given = self.jump_mean[:, None] * self.variance[:, None]
        given = given + (returns - self.mean[:, None]) * self.jump_size.square()[:, None]
        return returns - self.probability * given / wide


def split_jumps(parts: WindowParts) -> Split:
    """EM for returns N(mu, v), or with small probability N(mu + m, v + s^2); v from ranges.

    Starts at the truncated variance of closes (Mancini 2009; ``truncated_variance``). Each of six
    steps weighs every bar by the probability that it did not jump and takes v as Yang-Zhang's
    variance of the weighted bars (of closes where ranges are useless). The range of a bar without a
    jump is as informative as ever, whereas Yang-Zhang of all bars sees only part of a jump inside a
    bar: such a bar ends at its extreme.

    The total variance is v plus what the jumps added, sum q ((r - mu)^2 - v) / n.
    """
    x = parts.returns
    n = x.shape[1]
    # In units of the start, so that single precision serves whatever the market.
    start = truncated_variance(x).clamp_min(LEAST_SD**2)
    unit = start.sqrt()
    x, o, c = (
        (part / unit[:, None]).to(torch.float32) for part in (x, parts.overnight, parts.session)
    )
    ranged = (parts.ranged / start[:, None]).to(torch.float32)
    o2, c2 = o.square(), c.square()
    columns = [torch.ones_like(x), x, x.square(), o, o2, c, c2, ranged]
    features = torch.stack(columns, dim=2)
    prior = (SIZE / unit).square().to(torch.float32)
    mean_prior = (MEAN_SD / unit).square().to(torch.float32)
    closes = parts.closes
    v = torch.ones_like(prior)
    mean = torch.zeros_like(v)
    m, s2, p = torch.zeros_like(v), prior, torch.full_like(v, COUNT / BARS)
    correction = parts.correction
    ranged = ranged * correction
    night, day = (part.clamp_max(9).mean(dim=1) for part in (o2, c2))
    share = (night / (night + day).clamp_min(1e-30)).clamp(0.02, 0.95)

    def probability() -> tuple[Tensor, Tensor]:
        return jump_probability(x, ranged, closes, v, mean, share, p, m, s2)

    whole = features.sum(dim=1)
    for _ in range(_STEPS):
        q, _ = probability()
        sums = torch.bmm((1 - q)[:, None], features)[:, 0]
        v, mean, share = _variance(sums, closes, correction)
        count = n - sums[:, 0]
        jumped, squared = (whole - sums)[:, 1], (whole - sums)[:, 2]
        p = ((count + COUNT) / (n + BARS)).clamp_max(_MOST)
        m = (jumped - count * mean) / (count + (v + s2) / mean_prior)
        about = squared - 2 * (mean + m) * jumped + count * (mean + m).square()
        second = (about + SIZE_WEIGHT * (prior + v)) / (count + SIZE_WEIGHT)
        s2 = torch.maximum(second - v, prior / 16)
    q, seen = probability()
    return _finish(parts, x, features, q, seen, v, mean, m, s2, share, unit)


def jump_probability(
    x: Float32[Tensor, "windows n"],
    ranged: Float32[Tensor, "windows n"],
    closes: Bool[Tensor, " windows"],
    v: Float32[Tensor, " windows"],
    mean: Float32[Tensor, " windows"],
    night: Float32[Tensor, " windows"],
    p: Float32[Tensor, " windows"],
    m: Float32[Tensor, " windows"],
    s2: Float32[Tensor, " windows"],
) -> tuple[Float32[Tensor, "windows n"], Float32[Tensor, "windows n"]]:
    """Probability that a bar holds a jump N(m, s2), and the share of the odds its range gives.

    Returns are N(mean, v), or with probability p N(mean + m, v + s2); the range term of a session
    of pace v (1 - night) is a gamma of shape 3, which a jump inside the bar stretches.

    Args:
        x: returns.
        ranged: range terms.
        closes: windows whose ranges say nothing.
        night: share of the variance before the open.
    """
    wide = v + s2
    centre = mean + m
    square = 0.5 / v - 0.5 / wide
    linear = centre / wide - mean / v
    constant = 0.5 * (mean.square() / v - centre.square() / wide)
    constant = constant + torch.log(p / (1 - p)) + 0.5 * torch.log(v / wide)
    odds = torch.addcmul(linear[:, None], square[:, None], x).mul_(x).add_(constant[:, None])
    odds = odds.exp_()
    # Squared rms of the jump given the return, in diffusive sd, and what it does to the range.
    keep = s2 / wide
    pace = (v * (1 - night))[:, None]
    slope = (_RANGE_JUMP / pace[:, 0]).sqrt()
    size = torch.addcmul(
        (slope * (m * v / wide - mean * keep))[:, None], (slope * keep)[:, None], x
    )
    size = torch.addcmul((1 + slope.square() * keep * v)[:, None], size, size)
    shrink = size.rsqrt_()
    cube = shrink.pow(3)
    seen = (1 - shrink).mul_(ranged).mul_(_RANGE_SHAPE / pace).clamp_(max=_FAR).exp_().mul_(cube)
    inside = torch.where(closes, 0.0, 1 - night)[:, None]
    seen = torch.addcmul(1 - inside, inside, seen)
    odds = odds.mul_(seen)
    # Infinite odds are certainty.
    return 1 - odds.add_(1).reciprocal_(), seen


def _variance(sums: Tensor, closes: Tensor, correction: float) -> tuple[Tensor, Tensor, Tensor]:
    count = sums[:, 0].clamp_min(1)
    less = (count - 1).clamp_min(1)
    closing = (sums[:, 2] - sums[:, 1].square() / count) / less
    overnight = (sums[:, 4] - sums[:, 3].square() / count) / less
    session = (sums[:, 6] - sums[:, 5].square() / count) / less
    k = 0.34 / (1.34 + (count + 1) / less)
    ranged = (overnight + k * session + (1 - k) * sums[:, 7] / count) * correction
    share = (overnight * correction / ranged.clamp_min(1e-30)).clamp(0.02, 0.95)
    return torch.where(closes, closing, ranged).clamp_min(1e-12), sums[:, 1] / count, share


def _finish(
    parts: WindowParts,
    x: Tensor,
    features: Tensor,
    q: Tensor,
    seen: Tensor,
    v: Tensor,
    mean: Tensor,
    m: Tensor,
    s2: Tensor,
    share: Tensor,
    unit: Tensor,
) -> Split:
    n = x.shape[1]
    # Where most bars jump there is no diffusion to tell them from: what moves is the diffusion.
    lost = q.sum(dim=1) > _MOST * n
    q = torch.where(lost[:, None], 0.0, q)
    closes = parts.closes | lost
    v = torch.where(lost, _variance(features.sum(dim=1), closes, parts.correction)[0], v)
    x, features, q, seen, v, mean, m, s2, share = (
        tensor.to(torch.float64) for tensor in (x, features, q, seen, v, mean, m, s2, share)
    )
    count = (1 - q).sum(dim=1).clamp_min(2)
    k = 0.34 / (1.34 + (count + 1) / (count - 1))
    day = (1 - share).square()
    ranged = 2 * (share.square() + day * k**2) / (count - 1)
    ranged = ranged + RANGE_VARIANCE * day * (1 - k) ** 2 / count
    closing = (parts.kurtosis.clamp(3, 6) - 1) / (count - 1)
    relative = torch.where(closes, closing, ranged)
    squares = (x - mean[:, None]).square()
    own = torch.where(
        closes[:, None],
        squares,
        features[..., 4] + k[:, None] * features[..., 6] + (1 - k)[:, None] * features[..., 7],
    )
    doubt = q * (1 - q)
    # What the search misses grows with what it finds.
    relative = relative + (_MISFIT * q.mean(dim=1)).square()
    relative = relative + (doubt * (own / v[:, None] - 1).square()).sum(dim=1) / count**2
    added = (q * (squares - v[:, None])).sum(dim=1) / n
    total = (v + added).clamp_min(1e-300)
    unsure = (doubt * (squares - own).square() + 4 * q * v[:, None] * squares).sum(dim=1) / n**2
    total_relative = (relative * v.square() + unsure) / total.square()
    scale = unit.square()
    return Split(
        mean * unit,
        v * scale,
        relative,
        q,
        seen,
        m * unit,
        s2.sqrt() * unit,
        closes,
        total * scale,
        total_relative,
    )
