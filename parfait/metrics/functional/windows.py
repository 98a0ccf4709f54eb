"""The scale-free view of a window that every realism metric reads: returns, gaps, wicks and volume
of its bars.

Everything is measured in units of the *history's* return deviation. Scaling by the evaluated window
itself would hide errors of volatility, and prices as such say nothing that another level would not
say as well.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from parfait.microstructure.codec import window_scale

OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
JUDGE_CLAMP = 8.0
JUDGE_CHANNELS = ("r", "|r|", "gap", "sqrt upper wick", "sqrt lower wick", "log volume")


class WindowCode(NamedTuple):
    """Bars of a batch of windows, in units of their histories.

    r_t = ln(C_t/C_{t-1})/s, gap_t = ln(O_t/C_{t-1})/s, upper_t = ln(H_t/max(O_t,C_t))/s,
    lower_t = ln(min(O_t,C_t)/L_t)/s, volume_t = ln V_t - v0; each (windows, steps) float64, with s
    the deviation of the history's log returns and v0 its mean log volume.
    """

    r: Float64[Tensor, "windows steps"]
    gap: Float64[Tensor, "windows steps"]
    upper: Float64[Tensor, "windows steps"]
    lower: Float64[Tensor, "windows steps"]
    volume: Float64[Tensor, "windows steps"]

    @property
    def range(self) -> Float64[Tensor, "windows steps"]:
        """ln(H/L)/s: the body |ln(C/O)|/s and both wicks."""
        return (self.r - self.gap).abs() + self.upper + self.lower


def encode_window(
    history: Float[Tensor, "windows bars 5"], bars: Float[Tensor, "windows steps 5"]
) -> WindowCode:
    """Codes the bars that follow each history (columns open, high, low, close, volume); see
    ``WindowCode``.

    A bar without volume has ln V = -inf: an exact zero that decodes to one, not a small volume.
    """
    return _encode(history, bars, *window_scale(history.to(torch.float64)))


def _encode(history: Tensor, bars: Tensor, scale: Tensor, log_volume: Tensor) -> WindowCode:
    s, v0, bars = scale[:, None], log_volume[:, None], bars.to(torch.float64)
    open_, high, low, close, volume = bars.unbind(-1)
    before = torch.cat([history[:, -1:, CLOSE].to(torch.float64), close[:, :-1]], dim=1)
    top, bottom = torch.maximum(open_, close), torch.minimum(open_, close)
    return WindowCode(
        r=(close / before).log() / s,
        gap=(open_ / before).log() / s,
        upper=(high / top).log() / s,
        lower=(bottom / low).log() / s,
        volume=volume.log() - v0,
    )


def encode_whole(
    history: Float[Tensor, "windows bars 5"], bars: Float[Tensor, "windows steps 5"]
) -> WindowCode:
    """``encode_window`` of the history itself, from its second bar on, and of what follows it: a
    seam between the two is part of the code."""
    whole = torch.cat([history[:, 1:].to(torch.float64), bars.to(torch.float64)], dim=1)
    return _encode(history[:, :1], whole, *window_scale(history.to(torch.float64)))


def encode_path(
    before: Float[Tensor, "paths bars 5"], bars: Float[Tensor, "paths steps 5"]
) -> WindowCode:
    """The code of long paths in plain log units: s = 1, log volume about the path's own mean.

    Args:
        before: bars whose last close precedes the path.
        bars: the path.
    """
    ones = torch.ones(bars.shape[0], dtype=torch.float64)
    volume = bars[..., VOLUME].to(torch.float64)
    traded = volume > 0
    total = torch.where(traded, volume.clamp_min(1e-300).log(), 0.0).sum(1)
    return _encode(before, bars, ones, total / traded.sum(1).clamp_min(1))


def judge_channels(code: WindowCode) -> Float32[Tensor, "windows steps channels"]:
    """What a judge sees: ``JUDGE_CHANNELS``, clamped to +-8 so that a single wild bar does not
    settle a case."""
    columns = [
        code.r,
        code.r.abs(),
        code.gap,
        code.upper.clamp_min(0).sqrt(),
        code.lower.clamp_min(0).sqrt(),
        code.volume,
    ]
    stacked = torch.stack(columns, dim=-1).clamp(-JUDGE_CLAMP, JUDGE_CLAMP)
    # Impossible prices give NaN; they are for ``validity`` to count, here they only must not poison
    # a judge.
    return torch.nan_to_num(stacked, nan=JUDGE_CLAMP).to(torch.float32)
