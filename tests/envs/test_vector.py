"""Many accounts are as many single ones; the same seed is the same rollout."""

import warnings
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from numpy import ndarray

from parfait.envs import Market, TradingEnv, TradingVectorEnv
from parfait.envs.sb3 import TradingVecEnv
from tests.envs.conftest import random_bars

SETTINGS = {"window": 4, "horizon": 9}


@pytest.fixture
def market(bars: ndarray) -> Market:
    return Market.of(bars, bars_per_year=252, weight=[1, 2, 3, 4, 0, 0])


def actions(n: int, steps: int = 40) -> list[ndarray]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-1, 1, (n, 1)).astype(np.float32) for _ in range(steps)]


def test_a_vector_is_as_many_single_environments() -> None:
    """To the last bit, also where some are ruined and the others go on."""
    market = Market.of(random_bars(volatility=0.2), bars_per_year=252)
    n, ruins = 5, 0
    settings = SETTINGS | {"reward": "differential_sharpe", "weights": (-3, 3)}
    settings |= {"broker": {"ruin": 0.5}}
    vector = TradingVectorEnv(market, n, **settings)
    singles = [TradingEnv(market, **settings) for _ in range(n)]
    seen, _ = vector.reset(seed=11)
    for i, env in enumerate(singles):
        np.testing.assert_array_equal(env.reset(seed=11 + i)[0], seen[i])
    for action in actions(n):
        action *= 3
        seen, rewards, terminated, truncated, told = vector.step(action)
        ruins += np.count_nonzero(terminated)
        for i, env in enumerate(singles):
            one, reward, ended, cut, single_told = env.step(action[i])
            assert (reward, ended, cut) == (rewards[i], terminated[i], truncated[i])
            if ended or cut:
                np.testing.assert_array_equal(one, told["final_obs"][i])
                for name, value in single_told["episode"].items():
                    assert name == "t" or value == told["episode"][name][i]
                one, _ = env.reset()
            np.testing.assert_array_equal(one, seen[i])
            assert env.core.equity[0] == vector.core.equity[i]
    assert ruins > 5


def test_more_episodes_than_are_drawn_at_a_time_go_on_alike(market: Market) -> None:
    """Starts are drawn in blocks; the blocks after the first are drawn alike, too."""
    settings = {"window": 4, "horizon": 1}
    vector, single = TradingVectorEnv(market, 2, **settings), TradingEnv(market, **settings)
    vector.reset(seed=0)
    single.reset(seed=1)
    for _ in range(150):
        *_, told = vector.step(np.zeros((2, 1)))
        assert single.step(np.zeros(1))[4]["episode"]["path"] == told["episode"]["path"][1]
        single.reset()


@pytest.mark.parametrize("n", [0, 3])
def test_the_same_seed_is_the_same_rollout(market: Market, n: int) -> None:
    env = TradingVectorEnv(market, n, **SETTINGS) if n else TradingEnv(market, **SETTINGS)
    rollouts = []
    for seed in (7, 7, 8):
        rows = [env.reset(seed=seed)[0]]
        for action in actions(n or 1):
            seen, reward, terminated, truncated, _ = env.step(action if n else action[0])
            rows += [seen, reward]
            if not n and (terminated or truncated):
                rows.append(env.reset()[0])
        rollouts.append(np.concatenate([np.ravel(row) for row in rows]))
    np.testing.assert_array_equal(rollouts[0], rollouts[1])
    assert not np.array_equal(rollouts[0], rollouts[2])


def test_paths_come_as_often_as_they_weigh(market: Market) -> None:
    env = TradingVectorEnv(market, 4000, **SETTINGS)
    env.reset(seed=0)
    shares = np.bincount(env.core.path, minlength=6) / 4000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4, 0, 0], atol=0.03)
    starts = env.core.row - market.first[env.core.path]
    assert set(starts) == set(range(3, 60 - 9))


def test_the_next_step_mode_is_the_same_but_for_a_step_that_only_begins(market: Market) -> None:
    n = 3
    same = TradingVectorEnv(market, n, **SETTINGS)
    later = TradingVectorEnv(market, n, autoreset="next_step", **SETTINGS)
    assert same.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert later.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    same.reset(seed=2)
    later.reset(seed=2)
    for action in actions(n):
        one = same.step(action)
        other = later.step(action)
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[3], other[3])
        if one[3].any():
            np.testing.assert_array_equal(np.stack(one[4]["final_obs"]), other[0])
            begun = later.step(np.ones((n, 1)))
            np.testing.assert_array_equal(one[0], begun[0])
            assert not begun[1].any()
            assert not begun[3].any()


