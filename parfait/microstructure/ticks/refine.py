"""Bars into trades: arrays in, arrays out; every row is met exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfait.microstructure.ticks.arrivals import hawkes_times
from parfait.microstructure.ticks.bridge import mid_path
from parfait.microstructure.ticks.intraday import Intraday
from parfait.microstructure.ticks.pins import (
    GAMMA,
    Places,
    Touching,
    draw_sides,
    place_pins,
    quiet_ticks,
)
from parfait.microstructure.ticks.sizes import trade_sizes
from parfait.microstructure.ticks.spread import MIN_SPREAD

Array = NDArray[np.float64]
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)


@dataclass(frozen=True, eq=False)
class Draws:
    """All randomness of some bars, drawn path by path.

    Args:
        uniforms: (5, bars, n): children, immigrants, sides, moves, delays.
        normals: (4, bars, n): three of the bridge, sizes.
        single: (2, bars): which extreme first, side of bars without room for a spread.
        gammas: (3, bars) Gamma(4, 1) variables.
    """

    uniforms: Array
    normals: Array
    single: Array
    gammas: Array

    @classmethod
    def of(cls, generator: np.random.Generator, bars: int, n: int) -> "Draws":
        """The draws of one path."""
        return cls(
            generator.random((5, bars, n)),
            generator.standard_normal((4, bars, n)),
            generator.random((2, bars)),
            generator.standard_gamma(GAMMA, (3, bars)),
        )

    @classmethod
    def join(cls, parts: "list[Draws]") -> "Draws":
        """Paths one after the other."""
        names = ("uniforms", "normals", "single", "gammas")
        return cls(*(np.concatenate([getattr(p, x) for p in parts], axis=1) for x in names))


@dataclass(frozen=True, eq=False)
class Refined:
    """Trades of some bars, each (bars, n): place in the session, prices, sizes."""

    fraction: Array
    price: Array
    bid: Array
    ask: Array
    size: Array


def narrowed(bars: Array, spread: float) -> Array:
    """Spread of each bar (bars,): half the log range where that is less, so that both sides fit.

    0 where even that is below a hundredth of a basis point: all its trades are on one side.
    """
    room = (np.log(bars[:, HIGH]) - np.log(bars[:, LOW])) / 2
    return np.where(room < MIN_SPREAD, 0.0, np.minimum(spread, room))


def refine(
    bars: Array,
    draws: Draws,
    day: Intraday,
    span: tuple[Array, Array],
    spread: float,
    persistence: float = 0.0,
) -> Refined:
    """n trades for each bar: price = mid * exp(+-S/2), the first open, the last close, the highest
    high, the lowest low, sizes summing to the volume.

    Args:
        bars: valid bars (bars, 5).
        draws: their randomness.
        day: shape of the session.
        span: begin and end of each bar as fractions of the session (bars,).
        spread: S = log ask - log bid.
        persistence: phi, correlation of the sides of neighbouring trades.
    """
    children, immigrants, sides, moves, delays = draws.uniforms
    n = children.shape[1]
    share = [day.cumulative(f) for f in span]
    covered = np.maximum(share[1] - share[0], 1e-12)
    delay = day.delay / covered
    own_time = hawkes_times(children, immigrants, -np.log1p(-delays), day.branching, delay)
    fraction = day.when(share[0][:, None] + covered[:, None] * own_time)

    weight = day.tick_variance(fraction)
    weight[:, 0] = 0.0
    clock = np.cumsum(weight, axis=1)
    clock /= clock[:, -1:]

    log = np.log(bars[:, :VOLUME])
    half = narrowed(bars, spread) / 2
    one_sided = half == 0
    touching = Touching(
        bars[:, OPEN] == bars[:, LOW],
        bars[:, OPEN] == bars[:, HIGH],
        bars[:, CLOSE] == bars[:, LOW],
        bars[:, CLOSE] == bars[:, HIGH],
    )
    sd = deviation(log)
    pins = place_pins(
        (log[:, OPEN], log[:, CLOSE]),
        (log[:, LOW], log[:, HIGH]),
        touching,
        sd,
        clock,
        draws.single[0],
        draws.gammas,
        quiet_ticks(n, persistence),
    )
    rows = np.arange(len(bars))
    pinned = np.zeros((len(bars), n))
    for tick, column in ((0, OPEN), (n - 1, CLOSE)):
        # Within a spread of an extreme only the trade on its side leaves room for the mid.
        pinned[:, tick] = np.where(log[:, column] < log[:, LOW] + 2 * half, -1.0, 0.0)
        near = log[:, column] > log[:, HIGH] - 2 * half
        pinned[near, tick] = 1.0
    pinned[rows, pins.high] = 1.0
    pinned[rows, pins.low] = -1.0
    side = draw_sides(sides, pinned, persistence)
    low, high = log[:, LOW] + half, np.maximum(log[:, HIGH] - half, log[:, LOW] + half)
    start = np.clip(log[:, OPEN] - half * side[:, 0], low, high)
    end = np.clip(log[:, CLOSE] - half * side[:, -1], low, high)
    mid = mid_path(start, end, (low, high), sd, clock, pins, moves, draws.normals[:3])

    alone = np.where(draws.single[1] < 0.5, 1.0, -1.0)[:, None]
    side = np.where(one_sided[:, None], alone, side)
    inner = half[:, None]
    outer = np.where(one_sided, spread, 2 * half)[:, None]
    level = mid + inner * side  # log of the trade
    bid = np.exp(np.where(side > 0, level - outer, level))
    ask = np.exp(np.where(side > 0, level, level + outer))
    price = _met(bars, np.where(side > 0, ask, bid), level, log, pins.high, pins.low)
    return Refined(
        fraction,
        price,
        np.where(side > 0, bid, price),
        np.where(side > 0, price, ask),
        trade_sizes(bars[:, VOLUME], draws.normals[3], day.size_sigma),
    )


def deviation(log: Array) -> Array:
    """Standard deviation of the log price over a bar (Garman and Klass 1980), from (bars, 4).

    At least a third of the range: a bar that runs from its low to its high without a wick still
    has a path with noise.
    """
    width = log[:, HIGH] - log[:, LOW]
    net = log[:, CLOSE] - log[:, OPEN]
    variance = 0.5 * width**2 - (2 * np.log(2) - 1) * net**2
    return np.sqrt(np.maximum(np.maximum(variance, width**2 / 9), 1e-30))


def _met(bars: Array, price: Array, level: Array, log: Array, high: Places, low: Places) -> Array:
    """The prices of the bar to the bit, at their pins and wherever the trade is at their level."""
    for column in (OPEN, CLOSE, LOW, HIGH):
        at = abs(level - log[:, column : column + 1]) < 1e-14
        price = np.where(at, bars[:, column : column + 1], price)
    price = np.clip(price, bars[:, LOW : LOW + 1], bars[:, HIGH : HIGH + 1])
    rows = np.arange(len(bars))
    price[rows, high], price[rows, low] = bars[:, HIGH], bars[:, LOW]
    price[:, 0], price[:, -1] = bars[:, OPEN], bars[:, CLOSE]
    return price
