"""The mid price: a bridge through the pins of a bar that leaves the bid-ask bounce untouched.

The mid moves at some trades and rests at the others: never at two trades in a row, nor within
``quiet`` ticks of a pin. So the product of two neighbouring moves of the mid is 0 in every
path, whatever the bar forces on it, and moves of the mid know nothing of the sides beside them: the
lag-1 product of trade returns keeps the expectation of Roll (1984) bar by bar. Between pins the
distance of the mid from the extreme is a Bessel(3) bridge, the law of Brownian motion that stays on
one side of it (Williams 1974), folded at the opposite extreme.
"""

import numpy as np
from numpy.typing import NDArray

from parfait.microstructure.ticks.pins import Pins, Places

Array = NDArray[np.float64]


def mid_path(
    start: Array,
    end: Array,
    extremes: tuple[Array, Array],
    sd: Array,
    clock: Array,
    pins: Pins,
    uniform: Array,
    normals: Array,
) -> Array:
    """Log mid (bars, n): ``start`` first, ``end`` last, the extremes at their pins, all between.

    Args:
        start, end: log mid at the first and last tick (bars,).
        extremes: lowest and highest log mid (bars,).
        sd: standard deviation over the bar (bars,).
        clock: variance elapsed at every tick, 0 to 1 (bars, n).
        pins: places of the extremes.
        uniform: draws that choose the ticks at which the mid moves (bars, n).
        normals: standard normal draws (3, bars, n).
    """
    low, high = extremes
    bars, n = clock.shape
    tick = np.arange(n)
    after_first, after_second = tick > pins.first[:, None], tick > pins.second[:, None]
    stretch = after_first.astype(np.int64) + after_second
    zero, last = np.zeros(bars, dtype=np.int64), np.full(bars, n - 1)
    begins = np.stack([zero, pins.first, pins.second], axis=1)
    ends = np.stack([pins.first, pins.second, last], axis=1)
    begin = np.take_along_axis(begins, stretch, axis=1)
    moves = choose_moves(uniform, stretch, [zero, pins.first, pins.second, last], pins.quiet)
    latest = np.maximum.accumulate(np.where(moves, tick, 0), axis=1)
    here = np.maximum(latest, begin)  # the tick whose mid still holds
    before = np.maximum(np.concatenate([latest[:, :1], latest[:, :-1]], axis=1), begin)

    def at(places: Places) -> Array:
        return np.take_along_axis(clock, places, axis=1)

    final = np.take_along_axis(here, ends, axis=1)  # last move of each stretch
    from_, until = at(begin), np.take_along_axis(at(final), stretch, axis=1)
    now = at(here)
    s = np.where(until > from_, (now - from_) / np.where(until > from_, until - from_, 1.0), 1.0)
    s = np.where(here == begin, 0.0, s)
    step = np.sqrt(np.where(moves, np.maximum(now - at(before), 0.0), 0.0)) * sd[:, None]
    noise = np.cumsum(step * normals, axis=2)
    at_begin = np.take_along_axis(noise, begin[None], axis=2)
    at_end = np.take_along_axis(
        np.take_along_axis(noise, ends[None], axis=2), stretch[None], axis=2
    )
    bridge = noise - at_begin - s * (at_end - at_begin)

    first_level = np.where(pins.high_first, high, low)
    second_level = np.where(pins.high_first, low, high)
    away = np.where(pins.high_first, -1.0, 1.0)[:, None] * np.where(after_second, -1.0, 1.0)
    wall = np.where(after_second, second_level[:, None], first_level[:, None])
    levels = np.stack([start, first_level, second_level, end], axis=1)
    source = np.take_along_axis(levels, stretch, axis=1)
    target = np.take_along_axis(levels, stretch + 1, axis=1)
    drawn = abs(source - wall) * (1 - s) + abs(target - wall) * s + bridge[0]
    distance = np.sqrt(drawn**2 + bridge[1] ** 2 + bridge[2] ** 2)
    mid = wall + away * fold(distance, (high - low)[:, None])
    mid = np.where(s == 0, source, np.where(s == 1, target, mid))
    return np.clip(mid, low[:, None], high[:, None])


def choose_moves(
    uniform: Array, stretch: Places, pins: list[Places], quiet: int
) -> NDArray[np.bool_]:
    """Whether the mid moves between each tick and the one before (bars, n).

    Where a draw exceeds those of both neighbours: one tick in three, never two in a row, and at
    least one in every stretch between pins.
    """
    n = uniform.shape[1]
    tick = np.arange(n)
    draw = np.where(tick > 0, uniform, -1.0)
    if quiet:
        for place in pins:
            since = tick - place[:, None]
            draw = np.where((since <= quiet) & (since > -quiet), -1.0, draw)
    edge = np.full((len(draw), 1), -1.0)
    left = np.concatenate([edge, draw[:, :-1]], axis=1)
    right = np.concatenate([draw[:, 1:], edge], axis=1)
    new = np.diff(stretch, axis=1) != 0
    left[:, 1:][new] = -1.0  # a neighbour beyond a pin does not count
    right[:, :-1][new] = -1.0
    return (draw > left) & (draw > right)


def fold(distance: Array, width: Array) -> Array:
    """Reflects distances of at least 0 into [0, width]."""
    safe = np.where(width > 0, width, 1.0)
    rest = np.mod(distance, 2 * safe)
    return np.where(width > 0, np.minimum(rest, 2 * safe - rest), 0.0)
