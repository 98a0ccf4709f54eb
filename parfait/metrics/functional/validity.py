"""Is every bar possible, and does every close that was promised lie on its guide? A gate, not a
score."""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from parfait.metrics.functional.windows import CLOSE


def rule_passes(bars: Float[Tensor, "*batch 5"]) -> dict[str, Bool[Tensor, "*batch"]]:
    """Which bars (open, high, low, close, volume) keep each rule of a valid bar; a NaN breaks every
    rule it touches.

    ``finite``, ``positive`` (prices > 0), ``low`` (low <= min(open, close)), ``high`` (high >=
    max(open, close)) and ``volume`` (volume >= 0).
    """
    open_, high, low, close, volume = bars.unbind(-1)
    return {
        "finite": torch.isfinite(bars).all(-1),
        "positive": (bars[..., :4] > 0).all(-1),
        "low": (low <= open_) & (low <= close),
        "high": (high >= open_) & (high >= close),
        "volume": volume >= 0,
    }


def validity_counts(bars: Float[Tensor, "*batch 5"]) -> dict[str, int]:
    """How many bars keep each rule, how many keep all (``valid``), and how many there are
    (``bars``)."""
    passes = rule_passes(bars)
    counts = {name: int(kept.sum()) for name, kept in passes.items()}
    valid = torch.stack(list(passes.values())).all(0)
    return counts | {"valid": int(valid.sum()), "bars": valid.numel()}


def validity(bars: Float[Tensor, "paths steps 5"]) -> dict[str, float]:
    """Share of bars that keep each rule, and all of them (``valid``)."""
    counts = validity_counts(bars)
    return {name: counts[name] / counts["bars"] for name in counts if name != "bars"}


def guide_error(
    bars: Float[Tensor, "paths steps 5"],
    level: Float64[Tensor, "paths steps"],
    anchored: Bool[Tensor, "paths steps"],
) -> float:
    """max |ln close - ln guide| over the anchored steps (0 when there are none)."""
    if not bool(anchored.any()):
        return 0.0
    difference = bars[..., CLOSE].to(torch.float64)[anchored].log() - level[anchored].log()
    return float(difference.abs().max())
