"""What a page says under "how to reproduce" makes the run again."""

import ast
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from parfait.basket import Basket
from parfait.data import embedded_bars
from parfait.pipeline import Pipeline
from parfait.report.command import reproduce, reproduce_basket
from parfait.simulation import Simulation
from parfait.stages.portfolio import hold, read_portfolio
from parfait.stages.schema import SimulateConfig, validate
from parfait.stages.simulate import _asked, layers
from parfait.stages.sources import read_sources
from parfait.stress import Stress
from parfait.utils.argv import rewrite
from parfait.utils.paths import conf_dir, top_level_keys

SMALL = ("n_paths=2", "horizon=3")
CHANGED = (
    *("sde=merton", "sde.compensate=false", "sde.condition=rejection"),
    *("sde.guide.every=3", "sde.guide.jump_sigmas=2.0", "bars_per_year=260"),
    *("sampler=heun", "sampler.steps=2"),
)
WEIGHTS = "symbol,weight\nSP500,0.4\n"


def composed(words: Sequence[str]) -> Any:
    """The settings of a command line."""
    keys = top_level_keys("simulate")
    words = rewrite(words, known_keys=keys, command="", read_stdin=str)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("simulate", words)


def settings(cfg: Any) -> dict[Any, Any]:
    """All of them but the folder, which is new for every run."""
    held = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(held, dict)
    return {k: v for k, v in held.items() if k != "output_dir"}


def made(cfg: Any) -> tuple[Simulation | Basket, Stress | None]:
    """The run as ``simulate`` makes it, and its portfolio."""
    asked = validate(cfg, SimulateConfig)
    (source,) = read_sources(asked)
    run = Pipeline.load(**layers(cfg, asked)).run(source, **_asked(asked))
    return run, hold(run, read_portfolio(asked))


def command_of(run: Simulation | Basket, held: Stress | None = None) -> str:
    return reproduce_basket(run, held) if isinstance(run, Basket) else reproduce(run, held)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """By symbol, with one of weights beside them."""
    for symbol, frame in embedded_bars().items():
        frame.tail(200).write_csv(tmp_path / f"{symbol}.csv")
    (tmp_path / "w.csv").write_text(WEIGHTS)
    return {symbol: str(tmp_path / f"{symbol}.csv") for symbol in ("SP500", "NASDAQ")}


@pytest.mark.parametrize("changed", [(), CHANGED], ids=["usual", "changed"])
@pytest.mark.parametrize("several", [False, True], ids=["asset", "basket"])
def test_the_command_composes_to_the_settings_of_the_run(
    files: dict[str, str], tmp_path: Path, several: bool, changed: tuple[str, ...]
) -> None:
    words = ["War escalates; stocks fall 20%", *SMALL, *changed, f"portfolio={tmp_path / 'w.csv'}"]
    if several:
        pairs = ", ".join(f"{symbol}: {file}" for symbol, file in files.items())
        words += [f"history={{{pairs}}}", "asset={SP500: equity, NASDAQ: equity}"]
        words += ["correlation=[[1.0,0.5],[0.5,1.0]]"] if changed else []
    cfg = composed(words)
    command = command_of(*made(cfg))
    assert settings(composed(shlex.split(command)[2:])) == settings(cfg)
    if not changed:
        assert not any(f" {name}" in command for name in ("sde.", "sampler", "bars_per_year"))


@pytest.mark.parametrize("several", [False, True], ids=["asset", "basket"])
def test_scenarios_of_a_file_are_told_by_the_file(
    files: dict[str, str], tmp_path: Path, several: bool
) -> None:
    file = tmp_path / "edited of it.json"
    row = {"name": "calm", "probability": 1, "params": {"drift": 0.1, "volatility": 0.2}}
    file.write_text(json.dumps([row]))
    words = [f"scenarios='{file}'", *SMALL, f"portfolio={tmp_path / 'w.csv'}"]
    if several:
        pairs = ", ".join(f"{symbol}: {place}" for symbol, place in files.items())
        words += [f"history={{{pairs}}}", "asset={SP500: equity, NASDAQ: equity}"]
    cfg = composed(words)
    command = command_of(*made(cfg))
    assert command.startswith("python simulate.py scenarios=")
    assert settings(composed(shlex.split(command)[2:])) == settings(cfg)


def test_a_history_of_any_name_composes(files: dict[str, str], tmp_path: Path) -> None:
    place = Path(files["SP500"]).rename(tmp_path / "my [best], of 2018 (a).csv")
    cfg = composed(["War escalates", *SMALL, f"history='{place}'"])
    again = composed(shlex.split(command_of(*made(cfg)))[2:])
    assert settings(again)["history"] == str(place)


def test_what_is_not_in_a_file_is_told_as_python(tmp_path: Path) -> None:
    """The call holds no option of the command line, and an edited copy is not of its file."""
    file, weights = tmp_path / "scenarios.json", tmp_path / "w.csv"
    row = {"name": "calm", "probability": 1, "params": {"drift": 0.1, "volatility": 0.2}}
    file.write_text(json.dumps([row]))
    weights.write_text(WEIGHTS)
    run, held = made(composed([f"scenarios={file}", *SMALL, *CHANGED, f"portfolio={weights}"]))
    assert isinstance(run, Simulation)
    edited = replace(run, scenarios=replace(run.scenarios, confidence=0.9))
    for call in (reproduce(edited), reproduce(edited, held)):
        tree = ast.parse(call, mode="eval")
        found = {n.arg: n.value for n in ast.walk(tree) if isinstance(n, ast.keyword)}
        assert {k: ast.literal_eval(v) for k, v in found.items()} == {
            **{"sde": "merton", "sde_options": {"compensate": False}, "condition": "rejection"},
            **{"sampler": "heun", "sampler_steps": 2},
            **{"n_paths": 2, "horizon": 3, "seed": 0},
            **{"bars_per_year": 260.0, "guide_every": 3, "jump_sigmas": 2.0},
        }
    assert reproduce(edited, held) == f"stress({reproduce(edited)}, {str(weights)!r})"
