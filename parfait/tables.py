"""Tables of a simulation as they are written: bars and guides path by path, and their checks."""

from typing import Any

import polars as pl
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.bars import BAR_COLUMNS, BAR_FIELDS, bar_violations
from parfait.sde import Guide


def bars_table(
    bars: Float64[Tensor, "paths steps 5"], scenario: Int64[Tensor, " paths"], timestamps: pl.Series
) -> pl.DataFrame:
    """The long table of generated bars, path by path."""
    paths, steps, _ = bars.shape
    columns = {name: bars[..., j].reshape(-1).numpy() for j, name in enumerate(BAR_FIELDS)}
    return pl.DataFrame(
        {
            **_path_and_step(paths, steps),
            "scenario": scenario.repeat_interleave(steps).to(torch.int32).numpy(),
            "timestamp": pl.concat([timestamps] * paths),
            **columns,
        }
    ).select("path", "scenario", "step", *BAR_COLUMNS)


def guides_table(guide: Guide) -> pl.DataFrame:
    """The long table of the guide curves, path by path."""
    paths, steps = guide.level.shape
    return pl.DataFrame(
        {
            **_path_and_step(paths, steps),
            "anchored": guide.anchored.reshape(-1).numpy(),
            "guide": guide.level.reshape(-1).numpy(),
        }
    )


def _path_and_step(paths: int, steps: int) -> dict[str, Any]:
    return {
        "path": torch.arange(paths, dtype=torch.int32).repeat_interleave(steps).numpy(),
        "step": torch.arange(steps, dtype=torch.int32).repeat(paths).numpy(),
    }


def check_tables(bars: pl.DataFrame, guides: pl.DataFrame) -> dict[str, float]:
    """Share of valid bars, and largest |ln close - ln guide| at anchored steps, as written."""
    broken = sum(bar_violations(bars).values())
    anchored = guides["anchored"]
    close, level = bars["close"].filter(anchored), guides["guide"].filter(anchored)
    error = (close.log() - level.log()).abs().max()
    return {
        # A bar that breaks two rules counts twice: the share is never flattered.
        "valid_bars": max(1 - broken / bars.height, 0.0),
        "max_guide_error": float(error) if isinstance(error, float) else 0.0,
    }
