"""Laws of scenarios like a stretch of history: they are what the stretch was, and tell of it."""

import math
import shlex
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import torch
from hydra import compose, initialize_config_dir

from parfait.bars import BAR_COLUMNS, bars_to_tensor
from parfait.data import embedded_bars
from parfait.history import History
from parfait.labels import label_windows
from parfait.likeness import Like
from parfait.pipeline import Basket, Pipeline, Simulation
from parfait.regime import (
    FIELD_NAMES,
    Component,
    MarketContext,
    Regime,
    RegimeDistribution,
    collapse,
)
from parfait.report.command import reproduce, reproduce_basket
from parfait.report.content import Content
from parfait.report.html import render_html
from parfait.stages.schema import SimulateConfig, validate
from parfait.stages.sources import read_sources
from parfait.streaming import Job
from parfait.utils.argv import rewrite
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir, top_level_keys
from parfait.window_regimes import merge_neighbours, window_component
from tests.report.pages import faults

CRISIS = "2008-09-01:2008-12-31"
CALM = "2017-01-01:2017-06-30"
EVER = "1999-01-01:2018-12-31"
WIDE = dict.fromkeys(FIELD_NAMES, 0.1)
DAILY = MarketContext(bars_per_year=252)


@pytest.fixture(scope="module")
def past() -> History:
    return History.load(None)[0]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(sampler_steps=3)


@pytest.fixture(scope="module")
def crisis(pipeline: Pipeline) -> Simulation:
    made = pipeline.run(Like(CRISIS), n_paths=80, horizon=42, seed=2)
    assert isinstance(made, Simulation)
    return made


def read(like: Like, *pasts: History) -> list[RegimeDistribution]:
    return like.read(like.stretches(pasts), [DAILY] * len(pasts))


def total_volatility(scenarios: RegimeDistribution) -> float:
    """Root of the mean total variance of 4000 draws."""
    r = scenarios.sample(4000, torch.Generator().manual_seed(0))
    jumps = r.jump_intensity * (r.jump_mean**2 + r.jump_std**2)
    return float(torch.as_tensor(r.volatility**2 + jumps).mean().sqrt())


def realised(bars: pl.DataFrame, span: str) -> float:
    first, last = (datetime.fromisoformat(word) for word in span.split(":"))
    moves = bars.select("timestamp", move=pl.col("close").log().diff())
    inside = (
        moves.filter(pl.col("timestamp").is_between(first, last))["move"].drop_nulls().to_torch()
    )
    return math.sqrt(float(inside.square().mean()) * 252)


def market(volatility: float, seed: int, bars: int = 121, ticks: int = 100) -> pl.DataFrame:
    """Geometric Brownian motion seen a hundred times a day."""
    generator = torch.Generator().manual_seed(seed)
    step = volatility / math.sqrt(252 * ticks)
    moves = step * torch.randn(bars, ticks, generator=generator, dtype=torch.float64)
    price = 100 * moves.flatten().cumsum(0).exp().view(bars, ticks)
    return pl.DataFrame(
        {
            "timestamp": [datetime(2020, 1, 1) + timedelta(days=k) for k in range(bars)],
            "open": price[:, 0].numpy(),
            "high": price.amax(1).numpy(),
            "low": price.amin(1).numpy(),
            "close": price[:, -1].numpy(),
            "volume": [1.0] * bars,
        },
        schema_overrides={"timestamp": pl.Datetime("us")},
    ).select(BAR_COLUMNS)


@pytest.mark.parametrize(
    "span",
    [CRISIS, CALM, "2011-07-01:2011-12-31", pytest.param(EVER, marks=pytest.mark.slow)],
)
def test_scenarios_are_as_volatile_as_the_stretch(span: str, past: History) -> None:
    (scenarios,) = read(Like(span), past)
    was = realised(past.bars, span)
    assert scenarios.reading["realised_volatility"] == pytest.approx(was, rel=1e-9)
    assert total_volatility(scenarios) == pytest.approx(was, rel=0.2)


