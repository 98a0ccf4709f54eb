"""Bars of a market with known volatility, on weekdays."""

from datetime import datetime, timedelta

import polars as pl
import torch

from parfait.bars import BAR_FIELDS
from parfait.labels.synthetic import bars_around, jump_sums

SIGMA = 0.2


def market(
    n: int, seed: int = 0, jumps: float = 0.05, gap_after: int | None = None
) -> pl.DataFrame:
    """n daily bars with a jump in every twentieth, and a month without any after ``gap_after``."""
    generator = torch.Generator().manual_seed(seed)
    variances = torch.full((1, n), SIGMA**2 / 252, dtype=torch.float64)
    noise = torch.randn((1, n), generator=generator, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    sums = jump_sums(1, n, jumps * one, 0 * one, 0.04 * one, generator)
    bars = bars_around(variances.sqrt() * noise, variances, generator, sums)[0]
    days = (datetime(2001, 1, 1) + timedelta(days=i) for i in range(2 * n + 60))
    times = [day for day in days if day.weekday() < 5]
    if gap_after is not None:
        times = times[:gap_after] + times[gap_after + 22 :]
    columns = {name: bars[:, j].numpy() for j, name in enumerate(BAR_FIELDS)}
    return pl.DataFrame({"timestamp": pl.Series(times[:n], dtype=pl.Datetime("us"))} | columns)
