r"""How fast the market runs in each segment, as far as guide and past tell before any network.

A window's returns are far from one volatility: quiet weeks and bursts share it. A move of the guide
over k bars is one noisy look at the variance there, g^2 / k, and so are its neighbours and the last
bars of the past. With x_j = g_j / sqrt(k_j) in units of s', c the middles of the segments and
K(d) = 2^{-|d| / h},

    w_i^2 = (a p_i + sum_j K(c_i - c_j) min(x_j^2, x_max^2)) / (a + sum_j K(c_i - c_j)),
    p_i = 1 + (v - 1) 2^{-c_i / h_p},   v = recent variance of the past over s'^2,

a kernel smoother shrunk to what the past expects. Where a regime tells the volatility, s' is
already the window's: v = 1, and a is larger. Codes are in units of s' w: what is left to the
network has nearly one variance, in bursts that no training window held as in quiet weeks. w is
constant within a segment, so sums over it stay the guide's.
"""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from parfait.microstructure.constraint import Segments

PRIOR, PRIOR_TOLD = 1.5, 10.0  # a, segments; where a regime tells the volatility
HALF_LIFE = 10.0  # h, bars
FADE = 10.0  # h_p, bars until the past's last days count half
LARGEST = 5.0  # x_max: a jump is not a burst of so many bars
RECENT = 8.0  # bars, half-life of the recent variance


def guide_pace(
    moves: Float64[Tensor, "windows bars"],
    segments: Segments,
    recent: Float64[Tensor, " windows"],
    told: Bool[Tensor, " windows"],
) -> Float64[Tensor, "windows bars"]:
    """w of every bar, one number within a segment; free bars follow the segments before them.

    Args:
        moves: A^+ g sqrt(k) in units of s', the same at all bars of a segment.
        segments: the anchors.
        recent: v, 1 where nothing is known.
        told: whether s' is the volatility of a regime.
    """
    bars = moves.shape[1]
    position = torch.arange(bars, dtype=torch.float64).expand_as(moves) + 0.5
    middle = segments.averaging.double() @ position[..., None]
    centre = torch.where(segments.free, position, middle[..., 0])
    distance = (centre[:, :, None] - centre[:, None, :]).abs()
    weight = torch.exp2(-distance / HALF_LIFE) * segments.anchored[:, None, :]
    seen = moves.abs().clamp_max(LARGEST).square()
    excess = torch.where(told, 0.0, recent - 1)[:, None]
    expected = 1 + excess * torch.exp2(-centre / FADE)
    prior = torch.where(told, PRIOR_TOLD, PRIOR)[:, None]
    total = prior * expected + (weight @ seen[..., None])[..., 0]
    return (total / (prior + weight.sum(2))).sqrt()


def recent_variance(
    returns: Float64[Tensor, "windows bars"], scale: Float64[Tensor, " windows"]
) -> Float64[Tensor, " windows"]:
    """v: mean square of past returns over scale^2, weights halving every 8 bars back."""
    bars = returns.shape[1]
    age = torch.arange(bars - 1, -1, -1, dtype=torch.float64)
    weight = torch.exp2(-age / RECENT)
    square = (returns / scale[:, None]).clamp(-LARGEST, LARGEST).square()
    # One bar of the ordinary variance beside the seen ones, which may be two.
    return ((square * weight).sum(1) + 1) / (weight.sum() + 1)
