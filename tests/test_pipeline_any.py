"""Whatever legal regimes and targets ask for: valid bars on their guide, or one sentence."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from parfait import Pipeline, Simulation, conditions
from parfait.bars import bar_violations
from parfait.microstructure import DenoiserModel, Microstructure
from parfait.microstructure.unet1d import UNet1D
from parfait.regime import Component, Condition, Regime, RegimeDistribution
from parfait.regime.fields import FIELDS
from parfait.sde import MODES, PROCESSES, load_process
from parfait.semantic import load_reader
from parfait.utils.errors import UserError
from tests.fuzzing import examples

torch.manual_seed(0)
NET = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16)
for parameter in NET.parameters():  # laws must hold for any network
    torch.nn.init.normal_(parameter, std=0.3)
WILD = Microstructure(DenoiserModel(NET.eval().requires_grad_(False), max_horizon=4))
READER = load_reader()
PRICES = ("open", "high", "low", "close")


def inside(low: float, high: float) -> st.SearchStrategy[float]:
    """Bounds, zero, and what lies between, of every order."""
    ends = [low, high] + ([0.0] if low <= 0 <= high else [])
    small = st.floats(-8, 0).map(lambda e: min(high, max(low, low + (high - low) * 10**e)))
    return st.sampled_from(ends) | st.floats(low, high) | small


REGIMES = st.fixed_dictionaries({f.name: inside(f.low, f.high) for f in FIELDS}).map(
    lambda values: Regime(**values)
)
LEVELS = st.sampled_from([-0.99, 1e6, 1e-9]) | st.floats(-0.98, 3)
CONDITIONS = st.builds(
    Condition,
    st.sampled_from(["terminal", "waypoint", "drawdown"]),
    LEVELS,
    st.none() | st.floats(1e-6, 2),
) | st.builds(Condition, st.just("waypoint"), st.floats(1e-3, 1e7), st.none(), st.just(True))
PARTS = st.builds(
    Component.around,
    st.sampled_from(["crash", "shock_and_recover", "calm"]),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.just(0.5),
    REGIMES,
    st.dictionaries(st.sampled_from([f.name for f in FIELDS]), st.floats(0, 3), max_size=3),
    conditions=st.lists(CONDITIONS, max_size=2).map(tuple),
)


@pytest.fixture(autouse=True, scope="module")
def few_paths() -> Iterator[None]:
    """Targets are searched for among fewer paths: laws hold for any number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "SEARCH", 600)
        patch.setattr(conditions, "ROUND", 200)
        patch.setattr(conditions, "FEWEST", 50)
        yield


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Valid bars of any price and any calm."""
    seed, n = draw(st.integers(0, 99)), draw(st.integers(2, 30))
    moves = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    size = draw(st.sampled_from([0.0, 1e-7, 0.01, 0.5]))
    close = draw(st.sampled_from([1e-6, 1.0, 4e3, 1e8])) * torch.exp(size * moves[:, 0].cumsum(0))
    opens = close * torch.exp(size * moves[:, 1])
    wick = torch.exp(size * moves[:, 2].abs())
    times = [datetime(2020, 1, 1) + timedelta(days=i) for i in range(n)]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(times, dtype=pl.Datetime("us")),
            "open": opens.numpy(),
            "high": (torch.maximum(opens, close) * wick).numpy(),
            "low": (torch.minimum(opens, close) / wick).numpy(),
            "close": close.numpy(),
            "volume": [draw(st.sampled_from([0.0, 1.0, 1e12]))] * n,
        }
    )


@settings(max_examples=examples(30), deadline=None, derandomize=True)
@given(
    parts=st.lists(PARTS, min_size=2, max_size=2),
    history=histories(),
    process=st.sampled_from(sorted(PROCESSES)),
    mode=st.sampled_from(MODES),
    frequency=st.sampled_from([12.0, 252.0, 252.0 * 390]),
    horizon=st.integers(1, 7),
    every=st.sampled_from([1, 3, 50]),
)
def test_any_legal_run_gives_valid_bars_or_one_sentence(
    parts: list[Component],
    history: pl.DataFrame,
    process: str,
    mode: str,
    frequency: float,
    horizon: int,
    every: int,
) -> None:
    pipeline = Pipeline(
        reader=READER,
        process=load_process(process),
        microstructure=WILD,
        sde=process,
        condition=mode,
        sampler_steps=2,
    )
    try:
        done = pipeline.run(
            RegimeDistribution(tuple(parts)),
            history,
            n_paths=3,
            horizon=horizon,
            bars_per_year=frequency,
            guide_every=every,
        )
    except UserError as error:
        event(str(error)[:40])
        return
    event("bars")
    assert isinstance(done, Simulation)
    assert bar_violations(done.bars) == {}
    assert done.checks == {"valid_bars": 1.0, "max_guide_error": 0.0}
    assert all(math.isfinite(v) for v in (done.risk["VaR95"], done.risk["ES95"]))


def test_prices_that_do_not_move_are_told() -> None:
    times = [datetime(2020, 1, 1) + timedelta(days=i) for i in range(40)]
    still = pl.DataFrame({"timestamp": times, **dict.fromkeys(PRICES, 5.0), "volume": 1.0})
    pipeline = Pipeline(reader=READER, process=load_process("regime"), microstructure=WILD)
    with pytest.raises(UserError, match="do not move in the last 40 bars"):
        pipeline.run("A calm market", still, n_paths=2, horizon=2)
