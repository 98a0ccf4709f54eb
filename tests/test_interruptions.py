"""A few kills of the cheapest stages; fifty of each are a benchmark."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_kills_lose_nothing_leave_nothing_and_change_nothing() -> None:
    command = [sys.executable, "benchmarks/interruptions.py", "--kills", "5"]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [*command, "--stages", "label", "train"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inside a write" in done.stdout
