"""Every stage sweeps: two jobs, two whole folders that differ where they were told to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.semantic.lm.conftest import TEXTS, causal_model

ROOT = Path(__file__).parents[1]
TRAINING = ["trainer=cpu", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]


def parfait(cwd: Path, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parfait", stage, "-m", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def swept(
    cwd: Path, stage: str, key: str, values: tuple[object, object], *settings: str
) -> tuple[Path, Path]:
    """Folders of a sweep over two values of one setting, which is all their configurations differ
    by.
    """
    cwd.mkdir(exist_ok=True)
    words = [f"{key}={values[0]},{values[1]}", *settings, "output_dir=sweep"]
    done = parfait(cwd, stage, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    folders = cwd / "sweep" / "0", cwd / "sweep" / "1"
    first, second = ((f / ".hydra" / "config.yaml").read_text().splitlines() for f in folders)
    changed = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert len(changed) == 2  # and the folder itself
    told = [line.split(",") for line in (cwd / "sweep" / "sweep.csv").read_text().splitlines()]
    assert told[0] == ["job", "value", key]
    assert {row[0]: row[2] for row in told[1:]} == {"0": str(values[0]), "1": str(values[1])}
    names = [{str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()} for f in folders]
    # Checkpoints and cells are named by what is in them.
    assert len(names[0]) == len(names[1])
    return folders


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("distill")
    first, second = swept(cwd, "distill", "seed", (0, 1), "n=300", "workers=1", "cache=cache")
    texts = [pl.read_parquet(f / "examples.parquet")["text"].to_list() for f in (first, second)]
    assert len(texts[0]) == len(texts[1]) == 300
    assert texts[0] != texts[1]
    return first


@pytest.mark.slow
def test_label(tmp_path: Path) -> None:
    stride = (200, 400)
    folders = swept(tmp_path, "label", "labels.stride", stride, "figures=0")
    rows = [json.loads((f / "summary.json").read_text())["windows"] for f in folders]
    assert rows[1] < rows[0] < 2 * rows[1] + 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["model=unet1d_tiny", "data.batch_size=8", "data.bar_sizes=[1]"],
        ["model=labeler", "model.width=8", "model.calibration_windows=32", "data.bars=1024"],
    ],
    ids=["unet1d_tiny", "labeler"],
)
def test_train(tmp_path: Path, settings: list[str]) -> None:
    settings = [*settings, "data.steps_per_epoch=3", *TRAINING]
    check_models(swept(tmp_path, "train", "seed", (1, 2), *settings))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["student", "qwen2_lora"])
def test_train_a_language_model(tmp_path: Path, examples: Path, model: str) -> None:
    settings = ["data.limit=24", "data.validation=8", "model.ensemble=1", f"data.path={examples}"]
    if model == "student":
        settings += ["model.small.hidden=16", "model.small.layers=1", "model.small.heads=2"]
        settings += ["model.small.intermediate=32", "data.vocabulary=600"]
    else:
        from parfait.semantic.lm.tokens import learn_tokenizer

        base = causal_model(tmp_path / "base", learn_tokenizer(iter(TEXTS), 600), 32)
        settings += [f"model.base={base}", "model.dtype=float32"]
    settings = [f"model={model}", *settings, *TRAINING]
    check_models(swept(tmp_path, "train", "seed", (1, 2), *settings))


def check_models(folders: tuple[Path, Path]) -> None:
    weights = [sorted((f / "model").rglob("*.safetensors")) for f in folders]
    assert weights[0]
    assert [p.read_bytes() for p in weights[0]] != [p.read_bytes() for p in weights[1]]
    for folder in folders:
        assert isinstance(yaml.safe_load((folder / ".hydra" / "done.yaml").read_text()), dict)


@pytest.mark.slow
def test_simulate(tmp_path: Path) -> None:
    few = ["n_paths=4", "horizon=5", "instruction='Calm, then a crash'"]
    folders = swept(tmp_path, "simulate", "seed", (1, 2), *few)
    frames = [pl.read_parquet(f / "paths.parquet") for f in folders]
    assert frames[0].select("path", "timestamp").equals(frames[1].select("path", "timestamp"))
    assert not frames[0]["close"].equals(frames[1]["close"])
    assert all((f / "report.html").is_file() for f in folders)


@pytest.mark.slow
def test_evaluate(tmp_path: Path) -> None:
    few = ["suite=smoke", "windows=40", "questions=[facts]", "rows=[bootstrap projected]"]
    folders = swept(tmp_path, "evaluate", "every", (4, 6), *few, "workers=1")
    told = [json.loads((f / "evaluation.json").read_text()) for f in folders]
    assert [t["settings"]["every"] for t in told] == [4, 6]
    assert told[0]["data"] == told[1]["data"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit"])
def test_launchers_run_the_jobs_that_one_process_runs(tmp_path: Path, launcher: str) -> None:
    few = ["n=60", "workers=1", "cache=cache"]
    alone = swept(tmp_path / "alone", "distill", "seed", (0, 1), *few)
    beside = swept(tmp_path / "beside", "distill", "seed", (0, 1), *few, f"launcher={launcher}")
    for one, other in zip(alone, beside, strict=True):
        name = "examples.parquet"
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_jobs_beside_each_other_and_one_that_fails(tmp_path: Path) -> None:
    """Costs are told without a run; a job in a process of its own fails with its sentence."""
    words = ["launcher=joblib", "hydra.launcher.n_jobs=2", "n=0,10", "dry_run=true"]
    done = parfait(tmp_path, "distill", *words, "teacher=openai")
    assert done.returncode == 2
    assert "error: job 0: n=0 must be at least 1" in done.stderr
    assert done.stderr.count("n=0 must be") == 1
    assert "teacher=openai: " in done.stdout
