"""What holds of every account, whatever trades it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from parfait.envs import Broker, DifferentialSharpe, Market, TradingEnv, TradingVectorEnv
from tests.envs.conftest import random_bars
from tests.fuzzing import examples

FREE = {"commission_bps": 0, "half_spread_bps": 0, "slippage_bps": 0, "borrow": 0}
WINDOW = 8


def market(bars: ndarray) -> Market:
    return Market.of(bars, bars_per_year=252)


def run(env: TradingVectorEnv, actions: list[ndarray]) -> list[tuple]:
    return [env.step(action) for action in actions]


def test_buy_and_hold_is_the_ratio_of_prices(bars: ndarray) -> None:
    n = len(bars)
    env = TradingVectorEnv(market(bars), n, window=WINDOW, broker=FREE)
    env.reset(options={"path": np.arange(n)})
    steps = bars.shape[1] - WINDOW
    for t in range(steps - 1):
        env.step(np.ones((n, 1)))
        ratio = bars[:, WINDOW + t, 3] / bars[:, WINDOW, 0]
        np.testing.assert_allclose(env.core.equity, ratio, rtol=1e-6)
    told = env.step(np.ones((n, 1)))[4]["episode"]
    ratio = bars[:, -1, 3] / bars[:, WINDOW, 0]
    np.testing.assert_allclose(told["return"], ratio - 1, rtol=1e-6)
    np.testing.assert_allclose(told["r"], np.log(ratio), atol=1e-9)
    np.testing.assert_allclose(told["turnover"], 1)


def test_a_flat_account_stays_what_it_is(bars: ndarray) -> None:
    env = TradingEnv(market(bars), window=WINDOW)
    env.reset(seed=1)
    over, told = False, {}
    while not over:
        _, reward, terminated, over, told = env.step(np.zeros(1))
        assert reward == 0
        assert not terminated
    assert env.core.equity[0] == 1
    quiet = ("r", "return", "sharpe", "sortino", "max_drawdown", "turnover", "costs")
    assert all(told["episode"][name] == 0 for name in quiet)


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    volatility=st.floats(0.001, 0.1),
    commission=st.floats(0, 100),
    slippage=st.floats(0, 1000),
    borrow=st.floats(0, 1),
    capital=st.floats(1, 1e9),
    share=st.sampled_from([0.01, 1.0, float("inf")]),
    position=st.sampled_from([0.5, float("inf")]),
)
def test_money_is_conserved_to_the_last_cost(
    seed: int,
    volatility: float,
    commission: float,
    slippage: float,
    borrow: float,
    capital: float,
    share: float,
    position: float,
) -> None:
    """A ledger in units and money, kept apart, ends with the account that the core tells."""
    bars = random_bars(1, 40, seed, volatility)
    broker = Broker(
        commission_bps=commission,
        slippage_bps=slippage,
        borrow=borrow,
        capital=capital,
        max_volume_share=share,
        max_position=position,
    )
    env = TradingEnv(market(bars), window=WINDOW, broker=broker, weights=(-2, 2))
    env.reset(seed=0)
    rng = np.random.default_rng(seed)
    cash, units, spent, gained = capital, 0.0, 0.0, 0.0
    for t in range(WINDOW, 40):
        open_, close, volume = bars[0, t, [0, 3, 4]]
        weight = float(np.float32(rng.uniform(-2, 2)))
        wanted = weight * max(cash + units * open_, 0.0)
        wanted = min(max(wanted, -position * capital), position * capital) / open_
        order = min(max(wanted - units, -share * volume), share * volume)
        gained += units * (open_ - bars[0, t - 1, 3])
        units += order
        gained += units * (close - open_)
        rate = (commission + 1) / 1e4 + slippage / 1e4 * min(abs(order) / volume, 1)
        cash -= order * open_
        paid = abs(order) * open_ * rate + borrow / 252 * max(-cash, -units * open_, 0)
        cash -= paid
        spent += paid
        _, _, terminated, _, _ = env.step(np.array([weight]))
        if terminated:
            assert cash + units * close <= broker.ruin * capital * (1 + 1e-9)
            return
        assert env.core.equity[0] * capital == pytest.approx(cash + units * close, rel=1e-9)
        assert env.core.equity[0] * capital + spent == pytest.approx(capital + gained, rel=1e-9)


@pytest.mark.parametrize("window", [1, 8])
@pytest.mark.parametrize("reward", ["log_return", "differential_sharpe", "drawdown_penalised"])
def test_what_comes_later_changes_nothing_before(bars: ndarray, window: int, reward: str) -> None:
    steps = 30
    later = bars.copy()
    later[:, window + steps :] = random_bars(seed=5, volatility=0.2)[:, window + steps :]
    rng = np.random.default_rng(0)
    actions = [rng.uniform(-1, 1, (len(bars), 1)) for _ in range(steps)]
    rollouts = []
    for each in (bars, later):
        env = TradingVectorEnv(market(each), len(each), window=window, reward=reward)
        first, _ = env.reset(options={"path": np.arange(len(each))})
        rollouts.append([(first, 0, 0, 0, {}), *run(env, actions)])
    for one, other in zip(*rollouts, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(env.step(actions[0])[1], rollouts[0][-1][1])


def test_an_observation_ends_with_the_bar_that_just_closed(bars: ndarray) -> None:
    """The last bar's features move with that bar, and only then: none is late or early."""
    other = bars.copy()
    other[:, 20, 1] *= 1.05
    seen = []
    for each in (bars, other):
        env = TradingVectorEnv(market(each), 1, window=WINDOW)
        first, _ = env.reset(options={"path": 2})
        seen.append([first, *(row[0] for row in run(env, [np.zeros((1, 1))] * 20))])
    changed = [not np.array_equal(a, b) for a, b in zip(*seen, strict=True)]
    assert changed.index(True) == 20 - (WINDOW - 1)
    at = changed.index(True)
    assert np.array_equal(seen[0][at][:, :-5], seen[1][at][:, :-5])


