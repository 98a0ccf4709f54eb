"""What is told of an episode that ends."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray


def episode_statistics(
    values: Float64[ndarray, "bars episodes"],
    length: Int64[ndarray, " episodes"],
    bars_per_year: float,
) -> dict[str, Float64[ndarray, " episodes"]]:
    """Of accounts at every bar, the last row being the present.

    With the simple returns r of the bars: ``return`` the final account over the first minus 1,
    ``sharpe`` mean(r)/sd(r) and ``sortino`` mean(r)/sqrt(mean(min(r, 0)**2)), both times
    sqrt(bars per year), 0 where nothing moves (the denominator is 0), ``max_drawdown`` the largest
    1 - value/peak.

    Args:
        values: (longest + 1, episodes); an episode of ``length`` bars is its last ``length`` + 1.
        length: steps of each episode.
        bars_per_year: to annualise.
    """
    age = np.arange(len(values) - 1, -1, -1)[:, None]
    # Before an episode its account stands still at its first value.
    first = np.take_along_axis(values, (len(values) - 1 - length)[None], axis=0)
    values = np.where(age <= length, values, first)
    r = np.where(age[1:] < length, values[1:] / values[:-1] - 1, 0.0)
    mean = r.sum(axis=0) / length
    spread = np.where(age[1:] < length, r - mean, 0.0)
    annual = np.sqrt(bars_per_year)
    peak = np.maximum.accumulate(values, axis=0)
    return {
        "return": values[-1] / first[0] - 1,
        "sharpe": _ratio(mean, np.sqrt((spread**2).sum(axis=0) / length)) * annual,
        "sortino": _ratio(mean, np.sqrt((np.minimum(r, 0) ** 2).sum(axis=0) / length)) * annual,
        "max_drawdown": (1 - values / peak).max(axis=0),
    }


def _ratio(top: ndarray, bottom: ndarray) -> ndarray:
    # What is left of a constant account after rounding is no risk.
    still = bottom < 1e-12
    return np.where(still, 0.0, top / np.where(still, 1.0, bottom))
