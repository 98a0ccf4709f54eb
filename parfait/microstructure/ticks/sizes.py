"""Sizes of trades whose sum is the volume of the bar, in any order of summation."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LOTS = 64  # a bar without whole units enough for that many per trade is dealt in fractions

_DIGITS = 45  # binary places of a volume in lots: sums of them stay whole numbers of float64


def trade_sizes(volume: Array, normal: Array, sigma: float) -> Array:
    """Lognormal sizes (bars, n) with sum exactly ``volume`` (bars,).

    Sizes are whole multiples of a lot, a power of two (1, less where the volume is small, more only
    above 2^45); the largest trade takes what is left of a lot. All are multiples of the last binary
    place of the volume and no partial sum exceeds it, so every partial sum is a double: the sum is
    exact in every order. Bars without volume have sizes 0.
    """
    n = normal.shape[1]
    traded = volume > 0
    safe = np.where(traded, volume, 1.0)
    usual = np.minimum(np.floor(np.log2(safe / (_LOTS * n))), 0.0)
    lot = np.exp2(np.maximum(usual, np.floor(np.log2(safe)) - _DIGITS))
    lots = np.floor(safe / lot)
    weight = np.exp(sigma * normal)
    share = np.cumsum(weight, axis=1)
    share /= share[:, -1:]
    # Every trade has a lot; cumulated shares of the others are rounded, so their sum is right.
    dealt = np.rint(share * (lots - n)[:, None])
    size = (np.diff(dealt, axis=1, prepend=0.0) + 1) * lot[:, None]
    rows = np.arange(len(volume))
    size[rows, np.argmax(size, axis=1)] += safe - lots * lot
    return np.where(traded[:, None], size, 0.0)
