"""Episodes in, agents and what they earned out; interruptions and mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import parfait.stages.rl as stage
from parfait.agents import PPO, Agent, scenarios
from parfait.agents.judge import METRICS
from parfait.stages.train import train
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.report.pages import faults

ROOT = Path(__file__).parents[2]
ARMS = ("history", "bootstrap", "scenarios")


def config(folder: Path, *overrides: str) -> DictConfig:
    words = ["debug=rl", f"output_dir={folder}", f"data.cache={folder.parent}/cache", *overrides]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", words)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "DRAWS", 50)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A whole run and its result."""
    folder = tmp_path_factory.mktemp("rl") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "DRAWS", 50)
        return folder, train(config(folder))


def results(folder: Path) -> dict[str, bytes]:
    """All files but those that tell of the run itself."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and ".hydra" not in file.parts and file.suffix != ".log"
    }


def test_a_run_leaves_agents_rows_figures_and_a_page(finished: tuple[Path, float]) -> None:
    folder, value = finished
    told = json.loads((folder / "summary.json").read_text())
    assert told["objective"] == {"test/loss": value}
    agents = sorted(file.stem for file in (folder / "agents").iterdir())
    assert agents == sorted(f"{arm}_{k}" for arm in ARMS for k in range(2))
    rows = pl.read_parquet(folder / "results.parquet")
    count = rows.group_by("arm").agg(pl.len()).sort("arm")
    assert dict(count.iter_rows()) == dict.fromkeys(ARMS, 2 * 2 * 16) | {
        "hold": 32,
        "flat": 32,
        "random": 64,
    }
    assert rows["first"].min() > pl.Series([told["data"]["train_end"]]).str.to_datetime()[0]
    # The loss is minus what the rows of the three arms say.
    mean = {
        r["arm"]: r["value"] for r in told["rows"] if not r["minus"] and r["metric"] == "log_return"
    }
    assert value == pytest.approx(-np.mean([mean[arm] for arm in ARMS]))
    assert mean["flat"] == 0.0
    pairs = {(r["arm"], r["minus"]) for r in told["rows"] if r["minus"]}
    assert {("scenarios", "history"), ("scenarios", "bootstrap")} <= pairs
    assert all(r["low"] <= r["high"] and r["metric"] in METRICS for r in told["rows"])
    trained = {row["name"]: row["paths"] for row in told["data"]["trained_on"]}
    assert trained["scenarios"] == trained["bootstrap"] == 2 * 4
    assert {"accounts.png", "differences.png", "lineage.json"} <= {f.name for f in folder.iterdir()}
    page = (folder / "report.html").read_text()
    assert not faults(page)
    for words in told["labels"].values():
        assert words in page


def test_a_stopped_run_continues_to_the_same_bytes(
    finished: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three agents of six, without what was generated before."""
    trained, whole = [], PPO.train

    def three_only(self: PPO, *given: object, **more: object) -> Agent:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(whole(self, *given, **more))  # type: ignore[arg-type]
        return trained[-1]

    with monkeypatch.context() as patch:
        patch.setattr(PPO, "train", three_only)
        with pytest.raises(KeyboardInterrupt):
            train(config(tmp_path / "run", "data.cache=null"))
    assert len(list((tmp_path / "run" / "agents").iterdir())) == 3
    kept = results(tmp_path / "run")
    assert train(config(tmp_path / "run", "data.cache=null")) == finished[1]
    again, first = results(tmp_path / "run"), results(finished[0])
    assert {name: again[name] for name in kept} == kept
    assert again == first


def test_scenarios_are_kept_and_anything_else_they_are_made_of_makes_new_ones(
    finished: tuple[Path, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = finished[0].parent / "cache"
    files = set((cache / "scenarios").iterdir())
    assert len(files) == 2

    def refuse(*given: object, **more: object) -> None:
        raise AssertionError("generated again")

    episodes = stage.instantiate(config(finished[0]).data)
    bars = episodes.scenarios(lambda *told: None)
    assert bars.shape == (8, 64 + 16, 5)
    monkeypatch.setattr(scenarios.Pipeline, "run", refuse)
    np.testing.assert_array_equal(episodes.scenarios(lambda *told: None), bars)
    other = stage.instantiate(config(finished[0], "data.sentences=[{weight: 1, text: crash}]").data)
    with pytest.raises(AssertionError, match="generated again"):
        other.scenarios(lambda *told: None)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["ckpt=embedded"], "ckpt=embedded: agents start from random weights"),
        (["+trainer.fast_dev_run=true"], "debug=rl"),
        (["optimized_metric=val/loss"], "it is test/loss"),
        (["data.arms=[dreams]"], "data.arms"),
        (["model.broker.commission_bps=-1"], "broker.commission_bps"),
        (["model.reward=fame"], "fame"),
        (["model.weights=[1,2]"], "weights"),
        (["data.run=nowhere"], "nowhere"),
        (["+data.colour=red"], "colour"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_no_folder(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        train(config(tmp_path / "run", *overrides))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_sweep_over_seeds_runs_and_skips_what_is_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parfait", "train", "-m", "experiment=rl_ppo", "debug=rl"]
    command += ["seed=1,2", "output_dir=sweep"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run() -> str:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    run()
    files = [(tmp_path / "sweep" / job / "agents/history_0.safetensors") for job in "01"]
    assert files[0].read_bytes() != files[1].read_bytes()
    told = json.loads((tmp_path / "sweep" / "0" / "summary.json").read_text())
    assert told["command"] == "python train.py experiment=rl_ppo debug=rl seed=1"
    assert run().count("is done already: skipped") == 2