def test_observations_are_copies(market: Market) -> None:
    env = TradingVectorEnv(market, 3, **SETTINGS)
    kept = [env.reset(seed=0)[0]]
    for action in actions(3, 20):
        seen, _, _, _, told = env.step(action)
        kept += [seen, *(row for row in told.get("final_obs", ()) if row is not None)]
    before = [row.copy() for row in kept]
    for row in kept[:-1]:
        row[:] = 5
    np.testing.assert_array_equal(kept[-1], before[-1])
    fresh = TradingVectorEnv(market, 3, **SETTINGS)
    np.testing.assert_array_equal(fresh.reset(seed=0)[0], before[0])
    assert not any(np.shares_memory(a, b) for a, b in pairwise(kept))


def test_choices_are_the_weights_they_name(market: Market) -> None:
    chosen = TradingVectorEnv(market, 3, actions=[-1, 0, 0.5], **SETTINGS)
    named = TradingVectorEnv(market, 3, **SETTINGS)
    chosen.reset(seed=0)
    named.reset(seed=0)
    one = chosen.step(np.array([0, 1, 2]))
    other = named.step(np.array([[-1], [0], [0.5]]))
    np.testing.assert_array_equal(one[1], other[1])
    assert chosen.single_action_space == gymnasium.spaces.Discrete(3)


def test_both_checkers_pass_without_a_warning() -> None:
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    for settings in ({}, {"actions": [-1, 0, 1], "reward": "drawdown_penalised"}):
        env = gymnasium.make(
            "parfait/Trading-v0", horizon=30, render_mode="rgb_array", **settings
        ).unwrapped
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env)
            check_for_sb3(env)


def test_make_vec_gives_the_vector_and_singles_the_rest(market: Market) -> None:
    made = gymnasium.make_vec("parfait/Trading-v0", num_envs=2, source=market, **SETTINGS)
    assert isinstance(made, TradingVectorEnv)
    assert made.core.market is market
    sync = gymnasium.make_vec(
        "parfait/Trading-v0", 2, vectorization_mode="sync", source=market, **SETTINGS
    )
    one, other = made.reset(seed=4)[0], sync.reset(seed=4)[0]
    np.testing.assert_array_equal(one, other)


def test_a_picture_shows_the_episode(market: Market) -> None:
    env = TradingVectorEnv(market, 2, render_mode="rgb_array", window=4)
    env.reset(seed=0)
    for action in actions(2, 10):
        env.step(action)
    first, second = env.render()
    assert first.shape == (480, 640, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    equity, position = env.core.trail(1)
    assert len(equity) == 11
    assert equity[-1] == env.core.equity[1]
    assert position[-1] == env.core.position[1]


@pytest.mark.slow
def test_stable_baselines3_learns_in_it() -> None:
    """On a price that only rises its agent comes to hold it."""
    from stable_baselines3 import PPO

    rising = random_bars(4, 40, volatility=0.002) * np.exp(0.02 * np.arange(40))[:, None]
    source = Market.of(rising, bars_per_year=252)
    env = TradingVecEnv(source, 32, window=4, actions=[-1, 0, 1])
    env.seed(0)
    first = env.reset()
    np.testing.assert_array_equal(first[0], TradingEnv(source, window=4).reset(seed=0)[0])
    options = {"n_steps": 36, "batch_size": 288, "learning_rate": 3e-3, "gamma": 0.5}
    agent = PPO("MlpPolicy", env, seed=0, device="cpu", **options).learn(6_000)
    assert agent.ep_info_buffer is not None
    assert np.mean([told["return"] for told in agent.ep_info_buffer]) > 0.2
    chosen, _ = agent.predict(env.reset(), deterministic=True)
    assert (chosen == 2).all()


def test_stable_baselines3_is_told_of_ends(market: Market) -> None:
    env = TradingVecEnv(market, 2, **SETTINGS)
    env.seed(5)
    env.reset()
    plain = TradingVectorEnv(market, 2, **SETTINGS)
    plain.reset(seed=5)
    for action in actions(2, 9):
        seen, _, ended, infos = env.step(action)
        expected = plain.step(action)
    assert ended.all()
    np.testing.assert_array_equal(seen, expected[0])
    for i in range(2):
        assert infos[i]["TimeLimit.truncated"]
        np.testing.assert_array_equal(infos[i]["terminal_observation"], expected[4]["final_obs"][i])
        assert infos[i]["episode"]["r"] == expected[4]["episode"]["r"][i]
    env.set_options([{"path": 3}, {"path": 1}])
    env.reset()
    assert env.env.core.path.tolist() == [3, 1]
