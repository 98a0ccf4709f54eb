"""Checkpoints that survive: written atomically, read without pickles, found when one is broken."""

import logging
import os
import re
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from parfait.utils.errors import UserError

log = logging.getLogger(__name__)

_SUFFIX = ".ckpt"


class AtomicCheckpointIO(CheckpointIO):
    """Saves through a sibling, fsync and rename; loads with ``weights_only=True`` always.

    The sibling matters: a temporary file on another file system makes the final move a copy,
    which a kill can cut in half.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path`` so that the file is whole or absent."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sibling = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with sibling.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            sibling.replace(path)
        except BaseException as error:
            sibling.unlink(missing_ok=True)
            cause = error.__context__
            if isinstance(cause, OSError):  # PyTorch then ends its archive in vain, and tells that
                raise cause from None
            raise
        _sync(path.parent)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of plain types and tensors, onto the CPU by default."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The readable checkpoint in ``folder`` with the most steps; broken ones are logged.

    A best one is the last resort: it is written in the middle of a validation, which a run that
    continues there repeats.
    """
    for file in sorted(folder.glob(f"*{_SUFFIX}"), key=_preference, reverse=True):
        try:
            AtomicCheckpointIO().load_checkpoint(file)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            log.warning(
                "the checkpoint %s cannot be read (%s); trying the one before", file, reason
            )
        else:
            return file
    return None


def wanted_checkpoint(given: str | None) -> str | None:
    """``ckpt_path``, but ``auto`` for a job that SLURM starts again with the words of its first
    start.
    """
    restarted = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    return "auto" if restarted and given is None else given


def find_checkpoint(wanted: str | None, folder: Path) -> Path | None:
    """The checkpoint to continue from.

    Args:
        wanted: a file, ``last`` for the newest readable one in ``folder``, ``auto`` for that one or
            a new start where there is none, or ``None`` to start anew.
        folder: checkpoints of this run.

    Raises:
        UserError: what is wanted does not exist or cannot be read, or a new start would mix its
            checkpoints with those in ``folder``.
    """
    if wanted is None:
        if any(folder.glob(f"*{_SUFFIX}")):
            raise UserError(
                f"{folder} holds checkpoints of an earlier run; "
                "give ckpt_path=last to continue it, or another output_dir="
            )
        return None
    if wanted in ("last", "auto"):
        found = newest_checkpoint(folder)
        if found is None and wanted == "last":
            raise UserError(
                f"ckpt_path=last, but {folder} holds no checkpoint that can be read; "
                "name the run with output_dir="
            )
        return found
    file = Path(wanted)
    if not file.is_file():
        raise UserError(f"the checkpoint {file} does not exist; give a file, or ckpt_path=last")
    try:
        content = AtomicCheckpointIO().load_checkpoint(file)
    except Exception as error:
        raise _no_checkpoint(file) from error
    if not (isinstance(content, dict) and "state_dict" in content and "loops" in content):
        raise _no_checkpoint(file)
    return file


def _no_checkpoint(file: Path) -> UserError:
    return UserError(
        f"the file {file} is no Parfait checkpoint, or a broken one; "
        "give another, or ckpt_path=last"
    )


def _preference(file: Path) -> tuple[bool, int, int]:
    """Sort key: a best one before any periodic one; then steps in the name, then age."""
    numbers = re.findall(r"\d+", re.sub(r"-v\d+$", "", file.stem))  # Lightning adds -v1 to a twin
    steps = int(numbers[-1]) if numbers else -1
    return not file.stem.startswith("best"), steps, file.stat().st_mtime_ns


def _sync(folder: Path) -> None:
    """Make a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
