"""Where paths come from, and what is said of what cannot be used."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from numpy import ndarray

from parfait.data import embedded_bars
from parfait.envs import (
    Broker,
    DifferentialSharpe,
    DrawdownPenalised,
    LiveScenarios,
    Market,
    TradingEnv,
    TradingVectorEnv,
)
from parfait.envs.market import PAD, bar_features
from parfait.envs.sb3 import TradingVecEnv
from parfait.envs.sources import load_market
from parfait.pipeline import Pipeline
from parfait.simulation import Simulation
from parfait.utils.errors import UserError
from tests.envs.conftest import random_bars

SENTENCE = "A calm week, or a crash"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load()


@pytest.fixture(scope="module")
def simulation(pipeline: Pipeline) -> Simulation:
    made = pipeline.run(SENTENCE, n_paths=6, horizon=5, seed=1)
    assert isinstance(made, Simulation)
    return made


def same(one: Market, other: Market) -> bool:
    names = ("prices", "features", "close", "first", "past", "scenario")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_a_run_folder_holds_the_market_of_its_simulation(
    simulation: Simulation, tmp_path: Path
) -> None:
    simulation.save(tmp_path)
    found, made = load_market(tmp_path, window=8), load_market(simulation, window=8)
    assert same(found, made)
    assert found.bars_per_year == made.bars_per_year
    assert found.scenarios == tuple(c.name for c in simulation.resolved.components)
    assert (found.past == 8).all()
    # Of the folder only the centre of a scenario is known, of the simulation what was drawn.
    centre = simulation.resolved.components[0].regime.to_unconstrained().nan_to_num().numpy()
    np.testing.assert_allclose(found.regime[0], centre, rtol=1e-5)
    drawn = simulation.regime.to_unconstrained().nan_to_num().numpy()
    np.testing.assert_allclose(made.regime, drawn.reshape(-1, 6, 11)[0], rtol=1e-5)


def test_the_first_decision_is_at_the_end_of_the_history(simulation: Simulation) -> None:
    env = TradingEnv(simulation, window=8, broker=dict.fromkeys(("borrow", "slippage_bps"), 0.0))
    env.reset(options={"path": 3})
    assert env.core.market.close[env.core.row[0]] == simulation.spot
    steps = [env.step(np.ones(1)) for _ in range(5)]
    assert steps[-1][3]
    first = simulation.bars.filter(pl.col("path") == 3).row(0, named=True)
    last = simulation.column("close")[3, -1].item()
    expected = last / first["open"] * (1 - 2e-4)
    assert env.core.equity[0] == pytest.approx(expected, rel=2e-4)


def test_a_history_that_does_not_lead_to_the_paths_is_refused(
    simulation: Simulation, tmp_path: Path
) -> None:
    simulation.save(tmp_path)
    other = embedded_bars()["NASDAQ"]
    with pytest.raises(UserError, match="does not end at"):
        load_market(tmp_path, history=other)
    (tmp_path / "scenarios.json").unlink()
    with pytest.raises(UserError, match="no folder of a finished simulate run"):
        load_market(tmp_path)


def test_only_the_privileged_see_the_regime(simulation: Simulation) -> None:
    env = TradingEnv(simulation, window=8, privileged=True)
    seen, _ = env.reset(options={"path": 2})
    plain, _ = TradingEnv(simulation, window=8).reset(options={"path": 2})
    np.testing.assert_allclose(seen[2:13], env.core.market.regime[2])
    np.testing.assert_array_equal(np.delete(seen, np.s_[2:13]), plain)
    market = Market.of(random_bars(), bars_per_year=252)
    with pytest.raises(UserError, match="privileged"):
        TradingEnv(market, privileged=True)


def test_a_frame_an_array_and_a_mapped_file_are_the_same_paths(
    simulation: Simulation, tmp_path: Path
) -> None:
    frame = simulation.bars
    columns = ["open", "high", "low", "close", "volume"]
    array = frame.select(columns).to_numpy().reshape(6, 5, 5)
    np.save(tmp_path / "paths.npy", array)
    frame.write_parquet(tmp_path / "table.parquet")
    made = load_market(array, bars_per_year=252)
    assert same(made, load_market(tmp_path / "paths.npy", bars_per_year=252))
    framed = load_market(frame, bars_per_year=252)
    assert np.array_equal(framed.prices, made.prices)
    assert framed.scenario.tolist() == simulation.scenario_of_path
    assert same(framed, load_market(tmp_path / "table.parquet", bars_per_year=252))


def test_a_basket_is_the_paths_of_every_symbol(pipeline: Pipeline, tmp_path: Path) -> None:
    histories = {name: frame.tail(60) for name, frame in embedded_bars().items()}
    pipeline.run(SENTENCE, histories, n_paths=3, horizon=4).save(tmp_path)
    market = load_market(tmp_path, window=4, history=_stacked(histories))
    assert market.n_paths == 6
    ends = market.close[market.first[:-1] + 3]
    np.testing.assert_array_equal(ends, np.repeat([f["close"][-1] for f in histories.values()], 3))


def _stacked(frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(f.with_columns(pl.lit(name).alias("symbol")) for name, f in frames.items())


def test_histories_are_one_path_per_symbol() -> None:
    market = load_market(_stacked(embedded_bars()))
    assert market.scenarios == ("SP500", "NASDAQ")
    assert np.diff(market.first).tolist() == [5031, 5031]
    assert market.bars_per_year == pytest.approx(252, abs=2)
    env = TradingVectorEnv(market, 64, horizon=20)
    env.reset(seed=0)
    assert set(env.core.path) == {0, 1}
    assert len(set(env.core.row)) > 60


def test_features_are_those_of_their_formula(bars: ndarray) -> None:
    made, scale = bar_features(bars)
    o, h, low, c, v = bars[2, 9]
    before = bars[2, :, 3]
    weight = 0.5 ** (np.arange(9, -1, -1) / 20)
    previous = np.concatenate([[bars[2, 0, 0]], before[:9]])
    tops = np.maximum(bars[2, :10, 1], previous)
    ranges = np.log(tops / np.minimum(bars[2, :10, 2], previous)) ** 2
    s = np.sqrt(weight @ ranges / weight.sum() / (4 * np.log(2)))
    m = weight @ bars[2, :10, 4] / weight.sum()
    expected = [
        *(np.log(x) / s for x in (o / before[8], c / o, h / max(o, c), low / min(o, c))),
        np.log(v / m),
    ]
    np.testing.assert_allclose(made[2, 9], expected)
    assert scale[2, 9] == pytest.approx(s)
    market = Market.of(bars, bars_per_year=252)
    np.testing.assert_allclose(market.features[PAD + 2 * 60 + 9], expected, rtol=1e-6)


def test_live_scenarios_are_generated_from_their_sentences(pipeline: Pipeline) -> None:
    sentences = {"A crash": 1, "A rally": 3}
    live = LiveScenarios(pipeline=pipeline, sentences=sentences, paths=2, horizon=3)
    market = live.market(seed=0, generation=0, window=4)
    assert market.scenarios == tuple(sentences)
    assert market.scenario.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(market.weight, [1 / 8, 1 / 8, 3 / 8, 3 / 8])
    assert np.diff(market.first).tolist() == [7] * 4


class RandomScenarios(LiveScenarios):
    """Paths that cost nothing."""

    def market(self, seed: int, generation: int, window: int) -> Market:
        bars = random_bars(4, 3 + window, seed % 1000 + generation)
        return Market.of(bars, bars_per_year=252, past=window, scenarios=self.sentences)


def test_live_scenarios_are_new_every_so_many_episodes() -> None:
    live = RandomScenarios(pipeline=cast(Pipeline, None), sentences=["one"], every=12, horizon=3)
    free = dict.fromkeys(("borrow", "slippage_bps", "commission_bps", "half_spread_bps"), 0)
    rollouts = []
    for seed in (1, 1, 2):
        env = TradingVectorEnv(live, 4, window=4, broker=free)
        env.reset(seed=seed)
        returns = []
        for step in range(60):
            if step == 1:  # so that accounts are on paths of two generations at a time
                env.core.begin(np.array([0, 1]))
            market = env.core.market
            told = env.step(np.ones((4, 1)))[4].get("episode")
            assert env.core.market.n_paths <= 3 * 4
            if told is None:
                continue
            done = told["_r"]
            first = market.first[told["path"][done]] + 3
            bought = market.close[first] * market.prices[PAD + first + 1, 0]
            expected = market.close[first + 3] / bought - 1
            np.testing.assert_allclose(told["return"][done], expected, rtol=1e-9)
            returns += expected.tolist()
        assert len(set(returns)) > 5 * 4
        rollouts.append(returns)
    assert rollouts[0] == rollouts[1] != rollouts[2]


def test_live_scenarios_are_generated_for_a_reset_and_not_before() -> None:
    made = []

    class Counted(RandomScenarios):
        def market(self, seed: int, generation: int, window: int) -> Market:
            made.append((seed, generation))
            return super().market(seed, generation, window)

    source = Counted(pipeline=cast(Pipeline, None), sentences=["one"], horizon=3)
    env = TradingVectorEnv(source, 3, window=4, render_mode="rgb_array")
    assert not made
    with pytest.raises(UserError, match="reset"):
        env.step(np.ones((3, 1)))
    env.reset(seed=5)
    assert len(made) == 1
    env.step(np.ones((3, 1)))
    assert len(env.core.trail(2)[0]) == 2
    single = TradingEnv(source, window=4)
    single.reset(seed=5)
    assert made == made[:1] * 2


def test_importing_parfait_registers_nothing_and_envs_do() -> None:
    code = (
        "import sys, parfait\n"
        "print('gymnasium' in sys.modules)\n"
        "import parfait.envs, gymnasium\n"
        "print('parfait/Trading-v0' in gymnasium.registry, 'matplotlib' in sys.modules)\n"
        "sys.modules['stable_baselines3'] = None\n"
        "import parfait.envs.sb3\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["False", "True", "False"]
    assert 'stable-baselines3: pip install "parfait[rl]"' in run.stderr


def test_without_the_extra_one_sentence_says_what_to_install() -> None:
    code = "import sys\nsys.modules['gymnasium'] = None\nimport parfait.envs\n"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'UserError: parfait.envs needs the package gymnasium: pip install "parfait[rl]"' in (
        run.stderr
    )


def a_market(**settings: Any) -> Market:
    return Market.of(random_bars(), **({"bars_per_year": 252} | settings))


def live(sentences: Any) -> LiveScenarios:
    return LiveScenarios(pipeline=cast(Pipeline, None), sentences=sentences)


BAD: list[tuple[str, Callable[[], object]]] = [
    ("broker.borrow='high' must be", lambda: TradingEnv(a_market(), broker={"borrow": "high"})),
    ("window=0", lambda: TradingEnv(a_market(), window=0)),
    ("horizon=0", lambda: TradingEnv(a_market(), horizon=0)),
    ("num_envs=0", lambda: TradingVectorEnv(a_market(), 0)),
    ("shorten window or horizon", lambda: TradingEnv(a_market(), window=8, horizon=53)),
    ("weights", lambda: TradingEnv(a_market(), weights=(0.5, 1))),
    ("weights", lambda: TradingEnv(a_market(), weights=(1, -1))),
    ("weights", lambda: TradingEnv(a_market(), weights=(-1, 0, 1))),
    ("actions", lambda: TradingEnv(a_market(), actions="buy")),
    ("actions", lambda: TradingEnv(a_market(), actions=[-2, 0])),
    ("reward=fame", lambda: TradingEnv(a_market(), reward="fame")),
    ("reward.decay", lambda: DifferentialSharpe(decay=0)),
    ("reward.penalty", lambda: DrawdownPenalised(penalty=-1)),
    ("cannot be made", lambda: TradingEnv(a_market(), reward={"name": "log_return", "x": 1})),
    ("broker.borrow", lambda: Broker(borrow=-1)),
    ("broker.ruin", lambda: Broker(ruin=0)),
    ("broker has no", lambda: TradingEnv(a_market(), broker={"fee": 1})),
    ("render_mode", lambda: TradingEnv(a_market(), render_mode="human")),
    ("autoreset", lambda: TradingVectorEnv(a_market(), autoreset="never")),
    ("autoreset", lambda: TradingVecEnv(a_market(), autoreset="next_step")),
    ("bars_per_year", lambda: load_market(random_bars())),
    ("bars_per_year", lambda: a_market(bars_per_year=0)),
    ("weight", lambda: a_market(weight=[1, 2])),
    ("weight", lambda: a_market(weight=[-1, 1, 1, 1, 1, 1])),
    ("weight", lambda: a_market(weight=["much"] * 6)),
    ("weight must be 2", lambda: Market.join([a_market()] * 2, [0, 0])),
    ("weight must be 2", lambda: Market.join([a_market()] * 2, [-1, 3])),
    ("weight must be 2", lambda: Market.join([a_market()] * 2, [np.nan, 1])),
    ("weight must be 2", lambda: Market.join([a_market()] * 2, [1])),
    ("weight must be 1", lambda: Market.join([a_market()], [0])),
    ("weight must be 0", lambda: Market.join([])),
    ("scenario", lambda: a_market(scenario=[1] * 6)),
    ("no paths", lambda: Market.of(np.zeros((3, 4)), bars_per_year=1)),
    ("bar 0 of path 0", lambda: Market.of(np.zeros((3, 4, 5)), bars_per_year=1)),
    ("source is a int", lambda: load_market(3)),
    ("cannot be read", lambda: load_market("nothing.npy")),
    ("nothing.parquet", lambda: load_market("nothing.parquet")),
    ("sentences", lambda: live("one")),
    ("the weights of sentences", lambda: live({"one": 0, "two": 0})),
    ("the weights of sentences", lambda: live({"one": -1, "two": 3})),
    ("the weights of sentences", lambda: live({"one": float("inf"), "two": 1})),
    ("the weights of sentences", lambda: live({"one": "often", "two": 1})),
    ("reset()", lambda: TradingVectorEnv(a_market()).step(np.zeros(1))),
    ("reset()", lambda: TradingEnv(a_market()).step(np.zeros(1))),
    ("2 seeds for 3", lambda: TradingVectorEnv(a_market(), 3).reset(seed=[1, 2])),
    ("path=9", lambda: TradingEnv(a_market()).reset(options={"path": 9})),
    ("bar=3", lambda: TradingEnv(a_market()).reset(options={"path": 0, "bar": 3})),
    ("reset options", lambda: TradingEnv(a_market()).reset(options={"start": 3})),
]  # fmt: skip


@pytest.mark.parametrize(("said", "wrong"), BAD, ids=[said for said, _ in BAD])
def test_what_cannot_be_used_is_one_sentence(said: str, wrong: Callable[[], object]) -> None:
    with pytest.raises(UserError) as caught:
        wrong()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "action"),
    [
        ({}, [np.nan, 0]),
        ({}, [0]),
        ({"actions": [0, 1]}, [0, 2]),
        ({"actions": [0, 1]}, [-1, 0]),
        ({"actions": [0, 1]}, [0.5, 0]),
    ],
)
def test_actions_that_are_none_are_refused(settings: dict, action: list) -> None:
    env = TradingVectorEnv(a_market(), 2, **settings)
    env.reset(seed=0)
    with pytest.raises(UserError):
        env.step(np.array(action))
    assert (env.core.equity == 1).all()
