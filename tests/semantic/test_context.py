"""What the present market gives to a reading: asset class, volatility, trend; by the reader alone
and through a run that takes them from a history.
"""

import math
from datetime import datetime, timedelta

import polars as pl
import pytest
import torch

from parfait.pipeline import Pipeline
from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import UNSURE_BELOW, load_reader

READER = load_reader()
HIKE = "The central bank announces an unexpected 50bps rate hike"
CONFLICT = "Global conflict escalates, leading to a liquidity crisis and gold price surge"
WAR = "World War III breaks out"
RESCUE = "如果现在央行意外加息，且市场出现恐慌性抛售，但随后有国家队入场救市"
SENTENCES = (HIKE, CONFLICT, WAR, RESCUE)
CALM, WILD = 0.08, 0.40  # annualised volatility of a history


def history(volatility: float, drift: float = 0.0) -> pl.DataFrame:
    """120 daily bars; the last 60 have that very volatility and drift."""
    noise = torch.randn(60, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    noise = ((noise - noise.mean()) / noise.std()).repeat(2, 1)
    bars = len(noise)
    steps = noise * volatility / math.sqrt(252 * 4) + drift / (252 * 4)
    inner = 100 * steps.flatten().cumsum(0).exp().reshape(bars, 4)
    before = torch.cat([torch.tensor([100.0], dtype=torch.float64), inner[:-1, -1]])
    path = torch.cat([before[:, None], inner], dim=1)
    days = [datetime(2015, 1, 1) + timedelta(days=i) for i in range(2 * bars)]
    sessions = [day for day in days if day.weekday() < 5][:bars]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(sessions, dtype=pl.Datetime("us")),
            "open": before.numpy(),
            "high": path.amax(1).numpy(),
            "low": path.amin(1).numpy(),
            "close": inner[:, -1].numpy(),
            "volume": torch.full((bars,), 1e6, dtype=torch.float64).numpy(),
        }
    )


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load()


def through(pipeline: Pipeline, text: str, asset: str, now: float) -> RegimeDistribution:
    """The scenarios of a run after a history of that volatility."""
    done = pipeline.run(text, history(now), n_paths=8, horizon=4, asset=asset)
    return done.scenarios  # pyright: ignore[reportAttributeAccessIssue]


def by_reader(text: str, asset: str, now: float) -> RegimeDistribution:
    return READER.read(text, MarketContext(asset, volatility=now, bars_per_year=252.0))


@pytest.fixture(params=["reader", "run"])
def read(request: pytest.FixtureRequest, pipeline: Pipeline):
    """(text, asset, volatility now) -> scenarios, by either way."""
    if request.param == "reader":
        return by_reader
    return lambda *asked: through(pipeline, *asked)


@pytest.mark.parametrize("now", [CALM, WILD])
@pytest.mark.parametrize("text", SENTENCES)
def test_the_sentences_of_the_readme_shake_shares(read, text: str, now: float) -> None:
    told = read(text, "equity", now)
    first, usual = told.components[0].regime, by_reader("", "equity", now).mean
    assert told.asset_class == "equity"
    assert told.confidence > UNSURE_BELOW
    assert len(told.components) >= 3
    assert told.mean.drift < usual.drift
    assert told.mean.volatility > 1.1 * usual.volatility
    assert first.jump_intensity > usual.jump_intensity
    assert first.jump_mean < 0
    if text == RESCUE:  # the tide turns: recovery, and no fall that goes on
        assert told.components[0].slot == "shock_and_recover"
        assert first.mean_reversion > 1
        assert told.mean.drift > READER.read("市场出现恐慌性抛售").mean.drift
    if text == HIKE:
        assert told.reading["events"][0]["surprise"] == "full"
        assert told.mean.drift > -1.5 * now
    if text == WAR:  # no number, nothing like it ever measured: wider than a war
        war = by_reader("War breaks out", "equity", now)
        assert told.components[0].sd[1] > 1.2 * war.components[0].sd[1]
        assert told.mean.volatility > war.mean.volatility
        assert told.mean.drift < war.mean.drift


@pytest.mark.parametrize("now", [CALM, WILD])
@pytest.mark.parametrize("text", SENTENCES)
def test_the_sentences_of_the_readme_move_gold_its_own_way(read, text: str, now: float) -> None:
    told, usual = read(text, "gold", now), by_reader("", "gold", now).mean
    assert told.asset_class == "gold"
    assert told.mean.volatility > 1.05 * usual.volatility
    if text == HIKE:
        assert told.mean.drift < usual.drift
    else:
        assert told.mean.drift > usual.drift + 0.05
        assert told.components[0].regime.jump_mean > 0
    shares = read(text, "equity", now)
    assert told.mean.volatility < shares.mean.volatility


