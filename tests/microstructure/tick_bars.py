"""Bars for the tests of ticks."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl

FIELDS = ("open", "high", "low", "close", "volume")


def frame(
    rows: np.ndarray, step: timedelta = timedelta(days=1), start: datetime = datetime(2024, 1, 1)
) -> pl.DataFrame:
    """Rows of five numbers as bars ``step`` apart."""
    times = [start + i * step for i in range(len(rows))]
    columns = {name: rows[:, i] for i, name in enumerate(FIELDS)}
    return pl.DataFrame(
        {"timestamp": pl.Series(times, dtype=pl.Datetime("us")), **columns},
        schema_overrides=dict.fromkeys(FIELDS, pl.Float64()),
    )


def brownian(count: int, seed: int, volatility: float = 0.01, inner: int = 300) -> np.ndarray:
    """Bars of independent Brownian days: (count, 5)."""
    random = np.random.default_rng(seed)
    moves = random.standard_normal((count, inner)) * volatility / np.sqrt(inner)
    price = 100 * np.exp(np.cumsum(moves, axis=1))
    volume = np.exp(12 + random.standard_normal(count))
    ends = price[:, 0], price.max(1), price.min(1), price[:, -1]
    return np.stack([*ends, volume], axis=1)


def grid(ticks: pl.DataFrame, column: str, per_bar: int) -> np.ndarray:
    """A column as (bars, ticks)."""
    return ticks[column].to_numpy().reshape(-1, per_bar)
