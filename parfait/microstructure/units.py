"""The volatility per bar that the returns of a window are multiples of."""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.microstructure.window import History
from parfait.regime import Regime, mean_volatility, volatility_course


def unit_of(
    past: History | None, regime: Regime | None, begin: int, end: int, bars_per_year: float, n: int
) -> Float64[Tensor, " paths"]:
    """s' per path: the regime's volatility per bar over bars [begin, end), else the past's.

    Tied to the regime it cannot feed errors of scale back through generated history.
    """
    if regime is not None:
        start, stop = begin / bars_per_year, end / bars_per_year
        return mean_volatility(regime, start, stop, 1 / bars_per_year) / bars_per_year**0.5
    assert past is not None  # without a history a regime is asked for
    return past.scale.expand(n)


def course_of(
    regime: Regime | None, begin: int, end: int, bars_per_year: float, n: int
) -> Float64[Tensor, "paths bars"]:
    """Volatility of every bar in units of s'; 1 where the regime is constant."""
    if regime is None or len(regime.shape) < 2:
        return torch.ones(n, end - begin, dtype=torch.float64)
    return volatility_course(regime, begin, end, 1 / bars_per_year).T