def test_who_knows_the_next_returns_gets_rich(bars: ndarray) -> None:
    open_, close = bars[..., 0], bars[..., 3]
    env = TradingVectorEnv(market(bars), len(bars), window=WINDOW)
    env.reset(options={"path": np.arange(len(bars))})
    for t in range(WINDOW, bars.shape[1]):
        # Held from this open to the next one, or to the last close.
        end = open_[:, t + 1] if t + 1 < bars.shape[1] else close[:, t]
        told = env.step(np.sign(end - open_[:, t])[:, None])[4]
    held = close[:, -1] / open_[:, WINDOW] - 1
    assert (told["episode"]["return"] > np.abs(held) + 0.2).all()
    assert (told["episode"]["sharpe"] > 3).all()


def test_the_drawdown_penalised_reward_sums_to_its_formula(bars: ndarray) -> None:
    reward = {"name": "drawdown_penalised", "penalty": 0.7}
    env = TradingEnv(market(bars), window=WINDOW, reward=reward)
    env.reset(options={"path": 1})
    values, over = [1.0], False
    while not over:
        *_, over, told = env.step(np.ones(1))
        values.append(env.core.equity[0])
    depth = (np.maximum.accumulate(values) / values).max()
    assert told["episode"]["r"] == pytest.approx(np.log(values[-1]) - 0.7 * np.log(depth))
    assert told["episode"]["max_drawdown"] == pytest.approx(1 - 1 / depth)
    r = np.diff(values) / values[:-1]
    assert told["episode"]["sharpe"] == pytest.approx(r.mean() / r.std() * 252**0.5)
    down = np.sqrt((np.minimum(r, 0) ** 2).mean())
    assert told["episode"]["sortino"] == pytest.approx(r.mean() / down * 252**0.5)


def test_the_differential_sharpe_reward_is_the_derivative_of_the_ratio(bars: ndarray) -> None:
    """Moving the averages a little further by a return moves the ratio by the reward."""
    decay = 0.05
    env = TradingEnv(
        market(bars), window=WINDOW, reward={"name": "differential_sharpe", "decay": decay}
    )
    env.reset(options={"path": 3})
    a, b, before = 0.0, float(env.core.market.scale[env.core.row[0]]) ** 2, 1.0
    for _ in range(20):
        reward = env.step(np.ones(1))[1]
        r, before = env.core.equity[0] / before - 1, env.core.equity[0]
        tiny = 1e-6
        near = [(a + k * (r - a)) / np.sqrt(b + k * (r * r - b) - (a + k * (r - a)) ** 2)
                for k in (-tiny, tiny)]  # fmt: skip
        assert reward == pytest.approx((near[1] - near[0]) / (2 * tiny), rel=1e-4, abs=1e-6)
        a, b = a + decay * (r - a), b + decay * (r * r - b)


def test_the_differential_sharpe_reward_stays_a_number_for_an_account_that_does_not_move() -> None:
    """Its variance counts as a hundredth of the market's: what moves after is paid ten-fold."""
    s, one = 0.01, np.ones(1)
    reward = DifferentialSharpe()
    reward.begin(np.array([0]), 1, s * one)
    flat = [reward(one, 0 * one, 0 * one)[0] for _ in range(5_000)]
    assert not any(flat)
    paid = reward(one + 0.3 * s, 0 * one, 0 * one)[0]
    assert paid == pytest.approx(10 * 0.3)
    steady = [reward(one + s, 0 * one, 0 * one)[0] for _ in range(5_000)]
    assert np.isfinite(steady).all()
    assert np.abs(steady).max() < 20


def test_the_bankrupt_stop_and_the_late_are_cut_off() -> None:
    bars = random_bars(1, 40)
    bars[0, 20, :4] *= 3
    bars[0, 21:, :4] *= 3
    env = TradingEnv(market(bars), window=WINDOW, weights=(-1, 1))
    env.reset(seed=0)
    steps = [env.step(-np.ones(1)) for _ in range(20 - WINDOW + 1)]
    assert [s[2] for s in steps] == [False] * (20 - WINDOW) + [True]
    assert not steps[-1][3]
    assert steps[-1][4]["episode"]["return"] == pytest.approx(Broker().ruin - 1)
    assert np.isfinite([s[1] for s in steps]).all()
    env = TradingEnv(market(bars), window=WINDOW, horizon=5)
    env.reset(seed=0)
    assert [env.step(np.zeros(1))[3] for _ in range(5)] == [False] * 4 + [True]
