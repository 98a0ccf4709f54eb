"""Every stage tells W&B what it did, and what its results were made of."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.unet1d import UNet1D
from parfait.semantic.examples import read_examples
from parfait.stages.simulate import simulate
from parfait.utils import lineage
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.labelling.history import market
from tests.test_chain import write_base
from tests.utils.wandb_files import CANARY, inspect, leaks, offline, runs

ROOT = Path(__file__).parents[2]
STAGES = ("label", "distill", "train", "merge", "simulate", "evaluate")
TINY = ["trainer=cpu", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]
NETWORK = [
    *("model=unet1d_tiny", "data.steps_per_epoch=2", "data.batch_size=8", "data.history=60"),
    *("data.validation_windows=16", "data.bar_sizes=[1]", "data.horizon=12"),
]
LORA = ["model=qwen2_lora", "model.rank=2", "model.hidden=8", "model.ensemble=1"]
LORA += ["trainer.precision=32-true", "model.dtype=float32", "data.tokens=400", "data.validation=5"]
SUITE = ["suite=smoke", "windows=16", "rows=[bootstrap projected]", "questions=[validity]"]


def config(stage: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(stage, ["logger=wandb", "tags=[trial]", *overrides])


def run(stage: str, *overrides: str) -> Any:
    return getattr(import_module(f"parfait.stages.{stage}"), stage)(config(stage, *overrides))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_takes_the_same_loggers(stage: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert set(compose(stage).logger or {}) == ({"csv"} if stage == "train" else set())
    for option, loggers in (("none", set()), ("csv", {"csv"}), ("many", {"csv", "wandb"})):
        cfg = config(stage, f"logger={option}", "name=mine", "tags=[x]")
        assert set(cfg.logger or {}) == loggers
    assert (cfg.logger.wandb.group, cfg.logger.wandb.tags) == ("mine", ["x"])


def test_a_simulation_tells_what_a_dashboard_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    monkeypatch.setattr("parfait.report.write", lambda simulation, folder, **_: [])  # takes longest
    torch.manual_seed(0)
    net = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16)
    DenoiserModel(net).save(tmp_path / "model")
    (tmp_path / "two.txt").write_text("A crash\nA calm market\n")
    asked = ["n_paths=6", "horizon=12", f"run={tmp_path / 'model'}"]
    cfg = config("simulate", *asked, f"output_dir={tmp_path / 'one'}")
    cfg.instruction = "A flash crash"
    simulate(cfg)
    file = f"instruction_file={tmp_path / 'two.txt'}"
    simulate(config("simulate", *asked, file, f"output_dir={tmp_path / 'two'}"))
    one, two = runs(tmp_path)
    for found in (one, two):
        told = found["summary"]
        assert (told["checks/valid_bars"], told["checks/max_guide_error"]) == (1, 0)
        assert 0 <= told["confidence"] <= 1
        assert told["checks/alignment/volatility/recovered"] > 0
        assert {"seconds/read", "seconds/bars", "risk/VaR95", "n_paths"} <= set(told)
        assert (
            told["tables/regimes"]["nrows"] >= 4
        )  # drift and volatility, of a scenario and of all
        assert told["tables/candles"]["nrows"] % 12 == 0
        assert (found["run"]["job_type"], found["run"]["run_group"]) == ("simulate", "simulate")
    assert two["summary"]["instructions"] == two["summary"]["tables/by_instruction"]["nrows"] == 2
    lines = lineage.read(tmp_path / "two")
    assert lines is not None
    assert {"001/paths.parquet", "002/paths.parquet"} <= set(lines["outputs"])


def sha256(folder: Path, name: str) -> str:
    told = lineage.read(folder)
    assert told is not None
    assert told["outputs"][name]["sha256"]
    return told["outputs"][name]["sha256"]


@pytest.mark.slow
def test_from_scenarios_back_to_the_data_by_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stages in one process, each of them one run."""
    offline(monkeypatch, tmp_path)
    (tmp_path / "in").mkdir()
    market(1200, 1).write_csv(tmp_path / "in" / "AAA.csv")
    at = {name: tmp_path / name for name in ("label", "distill", "network", "student", "lora")}
    at |= {name: tmp_path / name for name in ("merge", "simulate", "evaluate")}
    out = {name: f"output_dir={folder}" for name, folder in at.items()}
    kept = f"paths.outputs={tmp_path}"
    more = ["labels.method=closed", "data.bars_per_year=252", "figures=1"]

    run("label", f"data.path={tmp_path / 'in'}", out["label"], *more)
    run("distill", "n=60", "workers=1", out["distill"], kept)
    bars = f"data.path={at['label'] / 'bars' / 'AAA.parquet'}"
    run("train", *TINY, *NETWORK, bars, out["network"], kept)
    taught = [*TINY, f"data.path={at['distill']}", kept]
    small = ["model.small.hidden=16", "model.small.layers=1", "model.small.intermediate=16"]
    run("train", "model=student", *small, "data.vocabulary=512", *taught, out["student"])
    write_base(tmp_path / "base", read_examples(at["distill"]))
    run("train", *LORA, f"model.base={tmp_path / 'base'}", *taught, out["lora"])
    run("merge", f"run={at['lora']}", out["merge"])
    reader = ["semantic=student", f"semantic.run={at['student']}", f"run={at['network']}"]
    text = ["instruction='A crash, then calm'", "n_paths=6", "horizon=12"]
    run("simulate", *text, *reader, f"history={tmp_path / 'in' / 'AAA.csv'}", out["simulate"])
    run("evaluate", *SUITE, f"run={at['network']}", "data.horizon=12", out["evaluate"])

    found = {r["name"]: r for r in runs(tmp_path)}
    assert set(found) == set(at)
    stages = {
        **{name: name for name in at},
        **dict.fromkeys(("network", "student", "lora"), "train"),
    }
    for name, r in found.items():
        assert (r["run"]["job_type"], r["run"]["run_group"]) == (stages[name], stages[name])
        assert (r["exit"], r["tags"]) == (0, ["trial"])
        assert {a["type"] for a in r["artifacts"]} >= {
            {"merge": "model", "train": "model", "simulate": "scenarios"}.get(
                stages[name], "evaluation" if name == "evaluate" else "dataset"
            )
        }
    told = {name: r["summary"] for name, r in found.items()}
    assert told["label"]["windows"] > 0
    assert told["label"]["quality/kept"] == 1
    assert (told["distill"]["examples"], told["distill"]["tables/hashes"]["nrows"]) == (60, 4)
    assert told["distill"]["split/train"] > 0
    assert told["network"]["best/val/loss"] == pytest.approx(told["network"]["val/loss"]["min"])
    assert told["merge"]["largest_difference"] < 0.02
    assert any(key.startswith("validity/") for key in told["evaluate"])

    given = {name: r["config"].get("inputs") for name, r in found.items()}
    assert given["student"]["data"]["sha256"] == sha256(at["distill"], "examples")
    assert given["merge"]["model"]["sha256"] == sha256(at["lora"], "model")
    assert given["lora"]["base"]["sha256"] == lineage.fingerprint(tmp_path / "base")["sha256"]
    way = given["simulate"]
    assert way["model"]["sha256"] == sha256(at["network"], "model")
    learnt = way["model"]["made_by"]["inputs"]["data"]
    assert learnt["sha256"] == given["network"]["data"]["sha256"]
    assert learnt["made_by"]["outputs"]["bars"]["sha256"] == sha256(at["label"], "bars")
    raw = lineage.fingerprint(tmp_path / "in" / "AAA.csv")["sha256"]
    assert learnt["made_by"]["inputs"]["data"]["sha256"] == raw == way["history"]["sha256"]
    read_by = way["reader"]["made_by"]["inputs"]["data"]
    assert read_by["sha256"] == sha256(at["distill"], "examples")
    assert lineage.read(at["simulate"]) is not None

    assert not leaks(tmp_path)