def test_a_factor_is_relative_to_the_history_and_a_level_is_not(read) -> None:
    for text in ("Volatility doubles", "波动率翻倍", "Volatility at twice its present level"):
        calm, wild = (read(text, "equity", now).mean.volatility for now in (CALM, WILD))
        assert wild / calm == pytest.approx(WILD / CALM, rel=0.15)
        assert calm == pytest.approx(2 * CALM, rel=0.15)  # a history tells it with an error
    for text in ("Annualised volatility of 60%", "年化波动率60%"):
        for now in (CALM, WILD):
            assert read(text, "equity", now).mean.volatility == pytest.approx(0.6)


def test_bars_have_the_level_after_any_history(pipeline: Pipeline) -> None:
    size = {"n_paths": 64, "horizon": 20, "asset": "equity", "seed": 1}
    found = {}
    for text in ("Volatility doubles", "Annualised volatility of 60%"):
        for now in (CALM, WILD):
            done = pipeline.run(text, history(now), **size)
            returns = done.log_returns()  # pyright: ignore[reportAttributeAccessIssue]
            found[text, now] = float(returns.std()) * math.sqrt(252)
    assert found["Volatility doubles", WILD] > 3 * found["Volatility doubles", CALM]
    level = [found["Annualised volatility of 60%", now] for now in (CALM, WILD)]
    assert level[0] == pytest.approx(level[1], rel=0.15)
    assert level[1] == pytest.approx(0.6, rel=0.2)  # and the jumps of the class


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("The trend continues", 1),
        ("The current trend persists", 1),
        ("Momentum continues", 1),
        ("The market continues its trend", 1),
        ("趋势延续", 1),
        ("The trend reverses", -1),
        ("A trend reversal", -1),
        ("The market reverses course", -1),
        ("趋势反转", -1),
    ],
)
def test_the_trend_is_that_of_the_history(text: str, sign: int) -> None:
    drifts = []
    for trend in (-0.4, -0.1, 0.0, 0.1, 0.4):
        told = READER.read(text, MarketContext("equity", volatility=0.2, trend=trend))
        assert told.confidence > UNSURE_BELOW
        assert told.components[0].regime.drift == pytest.approx(sign * trend, abs=1e-6)
        drifts.append(sign * told.mean.drift)
    assert drifts == sorted(drifts)
    lost = READER.read(text, MarketContext("equity", volatility=0.2))
    assert lost.mean.drift == pytest.approx(READER.read("").mean.drift, abs=0.02)
    assert any("No history" in w for w in lost.warnings)


def test_the_trend_of_a_history_goes_on_or_turns(pipeline: Pipeline) -> None:
    def drift(text: str, trend: float) -> float:
        done = pipeline.run(text, history(0.15, trend), n_paths=8, horizon=4, asset="equity")
        return float(done.scenarios.mean.drift)  # pyright: ignore[reportAttributeAccessIssue]

    for trend in (0.8, -0.8):
        sign = math.copysign(1, trend)
        assert sign * drift("The trend continues", trend) > 0.3
        assert sign * drift("The trend reverses", trend) < -0.3
    assert drift("Stocks rally", 0.8) == pytest.approx(drift("Stocks rally", -0.8), rel=0.02)


def test_nothing_but_continues_and_reverses_asks_for_the_trend() -> None:
    for text in (*SENTENCES, "", "Stocks rally", "A calm market", "趋势行情"):
        up, down = (
            READER.read(text, MarketContext("equity", volatility=0.2, trend=t)) for t in (0.5, -0.5)
        )
        assert up.to_json() == down.to_json()


def test_the_instruction_gives_the_asset_where_nobody_else_does(pipeline: Pipeline) -> None:
    small = {"n_paths": 8, "horizon": 4}
    for text, asset in (("Gold surges", "gold"), ("Bitcoin crashes", "crypto"), (WAR, "equity")):
        done = pipeline.run(text, history(0.2), **small)
        told = done.scenarios  # pyright: ignore[reportAttributeAccessIssue]
        assert told.asset_class == asset
    forced = pipeline.run("Stocks crash", history(0.2), asset="gold", **small)
    told = forced.scenarios  # pyright: ignore[reportAttributeAccessIssue]
    assert told.asset_class == "gold"
    assert told.mean.drift > by_reader("", "gold", 0.2).mean.drift
