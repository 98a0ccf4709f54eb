"""Two processes train one model: data of their own, equal weights, one folder, exact resume."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from parfait.regime import MarketContext
from parfait.semantic import load_reader
from parfait.semantic.examples import Example, write_examples

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("ddp_probe.py")
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
MODELS = {
    "unet1d": [
        *("model=unet1d_tiny", "data.steps_per_epoch=3", "data.batch_size=8"),
        *("data.validation_windows=16", "data.bar_sizes=[1]", "model.net.dropout=0.1"),
    ],
    "labeler": [
        *("model=labeler", "model.width=8", "model.calibration_windows=32", "data.bars=1024"),
        *("data.largest=32", "data.steps_per_epoch=3"),
    ],
    "student": [
        *("model=student", "data.path={examples}", "data.tokens=64", "data.vocabulary=512"),
        *("model.small.hidden=16", "model.small.layers=1", "model.hidden=8", "model.ensemble=1"),
    ],
}


def examples(folder: Path) -> Path:
    """Sixteen sentences to learn and eight to validate with."""
    reader, context = load_reader("ontology"), MarketContext("equity", bars_per_year=252.0)
    words = ("War breaks out", "Rates are cut by 50 bps", "A calm month", "A flash crash")
    told = []
    for n in range(24):
        text = f"{words[n % 4]}, then nothing for {n + 2} days"
        split = "val" if n % 3 == 2 else "train"
        told.append(Example(text, context, reader.read(text, context), split=split))
    write_examples(folder, told)
    return folder


def run(
    home: Path,
    model: str,
    *more: str,
    two: bool = True,
    stop_at: int | None = None,
    launcher: tuple[str, ...] = (),
) -> dict[int, Any]:
    """What the processes of a training tell, by rank."""
    for file in home.glob("rank*.json"):
        file.unlink()
    told = [o.replace("{examples}", str(home / "examples")) for o in MODELS[model]]
    command = [sys.executable, *launcher, str(PROBE), str(home), *told, *(TWO if two else [])]
    command += ["trainer.max_epochs=2", f"paths.outputs={home / 'outputs'}", *more]
    stop = {} if stop_at is None else {"STOP_AT": str(stop_at)}
    environment = os.environ | stop | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)
    code = 0 if stop_at is None else 128 + signal.SIGTERM
    assert done.returncode == code, done.stderr[-3000:]
    return {int(f.stem[4:]): json.loads(f.read_text()) for f in home.glob("rank*.json")}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_train_one_model(model: str, tmp_path: Path) -> None:
    if model == "student":
        examples(tmp_path / "examples")
    ranks = run(tmp_path, model, f"output_dir={tmp_path / 'run'}")
    assert sorted(ranks) == [0, 1]
    assert [ranks[r]["world"] for r in (0, 1)] == [2, 2]
    assert all(math.isfinite(told["loss"]) for told in ranks.values())
    assert ranks[0]["weights"] == ranks[1]["weights"]
    seen = [told["seen"] for told in ranks.values()]
    half = len(seen[0]) // 2
    first = [*seen[0][:half], *seen[1][:half]]
    if model == "student":  # an epoch is every batch once, the last ones twice if they are too few
        alone = run(tmp_path, model, f"output_dir={tmp_path / 'alone'}", two=False)[0]["seen"]
        epoch = alone[: len(alone) // 2]
        assert set(first) == set(epoch)
        assert len(first) == 2 * -(-len(epoch) // 2)
    else:
        assert len(set(first)) == len(first)
    assert not (tmp_path / "outputs" / "train").exists()
    assert [f.name for f in (tmp_path / "run" / "csv").iterdir()] == ["version_0"]
    exported = sorted((tmp_path / "run" / "model").rglob("*.safetensors"))
    assert exported
    # One process is asked to end, both do after the same step, and continue to the same end.
    stopped = [f"output_dir={tmp_path / 'stopped'}", "ckpt_path=auto"]
    at = ranks[0]["steps"] // 2 + 1
    run(tmp_path, model, *stopped, stop_at=at)
    again = run(tmp_path, model, *stopped)
    assert [again[r]["weights"] for r in (0, 1)] == [ranks[0]["weights"]] * 2
    for file in exported:
        other = load_file(tmp_path / "stopped" / file.relative_to(tmp_path / "run"))
        assert all(bool((other[k] == v).all()) for k, v in load_file(file).items())


@pytest.mark.slow
def test_torchrun_starts_what_lightning_starts(tmp_path: Path) -> None:
    own = run(tmp_path, "unet1d", f"output_dir={tmp_path / 'own'}")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    ranks = run(tmp_path, "unet1d", f"output_dir={tmp_path / 'run'}", launcher=launcher)
    assert [ranks[r]["weights"] for r in (0, 1)] == [own[0]["weights"]] * 2
    assert [ranks[r]["seen"] for r in (0, 1)] == [own[r]["seen"] for r in (0, 1)]
    assert (tmp_path / "run" / "model" / "model.json").is_file()


@pytest.mark.gpu
def test_sharded_training_ends_in_a_model(tmp_path: Path) -> None:
    ranks = run(
        tmp_path,
        "unet1d",
        "trainer=fsdp",
        "trainer.devices=1",
        f"output_dir={tmp_path / 'run'}",
        two=False,
    )
    assert math.isfinite(ranks[0]["loss"])
    assert (tmp_path / "run" / "model" / "model.json").is_file()
