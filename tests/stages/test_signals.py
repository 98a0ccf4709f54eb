"""A stage that is asked to end does so within seconds, and the same command finishes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.test_disk import STAGES, few_bars, results

ROOT = Path(__file__).parents[2]
# What is there when a stage is in the middle of its work.
BEGUN = {"label": "run/bars/*.json", "distill": "cache/*.json", "simulate": ".run.*/paths.parquet"}


def command(stage: str, data: Path, out: Path) -> list[str]:
    told = [o.replace("{in}", str(data)).replace("{out}", str(out)) for o in STAGES[stage]]
    if stage == "distill":  # enough to be met in the middle of it, in processes of its own
        told = [*told[2:], "n=1500", "workers=2"]
    if stage == "simulate":
        told = ["instruction=A calm market", "n_paths=400"]
    return [sys.executable, "-m", "parfait", stage, *told, f"output_dir={out / 'run'}"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["label", "distill", "simulate"])
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)]
)
def test_a_stage_ends_and_continues(
    stage: str, signum: signal.Signals, code: int, tmp_path: Path
) -> None:
    data, out = few_bars(tmp_path / "in"), tmp_path / "out"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command(stage, data, out),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while not list(out.glob(BEGUN[stage])) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signum)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert not [f for f in out.rglob("*") if f.name.endswith((".tmp", ".partial"))]
    subprocess.run(command(stage, data, out), env=environment, check=True, capture_output=True)
    whole = tmp_path / "whole"
    subprocess.run(command(stage, data, whole), env=environment, check=True, capture_output=True)
    assert results(out) == results(whole)
