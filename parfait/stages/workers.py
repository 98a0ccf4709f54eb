"""Cells of an evaluation in several processes, which share nothing but the run's folder."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from parfait.evaluation.cells import Cell, cell_key, compute_cells, stored_keys
from parfait.stages.schema import EvaluateConfig, validate
from parfait.stages.tasks import Task, prepare
from parfait.utils.children import end_with_parent, parent_id

Progress = Callable[[str, int, int], None]
_STATE: dict[str, Any] = {}  # of a worker: its task and the folder


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
        UserError: what a cell could not write.
    """
    known = stored_keys(folder)
    missing = [c for c in task.cells if cell_key(c.name, task.ingredients) not in known]
    if workers < 2 or len(missing) < 2:
        return
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    pool = ProcessPoolExecutor(
        min(workers, len(missing)),
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(settings, str(folder), parent_id()),
    )
    try:
        jobs = {pool.submit(_compute, cell.name): cell for cell in _long_first(missing)}
        for number, job in enumerate(as_completed(jobs), len(task.cells) - len(missing) + 1):
            job.result()
            progress(jobs[job].question, number, len(task.cells))
    finally:
        pool.shutdown(cancel_futures=True)


def _long_first(cells: list[Cell]) -> list[Cell]:
    """Cells of judges first, the null of many judges before the others: short ones fill gaps."""
    return sorted(cells, key=lambda cell: cell.question not in ("c2st", "ablation", "legacy"))


def _start(settings: dict[str, Any], folder: str, parent: int) -> None:
    import torch

    torch.set_num_threads(1)
    end_with_parent(parent)
    task = prepare(validate(OmegaConf.create(settings), EvaluateConfig))
    _STATE.update(cells={cell.name: cell for cell in task.cells}, task=task, folder=Path(folder))


def _compute(name: str) -> None:
    task: Task = _STATE["task"]
    list(compute_cells([_STATE["cells"][name]], _STATE["folder"], task.ingredients))
