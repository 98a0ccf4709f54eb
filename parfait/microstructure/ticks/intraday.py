"""The trading day: when trades come and when prices move, as fractions of the session."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parfait.utils.errors import UserError

Array = NDArray[np.float64]
PARAMETRIC = "parametric: not learned from data"
_MOST_BRANCHING = 0.95
_SIZE_SIGMAS = (0.5, 2.5)
_BINS = 48
_CURVATURE = 1.5  # a in 1 + a (2f - 1)^2: the first and last minute are 2.5 times noon


@dataclass(frozen=True)
class MinuteVolume:
    """Second moments of the volume by minute over its shape, mean 1.

    Args:
        variance: of a minute.
        covariance: of a minute and the next.
        decay: gamma; covariances at lag k fall as exp(-gamma k).
    """

    variance: float
    covariance: float
    decay: float

    def clustering(self, rate: float) -> tuple[float, float, float]:
        """(eta, 1 / beta in minutes, size sigma) of a Hawkes process with these moments.

        With ``rate`` trades a minute, g = gamma eta (2 - eta) / (2 (1 - eta)^2), gamma =
        beta (1 - eta), and kappa = E[size^2] / E[size]^2 (Hawkes 1971),

            covariance = g (1 - e^-gamma)^2 / gamma^2 / rate,
            variance   = (kappa + 2 g (gamma - 1 + e^-gamma) / gamma^2) / rate.

        The fewer the trades, the more of the variance is their number alone: eta falls with the
        rate, and where less than nothing is left for sizes, sigma is 0.5.
        """
        gamma = self.decay
        g = max(self.covariance, 0.0) * rate * gamma**2 / np.expm1(-gamma) ** 2
        ratio = 2 * g / gamma  # eta (2 - eta) / (1 - eta)^2 = (1 - eta)^-2 - 1
        branching = min(1 - 1 / np.sqrt(1 + ratio), _MOST_BRANCHING)
        kappa = self.variance * rate - 2 * g * (gamma + np.expm1(-gamma)) / gamma**2
        sigma = np.sqrt(np.log(max(kappa, 1.0)))
        low, high = _SIZE_SIGMAS
        return float(branching), float((1 - branching) / gamma), float(min(max(sigma, low), high))


@dataclass(frozen=True, eq=False)
class Intraday:
    """Shape of a session, f in [0, 1] from its open to its close.

    Args:
        activity: expected share of trades, and of volume, in equal bins of the session; sums to 1.
        variance: the same for the variance of the mid price.
        branching: eta, expected number of trades that a trade sets off, in [0, 0.95].
        delay: 1 / beta, mean time until it does [sessions, on the clock of activity].
        size_sigma: standard deviation of the log size of trades.
        source: where the shape comes from, for a person.
        session: open and close [microseconds since midnight], where known.
        spread: S, where known.
        minute: moments of volume by minute, which fix the three above for a number of trades.
    """

    activity: Array
    variance: Array
    branching: float = 0.6
    delay: float = 0.01
    size_sigma: float = 1.0
    source: str = PARAMETRIC
    session: tuple[int, int] | None = None
    spread: float | None = None
    minute: MinuteVolume | None = None

    def __post_init__(self) -> None:
        for name in ("activity", "variance"):
            shares = np.asarray(getattr(self, name), dtype=np.float64)
            if shares.ndim != 1 or not np.all(shares > 0) or not np.isfinite(shares).all():
                raise UserError(f"Intraday: {name} must hold positive shares, one per bin")
            object.__setattr__(self, name, shares / shares.sum())
        if len(self.activity) != len(self.variance):
            raise UserError("Intraday: activity and variance must have equally many bins")
        if not 0 <= self.branching <= _MOST_BRANCHING:
            raise UserError(f"Intraday: branching={self.branching} must be within [0, 0.95]")
        if not (self.delay > 0 and self.size_sigma >= 0):
            raise UserError("Intraday: delay must be above 0 and size_sigma at least 0")

    def for_rate(self, trades: float) -> "Intraday":
        """The same day with ``trades`` a session; parametric clustering does not depend on them."""
        if self.minute is None or self.session is None:
            return self
        minutes = (self.session[1] - self.session[0]) / 60_000_000
        branching, delay, sigma = self.minute.clustering(trades / minutes)
        return replace(self, branching=branching, delay=delay / minutes, size_sigma=sigma)

    def cumulative(self, fraction: Array) -> Array:
        """Expected share of the day's trades up to a fraction of the session."""
        return np.interp(fraction, *self._clock())

    def when(self, share: Array) -> Array:
        """The inverse of ``cumulative``."""
        edges, total = self._clock()
        return np.interp(share, total, edges)

    def tick_variance(self, fraction: Array) -> Array:
        """Variance of the mid per trade at a fraction of the session; 1 on the day's average."""
        place = np.minimum((fraction * len(self.activity)).astype(np.int64), len(self.activity) - 1)
        return (self.variance / self.activity)[place]

    def _clock(self) -> tuple[Array, Array]:
        total = np.append(0.0, np.cumsum(self.activity))
        total[-1] = 1.0
        return np.linspace(0, 1, len(total)), total


def u_shape(curvature: float = _CURVATURE, bins: int = _BINS) -> Array:
    """Shares of 1 + a (2f - 1)^2 in equal bins (U-shape: Wood, McInish and Ord 1985)."""
    x = 2 * np.linspace(0, 1, bins + 1) - 1
    return np.diff(x / 2 + curvature * x**3 / 6) / (1 + curvature / 3)


def parametric_day(round_the_clock: bool = False) -> Intraday:
    """The shape without data: a U for a session, flat for a market that never closes."""
    shape = u_shape(0.0 if round_the_clock else _CURVATURE)
    return Intraday(activity=shape, variance=shape)
