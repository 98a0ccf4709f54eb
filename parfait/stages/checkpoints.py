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
_TEMPORARY = ".tmp"


class AtomicCheckpointIO(CheckpointIO):
    """Saves through a sibling, fsync and rename; loads with ``weights_only=True`` always.

    The sibling matters: a temporary file on another file system makes the final move a copy,
        which a kill can cut
    in half.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path`` so that the file is whole or absent."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sibling = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
        try:
            with sibling.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            sibling.replace(path)
        except BaseException:
            sibling.unlink(missing_ok=True)
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


def sweep_temporaries(folder: Path) -> None:
    """Delete what a killed run left half-written."""
    for file in folder.glob(f".*{_SUFFIX}.*{_TEMPORARY}"):
        file.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The readable checkpoint in ``folder`` with the most steps; broken ones are logged."""
    for file in sorted(folder.glob(f"*{_SUFFIX}"), key=_steps_and_time, reverse=True):
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


def find_checkpoint(wanted: str | None, folder: Path) -> Path | None:
    """The checkpoint to continue from.

    Args:
        wanted: a file, ``last`` for the newest readable one in ``folder``, or ``None`` for the
            same if there is one.
        folder: checkpoints of this run.

    Raises:
        UserError: what is wanted does not exist or cannot be read.
    """
    if wanted is None or wanted == "last":
        found = newest_checkpoint(folder)
        if found is None and wanted is not None:
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
        reason = str(error).partition("\n")[0]
        raise UserError(f"the checkpoint {file} cannot be read: {reason}") from error
    if not (isinstance(content, dict) and "state_dict" in content and "loops" in content):
        raise UserError(f"the file {file} is no training checkpoint")
    return file


def _steps_and_time(file: Path) -> tuple[int, bool, int]:
    """Sort key: steps in the name; the periodic checkpoint before the best one of the same step."""
    steps = re.findall(r"\d+", file.stem)
    return (
        int(steps[-1]) if steps else -1,
        not file.stem.startswith("best"),
        file.stat().st_mtime_ns,
    )


def _sync(folder: Path) -> None:
    """Make a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
