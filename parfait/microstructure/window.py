"""What is read off the past before anything is generated: codes, units, last close."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from parfait.microstructure.codec import (
    GAP,
    N_CHANNELS,
    RETURN,
    SAME_PRICE,
    VOLUME,
    BarCodec,
    window_scale,
)
from parfait.microstructure.pace import recent_variance

# The encoder's *input* is clipped: one crash bar must not saturate the tokens. Targets never are.
_CLIP_RETURN, _CLIP_OTHER = 6.0, 5.0


# Numbers a patch encoder under noise would blur: how this *source* quotes (stale opens, missing
# wicks) and how volatile it is now against its own past. Ten numbers cannot identify a window.
N_SUMMARY = 10
_RECENT = (3, 10, 25)  # bars


@dataclass(frozen=True)
class History:
    """The past of a batch of windows as the network sees it.

    Attributes:
        codes: (windows, 5, H), right-aligned, 0 where ``mask`` is 0.
        mask: (windows, H), 1 for real bars.
        summary: (windows, 11), see ``summarise``; the last column says that it is given.
        scale: s, the unit of returns.
        log_volume: v0.
        last_close: where generated bars start.
        recent: variance of the last bars over s^2, see ``pace``.
    """

    codes: Float[Tensor, "windows 5 history"]
    mask: Float[Tensor, "windows history"]
    summary: Float[Tensor, "windows 11"]
    scale: Float64[Tensor, " windows"]
    log_volume: Float64[Tensor, " windows"]
    last_close: Float64[Tensor, " windows"]
    recent: Float64[Tensor, " windows"]

    @property
    def zero_gaps(self) -> Bool[Tensor, " windows"]:
        """Whether the source opens at the previous close at times, as far as the past tells."""
        return (self.summary[:, 0] > 0) | (self.summary[:, -1] == 0)


def read_history(
    bars: Float64[Tensor, "windows bars 5"],
    length: int,
    codec: BarCodec,
    generator: torch.Generator | None = None,
) -> History:
    """Codes and units of the last ``length`` bars.

    The first bar only supplies the close before the second, so ``length + 1`` bars fill the window;
    fewer leave its left side masked. Only past bars enter: nothing after the last row is read.

    Args:
        bars: at least one bar; with a single one the scale is the codec's floor.
        length: H, bars the network looks back.
        generator: as in ``BarCodec.encode``.
    """
    bars = bars[:, -(length + 1) :]
    scale, log_volume = window_scale(bars)
    codes = codec.encode(bars[:, 1:], bars[:, 0, 3], scale, log_volume, generator)
    codes[:, [RETURN, GAP]] = codes[:, [RETURN, GAP]].clamp(-_CLIP_RETURN, _CLIP_RETURN)
    codes = codes.clamp(-2 * _CLIP_OTHER, 2 * _CLIP_OTHER)
    # A source without any volume says nothing about it; it does not say "no trade" sixty times.
    silent = (bars[..., 4] == 0).all(1)
    codes[silent, VOLUME] = 0.0
    missing = length - codes.shape[2]
    mask = torch.ones(bars.shape[0], codes.shape[2])
    return History(
        torch.nn.functional.pad(codes, (missing, 0)),
        torch.nn.functional.pad(mask, (missing, 0)),
        summarise(bars, scale, log_volume),
        scale,
        log_volume,
        bars[:, -1, 3],
        recent_variance(torch.log(bars[..., 3]).diff(dim=1), scale),
    )


def summarise(
    bars: Float64[Tensor, "windows bars 5"],
    scale: Float64[Tensor, " windows"],
    log_volume: Float64[Tensor, " windows"],
) -> Float[Tensor, "windows 11"]:
    """Shares of zero gaps and wicks, gap and range size, dispersion of volume, recent volatility.

    All dimensionless; a history of one bar has nothing to summarise and gives zeros.
    """
    n = bars.shape[0]
    if bars.shape[1] < 3:
        return torch.zeros(n, N_SUMMARY + 1)
    raw = BarCodec.raw(bars[:, 1:], bars[:, 0, 3], scale, log_volume)
    returns, gap, upper, lower, volume = raw.unbind(1)
    tiny = SAME_PRICE / scale[:, None]
    moves = returns.square().mean(1).sqrt().clamp_min(1e-3)
    spread = (upper + lower + (returns - gap).abs()).square().mean(1).sqrt()
    volume = torch.where(torch.isinf(volume), 0.0, volume)
    recent = [torch.log(returns[:, -k:].square().mean(1).sqrt().clamp_min(0.05)) for k in _RECENT]
    columns = [
        (gap.abs() <= tiny).to(torch.float64).mean(1),
        (upper <= tiny).to(torch.float64).mean(1),
        (lower <= tiny).to(torch.float64).mean(1),
        torch.log((gap.square().mean(1).sqrt() / moves).clamp(0.02, 5)) / 2,
        torch.log((spread / moves).clamp(0.1, 10)),
        volume.square().mean(1).sqrt().clamp_max(3),
        volume[:, -5:].mean(1).clamp(-3, 3),
        *recent,
    ]
    table = torch.stack([*columns, torch.ones(n, dtype=torch.float64)], 1)
    return table.to(torch.float32)


def no_history(
    scale: Float64[Tensor, " windows"], last_close: Float64[Tensor, " windows"], length: int
) -> History:
    """A window without a past: only null tokens, and volumes around e^{v0} = 1e6."""
    n = scale.shape[0]
    return History(
        torch.zeros(n, N_CHANNELS, length),
        torch.zeros(n, length),
        torch.zeros(n, N_SUMMARY + 1),
        scale,
        torch.full((n,), 13.8, dtype=torch.float64),
        last_close,
        torch.ones(n, dtype=torch.float64),
    )
