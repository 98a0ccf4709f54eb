"""Regimes that follow one another, from the sentence to the bars."""

import json
import math
from dataclasses import replace

import polars as pl
import pytest
import torch
from rich.console import Console

from parfait import Pipeline
from parfait.regime import (
    Component,
    Condition,
    Phase,
    Regime,
    RegimeDistribution,
    mean_volatility,
    volatility_course,
)
from parfait.sde import Guide, Schedule
from parfait.stages.simulate import show
from parfait.targets import plan
from parfait.utils.errors import UserError

DT = 1 / 252
WILD = Regime(-1.5, 0.6, variance_reversion=300.0, vol_of_vol=0.5)
CALM = Regime(0.8, 0.2, variance_reversion=300.0, vol_of_vol=0.5)
PANIC = "Panic for two weeks, then recovery"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(sampler_steps=4)


@pytest.fixture(scope="module")
def scheduled(pipeline: Pipeline):
    schedule = Schedule(((WILD, 10 * DT), (CALM, None)))
    return pipeline.run(schedule, n_paths=400, horizon=40, guide_every=4, seed=3)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def with_phase(after: float, **kw) -> RegimeDistribution:
    phase = Phase.around(after, "calm", CALM)
    return RegimeDistribution(
        (Component.around("crash", "wild", 1.0, WILD, phases=(phase,), **kw),)
    )


def test_the_mean_follows_the_drift_of_every_phase(scheduled):
    level = torch.from_numpy(scheduled.guides["guide"].to_numpy().reshape(400, 40).copy())
    gross = level / scheduled.spot
    drift = torch.tensor([WILD.drift] * 10 + [CALM.drift] * 30, dtype=torch.float64)
    wanted = (drift.cumsum(0) * DT).exp()
    z = (gross.mean(0) - wanted) / (gross.std(0) / 20)
    assert z.abs().max() < 4
    # The two drifts are told apart: one drift all along misses by far.
    flat = (drift.mean() * DT * torch.arange(1, 41)).exp()
    assert ((gross.mean(0) - flat) / (gross.std(0) / 20))[9] < -2


def test_the_bars_of_every_phase_have_its_volatility(scheduled):
    variance = scheduled.log_returns().square().mean(0) / DT
    wanted = [
        mean_volatility(scheduled.regime, a * DT, b * DT, DT).square().mean()
        for a, b in ((0, 10), (10, 40))
    ]
    found = (variance[:10].mean() / variance[10:].mean()).sqrt()
    asked = (wanted[0] / wanted[1]).sqrt()
    assert asked > 2.3
    assert float(found) == pytest.approx(float(asked), rel=0.12)
    span = (scheduled.column("high") / scheduled.column("low")).log().mean(0)
    # The phase ends within a window of the network; its neighbours on both sides are told apart.
    assert 2 < float(span[5:10].mean() / span[14:20].mean()) < 3.6


def test_every_phase_ends_on_an_anchor_and_guides_are_obeyed(scheduled):
    anchored = scheduled.guides.filter(pl.col("step") == 9)["anchored"]
    assert anchored.all()
    assert scheduled.checks == {"valid_bars": 1.0, "max_guide_error": 0.0}


def test_alignment_asks_for_the_average(scheduled):
    drift, volatility = (a for a in scheduled.alignment if a.scenario is None)
    assert drift.requested == pytest.approx((10 * WILD.drift + 30 * CALM.drift) / 40)
    assert abs(drift.recovered - drift.requested) < 4 * drift.standard_error
    assert volatility.recovered == pytest.approx(volatility.requested, rel=0.1)


@pytest.mark.parametrize("sde", ["regime", "gbm"])
def test_a_phase_beyond_the_horizon_changes_no_byte(sde: str):
    pipeline = Pipeline.load(sampler_steps=2, sde=sde)
    far = with_phase(1.0)
    (c,) = far.components
    plain = RegimeDistribution((replace(c, phases=()),))
    a, b = (pipeline.run(s, n_paths=5, horizon=30, seed=1) for s in (far, plain))
    assert a.regime.shape == (30, 5)
    assert b.regime.shape == (5,)
    assert a.bars.equals(b.bars)
    assert a.guides.equals(b.guides)
    assert a.alignment == b.alignment


def test_paths_do_not_depend_on_the_batch_or_their_number(pipeline: Pipeline):
    how = {"horizon": 24, "seed": 5}
    scenarios = with_phase(7 * DT)
    many = pipeline.run(scenarios, n_paths=70, **how)
    few = pipeline.run(scenarios, n_paths=5, **how)
    parts = pipeline.run(scenarios, n_paths=70, batch_size=64, **how)
    assert many.bars.equals(parts.bars)
    assert many.bars.filter(pl.col("path") < 5).equals(few.bars)


def test_averages_over_bars_do_not_depend_on_the_other_paths():
    generator = torch.Generator().manual_seed(0)
    sigma = 0.1 + 0.5 * torch.rand((24, 130), generator=generator, dtype=torch.float64)
    regime = Regime(sigma - 0.3, sigma, variance_reversion=9.0, initial_volatility=0.2)
    whole = regime.over(3, 20)
    for width in (1, 3, 5, 17, 64, 70):
        few = regime[:, :width]
        assert few.over(3, 20) == whole[:width]
        asked = (3 * DT, 20 * DT, DT)
        assert torch.equal(mean_volatility(few, *asked), mean_volatility(regime, *asked)[:width])
        course = volatility_course(regime, 3, 20, DT)
        assert torch.equal(volatility_course(few, 3, 20, DT), course[:, :width])


