r"""Hawkes-clustered arrivals: trades set off trades.

In operational time u, the clock on which the intensity of the day is even, immigrants come
uniformly and every trade has Poisson(eta) children, each after an exponential delay of rate beta
(Hawkes 1971 in the branching form of Hawkes and Oakes 1974). Time runs in a circle of one bar and
the process stops at n trades. Each arrival is then exactly uniform in u, so that the mean is known:

    E[trades in a set of u] = n * length,   and of the day n * (share of ``Intraday.activity``).
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_MOST = 12  # P(Poisson(0.95) > 12) is 1e-11


def hawkes_times(
    children: Array, immigrants: Array, delays: Array, branching: float, delay: Array
) -> Array:
    """Sorted arrivals in operational time, (bars, n) in [0, 1).

    Args:
        children, immigrants: uniform draws (bars, n).
        delays: unit exponential draws (bars, n).
        branching: eta.
        delay: 1 / beta in bars, (bars,).
    """
    bars, n = children.shape
    rows = np.arange(bars)
    born = np.cumsum(_poisson(children, branching), axis=1)
    times = np.empty((bars, n))
    parent = np.zeros(bars, dtype=np.int64)  # whose children are being born
    used = np.zeros(bars, dtype=np.int64)  # children so far
    for k in range(n):
        wait = (used < born[:, k - 1]) if k else np.zeros(bars, dtype=bool)
        used += wait
        while (late := wait & (born[rows, parent] < used)).any():
            parent += late
        after = times[rows, np.minimum(parent, max(k - 1, 0))] + delay * delays[:, k]
        times[:, k] = np.where(wait, after, immigrants[:, k])
    times -= np.floor(times)
    return np.sort(np.minimum(times, np.nextafter(1.0, 0.0)), axis=1)


def _poisson(uniform: Array, mean: float) -> NDArray[np.int64]:
    steps = [mean**k / math.factorial(k) * math.exp(-mean) for k in range(_MOST)]
    return np.searchsorted(np.cumsum(steps), uniform, side="right")
