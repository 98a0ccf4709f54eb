"""The one core of all environments: many accounts that step through a market at once."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray

from parfait.envs.broker import Broker
from parfait.envs.episodes import Episodes, Some
from parfait.envs.market import FEATURES, LIMIT, PAD, Market
from parfait.envs.rewards import LogReturn, make_reward
from parfait.envs.scenarios import Frame
from parfait.envs.tally import Tally
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError

STATE = 2  # numbers of an observation before the regime and the window: position and cash
_TAPE = PAD  # bars whose prices are fetched at a time


class Core:
    """Accounts 0 to n - 1, each in an episode of its own.

    An observation at the close of bar t is (2 [+ 11] + 5 window,) float32: the position's share of
    the account, the cash over the capital at the start, by option the regime, and the features of
    the bars t - window + 1 to t, the oldest first, all within ``LIMIT``. The order that follows
    fills at the open of bar t + 1; the account is then valued at the close of t + 1.

    Args:
        source: the paths: ``LiveScenarios``, or what ``load_market`` takes.
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
        self.n, self.window = n, window
        self.broker = broker if isinstance(broker, Broker) else Broker.read(broker or {})
        self.reward = make_reward(reward)
        self.action_space, self._choices, self._low, self._high = action_space(actions, weights)
        self.state = STATE + (len(FIELD_NAMES) if privileged else 0)
        self.observation_space = spaces.Box(
            -LIMIT, LIMIT, (self.state + window * FEATURES,), np.float32
        )
        self._privileged = privileged
        # Position and cash are shares of the account, which is in units of the capital.
        self.position, self.cash, self.equity = np.zeros(n), np.ones(n), np.ones(n)
        self._account = np.zeros((n, STATE), dtype=np.float32)
        self.tally = Tally(n)
        self.row, self.path, self._start, self._last = np.zeros((4, n), dtype=np.int64)
        # The bars of many paths lie far apart in memory: those that come next are fetched together.
        self._phase, self._tape = 0, np.ones((_TAPE, 3, n))
        self._trail: deque[tuple[ndarray, ndarray]] | None = None
        self.episodes = Episodes(source, n, window, horizon, bars_per_year, history)
        if self.episodes.has_market:
            self._look()

    def _look(self) -> None:
        """Views of the market as it is now."""
        market = self.market
        if self._privileged and market.regime is None:
            raise UserError("privileged=true needs a source that knows its regimes")
        # An observation begins with other numbers, for which a piece has room before the window.
        width = self.state + self.window * FEATURES
        self._windows = _pieces(market.features, PAD * FEATURES - self.state, width)
        self._coming = _pieces(market.prices, 0, _TAPE * 3)

    @property
    def market(self) -> Market:
        """The paths; those of live scenarios are there from the first reset on, and change."""
        return self.episodes.market

    def seed(self, generators: list[np.random.Generator]) -> None:
        """The source of each account's episodes."""
        self.episodes.seed(generators)
        self._look()

    def begin(self, envs: Some, options: Mapping[str, Any] | None = None) -> None:
        """New episodes, drawn, or for all accounts chosen by the options of a reset."""
        if options:
            self._place(envs, *self.episodes.chosen(options))
            return
        gone = self.episodes.renew(envs, self.path)
        if gone is not None:
            paths, rows = gone
            self.path -= paths
            for row in (self.row, self._start, self._last):
                row -= rows
            self._look()
        self._place(envs, *self.episodes.draw(envs))

    def begin_again(self, envs: Some) -> None:
        """The episodes of some accounts from their first decision, nothing drawn."""
        path = self.path[envs]
        self._place(envs, path, self._start[envs] - self.market.first[path])

    def _place(self, envs: Some, path: Some, bar: Some) -> None:
        row = self.market.first[path] + bar
        self.path[envs] = path
        self.row[envs] = self._start[envs] = row
        self._last[envs] = row + self.episodes.steps[path]
        self.position[envs], self.cash[envs], self.equity[envs] = 0.0, 1.0, 1.0
        self._account[envs] = 0.0, 1.0
        self._tape[:, :, envs] = self._ahead(row)
        self.tally.begin(envs)
        self.reward.begin(envs, self.n, self.market.scale[row])

    def step(
        self, actions: ndarray
    ) -> tuple[Float64[ndarray, " envs"], Bool[ndarray, " envs"], Bool[ndarray, " envs"]]:
        """Fills the orders at the next open, goes to its close: rewards, terminated, truncated.

        Raises:
            UserError: actions of another shape, that are no numbers, or no choice.
        """
        weight = self._weights(actions)
        broker, before, tally = self.broker, self.equity, self.tally
        gap, body, value = self._tape[self._phase]
        held = self.position * gap
        order = broker.order(weight, held, self.cash, before, value)
        held += order
        cash = self.cash - order
        traded = np.abs(order, out=order)
        cost = broker.cost(traded, before, value)
        if broker.borrow:
            cost += broker.interest(cash, held, 1 / self.market.bars_per_year)
        cash -= cost
        held *= body
        growth = cash + held
        equity = before * growth
        terminated = equity <= broker.ruin
        bankrupt = np.count_nonzero(terminated)
        if bankrupt:
            np.maximum(equity, broker.ruin, out=equity)
            growth[terminated] = equity[terminated] / before[terminated]
        np.divide(held, growth, out=self.position)
        np.divide(cash, growth, out=self.cash)
        self.equity, deepest = equity, tally.drawdown
        if self._trail is not None:
            self._trail.append((equity, self.position.copy()))
        tally.bar(equity, growth, traded, cost)
        rewards = self.reward(growth, deepest, tally.drawdown)
        tally.rewards += rewards
        account = self._account
        account[:, 0] = self.position
        np.multiply(cash, before, out=account[:, 1], casting="same_kind")
        np.minimum(account, LIMIT, out=account)
        np.maximum(account, -LIMIT, out=account)
        self.row += 1
        self._phase += 1
        if self._phase == _TAPE:
            self._phase = 0
            self._tape[:] = self._ahead(self.row)
        truncated = self.row == self._last
        if bankrupt:
            truncated &= ~terminated
        return rewards, terminated, truncated

    def _ahead(self, row: Some) -> Float64[ndarray, "tape 3 some"]:
        """Prices of the bars after ``row``, as a tape that is at the present phase."""
        pieces = self._coming[row + (PAD + 1 - self._phase)]
        return pieces.view(np.float64).reshape(len(row), _TAPE, 3).transpose(1, 2, 0)

    def observe(self, envs: ndarray | slice = slice(None)) -> Float32[ndarray, "some numbers"]:
        """Fresh observations, of all or some accounts."""
        pieces = self._windows[self.row[envs] - self.window + 1]
        seen = pieces.view(np.float32).reshape(len(pieces), -1)
        seen[:, :STATE] = self._account[envs]
        if self._privileged:
            assert self.market.regime is not None
            seen[:, STATE : self.state] = self.market.regime[self.path[envs]]
        return seen

    def record(self) -> None:
        """From now on keeps what ``trail`` needs: 16 bytes per account and bar of an episode."""
        self._trail = deque(maxlen=int(self.episodes.steps.max()))

    def began_at(self, i: int) -> tuple[int, int]:
        """Rows of the market: of the first decision of account i, and of its present bar."""
        return int(self._start[i]), int(self.row[i])

    def trail(self, i: int) -> tuple[Float64[ndarray, " bars"], Float64[ndarray, " bars"]]:
        """Account and position of account i at every close since its first decision."""
        first, now = self.began_at(i)
        kept = list(self._trail or ())[-(now - first) :] if now > first else []
        equity = [1.0, *(float(e[i]) for e, _ in kept)]
        return np.array(equity), np.array([0.0, *(float(p[i]) for _, p in kept)])

    def told(self, envs: Some) -> dict[str, ndarray]:
        """Of episodes that end now: what ``Tally.told`` tells, their ``path`` and ``scenario``."""
        path = self.path[envs]
        return {
            **self.tally.told(envs, self.equity, self.market.bars_per_year),
            "path": path,
            "scenario": self.market.scenario[path],
        }

    def _weights(self, actions: ndarray) -> Float64[ndarray, " envs"]:
        actions = np.asarray(actions)
        if actions.size != self.n:
            raise UserError(f"{actions.size} actions for {self.n} environments; give one each")
        actions = actions.reshape(self.n)
        if self._choices is None:
            weight = np.minimum(actions, self._high, dtype=np.float64)
            np.maximum(weight, self._low, out=weight)
            if np.isnan(weight @ weight):
                raise UserError("an action is no number; give weights that are finite")
            return weight
        if actions.dtype.kind not in "iu" or actions.min() < 0:
            raise UserError(f"an action is no index from 0 to {len(self._choices) - 1}")
        try:
            return self._choices.take(actions)
        except IndexError as error:
            raise UserError(f"an action is above {len(self._choices) - 1}") from error


def _pieces(rows: ndarray, begin: int, length: int) -> ndarray:
    """A read-only view of numbers in rows, to be copied piece by piece: piece i has ``length``
    numbers from number ``begin`` on, counted from row i.
    """
    size, step = rows.itemsize, rows.strides[0]
    count = (rows.nbytes - (begin + length) * size) // step + 1
    return np.ndarray(
        (count,), np.dtype((np.void, length * size)), rows.data, begin * size, (step,)
    )


def action_space(
    actions: str | Sequence[float], weights: tuple[float, float]
) -> tuple[spaces.Space, ndarray | None, float, float]:
    """The space, the weights to choose from (``None`` for any), the least and the largest weight.

    Args:
        actions, weights: of ``Core``.

    Raises:
        UserError: weights or actions that an account cannot take.
    """
    try:
        low, high = (float(w) for w in weights)
    except (TypeError, ValueError) as error:
        raise UserError(f"weights={weights} must be two numbers: a least and a largest") from error
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