def test_a_sentence_becomes_bars(pipeline: Pipeline, tmp_path):
    found = pipeline.run(PANIC, n_paths=40, horizon=40)
    assert found.regime.shape == (40, 40)
    assert found.warnings == ()
    (line,) = found.phases_of(0)
    assert line.startswith("from 15 Jan 2019 (bar 11): rebound, +")
    found.save(tmp_path)
    records = json.loads((tmp_path / "scenarios.json").read_text())
    for record, component in zip(records, found.resolved.components, strict=True):
        (phase,) = record["phases"]
        assert phase["after"] == 14 / 365
        assert phase["name"] == "rebound"
        assert Regime.from_dict(phase["params"]) == component.phases[0].regime
    assert pipeline.run(found.scenarios, n_paths=40, horizon=40).bars.equals(found.bars)
    short = pipeline.run(PANIC, n_paths=4, horizon=5)
    assert short.phases_of(0)[0].startswith("from bar 11, beyond the horizon: rebound")


def test_the_terminal_shows_later_phases_once_where_all_share_them(pipeline: Pipeline):
    found = pipeline.run(PANIC, n_paths=4, horizon=12)
    assert shown(found).count("Continues from 15 Jan 2019 (bar 11): rebound, +") == 1
    first, *others = found.scenarios.components
    alone = replace(found.scenarios, components=(replace(first, phases=()), *others))
    text = shown(pipeline.run(alone, n_paths=4, horizon=12))
    assert text.count("  from 15 Jan 2019 (bar 11): rebound, +") == len(others)
    assert "Continues" not in text


def shown(found) -> str:
    console = Console(record=True, width=200)
    show(found, console)
    return console.export_text()


def test_without_phases_nothing_is_told(pipeline: Pipeline):
    found = pipeline.run("Panic", n_paths=4, horizon=5)
    assert found.phases_of(0) == []
    assert all("phases" not in record for record in found.scenarios_table())


@pytest.mark.parametrize("mode", ["pinned", "conditional", "rejection"])
@pytest.mark.parametrize("bar", [6, 15, 25])
def test_targets_hold_with_phases(mode, bar: int):
    """In the first phase, in the second, and (a horizon of 20) beyond the end of the run."""
    pipeline = Pipeline.load(sampler_steps=1, condition=mode)
    target = Condition("terminal", -0.1, bar * DT)
    found = pipeline.run(with_phase(10 * DT, conditions=(target,)), n_paths=20, horizon=20, seed=2)
    assert found.regime.shape == (20, 20)
    (imposed,) = found.imposed
    assert (imposed.bar, imposed.mode) == (bar, mode)
    if bar <= 20:
        close = found.column("close")[:, bar - 1] / found.spot
        near = 0.011 if mode == "rejection" else 1e-9
        assert (close.log() - math.log(0.9)).abs().max() < near


def test_a_stated_fall_then_a_rebound_passes_both(pipeline: Pipeline):
    text = "Stocks crash 30% for two weeks, then rebound 10% in a month"
    found = pipeline.run(text, n_paths=10, horizon=40)
    close = found.column("close") / found.spot
    assert torch.allclose(close[:, 9], torch.tensor(0.7, dtype=torch.float64))
    assert torch.allclose(close[:, 30], torch.tensor(0.77, dtype=torch.float64))


def test_with_phases_every_move_counts_from_now():
    """Without them a recovery counts from the shock before it."""
    dated = (Condition("terminal", -0.3, 10 * DT), Condition("terminal", -0.2, 20 * DT))
    (wild,) = with_phase(0.1, conditions=dated).components
    prices = []
    for component in (wild, replace(wild, slot="shock_and_recover")):
        found, _ = plan(component, 100.0, 30, 252.0, "pinned")
        assert found is not None
        prices.append(found.prices)
    assert prices[0] == prices[1] == ((10, pytest.approx(70)), (20, pytest.approx(80)))


def test_a_window_is_told_the_average_of_its_bars(pipeline: Pipeline):
    drift = torch.linspace(-5, 5, 12, dtype=torch.float64)[:, None].expand(12, 3) + 1.0
    regime = Regime(drift, 0.3, initial_volatility=0.3)
    level = torch.full((3, 12), 100.0, dtype=torch.float64)
    anchored = torch.zeros(3, 12, dtype=torch.bool)
    anchored[:, 3::4] = True
    bars = [
        pipeline.microstructure.generate(
            None, Guide(level, anchored), r, bars_per_year=252.0, generator=seeded(), spot=100.0
        )
        for r in (regime, regime.over(0, 12), regime.over(0, 1))
    ]
    assert bars[0].equal(bars[1])
    assert not bars[0].equal(bars[2])
    with pytest.raises(UserError, match=r"shape \(11, 3\), the guide has 3 paths of 12 bars"):
        pipeline.microstructure.generate(
            None,
            Guide(level, anchored),
            regime.first(11),
            bars_per_year=252.0,
            generator=seeded(),
            spot=100.0,
        )


def test_several_assets_have_phases_together(pipeline: Pipeline):
    from parfait.data import embedded_bars

    histories = dict(list(embedded_bars().items())[:2])
    found = pipeline.run(PANIC, histories, n_paths=100, horizon=24)
    for simulation in found.simulations.values():
        assert simulation.regime.shape == (24, 100)
        variance = simulation.log_returns().square().mean(0)
        assert variance[3:10].mean() > 1.3 * variance[14:].mean()


def test_a_schedule_of_batches_is_refused(pipeline: Pipeline):
    with pytest.raises(UserError, match=r"Schedule.phases\[1\]: regime has shape \(3,\)"):
        pipeline.run(Schedule(((WILD, 0.1), (CALM.expand(3), None))))
    with pytest.raises(UserError, match="a Schedule, a Regime or a Like, not int"):
        pipeline.run(3)  # pyright: ignore[reportArgumentType]
