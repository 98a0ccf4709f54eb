"""The bid-ask spread that bars betray: EDGE for any bars, Roll for trades."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_SPREAD, MAX_SPREAD = 1e-6, 0.2  # log ask - log bid; a hundredth of a basis point to 22 %
DEFAULT_SPREAD = 5e-4  # where bars tell of none: five basis points
_CERTAIN = 2.0  # standard errors of S^2 above 0 that make an estimate


@dataclass(frozen=True)
class Spread:
    """An estimate of S = log ask - log bid.

    Args:
        value: ``None`` where it cannot be told from 0.
        square, error: S^2, perhaps below 0, and its standard error.
        bars: how many it rests on.
        reason: why there is no value.
    """

    value: float | None
    square: float = 0.0
    error: float = 0.0
    bars: int = 0
    reason: str = ""


def edge(open_: Array, high: Array, low: Array, close: Array) -> Spread:
    """Efficient estimator of the spread from open, high, low and close.

    EDGE (Ardia, Guidotti and Kroencke 2024): two moment conditions on products of log returns
    between opens, closes and mid-ranges, weighed by their variances; indicators (did the price
    move, was the extreme at the open or the close) correct for infrequent trading. Bars are taken
    as independent for the standard error; S^2 within two of them of 0 is no estimate.

    Args:
        open_, high, low, close: prices (bars,) in order of time.
    """
    if len(open_) < 3:
        return Spread(None, reason=f"{len(open_)} bars are too few")
    o, h, l, c = (np.log(np.asarray(x, dtype=np.float64)) for x in (open_, high, low, close))  # noqa: E741
    m = (h + l) / 2
    h1, l1, c1, m1 = h[:-1], l[:-1], c[:-1], m[:-1]
    o, h, l, c, m = o[1:], h[1:], l[1:], c[1:], m[1:]  # noqa: E741
    moved = ((h != l) | (l != c1)).astype(np.float64)
    at_open = np.mean(moved * (o != h)) + np.mean(moved * (o != l))
    at_close = np.mean(moved * (c1 != h1)) + np.mean(moved * (c1 != l1))
    if moved.sum() < 2 or at_open == 0 or at_close == 0:
        return Spread(None, reason="the prices hardly move within bars")
    share = moved.mean()

    def centred(x: Array) -> Array:
        return x - x.mean() / share * moved

    r1, r2, r3, r4, r5 = centred(m - o), o - m1, centred(m - c1), c1 - m1, centred(o - c1)
    x1 = -4 / at_open * r1 * r2 - 4 / at_close * r3 * r4
    x2 = -4 / at_open * r1 * (o - c1) - 4 / at_close * r5 * r4
    v1, v2 = x1.var(), x2.var()
    a = v2 / (v1 + v2) if v1 + v2 > 0 else 0.5
    x = a * x1 + (1 - a) * x2
    return _told(float(x.mean()), float(x.std() / np.sqrt(len(x))), len(x))


def pooled(found: Sequence[Spread]) -> Spread:
    """One estimate from several stretches of bars: the mean of S^2, weighed by their numbers."""
    total = sum(s.bars for s in found)
    if total == 0:
        return Spread(None, reason="no stretch of bars tells of a spread")
    square = sum(s.bars * s.square for s in found) / total
    error = float(np.sqrt(sum((s.bars * s.error) ** 2 for s in found))) / total
    return _told(square, error, total)


def _told(square: float, error: float, bars: int) -> Spread:
    if square > _CERTAIN * error:
        return Spread(float(np.sqrt(square)), square, error, bars)
    return Spread(None, square, error, bars, "S^2 is not above 0 by two standard errors")


def edge_of(bars: pl.DataFrame) -> Spread:
    """``edge`` of a frame of bars."""
    return edge(*(bars[name].to_numpy() for name in ("open", "high", "low", "close")))


def roll(log_price: Array) -> float:
    """Lag-1 product of log returns, mean over all rows: -S^2/4 (Roll 1984) for fair signs.

    Args:
        log_price: (bars, ticks) log trade prices; no product crosses two bars.
    """
    move = np.diff(log_price, axis=-1)
    return float((move[..., 1:] * move[..., :-1]).mean())


def choose_spread(history: pl.DataFrame | None, bars: pl.DataFrame) -> tuple[float, str]:
    """The spread for bars to refine, and where it comes from.

    EDGE of the history; five basis points where that finds none; at most a twentieth of the
    median log range of the bars, so that ordinary bars have room for it.
    """
    found = Spread(None, reason="no history") if history is None else edge_of(history)
    spread, source = found.value, "EDGE of the history"
    if spread is None:
        spread, source = DEFAULT_SPREAD, f"the default, for EDGE found none: {found.reason}"
    ranges = (bars["high"] / bars["low"]).log().to_numpy()
    ranges = ranges[ranges > 0]
    room = float(np.median(ranges)) / 20 if len(ranges) else spread
    if spread > room:
        spread, source = room, f"a twentieth of the median range, below {source}"
    return min(max(spread, MIN_SPREAD), MAX_SPREAD), source