@pytest.mark.slow
def test_what_fails_is_known_and_tells_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    kept = f"paths.outputs={tmp_path}"
    for stage, mistake in MISTAKES.items():
        folder = tmp_path / "failed" / stage
        with pytest.raises(UserError):
            run(stage, *mistake, f"output_dir={folder}", kept)
    ends = {r["run"]["job_type"]: r["exit"] for r in runs(tmp_path / "failed")}
    assert ends == dict.fromkeys(MISTAKES, 2)
    monkeypatch.setattr("parfait.stages.tasks.prepare", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("evaluate", *MISTAKES["evaluate"], f"output_dir={tmp_path / 'crashed' / 'run'}")
    assert [r["exit"] for r in runs(tmp_path / "crashed")] == [1]
    assert "ZeroDivisionError" in (tmp_path / "crashed" / "run" / "evaluate.log").read_text()
    assert not leaks(tmp_path)


TOKEN = f"access_token: {CANARY}"
MISTAKES = {
    "label": ["data.path=absent", f"data.options={{{TOKEN}}}"],
    "train": [*TINY, "model=unet1d_tiny", "data.path=absent", f"data.options={{{TOKEN}}}"],
    "merge": ["run=absent"],
    "simulate": ["instruction=calm", "run=absent", f"+semantic.{TOKEN.replace(': ', '=')}"],
    "evaluate": ["run=absent", f"data.options={{{TOKEN}}}"],
}


@pytest.mark.slow
def test_a_sweep_is_as_many_runs_as_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command line, a secret among the overrides; ``wandb leet`` shows the last of them."""
    offline(monkeypatch, tmp_path)
    sweep = tmp_path / "sweep"
    command = [sys.executable, str(ROOT / "train.py"), "-m", "logger=wandb", "tags=[trial]"]
    command += [*TINY, *NETWORK, "seed=1,2", "model.net.width=8,16", "name=mine"]
    command += [f"output_dir={sweep}", f"paths.outputs={tmp_path}", f"data.options={{{TOKEN}}}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = runs(sweep)
    assert len({r["run_id"] for r in found}) == 4
    assert {r["name"] for r in found} == {f"sweep/{k}" for k in range(4)}
    keys = {frozenset(r["summary"]) for r in found}
    assert len(keys) == 1
    assert {"val/loss", "best/val/loss", "train/loss", "parameters"} <= set(*keys)
    for r in found:
        assert (r["run"]["run_group"], r["run"]["job_type"]) == ("mine", "train")
        assert (r["tags"], r["exit"]) == (["trial"], 0)
    swept = {(r["config"]["seed"], r["config"]["model"]["net"]["width"]) for r in found}
    assert swept == {(1, 8), (1, 16), (2, 8), (2, 16)}
    (latest,) = inspect(sweep / "wandb", "--summary")
    assert latest["run_id"] == found[-1]["run_id"]
    assert not leaks(tmp_path)
