"""Bars <-> network codes, such that every finite code decodes to a valid bar.

A bar is coded relative to the previous close C' in units of a volatility per bar s (the regime's,
or that of past close-to-close log returns) and of the past mean log volume v0:

| channel | raw | code before standardisation | zero |
|---|---|---|---|
| 0 return | r = ln(C/C')/s | r, linear so that sums over bars stay sums | a number like any other |
| 1 gap | g = ln(O/C')/s | sign(g)(abs(g) + c) | uniform on (-c, c) |
| 2 upper wick | u = ln(H/max(O,C))/s | sqrt(u) | uniform on (-w, 0) |
| 3 lower wick | l = ln(min(O,C)/L)/s | sqrt(l) | uniform on (-w, 0) |
| 4 volume | ln V - v0 | linear | uniform on a zone below every real volume |

Exact zeros (no gap, no wick, no volume) are events of real markets, so each owns an interval of
codes: censored coding. The interval is filled with fresh noise whenever a bar is encoded for
training (a fixed draw would be memorised) and with its middle when ``generator`` is ``None``.
Codes are divided by constants of the training data so that each has about unit variance.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

N_CHANNELS = 5
RETURN, GAP, UPPER, LOWER, VOLUME = range(N_CHANNELS)

# Bounds of exponents at decoding: a wild network may emit anything finite, prices must stay finite
# and positive. e^3 is a wick of 20 times the price; real data never come near.
MAX_LOG_MOVE = 3.0
MAX_LOG_RETURN = 8.0
MAX_LOG_VOLUME = 60.0
MIN_SCALE = 1e-4
SMALLEST_GAP = 0.01  # in units of s
SAME_PRICE = 1e-9  # below one part in a billion two prices are the same price


@dataclass(frozen=True)
class BarCodec:
    """The code with its constants.

    Args:
        gap_zone: c, half-width of the codes that mean "opened at the previous close".
        wick_zone: w, width of the codes that mean "no wick".
        volume_floor: raw log-volume code below which volume is zero.
        volume_zone: width of the codes below it that mean "no volume".
        mean, std: per channel standardisation; the return has mean 0, or sums would shift.
    """

    gap_zone: float = 0.3
    wick_zone: float = 0.35
    volume_floor: float = -8.0
    volume_zone: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.mean[RETURN] != 0.0:
            raise ValueError("the return channel is scaled, never shifted: mean[0] must be 0")
        if len(self.mean) != N_CHANNELS or len(self.std) != N_CHANNELS or min(self.std) <= 0:
            raise ValueError(f"mean and std need {N_CHANNELS} entries each, std above 0")

    @property
    def no_volume_below(self) -> float:
        """Standardised volume code below which a bar had no trade."""
        return (self.volume_floor - self.mean[VOLUME]) / self.std[VOLUME]

    @property
    def return_unit(self) -> float:
        """Returns in units of s per unit of code."""
        return self.std[RETURN]

    def encode(
        self,
        bars: Float64[Tensor, "windows bars 5"],
        previous_close: Float64[Tensor, " windows"],
        scale: Float64[Tensor, "windows *bars"],
        log_volume: Float64[Tensor, " windows"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "windows 5 bars"]:
        """Codes (float32) of valid bars (columns open, high, low, close, volume).

        Args:
            bars: valid OHLCV bars.
            previous_close: close before the first bar.
            scale: s, per-bar volatility used as the unit; of the window, or of each of its bars.
            log_volume: v0.
            generator: fills the zones of exact zeros; ``None`` takes their middle.
        """
        raw = self.raw(bars, previous_close, scale, log_volume)
        noise = torch.full((3, *raw.shape[:1], raw.shape[2]), 0.5, dtype=torch.float64)
        if generator is not None:
            noise = torch.rand(noise.shape, generator=generator, dtype=torch.float64)
        gap, wicks, volume = raw[:, GAP], raw[:, UPPER : LOWER + 1], raw[:, VOLUME]
        s = by_bar(scale)
        no_gap = gap.abs() <= SAME_PRICE / s
        code = raw.clone()
        code[:, GAP] = torch.where(
            no_gap,
            self.gap_zone * (2 * noise[0] - 1),
            torch.sign(gap) * (gap.abs() + self.gap_zone),
        )
        wick_noise = torch.stack([noise[1], 1 - noise[1]], dim=1)
        code[:, UPPER : LOWER + 1] = torch.where(
            wicks <= SAME_PRICE / s[:, None],
            -self.wick_zone * wick_noise,
            wicks.clamp_min(0).sqrt(),
        )
        code[:, VOLUME] = torch.where(
            torch.isinf(volume),
            self.volume_floor - self.volume_zone * noise[2],
            volume.clamp_min(self.volume_floor),
        )
        return self.standardise(code).to(torch.float32)

    @staticmethod
    def raw(
        bars: Float64[Tensor, "windows bars 5"],
        previous_close: Float64[Tensor, " windows"],
        scale: Float64[Tensor, "windows *bars"],
        log_volume: Float64[Tensor, " windows"],
    ) -> Float64[Tensor, "windows 5 bars"]:
        """Raw channels of the table above; volume zero is minus infinity."""
        log_price = torch.log(bars[..., :4])
        opens, highs, lows, closes = log_price.unbind(-1)
        before = torch.cat([torch.log(previous_close)[:, None], closes[:, :-1]], dim=1)
        s = by_bar(scale)
        return torch.stack(
            [
                (closes - before) / s,
                (opens - before) / s,
                (highs - torch.maximum(opens, closes)) / s,
                (torch.minimum(opens, closes) - lows) / s,
                torch.log(bars[..., 4]) - log_volume[:, None],
            ],
            dim=1,
        )

    def standardise(self, code: Float[Tensor, "windows 5 bars"]) -> Float[Tensor, "windows 5 bars"]:
        """(code - mean) / std per channel."""
        mean, std = code.new_tensor(self.mean), code.new_tensor(self.std)
        return (code - mean[:, None]) / std[:, None]

    def decode(
        self,
        code: Float[Tensor, "windows 5 bars"],
        close: Float64[Tensor, "windows bars"],
        previous_close: Float64[Tensor, " windows"],
        scale: Float64[Tensor, "windows *bars"],
        log_volume: Float64[Tensor, " windows"],
        zero_gaps: Bool[Tensor, " windows"] | None = None,
        zero_volume: Bool[Tensor, " windows"] | None = None,
    ) -> Float64[Tensor, "windows bars 5"]:
        """Bars around given closes (see ``constraint.close_path``); valid for any finite code.

        O = C' e^{s g}, H = max(O, C) e^{s u}, L = min(O, C) e^{-s l} with u, l >= 0: the order of
        the four prices survives rounding because multiplying by e^x >= 1 never lowers a float.

        Args:
            scale: s of the window, or of each of its bars.
            zero_gaps: windows whose source opens at the previous close at times; in the others a
                code in the zone of zero becomes the smallest of gaps, below 1 % of s. Zero lies
                between small gaps of either sign, and a sampler of few steps strays into it.
            zero_volume: windows whose source has bars without any trade; in the others the zone of
                no volume is the smallest of volumes.
        """
        mean, std = code.new_tensor(self.mean, dtype=torch.float64), code.new_tensor(self.std)
        y = code.to(torch.float64) * std.to(torch.float64)[:, None] + mean[:, None]
        s = by_bar(scale)
        before = torch.cat([previous_close[:, None], close[:, :-1]], dim=1)
        size = y[:, GAP].abs()
        gap = torch.relu(size - self.gap_zone)
        if zero_gaps is not None:
            least = SMALLEST_GAP * (size / self.gap_zone).clamp_max(1.0)
            gap = torch.where(zero_gaps[:, None], gap, torch.maximum(gap, least))
        gap = torch.sign(y[:, GAP]) * gap
        opens = before * torch.exp((s * gap).clamp(-MAX_LOG_MOVE, MAX_LOG_MOVE))
        wick = (s[:, None] * torch.relu(y[:, UPPER : LOWER + 1]).square()).clamp_max(MAX_LOG_MOVE)
        highs = torch.maximum(opens, close) * torch.exp(wick[:, 0])
        lows = torch.minimum(opens, close) * torch.exp(-wick[:, 1])
        least_volume = y[:, VOLUME].clamp_min(self.volume_floor)
        log_v = (least_volume + log_volume[:, None]).clamp(-MAX_LOG_VOLUME, MAX_LOG_VOLUME)
        none = y[:, VOLUME] < self.volume_floor
        if zero_volume is not None:
            none = none & zero_volume[:, None]
        volume = torch.where(none, 0.0, torch.exp(log_v))
        return torch.stack([opens, highs, lows, close, volume], dim=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``model.json``."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "BarCodec":
        """Inverse of ``to_dict``."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**plain)

    @classmethod
    def fit(
        cls,
        bars: Float64[Tensor, "windows bars 5"],
        previous_close: Float64[Tensor, " windows"],
        scale: Float64[Tensor, "windows *bars"],
        log_volume: Float64[Tensor, " windows"],
        generator: torch.Generator,
    ) -> "BarCodec":
        """Constants from training windows.

        The zone of zero volume lies 6 to 7 deviations below the mean of real volumes: below all but
        freak ones, which are raised to its edge, and within the reach of a sampler that starts from
        noise of a few deviations.
        """
        code = cls(volume_floor=-math.inf).encode(
            bars, previous_close, scale, log_volume, generator
        )
        code = code.to(torch.float64)
        mean, std = code.mean((0, 2)), code.std((0, 2)).clamp_min(1e-3)
        real = code[:, VOLUME][torch.isfinite(code[:, VOLUME])]
        mean[VOLUME], std[VOLUME] = 0.0, 1.0
        if real.numel() > 1:
            mean[VOLUME], std[VOLUME] = real.mean(), real.std().clamp_min(0.05)
        mean[RETURN] = 0.0
        return cls(
            volume_floor=round(float(mean[VOLUME] - 6 * std[VOLUME]), 6),
            volume_zone=round(float(std[VOLUME]), 6),
            mean=tuple(round(float(v), 6) for v in mean),
            std=tuple(round(float(v), 6) for v in std),
        )


def by_bar(scale: Float64[Tensor, "windows *bars"]) -> Float64[Tensor, "windows #bars"]:
    """A scale of the window beside its bars."""
    return scale if scale.ndim == 2 else scale[:, None]


def window_scale(
    bars: Float64[Tensor, "windows bars 5"],
) -> tuple[Float64[Tensor, " windows"], Float64[Tensor, " windows"]]:
    """(s, v0) of past bars: standard deviation of close log returns (floor 1e-4), mean log volume.

    Bars without volume are left out of v0; a window without any volume has v0 = 0.
    """
    returns = torch.diff(torch.log(bars[..., 3]), dim=1)
    if returns.shape[1] > 1:
        scale = returns.std(dim=1).clamp_min(MIN_SCALE)
    else:
        scale = torch.full_like(bars[:, 0, 3], MIN_SCALE)
    volume = bars[..., 4]
    traded = volume > 0
    total = torch.where(traded, torch.log(volume.clamp_min(1e-300)), 0.0).sum(1)
    return scale, total / traded.sum(1).clamp_min(1)
