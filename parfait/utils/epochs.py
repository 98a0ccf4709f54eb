"""Where a training is, from the steps behind it alone."""

from typing import Any


def epoch_left(trainer: Any, batches: int) -> tuple[int, range]:
    """The epoch that a trainer is in, and the positions of its batches that are left.

    By the trainer's steps, not its epochs: a run that stopped in mid-epoch counts that epoch twice.
    An epoch ends with a step, whether or not its last batches are as many as the others take.

    Args:
        trainer: ``None`` stands before the first batch.
        batches: of an epoch, of this process; ``limit_train_batches`` may make it shorter.
    """
    if trainer is None:
        return 0, range(batches)
    batches = int(min(batches, trainer.num_training_batches))
    together = trainer.accumulate_grad_batches
    epoch, done = divmod(trainer.global_step, -(-batches // together))
    return epoch, range(done * together, batches)
