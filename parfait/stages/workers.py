"""Cells of an evaluation in several processes, which share nothing but the run's folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from parfait.evaluation.cells import Cell, cell_key, compute_cells, stored_keys
from parfait.stages.schema import EvaluateConfig, validate
from parfait.stages.tasks import Task, prepare
from parfait.utils.pool import work_off

Progress = Callable[[str, int, int], None]


def compute_apart(
    cfg: DictConfig, task: Task, folder: Path, workers: int, progress: Progress
) -> None:
    """Computes the cells that are missing in ``workers`` processes, each of which loads model and
    data and stores what it finishes. With one worker nothing is done: the caller computes.

    Args:
        cfg: the configuration, from which a worker makes the same task.
        task: what is to be computed.
        folder: of the run.
        workers: processes.
        progress: told of every finished cell.

    Raises:
        UserError: what a cell could not write, or a worker was killed.
    """
    known = stored_keys(folder)
    missing = [c for c in task.cells if cell_key(c.name, task.ingredients) not in known]
    if workers < 2 or len(missing) < 2:
        return
    questions = {cell.name: cell.question for cell in _long_first(missing)}
    there = len(task.cells) - len(missing)

    def done(name: str) -> None:
        nonlocal there
        there += 1
        progress(questions[name], there, len(task.cells))

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    work_off(_Compute(settings, folder), list(questions), workers, done)


def _long_first(cells: list[Cell]) -> list[Cell]:
    """Cells of judges first, the null of many judges before the others: short ones fill gaps."""
    return sorted(cells, key=lambda cell: cell.question not in ("c2st", "ablation", "legacy"))


class _Compute:
    """Computes a cell in a worker, which makes the task once, from its settings."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._task: Task | None = None

    def __call__(self, name: str) -> bool:
        if self._task is None:
            self._task = prepare(validate(OmegaConf.create(self._settings), EvaluateConfig))
        cells = [cell for cell in self._task.cells if cell.name == name]
        list(compute_cells(cells, self._folder, self._task.ingredients))
        return True
