"""``train.py`` that tells what every process of a distributed training saw and ended with.

    python ddp_probe.py FOLDER [overrides of train]

With STOP_AT=n in the environment, one of the processes is asked to end in its n-th step.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from parfait.cli import main
from parfait.stages.callbacks import FiniteLoss

FOLDER = Path(os.environ.setdefault("PROBE", sys.argv[1]))
SEEN: list[str] = []
STOP_AT = int(os.environ.get("STOP_AT", "-1"))


def digest(value: Any) -> str:
    tensors: list[bytes] = []

    def visit(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            tensors.append(
                part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        elif isinstance(part, dict):
            for one in part.values():
                visit(one)
        elif isinstance(part, list | tuple):
            for one in part:
                visit(one)
        elif hasattr(part, "__dict__"):
            visit(vars(part))

    visit(value)
    return hashlib.sha256(b"".join(tensors)).hexdigest()[:16]


def saw(self: Any, trainer: Any, module: Any, batch: Any, number: int) -> None:
    SEEN.append(digest(batch))
    if trainer.is_global_zero and trainer.global_step == STOP_AT:
        signal.raise_signal(signal.SIGTERM)


def ended(self: Any, trainer: Any, module: Any) -> None:
    told = {
        "world": trainer.world_size,
        "seen": SEEN,
        "weights": digest(module.state_dict()),
        "loss": float(trainer.callback_metrics["train/loss"]),
        "steps": trainer.global_step,
    }
    (FOLDER / f"rank{trainer.global_rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    if sys.argv[1] == str(FOLDER):
        del sys.argv[1]
    FiniteLoss.on_train_batch_start = saw  # pyright: ignore[reportAttributeAccessIssue]
    FiniteLoss.on_train_end = ended  # pyright: ignore[reportAttributeAccessIssue]
    main("train")