def test_bars_are_as_volatile_as_the_stretch(crisis: Simulation, past: History) -> None:
    """Far from the present: the run starts in the volatility of the stretch, not in today's."""
    found = float(crisis.log_returns().square().mean().sqrt()) * math.sqrt(252)
    assert found == pytest.approx(realised(past.bars, CRISIS), rel=0.2)
    first = float(crisis.log_returns()[:, :5].square().mean().sqrt()) * math.sqrt(252)
    assert first == pytest.approx(realised(past.bars, CRISIS), rel=0.3)


def test_a_known_regime_comes_back_within_its_posterior() -> None:
    covered, sure = [], []
    for seed in range(12):
        volatility = (0.1, 0.2, 0.4, 0.6)[seed % 4]
        frame = market(volatility, seed)
        (scenarios,) = read(Like("2020-01-01:2020-12-31"), History(frame, "a market"))
        assert len(scenarios.components) == 2
        for window in scenarios.reading["windows"]:
            _, low, high = window["posterior"]["volatility"]
            covered.append(low <= volatility <= high)
            sure.append(high / low)
        assert total_volatility(scenarios) == pytest.approx(volatility, rel=0.25)
    assert sum(covered) / len(covered) >= 0.8  # of intervals of 90 %
    assert max(sure) < 2.5  # and by no trick: the prior spans a factor of ten


def test_windows_divide_the_range_and_weigh_their_returns(past: History) -> None:
    like = Like("2008-01-01:2010-06-30")
    (scenarios,) = read(like, past)
    windows = scenarios.reading["windows"]
    first, last = like.ends
    days = past.bars["timestamp"].filter(past.bars["timestamp"].is_between(first, last)).dt.date()
    assert sum(window["returns"] for window in windows) == len(days)
    assert len(windows) == math.ceil(len(days) / 60)
    edges = [(w["from"], w["to"]) for w in windows]
    assert (edges[0][0], edges[-1][1]) == (str(days[0]), str(days[-1]))
    assert all(before[1] < after[0] for before, after in pairwise(edges))
    assert len(scenarios.components) == 8
    assert sum(c.weight for c in scenarios.components) == pytest.approx(1)
    names = [c.name.split(" to ") for c in scenarios.components]
    assert all(before[1] < after[0] for before, after in pairwise(names))


def test_merging_keeps_mean_and_covariance_and_joins_what_is_alike(past: History) -> None:
    tensor = bars_to_tensor(past.bars.tail(701)).unfold(0, 36, 35).transpose(1, 2)
    labels = [label_windows(window[None].contiguous(), 252.0) for window in tensor]
    parts = [window_component(label, (k + 1) / 210) for k, label in enumerate(labels)]
    merged = merge_neighbours(parts, 6)
    assert [k for _, numbers in merged for k in numbers] == list(range(len(parts)))
    assert (len(parts), len(merged)) == (20, 6)
    whole, again = collapse(parts), collapse([c for c, _ in merged])
    assert torch.allclose(whole.mean, again.mean, atol=1e-9)
    covariance = [c.cholesky @ c.cholesky.T for c in (whole, again)]
    assert torch.allclose(covariance[0], covariance[1], atol=1e-9)
    wild, calm = parts[0], Component.around("baseline", "", 0.1, Regime(0.1, 0.01), WIDE)
    alike = merge_neighbours([calm, calm, wild, wild, wild, calm], 3)
    assert [numbers for _, numbers in alike] == [[0, 1], [2, 3, 4], [5]]


def test_later_bars_change_nothing(past: History) -> None:
    cut = replace(past, bars=past.bars.filter(pl.col("timestamp") < datetime(2009, 1, 1)))
    (whole,) = read(Like(CRISIS), past)
    assert [whole] == read(Like(CRISIS), cut)
    assert RegimeDistribution.from_json(whole.to_json()) == whole


