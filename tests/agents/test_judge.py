"""What is told of accounts: metrics by hand, intervals that know what is paired."""

from typing import Any

import numpy as np
import pytest

from parfait.agents.episodes import HeldOut
from parfait.agents.judge import Traded, compare, measure, rival_policies, together, trade

YEAR = 252.0
RNG = np.random.default_rng(0)


def accounts(seeds: int = 3, shift: float = 0.0, seed: int = 1) -> Traded:
    generator = np.random.default_rng(seed)
    returns = generator.normal(0, 0.01, (seeds, 2, 5, 20)) + shift
    return Traded(returns, np.ones((seeds, 2, 5)), np.ones((seeds, 2, 5)))


def held(episodes: int = 3, past: int = 8, horizon: int = 10) -> HeldOut:
    """Two symbols, valid bars, fills at opens that differ from closes."""
    shape = (2 * episodes, past + horizon)
    close = 100 * np.exp(np.cumsum(RNG.normal(0, 0.01, shape), 1))
    opens = close * np.exp(RNG.normal(0, 0.003, shape))
    high, low = np.maximum(opens, close) * 1.001, np.minimum(opens, close) * 0.999
    bars = np.stack([opens, high, low, close, np.full(shape, 1e9)], -1)
    times = np.zeros((2 * episodes, horizon), dtype="datetime64[us]")
    return HeldOut(bars, ["A"] * episodes + ["B"] * episodes, times)


def test_metrics_are_those_of_their_formulas() -> None:
    returns = np.log1p(np.array([0.1, -0.1, -0.05, 0.2]))
    told = measure(returns, np.array(2.0), np.array(0.3), YEAR)
    r = np.expm1(returns)
    assert told["log_return"] == pytest.approx(np.log(1.1 * 0.9 * 0.95 * 1.2) / 4 * YEAR)
    assert told["sharpe"] == pytest.approx(r.mean() / r.std() * YEAR**0.5)
    assert told["sortino"] == pytest.approx(r.mean() / (0.0125 / 4) ** 0.5 * YEAR**0.5)
    assert told["max_drawdown"] == pytest.approx(1 - 0.9 * 0.95)
    assert told["turnover"] == 2 * YEAR / 4
    nothing = np.array(0.0)
    falls = measure(-returns[:1], nothing, nothing, YEAR)
    assert falls["max_drawdown"] == pytest.approx(1 - 1 / 1.1)
    assert set(map(float, measure(np.zeros(9), nothing, nothing, YEAR).values())) == {0.0}


def test_a_paired_difference_sees_no_noise_that_arms_share() -> None:
    a, b = accounts(), accounts(shift=1e-4)
    given: dict[str, Any] = {"bars_per_year": YEAR, "draws": 50, "seed": 0}
    rows = compare({"a": a, "b": b, "c": a}, [("b", "a"), ("c", "a")], **given)
    told = {(r["arm"], r["minus"], r["metric"]): r for r in rows}
    shifted = told["b", "a", "log_return"]
    assert shifted["low"] == pytest.approx(1e-4 * YEAR, rel=1e-2)
    assert shifted["high"] == pytest.approx(1e-4 * YEAR, rel=1e-2)
    for metric in ("log_return", "sharpe", "max_drawdown"):
        same = told["c", "a", metric]
        assert (same["value"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    alone = told["a", "", "log_return"]
    assert alone["high"] - alone["low"] > 100 * (shifted["high"] - shifted["low"])


def test_intervals_cover_what_seeds_and_episodes_spread() -> None:
    """Of accounts whose mean is known, about 95 % of the intervals hold it."""
    hits = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        returns = np.repeat(generator.normal(0, 0.01, (1, 1, 40, 5)), 2, axis=0)
        rows = compare(
            {"a": Traded(returns, *np.zeros((2, 2, 1, 40)))},
            [],
            bars_per_year=1.0,
            draws=100,
            seed=seed,
        )
        hits += rows[0]["low"] <= 0 <= rows[0]["high"]
    assert 0.83 <= hits / 40 < 1


def test_rivals_do_what_they_are_called() -> None:
    test = held()
    free: dict[str, Any] = {"broker": dict.fromkeys(("commission_bps", "half_spread_bps"), 0.0)}
    free["broker"] |= {"slippage_bps": 0.0, "borrow": 0.0}
    settings: dict[str, Any] = {"window": 4, "weights": (-1.0, 1.0)}
    hold = trade(test, rival_policies(1, (-1, 1), 0)["hold"], YEAR, settings | free)
    bought = test.bars[:, 8, 0]  # the open after the first decision
    # One bar's rebalancing to the weight 1 changes nothing of what is fully invested.
    gone = hold.returns.sum(-1).ravel()
    np.testing.assert_allclose(np.exp(gone), test.bars[:, -1, 3] / bought, rtol=1e-6)
    flat = trade(test, rival_policies(1, (-1, 1), 0)["flat"], YEAR, settings)
    assert not flat.returns.any()
    assert (hold.exposure.mean(), flat.exposure.mean()) == (1.0, 0.0)
    paid = trade(test, rival_policies(1, (-1, 1), 0)["hold"], YEAR, settings)
    assert (paid.returns.sum(-1) < hold.returns.sum(-1)).all()
    first, again = (
        trade(test, rival_policies(2, (-1, 1), 0)["random"], YEAR, settings) for _ in "ab"
    )
    np.testing.assert_array_equal(first.returns, again.returns)
    assert not np.array_equal(first.returns[0], first.returns[1])


def test_after_its_ruin_an_account_asks_for_nothing() -> None:
    """What is done in the episode that follows in its place is not told."""
    test = held(episodes=1)
    test.bars[0, 8 + 3 :, :4] *= 0.1  # the first symbol, at the fourth bar of ten
    hold = rival_policies(1, (-1, 1), 0)["hold"]
    settings: dict[str, Any] = {"window": 4, "broker": {"ruin": 0.5}}
    told = trade(test, hold, YEAR, settings)
    np.testing.assert_allclose(told.exposure.ravel(), [0.4, 1.0])
    assert not told.returns[0, 0, 0, 4:].any()
    assert told.returns[0, 1, 0, 4:].all()


def test_symbols_are_held_in_equal_parts() -> None:
    simple = np.zeros((1, 2, 1, 3))
    simple[0, :, 0] = [[0.1, 0.0, 0.0], [-0.1, 0.2, 0.0]]
    each = np.array([[[4.0], [2.0]]])
    logs, turnover, exposure = together(Traded(np.log1p(simple), each, each / 4))
    np.testing.assert_allclose(np.expm1(logs), [[0.0, 0.1, 0.0]], atol=1e-12)
    assert (turnover.tolist(), exposure.tolist()) == ([3.0], [0.75])
