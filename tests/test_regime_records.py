"""scenarios.json, edited by hand, and back."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from parfait.pipeline import Pipeline
from parfait.regime import Component, Condition, Phase, Regime, RegimeDistribution
from parfait.regime.records import from_records, read_scenarios
from parfait.simulation import Simulation
from parfait.utils.errors import UserError
from parfait.utils.files import json_bytes

WIDTHS = {"drift": 0.3, "volatility": 0.2, "jump_intensity": 0.4, "jump_std": 0.1, "hurst": 0.2}
CRASH = Regime(drift=-0.8, volatility=0.5, jump_intensity=6.0, jump_mean=-0.05, jump_std=0.04)
CALM = Regime(drift=0.1, volatility=0.12, initial_volatility=0.2)


@pytest.fixture(scope="module")
def rows() -> Any:
    """As ``simulate`` writes them."""
    target = Condition("terminal", -0.2, 14 / 365, quote="20%")
    later = Phase.around(0.03, "rebound", CALM, WIDTHS)
    crash = Component.around(
        "crash", "crash", 0.6, CRASH, WIDTHS, conditions=(target,), phases=(later,)
    )
    calm = Component.around("calm", "calm", 0.4, CALM, WIDTHS, rationale="nothing happens")
    given = RegimeDistribution((crash, calm))
    simulation = Pipeline.load().run(given, n_paths=8, horizon=10)
    return simulation, json.loads(json_bytes(simulation.scenarios_table()))


def test_what_was_written_gives_the_same_paths(rows: Any, tmp_path: Path) -> None:
    simulation, records = rows
    file = tmp_path / "scenarios.json"
    file.write_bytes(json_bytes(records))
    found = read_scenarios(file)
    for a, b in zip(found.components, simulation.resolved.components, strict=True):
        assert (a.name, a.rationale, a.conditions) == (b.name, b.rationale, b.conditions)
        assert a.weight == pytest.approx(b.weight)
        torch.testing.assert_close(a.mean, b.mean, atol=1e-9, rtol=0)
        torch.testing.assert_close(a.sd, b.sd, atol=1e-6, rtol=0)
        for p, q in zip(a.phases, b.phases, strict=True):
            torch.testing.assert_close(p.sd, q.sd, atol=1e-6, rtol=0)
    again = Pipeline.load().run(found, n_paths=8, horizon=10)
    torch.testing.assert_close(again.column("close"), simulation.column("close"), rtol=1e-5, atol=0)


def test_scenarios_stay_about_their_market(tmp_path: Path) -> None:
    pipeline = Pipeline.load(sampler_steps=1)
    told = pipeline.run("Gold surges 10%", n_paths=2, horizon=2)
    assert isinstance(told, Simulation)
    file = tmp_path / "scenarios.json"
    file.write_bytes(json_bytes(told.scenarios_table()))
    found = read_scenarios(file)
    assert (told.scenarios.asset_class, found.asset_class) == ("gold", "gold")
    again = pipeline.run(found, n_paths=2, horizon=2)
    said = "The reading is about gold, but no history was given"
    assert [sum(said in w for w in s.warnings) for s in (told, again)] == [1, 1]


def test_scenarios_of_one_file_are_about_one_market(rows: Any) -> None:
    records = copy.deepcopy(rows[1])
    records[1]["asset_class"] = "gold"
    with pytest.raises(UserError, match="is of equity and gold; give all scenarios one"):
        from_records(records)
    for record in records:
        del record["asset_class"]
    assert from_records(records).asset_class == "equity"


def test_a_distribution_as_an_object_is_read_too(rows: Any, tmp_path: Path) -> None:
    file = tmp_path / "distribution.json"
    file.write_text(rows[0].scenarios.to_json())
    assert read_scenarios(file) == rows[0].scenarios


def test_an_edited_centre_keeps_its_width(rows: Any) -> None:
    records = copy.deepcopy(rows[1])
    records[0]["params"]["volatility"] = 2.0
    found = from_records(records).components[0]
    assert found.regime.volatility == pytest.approx(2.0)
    assert float(found.sd[1]) == pytest.approx(WIDTHS["volatility"], abs=1e-6)
    del records[0]["interval"]
    assert float(from_records(records).components[0].sd.max()) == 0


def test_probabilities_are_scaled_and_said_so(rows: Any) -> None:
    records = copy.deepcopy(rows[1])
    records[0]["probability"] = 1.2
    found = from_records(records)
    assert found.weights.tolist() == pytest.approx([0.75, 0.25])
    assert found.warnings == ("The probabilities summed to 1.6; they were scaled to sum to 1.",)
    assert from_records(rows[1]).warnings == ()


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["probability"], -0.1, r"scenario 2 \(calm\): probability = -0.1 must be at least 0"),
        (["probability"], "0.4", "probability = '0.4' is not a number"),
        (["probability"], True, "probability = True is not a number"),
        (["params", "volatility"], -1, r"Regime.volatility = -1 is outside \[0.001, 10\]"),
        (["params", "volatility"], [0.1, 0.2], "params.volatility must be a number"),
        (["params", "volatilty"], 0.2, "no field 'volatilty'"),
        (["params"], None, "params must be an object"),
        (["interval", "drift"], [0.2, 0.1], r"interval.drift = \[0.2, 0.1\] must be in order"),
        (["interval", "drift"], [0.1], "interval.drift must be"),
        (["interval", "colour"], [0, 1], "interval has no field 'colour'"),
        (["name"], 3, "name must be a text"),
        (["asset_class"], "tulips", "asset class 'tulips' is unknown"),
        (["phases"], {}, "phases must be a list"),
        (["phases"], [{"after": -1, "params": {"drift": 0, "volatility": 1}}], "after = -1"),
        (["conditions"], [{"kind": "miracle", "level": 0.1}], "must be terminal, waypoint"),
        (["conditions"], [{"kind": "terminal"}], "conditions.level = None is not a number"),
        (["colour"], "red", "a scenario has no field 'colour'"),
    ],
)
def test_what_does_not_fit_is_named(rows: Any, path: list[str], value: Any, sentence: str) -> None:
    records = copy.deepcopy(rows[1])
    at = records[1]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(UserError, match=sentence) as told:
        from_records(records, "scenarios=x.json")
    assert str(told.value).startswith("scenarios=x.json, scenario 2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "1 to 8 scenarios, not 0"),
        ("[1]", "scenario 1: a scenario must be an object"),
        ("3", "must be a list of scenarios"),
        ('[{"symbol": "SPX", "name": "x"}]', "is of several assets"),
        ('[{"name": "x", "probability": NaN}]', "NaN, which is not a number"),
        ('[{"probability": 0, "params": {"drift": 0, "volatility": 1}}]', "sum to 0"),
        ('[{"name": "x",\n}]', "line 2 column 1"),
    ],
)
def test_what_is_no_list_of_scenarios_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "edited.json"
    file.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_scenarios(file)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_scenarios(tmp_path / "absent.json")
