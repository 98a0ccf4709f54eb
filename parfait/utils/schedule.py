"""Learning-rate schedule of every training here."""

import math
from typing import Any

import lightning
import torch
from torch.optim.lr_scheduler import LambdaLR

from parfait.utils.errors import UserError


def warmup_cosine(
    trainer: lightning.Trainer,
    optimizer: torch.optim.Optimizer,
    warmup_steps: int,
    final_share: float,
) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: a linear warm-up, then a cosine over the whole run.

    Step s of S, w of them warm-up, has the share (s + 1)/w of the rate, then f + (1 - f)(1 +
    cos(pi (s - w)/(S - w)))/2 with f = ``final_share``; w is at most S/2.

    Raises:
        UserError: the run has no length.
    """
    steps = trainer.estimated_stepping_batches
    if not math.isfinite(steps):
        raise UserError(
            "the learning rate follows a cosine over the run, which needs its length; set "
            "trainer.max_epochs (trainer.max_time may end it earlier)"
        )
    total = int(steps)
    warmup = max(1, min(warmup_steps, total // 2))

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / max(1, total - warmup), 1.0)
        return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * progress))

    schedule = {"scheduler": LambdaLR(optimizer, share), "interval": "step"}
    return {"optimizer": optimizer, "lr_scheduler": schedule}
