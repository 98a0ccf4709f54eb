"""Callbacks that every training run has, whatever the configuration says."""

import logging
import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from parfait.utils.errors import UserError
from parfait.utils.signals import ENDING, exit_code, install

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
    """Saves a checkpoint and ends the run when the process is asked to end: after the batch that it
    is in, for in the middle of a step there is no state to continue from.

    SIGTERM, SIGUSR1 and Ctrl-C, of which a second one ends it at once. SIGUSR1 is how SLURM tells
    that time is nearly up: the job is put back into the queue. Lightning's own answer to it, which
    this replaces, saves in the middle of a step.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signum: int | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Takes the signals over from Lightning, which gives them back when training ends."""
        install([*ENDING, signal.SIGINT], self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = self.signum or signum

    def ending(self) -> BaseException:
        """What ends the process as the signal would."""
        interrupted = self.signum in (None, signal.SIGINT)
        return KeyboardInterrupt() if interrupted else SystemExit(exit_code(self.signum or 0))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lets Lightning stop where the step is complete, in all processes after the same one."""
        if trainer.strategy.reduce_boolean_decision(self.signum is not None, all=False):
            trainer._signal_connector.received_sigterm = True

    def on_validation_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """The same within a validation."""
        self.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Saves where a step was complete."""
        if isinstance(exception, SIGTERMException):
            file = self.folder / f"{trainer.global_step:08d}.ckpt"
            trainer.save_checkpoint(file)
            log.warning("Stopped; %s holds the state, ckpt_path=last continues.", file)
            if self.signum == signal.SIGUSR1 and trainer.is_global_zero:
                requeue()


def requeue() -> None:
    """Puts the SLURM job that this process is of, if any, back into the queue."""
    job = os.environ.get("SLURM_JOB_ID")
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    if job is None:
        return
    try:
        told = job if array is None else f"{array}_{task}"
        subprocess.run(["scontrol", "requeue", told], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.error("It cannot be queued again (%s).", error)


class ResumableProgress(Callback):
    """Checkpoints that say what was not finished, so that a resumed run finishes it.

    Lightning takes a validation between two batches for a finished one and skips it: the figures
    that decide about the run are then missing where the epoch ends. It counts an epoch that
    ``max_time`` or ``max_steps`` cut short as a whole one, whose rest is then an epoch too short to
    be validated. And it counts batches whose gradients wait for others of their step: a checkpoint
    holds no gradients.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Asks for batches anew: Lightning has asked before it knew how many steps are behind the
        run, and workers of a loader fetch at once.
        """
        if trainer.global_step:
            iter(trainer.fit_loop._data_fetcher)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """A validation begins again, as if stopped in its first batch; an epoch and a step go on
        with the batches of which the weights know nothing.
        """
        progress = checkpoint["loops"]["fit_loop"]
        if trainer.validating:
            batches = progress["epoch_loop.val_loop.batch_progress"]
            for part in ("total", "current"):
                batches[part] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        batches, epochs = progress["epoch_loop.batch_progress"], progress["epoch_progress"]
        for count in (epochs["total"], epochs["current"]):
            if count["processed"] > count["completed"] and not batches["is_last_batch"]:
                count["processed"] -= 1
        waiting = batches["current"]["ready"] % trainer.accumulate_grad_batches
        if waiting and not batches["is_last_batch"]:
            for count in (batches["total"], batches["current"]):
                count.update({name: number - waiting for name, number in count.items()})


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
