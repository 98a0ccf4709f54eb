"""When a bar touches its high and its low, and on which side trades come.

A bar is met by four pinned ticks: the first (open), the last (close), and one each at the extremes.
Which extreme comes first, and when, follows the leading terms of the joint law of a Brownian path's
extremes (the images of d, the length of the path unfolded at its extremes).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]
BREADTH = 16  # fewest ticks that give every pin its quiet neighbourhood
GAMMA = 4.0  # shape of the times between pins
_QUIET = 2


@dataclass(frozen=True, eq=False)
class Touching:
    """Which bars open or close at their low or high (bars,)."""

    open_low: Flags
    open_high: Flags
    close_low: Flags
    close_high: Flags


@dataclass(frozen=True, eq=False)
class Pins:
    """Four places (bars,) of ticks, in order: 0 <= first <= second <= n - 1.

    Args:
        first, second: ticks of the extremes.
        high_first: the first is the high.
        quiet: ticks on either side of a pin between which the mid rests.
    """

    first: Places
    second: Places
    high_first: Flags
    quiet: int
    n: int

    @property
    def high(self) -> Places:
        """Tick of the high."""
        return np.where(self.high_first, self.first, self.second)

    @property
    def low(self) -> Places:
        """Tick of the low."""
        return np.where(self.high_first, self.second, self.first)


def quiet_ticks(n: int, persistence: float) -> int:
    """Ticks beside a pin whose sides still know of it: 2, more with persistent sides.

    0 where there are fewer than 16 ticks; never so many that a stretch between pins has no move.
    """
    if n < BREADTH:
        return 0
    memory = int(np.ceil(np.log(0.02) / np.log(persistence))) if persistence > 0 else 0
    return min(max(_QUIET, memory), ((n - 1) // 3 - 1) // 2)


def place_pins(
    ends: tuple[Array, Array],
    extremes: tuple[Array, Array],
    touching: Touching,
    sd: Array,
    clock: Array,
    order: Array,
    gammas: Array,
    quiet: int,
) -> Pins:
    """Draws the order and the ticks of the extremes.

    With d the unfolded length 2R -+ (C - O), the low comes first with probability proportional to
    (d^2/s^2 - 1) exp(-d^2 / 2 s^2) of its d. Times between pins are shares of Gamma(4) variables
    times the distances (the product of first-passage densities is greatest where times are in
    proportion to distances), on the clock of the variance. An extreme at the open or the close is
    there.

    Args:
        ends: first and last log price (bars,).
        extremes: lowest and highest log price (bars,).
        touching: which ends are extremes.
        sd: standard deviation of the log price over the bar (bars,).
        clock: variance elapsed at every tick, 0 to 1 (bars, n).
        order: uniform draws (bars,).
        gammas: draws of Gamma(4, 1) variables (3, bars).
        quiet: of ``quiet_ticks``.
    """
    (start, end), (low, high) = ends, extremes
    n = clock.shape[1]
    span, net = 2 * (high - low), end - start
    ratio = _density((span + net) / sd) / np.maximum(_density((span - net) / sd), 1e-300)
    low_first = order * (1 + ratio) < 1
    low_first = np.where(touching.open_low | touching.close_high, True, low_first)
    high_first = touching.open_high | (touching.close_low & ~touching.open_low)
    low_first = np.where(high_first, False, low_first)
    one, two = np.where(low_first, low, high), np.where(low_first, high, low)
    lengths = np.stack([abs(one - start), high - low, abs(end - two)])
    share = np.cumsum(gammas * lengths, axis=0)
    share /= np.where(share[2] > 0, share[2], 1.0)
    least = 2 * quiet + 1
    at_open = np.where(low_first, touching.open_low, touching.open_high)
    at_close = np.where(low_first, touching.close_high, touching.close_low)
    after = np.where(at_close, 0, least)
    first = np.clip((clock < share[0][:, None]).sum(axis=1), least, n - 1 - after - least)
    first = np.where(at_open, 0, first)
    second = np.clip((clock < share[1][:, None]).sum(axis=1), first + least, n - 1 - after)
    second = np.where(at_close, n - 1, second)
    return Pins(first, second, ~low_first, quiet, n)


def _density(x: Array) -> Array:
    """(x^2 - 1) exp(-x^2 / 2), at least 0: the leading image of the law of range and close."""
    return np.maximum(x**2 - 1, 0.0) * np.exp(-np.minimum(x**2, 1400.0) / 2)


def draw_sides(uniform: Array, pinned: Array, persistence: float) -> Array:
    """Side of every trade, +1 at the ask, -1 at the bid, (bars, n).

    A Markov chain with P(same side again) = (1 + phi) / 2, conditioned on the pinned sides: with
    d ticks to the next pin of side s, P(q) is in proportion to (1 + phi q q_prev)(1 + phi^d q s).

    Args:
        uniform: draws (bars, n).
        pinned: +1 or -1 where the side is given, 0 elsewhere (bars, n).
        persistence: phi in [0, 1).
    """
    bars, n = pinned.shape
    ahead, pull = np.zeros(bars), np.empty((n, bars))
    for j in range(n - 1, -1, -1):
        ahead = np.where(pinned[:, j] != 0, pinned[:, j], persistence * ahead)
        pull[j] = ahead  # phi^d s of the next pin, here or later
    sides = np.empty((bars, n))
    last = np.zeros(bars)
    for j in range(n):
        lean = persistence * last
        up = (1 + lean) * (1 + pull[j])
        down = (1 - lean) * (1 - pull[j])
        last = np.where(uniform[:, j] * (up + down) < up, 1.0, -1.0)
        last = np.where(pinned[:, j] != 0, pinned[:, j], last)
        sides[:, j] = last
    return sides
