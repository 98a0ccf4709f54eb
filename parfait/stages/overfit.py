"""Can the network learn at all? One batch, again and again, until the loss has fallen."""

import logging
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from parfait.utils.errors import UserError, require

log = logging.getLogger(__name__)

_ERRORS = 5.0  # standard errors by which the loss must fall


class OneBatch(Callback):
    """Trains on the first batch alone, for ``debug=overfit``.

    Stops as soon as the mean of the last ``window`` losses is five standard errors below that of
    the first ``window``; noise that a module draws anew at every step stays, so one step says
    nothing.

    Args:
        steps: at most.
        window: losses of a mean.

    Raises:
        UserError: the loss has not fallen after ``steps``.
    """

    def __init__(self, steps: int = 500, window: int = 25) -> None:
        require("callbacks.one_batch.window", window, 2)
        require("callbacks.one_batch.steps", steps, 2 * window)
        self.steps, self.window = steps, window
        self.losses: list[float] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lets the data module serve its first batch at every step of one long epoch."""
        data = trainer.datamodule
        batches: Any = [next(iter(data.train_dataloader()))] * self.steps
        data.train_dataloader = lambda: DataLoader(batches, batch_size=None)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare the means."""
        self.losses.append(float(outputs["loss"] if isinstance(outputs, dict) else outputs))
        steps = len(self.losses)
        if steps < 2 * self.window:
            return
        first = torch.tensor(self.losses[: self.window], dtype=torch.float64)
        last = torch.tensor(self.losses[-self.window :], dtype=torch.float64)
        error = ((first.var() + last.var()) / self.window).sqrt()
        told = f"of one batch went from {first.mean():.4g} to {last.mean():.4g} in {steps} steps"
        if first.mean() - last.mean() > _ERRORS * error:
            log.info("The loss %s: it falls.", told)
            trainer.should_stop = True
        elif steps == self.steps:
            raise UserError(
                f"the loss {told}: it does not fall; look at the learning rate, the loss and the "
                "data, or give more callbacks.one_batch.steps"
            )
