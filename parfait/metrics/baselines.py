"""Trivial generators of bars that a network must beat, all with the signature of a conditional
generator: histories and an optional guide in, valid bars out. Anchored closes equal the guide
exactly.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.functional.windows import CLOSE, VOLUME, WindowCode, encode_window
from parfait.microstructure.codec import window_scale
from parfait.microstructure.constraint import Segments, close_path, guide_increments
from parfait.sde import Guide

# Half hours of a trading day; sets the share of bars without a wick, about 2/sqrt(pi * 13).
SUBSTEPS = 13


def bootstrap_bars(
    source_history: Float64[Tensor, "source bars 5"],
    source: Float64[Tensor, "source steps 5"],
    history: Float64[Tensor, "windows bars 5"],
    steps: int,
    *,
    guide: Guide | None = None,
    block: int = 8,
    generator: torch.Generator,
) -> Float64[Tensor, "windows steps 5"]:
    """Block bootstrap (Kunsch 1989) of coded bars: random runs of ``block`` real bars, rescaled to
    each history.

    A run keeps the couplings of its bars (volume with range, wick with body); what is lost is
    memory beyond a run and any answer to history. With a guide the returns are projected on it:
    each segment's surplus is spread evenly over its bars. Gaps stay as drawn, zeros included;
    moving them along with the returns would keep bodies but no gap of zero, and judges see it.

    Args:
        source_history, source: real windows to draw from (training period), any number.
        history: windows to continue.
        steps: bars to generate.
        guide: levels and anchors, one row per window.
        block: bars per run, at most the steps of ``source``.
        generator: of the draws.
    """
    windows, runs = history.shape[0], -(-steps // block)
    row = torch.randint(source.shape[0], (windows, runs, 1), generator=generator)
    latest = source.shape[1] - block + 1
    start = torch.randint(latest, (windows, runs, 1), generator=generator)
    column = start + torch.arange(block)
    code = encode_window(source_history, source)
    drawn = WindowCode(*(part[row, column].reshape(windows, -1)[:, :steps] for part in code))
    s, _ = window_scale(history)
    surplus = _surplus(drawn.r * s[:, None], history, guide) / s[:, None]
    return decode_window(history, drawn._replace(r=drawn.r + surplus), guide)


def bridge_bars(
    history: Float64[Tensor, "windows bars 5"],
    steps: int,
    *,
    guide: Guide | None = None,
    substeps: int = SUBSTEPS,
    generator: torch.Generator,
) -> Float64[Tensor, "windows steps 5"]:
    """Bars of a Brownian bridge through the anchors, sampled ``substeps`` times a bar; without a
    guide, of a GBM.

    The volatility is the history's, volume is lognormal with the history's moments and independent,
    opens equal the previous close. Shows what the constraint alone buys. The GBM's drift makes the
    price a martingale.
    """
    s, _ = window_scale(history)
    shape = (history.shape[0], steps, substeps)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    s = s[:, None, None]
    fine = noise * s / substeps**0.5 - 0.5 * s.square() / substeps
    return _bars_along(history, fine, guide, generator)


def bars_between(
    history: Float64[Tensor, "windows bars 5"],
    returns: Float64[Tensor, "windows steps"],
    deviation: Float64[Tensor, "windows steps"],
    *,
    guide: Guide | None = None,
    substeps: int = SUBSTEPS,
    generator: torch.Generator,
) -> Float64[Tensor, "windows steps 5"]:
    """Bars of given closes: a Brownian bridge of ``substeps`` steps from close to close, volume
    lognormal as in ``bridge_bars``.

    Args:
        history: windows that the closes continue.
        returns: log returns; with a guide each segment's surplus is spread evenly over its bars.
        deviation: of the log price over each bar.
        guide: levels and anchors, one row per window.
        substeps: prices per bar.
        generator: of bridges and volume.
    """
    shape = (*returns.shape, substeps)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = noise - noise.mean(-1, keepdim=True)
    fine = noise * deviation[..., None] / substeps**0.5 + returns[..., None] / substeps
    return _bars_along(history, fine, guide, generator)


def _bars_along(
    history: Tensor,
    fine: Float64[Tensor, "windows steps substeps"],
    guide: Guide | None,
    generator: torch.Generator,
) -> Float64[Tensor, "windows steps 5"]:
    """Bars of log prices that were sampled within each bar, moved onto the guide."""
    s, _ = window_scale(history)
    steps, substeps = fine.shape[1:]
    surplus = _surplus(fine.sum(-1), history, guide)
    fine = fine + surplus[..., None] / substeps
    path = fine.flatten(1).cumsum(1).unflatten(1, (steps, substeps))
    start = torch.cat([torch.zeros_like(path[:, :1, -1]), path[:, :-1, -1]], dim=1)
    inside = torch.cat([start[..., None], path], dim=-1)
    close = path[..., -1]
    code = WindowCode(
        r=(close - start) / s[:, None],
        gap=torch.zeros_like(close),
        upper=(inside.amax(-1) - torch.maximum(start, close)) / s[:, None],
        lower=(torch.minimum(start, close) - inside.amin(-1)) / s[:, None],
        volume=_volume_noise(history, steps, generator),
    )
    return decode_window(history, code, guide)


def jitter_bars(
    bars: Float64[Tensor, "windows steps 5"], size: float, generator: torch.Generator
) -> Float64[Tensor, "windows steps 5"]:
    """Every price and volume times exp(size * N(0, 1)) on its own: breaks most bars; a control row,
    not a rival."""
    noise = torch.randn(bars.shape, generator=generator, dtype=torch.float64)
    return bars * (size * noise).exp()


def decode_window(
    history: Float64[Tensor, "windows bars 5"], code: WindowCode, guide: Guide | None = None
) -> Float64[Tensor, "windows steps 5"]:
    """Inverse of ``encode_window``; where a guide is anchored the close is set to its level
    itself."""
    scale, v0 = window_scale(history)
    s, spot = scale[:, None], history[:, -1:, CLOSE]
    if guide is None:
        close = spot * (code.r * s).cumsum(1).exp()
    else:
        segments = Segments.from_anchors(guide.anchored)
        close = close_path(code.r, guide.level, segments, spot[:, 0], scale)
    before = torch.cat([spot, close[:, :-1]], dim=1)
    open_ = before * (code.gap * s).exp()
    high = torch.maximum(open_, close) * (code.upper.clamp_min(0) * s).exp()
    low = torch.minimum(open_, close) * (-code.lower.clamp_min(0) * s).exp()
    volume = (code.volume + v0[:, None]).exp()
    return torch.stack([open_, high, low, close, volume], dim=-1)


def _volume_noise(history: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Log volume about its mean: independent normal with the history's deviation."""
    volume = history[..., VOLUME]
    traded = volume > 0
    _, v0 = window_scale(history)
    log_volume = torch.where(traded, volume, 1.0).log() - v0[:, None]
    square = torch.where(traded, log_volume.square(), 0.0).sum(-1, keepdim=True)
    deviation = (square / (traded.sum(-1, keepdim=True) - 1).clamp_min(1)).sqrt()
    noise = torch.randn((history.shape[0], steps), generator=generator, dtype=torch.float64)
    return noise * deviation


def _surplus(
    returns: Float64[Tensor, "windows steps"], history: Tensor, guide: Guide | None
) -> Float64[Tensor, "windows steps"]:
    """What moves each segment's log return onto the guide when added evenly to its steps."""
    if guide is None:
        return torch.zeros_like(returns)
    segments = Segments.from_anchors(guide.anchored)
    demanded = guide_increments(guide.level, segments, history[:, -1, CLOSE])
    return demanded - segments.spread(returns)
