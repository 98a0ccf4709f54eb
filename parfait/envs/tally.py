"""What is told of an episode, kept up bar by bar, so that no account's past has to be stored."""

import time

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from parfait.utils.ratios import ratio

Each = Float64[ndarray, " envs"]


class Tally:
    """Sums over the present episodes of n accounts.

    Args:
        n: number of accounts.
    """

    def __init__(self, n: int) -> None:
        self.bars = 0  # that were stepped through since the tally began
        self._since = np.zeros(n, dtype=np.int64)
        self._begun = np.zeros(n)
        # Sums of rewards, returns, their squares, squared losses, turnover and costs.
        self._sums = np.zeros((6, n))
        self.rewards, *self._rest = self._sums
        self.peak, self.drawdown = np.ones(n), np.zeros(n)

    def begin(self, envs: Int64[ndarray, " some"]) -> None:
        """New episodes in some accounts."""
        self._since[envs], self._begun[envs] = self.bars, time.perf_counter()
        self._sums[:, envs] = 0.0
        self.peak[envs], self.drawdown[envs] = 1.0, 0.0

    def bar(self, equity: Each, growth: Each, turnover: Each, costs: Each) -> None:
        """One bar: the account after it, its growth factor, traded value over account, costs."""
        returns, squares, losses, turnovers, spent = self._rest
        self.bars += 1
        r = growth - 1.0
        returns += r
        squares += r * r
        r *= np.minimum(r, 0.0)
        losses += r
        turnovers += turnover
        spent += costs
        np.maximum(self.peak, equity, out=self.peak)
        fall = equity / self.peak
        np.subtract(1.0, fall, out=fall)
        self.drawdown = np.maximum(self.drawdown, fall)

    def told(
        self, envs: Int64[ndarray, " some"], equity: Each, bars_per_year: float
    ) -> dict[str, ndarray]:
        """Of the episodes of some accounts, in their order.

        ``r`` the sum of rewards, ``l`` the bars, ``t`` the seconds it took; with the simple returns
        R of the account ``return`` over the episode, ``sharpe`` mean(R)/sd(R), ``sortino``
        mean(R)/sqrt(mean(min(R, 0)**2)), both times sqrt(bars per year) and 0 where the denominator
        is; ``max_drawdown`` the largest 1 - account/peak; ``turnover`` the sum of traded values
        and ``costs`` that of costs, each over the account before its bar.
        """
        length = self.bars - self._since[envs]
        rewards, returns, squares, losses, turnover, costs = self._sums[:, envs]
        mean, annual = returns / length, np.sqrt(bars_per_year)
        spread = np.sqrt(np.maximum(squares / length - mean**2, 0.0))
        return {
            "r": rewards,
            "l": length,
            "t": np.round(time.perf_counter() - self._begun[envs], 6),
            "return": equity[envs] - 1.0,
            "sharpe": annual * ratio(mean, spread),
            "sortino": annual * ratio(mean, np.sqrt(losses / length)),
            "max_drawdown": self.drawdown[envs],
            "turnover": turnover,
            "costs": costs,
        }
