"""What the denoiser is told: the guide per bar, the regime and the units per window.

At k > 1 only *anchored* levels of the guide enter: its values in between are unknown in training
and would be noise of the SDE at inference.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from parfait.microstructure.constraint import Segments
from parfait.microstructure.window import N_SUMMARY, History
from parfait.regime import FIELD_NAMES, N_FIELDS

N_BAR_FEATURES = 12
# log s, log(s'/s), delta, bar interval, mean ln w; per regime field its value and a bit saying
# "given"; the summary of the history.
N_WINDOW_FEATURES = 5 + 2 * N_FIELDS + N_SUMMARY + 1
MEAN_PACE = 4

_LOG_UNIT_CENTRE = -4.6  # ln of 1 % a bar, an ordinary daily volatility: centres the log s feature
VOLATILITY = FIELD_NAMES.index("volatility")
_VOLATILITIES = [VOLATILITY, FIELD_NAMES.index("initial_volatility")]


def bar_features(
    increments: Float[Tensor, "windows bars"],
    segments: Segments,
    pace: Float64[Tensor, "windows bars"],
) -> Float[Tensor, "windows 12 bars"]:
    """Guide features per bar.

    Even increment times sqrt(k), cumulated guide over sqrt(T), phase in the segment, log2 k, log2
    bars to the next anchor, anchored and free flags, position from both ends, ln w.

    Args:
        increments: A^+ g in return codes (possibly jittered, see ``jitter``).
        segments: the anchor set.
        pace: w, see ``pace``.
    """
    n, width = increments.shape
    position = torch.arange(width, dtype=torch.float32).expand(n, width)
    total = torch.full((n, 1), float(width))
    length = segments.length
    first = torch.where(
        torch.nn.functional.pad(segments.index[:, :-1], (1, 0), value=-1) != segments.index,
        position,
        torch.zeros(()),
    )
    start = first.cummax(dim=1).values
    inside = position - start
    left = total - 1 - position
    return torch.stack(
        [
            increments * length.sqrt(),
            torch.cumsum(increments, 1) / total.sqrt(),
            (inside + 0.5) / length,
            torch.log2(length) / 5,
            torch.log2(length - inside) / 5,
            segments.anchored.to(torch.float32),
            segments.free.to(torch.float32),
            torch.sin(torch.pi * (position + 0.5) / total),
            torch.cos(torch.pi * (position + 0.5) / total),
            torch.log2(1 + position) / 6,
            torch.log2(1 + left) / 6,
            pace.log().to(torch.float32),
        ],
        dim=1,
    )


def jitter(
    increments: Float[Tensor, "windows bars"],
    segments: Segments,
    delta: Float[Tensor, " windows"],
    generator: torch.Generator,
) -> Float[Tensor, "windows bars"]:
    """Conditioning augmentation: g + delta sqrt(k) eps per segment, in the features only.

    The network learns how far to trust the guide's details; the base A^+ g stays exact.
    """
    noise = torch.randn(increments.shape, generator=generator)
    # The mean of k unit normals has sd 1/sqrt(k): the even increment that sqrt(k) eps adds to g.
    shared = segments.spread(noise)
    return increments + delta[:, None] * shared


@dataclass(frozen=True)
class RegimeScaling:
    """Centre and width per regime coordinate (from training labels), and which fields are used.

    Volatilities are measured per bar against the unit s' of the window, so that the same regime in
    a calm and in a wild market is the same request: ln(sigma sqrt(dt) / s').
    """

    centre: tuple[float, ...] = (0.0,) * N_FIELDS
    width: tuple[float, ...] = (1.0,) * N_FIELDS
    used: tuple[bool, ...] = (False,) * N_FIELDS

    def relative(
        self,
        z: Float64[Tensor, "windows 11"],
        unit: Float64[Tensor, " windows"],
        bars_per_year: Float64[Tensor, " windows"],
    ) -> Float64[Tensor, "windows 11"]:
        """Unconstrained coordinates with the two volatilities in units of s' per bar."""
        out = z.clone()
        reference = torch.log(unit) + 0.5 * torch.log(bars_per_year)
        out[:, _VOLATILITIES] = z[:, _VOLATILITIES] - reference[:, None]
        return out

    def features(
        self,
        relative: Float64[Tensor, "windows 11"],
        given: Bool[Tensor, "windows 11"],
    ) -> Float[Tensor, "windows 22"]:
        """Standardised values (0 where not given, clamped to 4 sd) and the given bits."""
        centre = torch.tensor(self.centre, dtype=torch.float64)
        width = torch.tensor(self.width, dtype=torch.float64)
        given = given & torch.tensor(self.used) & torch.isfinite(relative)
        value = torch.where(given, ((relative - centre) / width).clamp(-4, 4), 0.0)
        return torch.cat([value, given.to(torch.float64)], dim=1).to(torch.float32)


def window_features(
    history: History,
    unit: Float64[Tensor, " windows"],
    delta: Float[Tensor, " windows"],
    bars_per_year: Float64[Tensor, " windows"],
    regime: Float[Tensor, "windows 22"],
    pace: Float64[Tensor, "windows bars"],
) -> Float[Tensor, "windows 38"]:
    """Per-window conditions: log s, log(s'/s), delta, log bar interval, mean ln w, regime, summary
    of the history.
    """
    n = unit.shape[0]
    scale = history.scale.expand(n)
    columns = [
        (torch.log(scale) - _LOG_UNIT_CENTRE).clamp(-6, 6),
        torch.log(unit / scale).clamp(-3, 3),
        4.0 * delta.to(torch.float64),
        (torch.log(bars_per_year / 252.0) / 3).clamp(-4, 4),
        2 * pace.log().mean(1),
    ]
    summary = history.summary.expand(n, -1)
    return torch.cat([torch.stack(columns, 1).to(torch.float32), regime, summary], dim=1)
