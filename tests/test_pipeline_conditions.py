"""Laws of conditions in the pipeline: bars meet their targets, other paths keep their bytes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from parfait import report
from parfait.pipeline import Pipeline
from parfait.regime import Component, Condition, Regime, RegimeDistribution
from parfait.targets import plan
from parfait.utils.errors import UserError

SIZE = {"n_paths": 40, "horizon": 20, "seed": 5}
BARS_PER_YEAR = 252.0


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(sampler_steps=3)


def two(*conditions: Condition, slot: str = "crash") -> RegimeDistribution:
    """A scenario with conditions, and one without."""
    wild = Regime(-0.5, 0.5, 5.0, -0.04, 0.03)
    spread = {"drift": 0.2, "volatility": 0.3}
    return RegimeDistribution(
        (
            Component.around(slot, "told", 0.5, wild, spread, conditions=conditions),
            Component.around("calm", "free", 0.5, Regime(0.1, 0.15), spread),
        )
    )


def of_scenario(simulation, number):
    """Closes of the paths of one scenario."""
    mine = torch.tensor(simulation.scenario_of_path) == number
    return simulation.column("close")[mine]


def test_gold_falls_thirty_percent_in_two_weeks(pipeline):
    done = pipeline.run("gold falls 30% in two weeks", asset="gold", **SIZE)
    told = [k for k, c in enumerate(done.scenarios.components) if c.conditions]
    assert told
    for number in told:
        close = of_scenario(done, number)[:, 9]  # 14 days are the tenth trading day
        assert bool((close == done.spot * (1 - 0.3)).all())
    anchored = done.guides.filter((pl.col("step") == 9) & pl.col("anchored"))
    assert anchored.height == SIZE["n_paths"]
    assert done.checks == {"valid_bars": 1.0, "max_guide_error": 0.0}
    records = done.summary()["conditions"]
    assert {r["mode"] for r in records} == {"pinned"}
    assert {r["bar"] for r in records} == {10}
    assert not any("imposed" in w for w in done.warnings)


@pytest.mark.parametrize("mode", ["pinned", "conditional", "rejection"])
def test_other_paths_keep_their_bytes(pipeline, mode):
    told = two(Condition("terminal", -0.1, 10 / BARS_PER_YEAR), Condition("waypoint", -0.15))
    chosen = replace(pipeline, condition=mode)
    free = of_scenario(chosen.run(two(), bars_per_year=BARS_PER_YEAR, **SIZE), 1)
    done = chosen.run(told, bars_per_year=BARS_PER_YEAR, **SIZE)
    assert torch.equal(of_scenario(done, 1), free)
    close = of_scenario(done, 0)
    miss = torch.stack([close[:, 9] / done.spot / 0.9 - 1, close[:, 19] / done.spot / 0.85 - 1])
    assert float(miss.abs().max()) < (0.01 if mode == "rejection" else 1e-15)
    again = chosen.run(told, bars_per_year=BARS_PER_YEAR, **SIZE)
    assert done.bars.equals(again.bars)


def test_weights_and_acceptance_are_reported(pipeline, tmp_path):
    told = two(Condition("terminal", -0.1))
    pinned = pipeline.run(told, **SIZE)
    weighted = replace(pipeline, condition="conditional").run(told, **SIZE)
    found = replace(pipeline, condition="rejection").run(told, **SIZE)
    for simulation, mode in ((pinned, "pinned"), (weighted, "conditional"), (found, "rejection")):
        simulation.save(tmp_path / mode)
        summary = json.loads((tmp_path / mode / "summary.json").read_text())
        assert summary["condition"] == mode
        (record,) = summary["conditions"]
        assert record["mode"] == mode
        assert record["level"] == pytest.approx(-0.1)
        assert (record["ess"] is not None) == (mode == "conditional")
        assert (record["acceptance"] is not None) == (mode == "rejection")
    assert 1 < weighted.imposed[0].ess < weighted.imposed[0].drawn
    assert 0 < found.imposed[0].acceptance < 1
    # Wilder regimes reach the target more often, so the target speaks for them.
    asked = torch.as_tensor(pinned.regime.volatility)[:20].mean()
    assert torch.as_tensor(weighted.regime.volatility)[:20].mean() != asked


def test_the_report_says_pinned(pipeline, tmp_path):
    report.write(pipeline.run(two(Condition("terminal", -0.1)), **SIZE), tmp_path)
    page = Path(tmp_path / "report.html").read_text()
    assert "<dt>pinned</dt><dd>told: -10.0% at bar 20</dd>" in page
    assert "not how likely" in page
    report.write(pipeline.run(two(), **SIZE), tmp_path / "free")
    assert "not how likely" not in Path(tmp_path / "free" / "report.html").read_text()


def test_absolute_prices_are_met_to_the_last_digit(pipeline):
    done = pipeline.run(two(Condition("terminal", 4123.45, 5 / BARS_PER_YEAR, True)), **SIZE)
    assert set(of_scenario(done, 0)[:, 4].tolist()) == {4123.45}


def test_paths_head_for_a_target_beyond_the_horizon(pipeline):
    far = two(Condition("terminal", math.expm1(-1.0), 40 / BARS_PER_YEAR))
    done = pipeline.run(far, **SIZE)
    assert any("beyond the 20 bars" in w for w in done.warnings)
    middle = (of_scenario(done, 0)[:, -1] / done.spot).log()
    spread = 0.6 * math.sqrt(20 / 252 / 2)
    assert abs(float(middle.mean()) + 0.5) < 4 * spread / math.sqrt(20) + 0.1
    assert float(middle.std()) > 0.02
    assert done.imposed[0].bar == 40


def test_drawdowns_are_imposed_on_the_guide(pipeline):
    done = pipeline.run(two(Condition("drawdown", -0.25)), **SIZE)
    guides = done.guides["guide"].to_numpy().reshape(SIZE["n_paths"], -1)
    marks = done.guides["anchored"].to_numpy().reshape(SIZE["n_paths"], -1)
    close = done.column("close").numpy()
    for path in [p for p, s in enumerate(done.scenario_of_path) if s == 0]:
        level = torch.tensor([done.spot, *guides[path]])
        assert float((1 - level / level.cummax(0).values).max()) == pytest.approx(0.25)
        anchors = torch.tensor([done.spot, *close[path][marks[path]]])
        assert float((1 - anchors / anchors.cummax(0).values).max()) == pytest.approx(0.25)
    assert any("drawdowns hold for the guide" in w for w in done.warnings)


def test_a_search_that_finds_nothing_says_so(pipeline, monkeypatch):
    monkeypatch.setattr("parfait.conditions.SEARCH", 5000)
    hopeless = two(Condition("terminal", 9.0))
    with pytest.raises(UserError, match=r"'told': none of .*=pinned"):
        replace(pipeline, condition="rejection").run(hopeless, **SIZE)
    with pytest.raises(UserError, match=r"sde\.condition=nailed"):
        replace(pipeline, condition="nailed")


def planned(*conditions, slot="crash", mode="pinned", horizon=20):
    component = two(*conditions, slot=slot).components[0]
    return plan(component, 100.0, horizon, BARS_PER_YEAR, mode)


def made(*conditions, **options):
    found, said = planned(*conditions, **options)
    assert found is not None
    return found, said


def test_a_shock_that_recovers_is_no_end_point():
    found, said = made(Condition("terminal", -0.2), slot="shock_and_recover")
    assert found.target.drawdown == pytest.approx(0.2)
    assert not found.target.waypoints
    assert any("recovery follows" in sentence for sentence in said)
    ends, _ = made(Condition("terminal", -0.2))
    assert ends.target.drawdown is None
    assert ends.prices == ((20, 80.0),)


def test_a_rebound_counts_from_the_low():
    fall, back = Condition("terminal", -0.3, 3 / 365), Condition("terminal", 0.2, 14 / 365)
    found, _ = made(back, fall, slot="shock_and_recover")
    assert found.prices == ((2, pytest.approx(70)), (10, pytest.approx(84)))
    apart, _ = made(back, fall)
    assert apart.prices == ((2, pytest.approx(70)), (10, pytest.approx(120)))


def test_conditions_that_cannot_be_had_are_said():
    both = (Condition("terminal", -0.1), Condition("drawdown", -0.2))
    found, said = made(*both)
    assert found.target.drawdown is None
    assert any("rejection imposes both" in sentence for sentence in said)
    found, said = made(*both, mode="rejection")
    assert found.target.drawdown == pytest.approx(0.2)
    assert found.target.waypoints
    for lost, word in (
        (Condition("terminal", -0.1, 30.0), "too far"),
        (Condition("drawdown", 120.0, absolute=True), "no fall"),
    ):
        nothing, said = planned(lost)
        assert nothing is None
        assert any(word in sentence for sentence in said)
    clash = (Condition("terminal", -0.1, 0.04), Condition("waypoint", -0.2, 0.0401))
    found, said = made(*clash)
    assert found.prices == ((10, 80.0),)
    assert any("replaces" in sentence for sentence in said)
    assert planned()[0] is None
