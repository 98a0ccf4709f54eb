"""Agents: one that is shown the next return profits, and what is stored is what was trained."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from parfait.agents import PPO, Agent, replay
from parfait.agents.episodes import HeldOut
from parfait.agents.judge import rival_policies, together, trade
from parfait.envs import Market, TradingVectorEnv
from parfait.utils.errors import UserError

YEAR, WINDOW = 252.0, 4
QUICK: dict[str, Any] = {
    "accounts": 64,
    "rollout": 32,
    "batch_size": 512,
    "window": WINDOW,
    "seeds": 1,
}
QUICK |= {"learning_rate": 3e-3, "discount": 0.0, "epochs": 6}


def told_ahead(paths: int, seed: int, bars: int = 48) -> np.ndarray:
    """Random walks whose volume tells the return from the next open to its close."""
    generator = np.random.default_rng(seed)
    moves = generator.normal(0, 0.01, (paths, bars))
    close = 100 * np.exp(np.cumsum(moves, 1))
    opens = close * np.exp(-moves)  # the close before
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    volume = np.exp(14 + 100 * np.roll(moves, -1, axis=1))
    return np.stack([opens, high, low, close, volume], -1)


@pytest.fixture(scope="module")
def agent() -> Agent:
    market = Market.of(told_ahead(256, 1), bars_per_year=YEAR, past=16)
    return PPO(steps=16_000, **QUICK).train(market, 3, {"arm": "told"})


def test_an_agent_that_is_shown_the_next_return_profits(agent: Agent) -> None:
    """After costs, on paths it has not seen: the learner works (FinRL#1248: one could not)."""
    bars = told_ahead(64, 2)
    held = HeldOut(bars, ["A"] * 64, np.zeros((64, 32), dtype="datetime64[us]"))
    settings = PPO(**QUICK).settings
    mine, hold = (
        together(trade(held, policies, YEAR, settings))[0].mean() * YEAR
        for policies in ([agent.act], rival_policies(1, (-1, 1), 0)["hold"])
    )
    assert mine > 0.5  # the best possible is about 252 * 0.01 * 0.8 = 2 a year
    assert mine > hold + 0.5


def test_training_depends_on_its_seed_alone() -> None:
    market = Market.of(told_ahead(16, 1), bars_per_year=YEAR, past=16)
    few: dict[str, Any] = QUICK | {"accounts": 8, "batch_size": 64}
    model = PPO(steps=512, **few)
    first, again, other = (model.train(market, seed, {}).to_bytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_what_is_stored_is_what_was_trained(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "told_0.safetensors"
    file.write_bytes(agent.to_bytes())
    loaded = Agent.load(file)
    seen = np.random.default_rng(0).normal(0, 3, (50, agent.sizes[0])).astype(np.float32)
    np.testing.assert_array_equal(loaded.act(seen), agent.act(seen))
    assert np.abs(agent.act(100 * seen)).max() <= 1
    assert loaded.about["arm"] == "told"
    assert loaded.to_bytes() == agent.to_bytes()


def test_a_replay_is_the_episode_that_the_environment_tells(agent: Agent) -> None:
    settings = PPO(**QUICK).settings
    market = Market.of(told_ahead(8, 5), bars_per_year=YEAR, past=16)
    rows = replay(agent, TradingVectorEnv(market, 6, horizon=20, **settings), seed=4)
    assert rows.group_by("account").len()["len"].to_list() == [20] * 6
    env = TradingVectorEnv(market, 6, horizon=20, **settings)
    seen, told = env.reset(seed=4)
    for _ in range(20):
        seen, *_, told = env.step(agent.act(seen))
    earned = rows.group_by("account", maintain_order=True).sum()["reward"].to_numpy()
    np.testing.assert_allclose(earned, told["episode"]["r"], rtol=1e-9)
    with pytest.raises(UserError, match="window"):
        replay(agent, TradingVectorEnv(market, 6, window=WINDOW + 1))


def test_mistakes_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is no file"):
        Agent.load(tmp_path / "none.safetensors")
    (tmp_path / "torn").write_bytes(b"{}")
    with pytest.raises(UserError, match="holds no agent"):
        Agent.load(tmp_path / "torn")
    (tmp_path / "foreign").write_bytes(save({"x": torch.zeros(1)}))
    with pytest.raises(UserError, match="holds no agent"):
        Agent.load(tmp_path / "foreign")
    with pytest.raises(UserError, match=r"model\.steps"):
        PPO(steps=0)
    with pytest.raises(UserError, match=r"model\.discount"):
        PPO(discount=2.0)
    with pytest.raises(UserError, match="broker has no 'fee'"):
        PPO(broker={"fee": 1})
    for weights in ((0.5, 1.0), (1.0, -1.0), (-20.0, 1.0), (1.0,)):
        with pytest.raises(UserError, match="weights="):
            PPO(weights=weights)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "parfait\[rl\]"'):
        PPO()
