"""The one core of all environments: many accounts that step through a market at once."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Float64, Int64
from numpy import ndarray

from parfait.envs.broker import Broker
from parfait.envs.market import FEATURES, LEAD, LIMIT, Market
from parfait.envs.rewards import LogReturn, make_reward
from parfait.envs.scenarios import Frame
from parfait.envs.sources import load_market
from parfait.envs.statistics import episode_statistics
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError

_AHEAD = 64  # episodes whose random numbers are drawn at a time
STATE = 2  # numbers of an observation before the regime and the window: position and cash


class Core:
    """Accounts 0 to n - 1, each in an episode of its own.

    An observation at the close of bar t is (2 [+ 11] + 5 window,) float32: the position's value
    over the account's, the cash over the capital at the start, by option the regime, and the
    features of the bars t - window + 1 to t, the oldest first, all within ``LIMIT``. The order that
    follows fills at the open of bar t + 1; the account is worth its cash and its position at the
    close of t + 1.

    Args:
        source: the paths; see ``load_market``.
        n: number of accounts.
        window: bars of an observation.
        bars_per_year, history: of ``load_market``.
        horizon: steps of an episode; ``None`` goes on to the end of the path.
        actions: ``continuous``, a target weight within ``weights``; or a list of weights to choose
            from.
        weights: the least and the largest weight, of which 1 is the whole account; below 0 is
            short, above 1 on borrowed money.
        broker: costs and limits, or a mapping of them.
        reward: ``log_return``, ``differential_sharpe``, ``drawdown_penalised``, a mapping of one
            and its options, or a reward.
        privileged: whether an observation holds the path's regime, which no trader knows.

    Raises:
        UserError: settings that do not fit each other or the market.
    """

    def __init__(
        self,
        source: Any,
        n: int,
        *,
        window: int = 32,
        bars_per_year: float | None = None,
        history: Frame | None = None,
        horizon: int | None = None,
        actions: str | Sequence[float] = "continuous",
        weights: tuple[float, float] = (-1.0, 1.0),
        broker: Broker | Mapping[str, Any] | None = None,
        reward: str | Mapping[str, Any] | LogReturn = "log_return",
        privileged: bool = False,
    ) -> None:
        if n < 1:
            raise UserError(f"num_envs={n} must be at least 1")
        if window < 1:
            raise UserError(f"window={window} must be at least 1")
        if horizon is not None and horizon < 1:
            raise UserError(f"horizon={horizon} must be at least 1, or null for whole paths")
        self.n, self.window, self.horizon = n, window, horizon
        self.broker = broker if isinstance(broker, Broker) else Broker(**(broker or {}))
        self.reward = make_reward(reward)
        self.action_space, self._choices, self._low, self._high = _action_space(actions, weights)
        self.state = STATE + (len(FIELD_NAMES) if privileged else 0)
        self.observation_space = spaces.Box(
            -LIMIT, LIMIT, (self.state + window * FEATURES,), np.float32
        )
        self._privileged = privileged
        self.cash, self.units, self.worth = np.ones(n), np.zeros(n), np.zeros(n)
        self.equity, self.costs = np.ones(n), np.zeros(n)
        self.row = np.zeros(n, dtype=np.int64)  # of the window that ends at the present bar
        self._start, self._last, self.path = (np.zeros_like(self.row) for _ in range(3))
        self._begun, self._since = np.zeros(n), np.zeros_like(self.row)
        self._step, self._rewards, self._turnover = 0, np.zeros(n), np.zeros(n)
        self._generators: list[np.random.Generator] = []
        self._draws, self._episodes = np.zeros((0, _AHEAD, 2)), np.zeros_like(self.row)
        self.enter(load_market(source, window=window, bars_per_year=bars_per_year, history=history))

    def enter(self, market: Market) -> None:
        """The market that coming episodes are drawn from."""
        if self._privileged and market.regime is None:
            raise UserError("privileged=true needs a source that knows its regimes")
        lengths = np.diff(market.first)
        self._head = np.maximum(market.past, self.window)
        most = lengths - self._head
        short = np.flatnonzero(most < (self.horizon or 1))
        if len(short):
            raise UserError(
                f"path {short[0]} has {lengths[short[0]]} bars, fewer than the "
                f"{self._head[short[0]]} before the first decision (window={self.window}) and the "
                f"{self.horizon or 1} after it; shorten window or horizon, or give more bars"
            )
        self.market = market
        self._steps = most if self.horizon is None else np.full_like(most, self.horizon)
        self._spare = most - self._steps + 1
        self._chances = np.cumsum(market.weight)
        self._chances[np.flatnonzero(market.weight)[-1] :] = 1.0
        # A row of the view begins at the numbers before its window, which are overwritten.
        width = self.state + self.window * FEATURES
        rows = len(market.open) - self.window + 1
        floats = market.features[LEAD - self.state :]
        self._view = np.lib.stride_tricks.as_strided(
            floats, (rows, width), (FEATURES * floats.itemsize, floats.itemsize), writeable=False
        )
        prices = (market.open, market.close, market.volume)
        self._open, self._close, self._volume = (x[self.window - 1 :] for x in prices)
        # Values of the accounts after every step, the oldest overwritten.
        self._past = np.ones((int(self._steps.max()) + 1, self.n))

    def seed(self, generators: list[np.random.Generator]) -> None:
        """The source of each account's episodes."""
        self._generators = generators
        self._episodes[:] = 0
        self._draws = np.stack([g.random((_AHEAD, 2)) for g in generators])

    def begin(
        self,
        envs: Int64[ndarray, " some"],
        path: Int64[ndarray, " some"] | None = None,
        bar: Int64[ndarray, " some"] | None = None,
    ) -> None:
        """New episodes, drawn unless ``path`` and the ``bar`` of the first decision are given."""
        if path is None:
            count = self._episodes[envs]
            for i in envs[(count > 0) & (count % _AHEAD == 0)]:
                self._draws[i] = self._generators[i].random((_AHEAD, 2))
            which, when = self._draws[envs, count % _AHEAD].T
            self._episodes[envs] += 1
            path = np.searchsorted(self._chances, which, side="right")
            bar = self._head[path] - 1 + (when * self._spare[path]).astype(np.int64)
        self.path[envs] = path
        row = self.market.first[path] + bar - (self.window - 1)
        self.row[envs] = self._start[envs] = row
        self._last[envs] = row + self._steps[path]
        for array, value in (
            *((self.cash, 1.0), (self.equity, 1.0), (self.units, 0.0), (self.worth, 0.0)),
            *((self.costs, 0.0), (self._rewards, 0.0), (self._turnover, 0.0)),
        ):
            array[envs] = value
        self._since[envs], self._begun[envs] = self._step, time.perf_counter()
        self._past[self._step % len(self._past), envs] = 1.0
        self.reward.begin(envs, self.n, self.market.scale[row + self.window - 1])

    def begin_again(self, envs: Int64[ndarray, " some"]) -> None:
        """The episodes of some accounts from their first decision, nothing drawn."""
        path = self.path[envs]
        self.begin(envs, path, self._start[envs] - self.market.first[path] + self.window - 1)

    def chosen(self, options: Mapping[str, Any] | None) -> dict[str, Int64[ndarray, " envs"]]:
        """What ``begin`` takes for all accounts: ``path`` and ``bar`` of the options.

        Raises:
            UserError: an unknown option, or an episode that the market does not hold.
        """
        if not options:
            return {}
        if not set(options) <= {"path", "bar"} or "path" not in options:
            raise UserError(f"reset options {sorted(options)} must be path, or path and bar")
        path = np.broadcast_to(np.asarray(options["path"], dtype=np.int64), self.n)
        if not ((path >= 0) & (path < self.market.n_paths)).all():
            raise UserError(f"path={options['path']} must be from 0 to {self.market.n_paths - 1}")
        begin = self._head[path] - 1
        bar = np.broadcast_to(np.asarray(options.get("bar", begin), dtype=np.int64), self.n)
        if not ((bar >= begin) & (bar < begin + self._spare[path])).all():
            raise UserError(
                f"bar={options['bar']} must be from {begin.max()} to "
                f"{(begin + self._spare[path]).min() - 1}, so that window and horizon fit"
            )
        return {"path": path, "bar": bar}

    @property
    def seeded(self) -> bool:
        """Whether episodes can be drawn."""
        return bool(self._generators)

    def step(
        self, actions: ndarray
    ) -> tuple[Float64[ndarray, " envs"], Bool[ndarray, " envs"], Bool[ndarray, " envs"]]:
        """Fills the orders at the next open, goes to its close: rewards, terminated, truncated.

        Raises:
            UserError: actions of another shape, that are no numbers, or no choice.
        """
        weight = self._weights(actions)
        broker, cash, units = self.broker, self.cash, self.units
        self.row += 1
        row = self.row
        price, volume = self._open.take(row), self._volume.take(row)
        order = broker.order(weight, cash, units, price, volume)
        size = np.abs(order)
        traded = size * price
        cost = broker.cost(traded, size, volume)
        units += order
        cash -= order * price
        if broker.borrow:
            cost += broker.interest(cash, units * price, 1 / self.market.bars_per_year)
        cash -= cost
        self.costs += cost
        self.worth = units * self._close.take(row)
        before, self.equity = self.equity, cash + self.worth
        terminated = self.equity <= broker.ruin
        if terminated.any():
            np.maximum(self.equity, broker.ruin, out=self.equity)
        rewards = self.reward(self.equity, before)
        self._rewards += rewards
        traded /= before
        self._turnover += traded
        self._step += 1
        self._past[self._step % len(self._past)] = self.equity
        return rewards, terminated, (row == self._last) & ~terminated

    def observe(self, envs: ndarray | None = None) -> Float32[ndarray, "some numbers"]:
        """Fresh observations, of all or some accounts."""
        row, worth, equity, cash = self.row, self.worth, self.equity, self.cash
        if envs is not None:
            row, worth, equity, cash = row[envs], worth[envs], equity[envs], cash[envs]
        seen = self._view[row]
        np.clip(worth / equity, -LIMIT, LIMIT, out=seen[:, 0], casting="same_kind")
        np.clip(cash, -LIMIT, LIMIT, out=seen[:, 1], casting="same_kind")
        if self._privileged:
            assert self.market.regime is not None
            path = self.path if envs is None else self.path[envs]
            seen[:, STATE : self.state] = np.clip(self.market.regime[path], -LIMIT, LIMIT)
        return seen

    def statistics(self, envs: Int64[ndarray, " some"]) -> dict[str, ndarray]:
        """Of episodes that end now, by name, in the order of ``envs``."""
        length = self._step - self._since[envs]
        ages = np.arange(int(length.max()), -1, -1)
        values = self._past[(self._step - ages)[:, None] % len(self._past), envs]
        return {
            "r": self._rewards[envs],
            "l": length,
            "t": np.round(time.perf_counter() - self._begun[envs], 6),
            **episode_statistics(values, length, self.market.bars_per_year),
            "turnover": self._turnover[envs],
            "costs": self.costs[envs],
            "path": self.path[envs],
            "scenario": self.market.scenario[self.path[envs]],
        }

    def _weights(self, actions: ndarray) -> Float64[ndarray, " envs"]:
        actions = np.asarray(actions)
        if actions.size != self.n:
            raise UserError(f"{actions.size} actions for {self.n} environments; give one each")
        actions = actions.reshape(self.n)
        if self._choices is None:
            weight = np.clip(actions, self._low, self._high, dtype=np.float64)
            if np.isnan(weight.min()):
                raise UserError("an action is no number; give weights that are finite")
            return weight
        if actions.dtype.kind not in "iu" or actions.min() < 0:
            raise UserError(f"an action is no index from 0 to {len(self._choices) - 1}")
        try:
            return self._choices.take(actions)
        except IndexError as error:
            raise UserError(f"an action is above {len(self._choices) - 1}") from error


def _action_space(
    actions: str | Sequence[float], weights: tuple[float, float]
) -> tuple[spaces.Space, ndarray | None, float, float]:
    low, high = (float(w) for w in weights)
    if not -LIMIT <= low < high <= LIMIT or not low <= 0 <= high:
        raise UserError(
            f"weights=({low}, {high}) must be a least and a largest within [-{LIMIT}, {LIMIT}] "
            "with 0 among them"
        )
    if isinstance(actions, str):
        if actions != "continuous":
            raise UserError(f"actions={actions!r} must be 'continuous' or a list of weights")
        return spaces.Box(low, high, (1,), np.float32), None, low, high
    choices = np.array(actions, dtype=np.float64)
    if choices.ndim != 1 or len(choices) < 2 or not ((choices >= low) & (choices <= high)).all():
        raise UserError(f"actions={actions} must be two or more weights within [{low}, {high}]")
    return spaces.Discrete(len(choices)), choices, low, high