def test_a_long_range_has_few_windows(past: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parfait.likeness.MOST_WINDOWS", 3)
    (found,) = read(Like("2015-01-01:2016-12-31"), past)
    assert [w["returns"] for w in found.reading["windows"]] == [168, 168, 168]


def test_times_within_a_day_are_a_range(past: History) -> None:
    start = datetime(2018, 11, 5, 9, 30)
    times = [start + timedelta(minutes=k) for k in range(200)]
    minutes = past.bars.tail(200).with_columns(pl.Series("timestamp", times, pl.Datetime("us")))
    (found,) = read(Like("2018-11-05T10:00:2018-11-05T10:59"), History(minutes, "minutes"))
    assert [w["returns"] for w in found.reading["windows"]] == [60]


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ("2008-09-01", "no stretch of time"),
        ("2008-13-01:2008-14-01", "no stretch of time"),
        ("september:december", "no stretch of time"),
        ("2008-12-31:2008-09-01", "ends before it begins"),
        ("2008-09-01:2008-09-10", "holds 7 returns .* fewer than the 12"),
        ("1999-01-01:1999-01-20", "holds 11 returns"),  # of 12 bars
        ("2020-01-01:2020-12-31", "outside the embedded daily S&P 500, which has bars from 1999"),
        ("1980-01-01:1980-12-31", "outside"),
    ],
)
def test_a_wrong_range_is_one_sentence(span: str, words: str, past: History) -> None:
    with pytest.raises(UserError, match=words) as told:
        read(Like(span), past)
    assert "\n" not in str(told.value)


def test_prices_that_stand_still_are_one_sentence(past: History) -> None:
    flat = past.bars.with_columns(*(pl.lit(5.0).alias(n) for n in ("open", "high", "low", "close")))
    with pytest.raises(UserError, match="do not move in like="):
        read(Like(CRISIS), replace(past, bars=flat))


def test_a_halt_within_the_range_is_left_out_and_said(past: History) -> None:
    """Its label holds the prior, which no scenario is to be made of."""
    halted = pl.col("timestamp").is_between(pl.lit(datetime(2008, 9, 1)), datetime(2008, 10, 31))
    flat = [
        pl.when(halted).then(5.0).otherwise(pl.col(n)).alias(n)
        for n in ("open", "high", "low", "close")
    ]
    (scenarios,) = read(Like(CRISIS), replace(past, bars=past.bars.with_columns(*flat)))
    assert "1 of 2 windows" in " ".join(scenarios.warnings)
    (only,) = scenarios.components
    assert only.weight == 1
    assert only.regime.volatility > 0.3  # of November and December


def test_a_range_that_is_partly_there_says_so(past: History) -> None:
    (scenarios,) = read(Like("2018-06-01:2019-06-30"), past)
    assert "has bars from 2018-06-01 to 2018-12-31" in scenarios.warnings[0]
    assert not read(Like(CALM.replace("2017-06-30", "2017-12-31")), past)[0].warnings


def test_several_assets_have_their_own_posteriors_and_the_correlation_of_then(
    pipeline: Pipeline, past: History
) -> None:
    frames = {k: frame.tail(2800) for k, frame in embedded_bars().items()}
    made = pipeline.run(Like(CRISIS), frames, n_paths=4, horizon=4)
    assert isinstance(made, Basket)
    assert made.scenarios["SP500"] != made.scenarios["NASDAQ"]
    for symbol, frame in frames.items():
        (own,) = read(Like(CRISIS), History(frame, "the given frame"))
        assert own.components == made.scenarios[symbol].components
    assert "common bars (2008-09-03 to 2008-12-31)" in made.notes[0]
    assert not any("as the sentence says" in note for note in made.notes)
    told = made.summary()["assets"]["NASDAQ"]["like"]
    assert [w["returns"] for w in told["windows"]] == [42, 43]
    pasts = [History(frame, symbol) for symbol, frame in frames.items()]
    short = Like("2008-09-01:2008-09-30")  # of 21 bars no correlation is known
    assert short.correlated(short.stretches(pasts)) is None


