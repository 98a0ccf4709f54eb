"""A training job that SLURM stops in time and starts again ends as if nothing had happened."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from parfait.stages.callbacks import FiniteLoss
from parfait.stages.train import train
from tests.stages.test_train_stage import config, trained


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of two epochs that nothing stopped, and its result."""
    folder = tmp_path_factory.mktemp("train") / "run"
    return folder, train(config(folder, "trainer.max_epochs=2"))


@pytest.mark.parametrize(("array", "job"), [({}, "7"), ({"JOB": "7", "TASK": "2"}, "7_2")])
def test_a_requeued_run_equals_an_uninterrupted_one(
    finished: tuple[Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    array: dict[str, str],
    job: str,
) -> None:
    two = "trainer.max_epochs=2"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, number in {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", number)
    for name in ("LOCALID", "NODEID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    for part, number in array.items():
        monkeypatch.setenv(f"SLURM_ARRAY_{part}_ID", number)

    def nearly_up(self: Any, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", nearly_up)
        with pytest.raises(SystemExit) as ended:
            train(config(tmp_path / "run", two))
    assert ended.value.code == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == f"requeue {job}\n"
    assert (tmp_path / "run" / "checkpoints" / "00000004.ckpt").is_file()

    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert train(config(tmp_path / "run", two)) == finished[1]
    state = trained(finished[0]), trained(tmp_path / "run")
    assert all(torch.equal(state[0][name], state[1][name]) for name in state[0])


def test_a_job_that_is_started_again_before_its_first_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert train(config(tmp_path / "run", "trainer.max_epochs=1")) > 0
