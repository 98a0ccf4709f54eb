"""What an agent is paid for a bar, of the growth factor ``g`` of its account over the bar and its
largest drawdown so far, ``d0`` before the bar and ``d`` after it (1 - account/peak).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from parfait.utils.errors import UserError, require

Each = Float64[ndarray, " envs"]
_LEAST = 0.01  # of the market's variance: what an account's is taken for at least


class LogReturn:
    """``ln g``: the sum over an episode is the log of the final account."""

    def __call__(self, g: Each, d0: Each, d: Each) -> Each:
        """The rewards of one bar."""
        return np.log(g)

    def begin(self, envs: ndarray, n: int, scale: Each) -> None:
        """New episodes in ``envs`` of ``n``; ``scale`` is the volatility of a bar there."""


@dataclass
class DifferentialSharpe(LogReturn):
    """``((b - a**2)**-1.5) (b da - a db / 2)``, the derivative of an exponentially weighted Sharpe
    ratio by its decay, with ``da = r - a``, ``db = r**2 - b`` of the simple return r; then a and b
    move by ``decay`` of them (Moody and Saffell, 2001). They begin at 0 and at s**2, the squared
    volatility of the market's bars, and b is never below ``a**2 + (s/10)**2``: the ratio of an
    account that does not move is no number.

    Args:
        decay: about one over the number of bars that count.

    Raises:
        UserError: a decay outside (0, 1).
    """

    decay: float = 0.01

    def __post_init__(self) -> None:
        require("reward.decay", self.decay, 1e-6, 0.999)
        self._a = self._b = self._least = np.zeros(0)

    def __call__(self, g: Each, d0: Each, d: Each) -> Each:
        """The rewards of one bar."""
        a, b = self._a, self._b
        r = g - 1.0
        da, db = r - a, r * r - b
        reward = (b * da - 0.5 * a * db) / (b - a * a) ** 1.5
        a += self.decay * da
        b += self.decay * db
        np.maximum(b, a * a + self._least, out=b)
        return reward

    def begin(self, envs: ndarray, n: int, scale: Each) -> None:
        """New episodes in ``envs`` of ``n``; ``scale`` is the volatility of a bar there."""
        if len(self._a) != n:
            self._a, self._b, self._least = np.zeros((3, n))
        self._a[envs], self._b[envs], self._least[envs] = 0.0, scale**2, _LEAST * scale**2


@dataclass
class DrawdownPenalised(LogReturn):
    """``ln g - penalty (ln(1 - d0) - ln(1 - d))``: the sum over an episode is its log return minus
    ``penalty`` times its largest log drawdown.

    Args:
        penalty: what a unit of drawdown costs.

    Raises:
        UserError: a negative penalty.
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        require("reward.penalty", self.penalty, 0)

    def __call__(self, g: Each, d0: Each, d: Each) -> Each:
        """The rewards of one bar."""
        return np.log(g) + self.penalty * np.log((1.0 - d) / (1.0 - d0))


REWARDS = {
    "log_return": LogReturn,
    "differential_sharpe": DifferentialSharpe,
    "drawdown_penalised": DrawdownPenalised,
}


def make_reward(reward: str | Mapping[str, Any] | LogReturn) -> LogReturn:
    """By name, by a mapping ``{"name": ..., options}``, or as it is.

    Raises:
        UserError: an unknown name or option.
    """
    if isinstance(reward, LogReturn):
        return reward
    options = {"name": reward} if isinstance(reward, str) else dict(reward)
    name = options.pop("name", None)
    if name not in REWARDS:
        raise UserError(f"reward={name} is unknown; use one of {', '.join(REWARDS)}")
    try:
        return REWARDS[name](**options)
    except TypeError as error:
        raise UserError(f"reward {name} cannot be made of {options}: {error}") from error