def test_the_stretch_may_be_of_another_history(past: History) -> None:
    nasdaq = embedded_bars()["NASDAQ"]
    (other,) = read(Like(CRISIS, nasdaq), past)
    (own,) = read(Like(CRISIS), History(nasdaq, "the given frame"))
    assert other.components == own.components
    pasts = [replace(past, symbol=name) for name in ("A", "B")]
    shared = Like(CRISIS, {"B": past.bars, "A": nasdaq}).stretches(pasts)
    assert [float(p.bars["close"][-1]) for p in shared] == [
        float(frame.filter(pl.col("timestamp") < datetime(2009, 1, 1))["close"][-1])
        for frame in (nasdaq, past.bars)
    ]
    with pytest.raises(UserError, match="like_history holds B, C and nothing for A"):
        Like(CRISIS, {"B": past.bars, "C": nasdaq}).stretches(pasts)


def test_the_run_tells_where_its_regimes_come_from(crisis: Simulation) -> None:
    told = crisis.summary()
    assert (told["instruction"], told["semantic"]) == (None, "like")
    assert told["like"]["like"] == CRISIS
    for window in told["like"]["windows"]:
        assert set(window["posterior"]) == set(FIELD_NAMES)
        assert all(low <= mean <= high for mean, low, high in window["posterior"].values())
    command = reproduce(crisis)
    words = rewrite(
        shlex.split(command)[2:],
        known_keys=top_level_keys("simulate"),
        command="",
        read_stdin=str,
    )
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("simulate", words)
    (like,) = read_sources(validate(cfg, SimulateConfig))
    assert like.span == CRISIS
    assert (cfg.n_paths, cfg.horizon, cfg.seed, cfg.semantic.name) == (80, 42, 2, "ontology")


def test_the_page_shows_the_windows(crisis: Simulation) -> None:
    from parfait.report.figures import draw_all

    content = Content.of(crisis)
    page = render_html(crisis, content, draw_all(content, crisis.risk["VaR95"]))
    assert not faults(page)
    assert "Where the regimes come from" in page
    assert f"like={CRISIS}" in page
    for window in crisis.scenarios.reading["windows"]:
        assert f"{window['from']} to {window['to']}" in page
        assert f"{window['realised_volatility']:.1%} realised" in page


def test_the_command_of_a_basket_names_the_stretch_and_its_file(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    for symbol, frame in embedded_bars().items():
        frame.tail(2700).write_csv(tmp_path / f"{symbol}.csv")
    like = Like(CRISIS, tmp_path / "NASDAQ.csv")
    made = pipeline.run(like, tmp_path, n_paths=4, horizon=4)
    assert isinstance(made, Basket)
    command = reproduce_basket(made)
    assert f"like={CRISIS} like_history={tmp_path / 'NASDAQ.csv'} " in command
    assert "semantic=" not in command


def test_a_streamed_run_is_the_same_run(tmp_path: Path, crisis: Simulation) -> None:
    layers = {"semantic": "ontology", "semantic_options": {}, "sampler_steps": 3}
    asked = {"history": None, "asset": None, "correlation": None, "bars_per_year": None}
    asked |= {"guide_every": 4, "jump_sigmas": 3.0, "batch_size": 64, "history_options": None}
    asked |= {"n_paths": 160, "horizon": 42, "seed": 2}
    jobs = [Job.load(layers, asked, 80, Like(CRISIS), tmp_path) for _ in range(2)]
    assert jobs[0].key == jobs[1].key
    assert jobs[0].key != Job.load(layers, asked, 80, Like(CALM), tmp_path).key
    assert jobs[0].draw(0).bars.equals(crisis.bars)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["like=2008-09-01:2008-12-31", "instruction=calm"], "instruction is set too"),
        (["like=2008-09-01:2008-12-31", "instruction_file=a.txt"], "instruction_file is set too"),
        (["like_history=a.csv"], "give like="),
        (["like=2008"], "no stretch of time"),
        ([], "no instruction"),
    ],
)
def test_one_source_is_given(given: list[str], words: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("simulate", given)
    with pytest.raises(UserError, match=words):
        read_sources(validate(cfg, SimulateConfig))
