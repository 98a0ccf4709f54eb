"""Callbacks that every training run has, whatever the configuration says."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from parfait.utils.errors import UserError

log = logging.getLogger(__name__)


class FiniteLoss(Callback):
    """Stops at the first loss that is not finite, before a checkpoint can hold the damage."""

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raise ``UserError`` unless the loss of this step is finite."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None and not bool(torch.isfinite(loss).all()):
            raise UserError(
                f"the loss became {float(loss)} at step {trainer.global_step}; lower the learning "
                "rate or look at the data; the checkpoints before it are intact"
            )


class KnownMetric(Callback):
    """Stops at the first validation that does not log the metric which decides about the run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Raise ``UserError`` unless the metric is known; training's own may come later."""
        known = trainer.callback_metrics
        if self.name not in known and not self.name.startswith("train/"):
            raise UserError(unknown_metric(self.name, known))


def unknown_metric(name: str, known: Iterable[str]) -> str:
    """The sentence for a metric that nothing logs."""
    return f"optimized_metric={name} was never logged; it is one of: {', '.join(sorted(known))}"


class SaveOnSignal(Callback):
    """Saves a checkpoint when the process is asked to end (SIGTERM, Ctrl-C)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Save unless the exception is an error of the program."""
        if isinstance(exception, SIGTERMException | KeyboardInterrupt):
            file = self.folder / f"{trainer.global_step:08d}.ckpt"
            trainer.save_checkpoint(file)
            log.warning("Stopped; %s holds the state, ckpt_path=last continues.", file)


class RequeueOnSignal(Callback):
    """On SLURM: saves when time is nearly up (SIGUSR1) and puts the job back into the queue.

    Before the next step: Lightning's own answer saves at once, in the middle of a step, when some
    weights may have moved and others not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Listen, where SLURM may call."""
        if "SLURM_JOB_ID" in os.environ and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._note)

    def _note(self, *_: Any) -> None:
        self.asked = True

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and requeue, once; SLURM ends the process."""
        if not self.asked:
            return
        self.asked = False
        trainer.save_checkpoint(self.folder / f"{trainer.global_step:08d}.ckpt")
        if trainer.is_global_zero:
            array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
            job = os.environ["SLURM_JOB_ID"] if array is None else f"{array}_{task}"
            log.warning("Time is nearly up; step %d is saved.", trainer.global_step)
            try:
                subprocess.run(["scontrol", "requeue", job], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                log.error("It cannot be queued again (%s); ckpt_path=last continues.", error)


class ResumableProgress(Callback):
    """Checkpoints that say what was not finished, so that a resumed run finishes it.

    Lightning takes a validation between two batches for a finished one and skips it: the figures
    that decide about the run are then missing where the epoch ends. And it counts an epoch that
    ``max_time`` or ``max_steps`` cut short as a whole one, whose rest is then an epoch too short to
    be validated.
    """

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """A validation begins again, as if stopped in its first batch; an epoch goes on."""
        progress = checkpoint["loops"]["fit_loop"]
        if trainer.validating:
            batches = progress["epoch_loop.val_loop.batch_progress"]
            for part in ("total", "current"):
                batches[part] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        batches, epochs = progress["epoch_loop.batch_progress"], progress["epoch_progress"]
        for count in (epochs["total"], epochs["current"]):
            if count["processed"] > count["completed"] and not batches["is_last_batch"]:
                count["processed"] -= 1


class EpochLog(Callback):
    """One line of metrics per epoch in the log; on the terminal too, where no bar shows them."""

    def __init__(self, *, terminal: bool) -> None:
        self.extra = {"file_only": not terminal}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log every scalar that is known."""
        metrics = sorted(trainer.callback_metrics.items())
        line = "  ".join(f"{name} {float(value):.5g}" for name, value in metrics)
        step = trainer.global_step
        log.info("epoch %d  step %d  %s", trainer.current_epoch, step, line, extra=self.extra)
