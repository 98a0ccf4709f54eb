"""Training end to end on a tiny network: resume, refusals, signals, checkpoints that survive."""

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch.utils._pytree import tree_flatten

from parfait.microstructure import datamodule, module
from parfait.stages.callbacks import FiniteLoss
from parfait.stages.checkpoints import AtomicCheckpointIO, find_checkpoint, newest_checkpoint
from parfait.stages.train import train
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir

ROOT = Path(__file__).parents[2]
TINY = [
    "model=unet1d_tiny",
    "trainer=cpu",
    "data.steps_per_epoch=3",
    "data.batch_size=8",
    "data.validation_windows=16",
    "data.bar_sizes=[1]",
    "trainer.log_every_n_steps=1",
]


def config(folder: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [*TINY, f"output_dir={folder}", *overrides])


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


@pytest.fixture(scope="module", autouse=True)
def few_constants() -> Iterator[None]:
    """Most of a tiny run is fitting constants to thousands of windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CONSTANT_WINDOWS", 256)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of two epochs and its result."""
    folder = tmp_path_factory.mktemp("train") / "run"
    return folder, train(config(folder, "trainer.max_epochs=2"))


def test_a_run_leaves_a_model_checkpoints_metrics_and_its_configuration(
    finished: tuple[Path, float],
) -> None:
    folder, value = finished
    assert 0 < value < math.inf
    assert (folder / "model" / "model.json").is_file()
    assert (folder / ".hydra" / "config.yaml").is_file()
    assert "epoch 1" in (folder / "train.log").read_text()
    header, *rows = (folder / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    assert {"train/loss", "val/loss", "step"} <= set(header.split(","))
    assert len(rows) >= 6
    names = {p.name for p in (folder / "checkpoints").iterdir()}
    assert {"00000003.ckpt", "00000006.ckpt"} <= names
    assert len(names) == 3  # and the best one
    best = min(float(v) for v in column(header, rows, "val/loss"))
    assert value == pytest.approx(best, rel=1e-6)


def column(header: str, rows: list[str], name: str) -> list[str]:
    index = header.split(",").index(name)
    return [cell for row in rows if (cell := row.split(",")[index])]


def terminate_at(step: int) -> Any:
    """What a SIGTERM that arrives during ``step`` does."""

    def hook(self: Any, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step:
            trainer._signal_connector.received_sigterm = True

    return hook


@pytest.mark.parametrize("step", [3, 4], ids=["between epochs", "within an epoch"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    finished: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", terminate_at(step))
        with pytest.raises(SystemExit) as end:
            train(config(folder, "trainer.max_epochs=2"))
    assert end.value.code == 143
    assert newest_checkpoint(folder / "checkpoints") == folder / f"checkpoints/{step:08d}.ckpt"
    assert train(config(folder, "trainer.max_epochs=2", "ckpt_path=last")) == finished[1]
    assert same(finished[0], folder)


def same(a: Path, b: Path) -> bool:
    """Whether the newest checkpoints (weights, averages, optimiser, schedule) and exports agree."""
    state = [
        AtomicCheckpointIO().load_checkpoint(newest_checkpoint(f / "checkpoints")) for f in (a, b)
    ]
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
    told = [tree_flatten([one[name] for name in parts]) for one in state]
    told += [tree_flatten(weights(folder)) for folder in (a, b)]
    return all(
        shape == other and all(map(equal, leaves, rest))
        for (leaves, shape), (rest, other) in (told[:2], told[2:])
    )


def equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


ACCUMULATED = ["trainer.max_epochs=2", "trainer.accumulate_grad_batches=2"]


@pytest.fixture(scope="module")
def accumulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of two epochs of 2 + 2 + 1 batches: three steps each."""
    folder = tmp_path_factory.mktemp("train") / "run"
    return folder, train(config(folder, *ACCUMULATED, "data.steps_per_epoch=5"))


@pytest.mark.parametrize("batch", [0, 4, 5])
def test_with_accumulated_batches_a_resumed_run_equals_an_uninterrupted_one(
    accumulated: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """After a batch of a step, after the short step of an epoch, and within the next epoch: the
    gradients of half a step are in no checkpoint, so it begins anew.
    """
    settings = [*ACCUMULATED, "data.steps_per_epoch=5"]
    seen = iter(range(20))

    def stop(self: Any, trainer: Any, *args: Any) -> None:
        trainer._signal_connector.received_sigterm |= next(seen) == batch

    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", stop)
        with pytest.raises(SystemExit):
            train(config(tmp_path / "run", *settings))
    assert train(config(tmp_path / "run", *settings, "ckpt_path=last")) == accumulated[1]
    assert same(accumulated[0], tmp_path / "run")


def test_workers_of_the_loader_change_nothing(
    finished: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fetch ahead of the step at which a run stops."""
    settings = ["trainer.max_epochs=2", "data.num_workers=2"]
    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", terminate_at(4))
        with pytest.raises(SystemExit):
            train(config(tmp_path / "run", *settings))
    assert train(config(tmp_path / "run", *settings, "ckpt_path=last")) == finished[1]
    assert same(finished[0], tmp_path / "run")


def test_a_run_whose_newest_checkpoint_is_cut_short_goes_on_from_the_one_before(
    finished: tuple[Path, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "model")
    newest = folder / "checkpoints" / "00000006.ckpt"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert train(config(folder, "trainer.max_epochs=2", "ckpt_path=last")) == finished[1]
    assert "00000006.ckpt cannot be read" in caplog.text
    assert same(finished[0], folder)


def sigterm(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
    """In the first of two validation batches; Lightning stops after it."""
    if (trainer.global_step, number) == (3, 0):
        trainer._signal_connector.received_sigterm = True


def interrupt(number: int) -> Any:
    """Ctrl-C after so many batches of the first validation."""

    def hook(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, at: int) -> None:
        if (trainer.global_step, at) == (3, number):
            signal.raise_signal(signal.SIGINT)

    return hook


def out_of_time(self: Any, trainer: Any, *args: Any) -> None:
    """What ``trainer.max_time`` does where it ends within an epoch."""
    trainer.should_stop |= trainer.global_step == 4


def trained(folder: Path) -> dict[str, Any]:
    """The state after six steps."""
    file = folder / "checkpoints" / "00000006.ckpt"
    return AtomicCheckpointIO().load_checkpoint(file)["state_dict"]


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of two epochs with two batches in a validation, and its result."""
    folder = tmp_path_factory.mktemp("train") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datamodule, "_VALIDATION_BATCH", 8)
        return folder, train(config(folder, "trainer.max_epochs=2"))


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("on_validation_batch_end", sigterm),
        ("on_validation_batch_end", interrupt(0)),
        ("on_validation_batch_end", interrupt(1)),
        ("on_train_batch_end", out_of_time),
    ],
    ids=["SIGTERM", "Ctrl-C in the first batch", "Ctrl-C in the last batch", "max_time"],
)
def test_a_run_stopped_around_a_validation_of_several_batches_continues(
    validated: tuple[Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    what: Any,
) -> None:
    monkeypatch.setattr(datamodule, "_VALIDATION_BATCH", 8)
    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, where, what, raising=False)
        with suppress(SystemExit, KeyboardInterrupt):
            train(config(tmp_path, "trainer.max_epochs=2"))
    assert not (tmp_path / "checkpoints" / "00000006.ckpt").exists()
    value = train(config(tmp_path, "trainer.max_epochs=2", "ckpt_path=last"))
    state = trained(validated[0]), trained(tmp_path)
    assert all(torch.equal(state[0][k], state[1][k]) for k in state[0])
    if what is not out_of_time:  # which validates once more, where it stops
        assert value == validated[1]
        kept = weights(validated[0])
        assert all(torch.equal(a, weights(tmp_path)[k]) for k, a in kept.items())


def test_a_checkpoint_of_another_network_is_refused_before_anything_is_written(
    finished: tuple[Path, float], tmp_path: Path
) -> None:
    file = finished[0] / "checkpoints" / "00000006.ckpt"
    with pytest.raises(UserError, match=r"'width': 8.*'width': 16"):
        train(config(tmp_path / "run", "model.net.width=16", f"ckpt_path={file}"))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the loss became"):
        train(config(tmp_path / "run", "optim.optimizer.lr=1e30", "trainer.max_epochs=5"))
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    if newest is not None:
        state = AtomicCheckpointIO().load_checkpoint(newest)["state_dict"]
        assert all(torch.isfinite(t).all() for t in state.values())


def test_a_metric_that_does_not_exist_lists_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"optimized_metric=val/los .*train/loss, val/loss"):
        train(
            config(
                tmp_path / "run",
                "optimized_metric=val/los",
                "callbacks=none",
                "trainer.max_epochs=1",
            )
        )


def test_a_fast_run_without_loggers(tmp_path: Path) -> None:
    assert train(config(tmp_path / "run", "debug=fdr", f"output_dir={tmp_path / 'run'}")) > 0
    assert not (tmp_path / "run" / "model").exists()


def test_checkpoints_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io, file = AtomicCheckpointIO(), tmp_path / "00000001.ckpt"
    io.save_checkpoint({"state_dict": {"x": torch.ones(3)}, "loops": {}}, file)
    before = file.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        io.save_checkpoint({"state_dict": {"x": torch.zeros(3)}}, file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_last_is_the_newest_checkpoint_that_loads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    io = AtomicCheckpointIO()
    for step in (5, 10):
        io.save_checkpoint({"state_dict": {}, "loops": {}}, tmp_path / f"{step:08d}.ckpt")
    whole = (tmp_path / "00000010.ckpt").read_bytes()
    (tmp_path / "00000020.ckpt").write_bytes(whole[: len(whole) // 2])
    assert find_checkpoint("last", tmp_path) == tmp_path / "00000010.ckpt"
    with pytest.raises(UserError, match="ckpt_path=last"):  # a new start would mix with it
        find_checkpoint(None, tmp_path)
    assert "00000020.ckpt cannot be read" in caplog.text


def test_last_is_a_best_one_only_if_there_is_no_other(tmp_path: Path) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint({"state_dict": {}, "loops": {}}, tmp_path / "best_00000292.ckpt")
    assert newest_checkpoint(tmp_path) == tmp_path / "best_00000292.ckpt"
    for name in ("00000288.ckpt", "00000280-v1.ckpt"):
        io.save_checkpoint({"state_dict": {}, "loops": {}}, tmp_path / name)
    assert newest_checkpoint(tmp_path) == tmp_path / "00000288.ckpt"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", r"seed=-1 must be within \[0, 4294967295\]"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0 must be"),
        ("trainer.max_epochs=abc", r"trainer\.max_epochs=abc must be"),
        ("data.path=missing.csv", r"missing\.csv does not exist"),
    ],
)
def test_a_mistake_in_a_setting_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(config(tmp_path / "run", override))
    assert not (tmp_path / "run").exists()
    assert "GPU available" not in "".join(capfd.readouterr())


def test_fewer_epochs_than_the_checkpoint_has(finished: tuple[Path, float], tmp_path: Path) -> None:
    file = finished[0] / "checkpoints" / "00000006.ckpt"
    with pytest.raises(UserError, match=r"trainer\.max_epochs=1; give at least 2"):
        train(config(tmp_path / "run", "trainer.max_epochs=1", f"ckpt_path={file}"))
    assert not (tmp_path / "run").exists()


def test_an_unknown_metric_is_found_at_the_first_validation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optimized_metric=foo was never logged"):
        train(config(tmp_path / "run", "optimized_metric=foo", "trainer.max_epochs=1000"))


def test_fine_tuning_starts_from_the_weights_and_constants_of_a_run(
    finished: tuple[Path, float], tmp_path: Path
) -> None:
    """At a rate of zero the weights stay what they were."""
    still = [f"ckpt={finished[0]}", "optim.optimizer.lr=0", "trainer.max_epochs=1"]
    value = train(config(tmp_path / "still", *still))
    assert value == pytest.approx(finished[1], rel=1e-6)
    after = weights(tmp_path / "still")
    assert all(torch.equal(after[name], tensor) for name, tensor in weights(finished[0]).items())
    with pytest.raises(UserError, match="width=8, the configuration width=16"):
        train(config(tmp_path / "wider", f"ckpt={finished[0]}", "model.net.width=16"))


def test_a_new_start_in_the_folder_of_a_run_is_refused(finished: tuple[Path, float]) -> None:
    with pytest.raises(UserError, match="ckpt_path=last to continue it, or another output_dir="):
        train(config(finished[0], "trainer.max_epochs=2"))


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Payload()}, tmp_path / "pickle.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    assert find_checkpoint(None, tmp_path / "empty") is None
    for wanted, message in [
        ("last", "holds no checkpoint"),
        ("missing.ckpt", "does not exist"),
        ("pickle.ckpt", "no Parfait checkpoint"),
        ("text.ckpt", "no Parfait checkpoint"),
        ("list.ckpt", "no Parfait checkpoint"),
    ]:
        folder = tmp_path / "empty" if wanted == "last" else tmp_path
        with pytest.raises(UserError, match=message):
            find_checkpoint(wanted if wanted == "last" else str(tmp_path / wanted), folder)
    assert not (tmp_path / "ran").exists()


def raised(signum: signal.Signals, times: int = 1) -> Any:
    """A signal in the fourth step, which is not at its end then."""

    def hook(self: Any, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 3:
            for _ in range(times):
                signal.raise_signal(signum)

    return hook


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)]
)
def test_a_signal_within_a_step_ends_the_run_after_it(
    finished: tuple[Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signum: signal.Signals,
    code: int,
) -> None:
    """Under SLURM as well, where Lightning would save within the step and train on."""
    folder, before = tmp_path / "run", signal.getsignal(signum)
    queue = tmp_path / "scontrol"
    queue.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    queue.chmod(0o755)
    told = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "t", "SLURM_PROCID": "0"}
    told |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "here"}
    with monkeypatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        patch.setattr(FiniteLoss, "on_train_batch_start", raised(signum), raising=False)
        with pytest.raises((SystemExit, KeyboardInterrupt)) as end:
            train(config(folder, "trainer.max_epochs=2"))
    assert (130 if signum == signal.SIGINT else end.value.code) == code
    assert isinstance(end.value, KeyboardInterrupt) is (signum == signal.SIGINT)
    assert signal.getsignal(signum) is before
    assert newest_checkpoint(folder / "checkpoints") == folder / "checkpoints" / "00000004.ckpt"
    assert not list(folder.glob("hpc_ckpt*"))
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == "requeue 1\n" * (code == 138)
    assert train(config(folder, "trainer.max_epochs=2", "ckpt_path=auto")) == finished[1]
    assert same(finished[0], folder)


def test_a_second_ctrl_c_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FiniteLoss, "on_train_batch_start", raised(signal.SIGINT, 2), raising=False)
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path / "run", "trainer.max_epochs=2"))
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest == tmp_path / "run" / "checkpoints" / "00000003.ckpt"


def test_one_command_begins_and_continues(tmp_path: Path) -> None:
    assert find_checkpoint("auto", tmp_path / "checkpoints") is None
    folder = tmp_path / "run"
    assert train(config(folder, "trainer.max_epochs=1", "ckpt_path=auto")) > 0
    file = folder / "checkpoints" / "00000003.ckpt"
    assert find_checkpoint("auto", folder / "checkpoints") == file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)]
)
def test_a_signal_saves_within_seconds_and_the_run_continues(
    tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    settings = [*TINY, "output_dir=run", "trainer.max_epochs=100000"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *settings],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1 "):
            break
    process.send_signal(signum)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in told
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is not None
    step = AtomicCheckpointIO().load_checkpoint(newest)["global_step"]
    assert step >= 6
    limit = f"trainer.max_epochs={step // 3 + 1}"
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *TINY, "output_dir=run", "ckpt_path=last", limit],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Continuing from {newest}" in done.stderr
