"""``evaluate``: a model and data in, every number beside its null out."""

import logging
import time
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from parfait.stages.data_settings import data_files
from parfait.stages.progress import progress_bar
from parfait.stages.schema import EvaluateConfig, validate
from parfait.utils import lineage, tracking
from parfait.utils.errors import UserError, require
from parfait.utils.files import json_bytes, write_files
from parfait.utils.run_config import redact
from parfait.utils.run_guard import run_guard
from parfait.utils.threads import one_thread, processors

log = logging.getLogger(__name__)

RESULT = "evaluation.json"
TASKS = ("microstructure", "semantic")
SUITES = ("smoke", "full", "legacy")


def evaluate(cfg: DictConfig) -> float:
    """Computes the cells of ``cfg.task`` and ``cfg.suite`` that are missing, and joins them.

    ``output_dir`` gets ``cells/KEY.json`` as they are finished, then ``evaluation.json``, figures,
    ``evaluation.html``. A run that was stopped continues with the cells it lacks.

    Returns:
        What a sweep minimises: the score of the network's worst judge above its null, the
        discriminative score of ``suite=legacy``, or the share of expectations a reader misses.

    Raises:
        UserError: a setting or the data cannot be used.
    """
    start = time.perf_counter()
    settings = validate(cfg, EvaluateConfig)
    _check(settings)
    console = Console()
    with run_guard(cfg, "evaluate") as folder, one_thread():
        from parfait.evaluation.cells import compute_cells
        from parfait.evaluation.results import document, flat_scores, objective
        from parfait.report.evaluation import write_report
        from parfait.report.scores import show
        from parfait.stages.tasks import prepare
        from parfait.stages.workers import compute_apart

        tracker = tracking.start(cfg, "evaluate", folder, _inputs(settings))
        task = prepare(settings)
        ingredients = task.ingredients
        with progress_bar(console, task.steps) as progress:
            compute_apart(cfg, task, folder, _workers(settings), progress)
            cells = list(compute_cells(task.cells, folder, ingredients, progress))
        told = document(
            cells,
            _lasting(cfg),
            task=settings.task,
            suite=settings.suite,
            commit=lineage.commit(),
            model=task.model,
            data=task.data,
        )
        write_files(folder, {RESULT: json_bytes(told)})
        pictures = write_report(told, folder)
        tracker.report(
            flat_scores(told["scores"]) | {"objective": objective(told)},
            kind="evaluation",
            outputs={"evaluation": folder / RESULT},
            tables={"evaluation": told["scores"]},
            figures=[file for file in pictures if file.suffix == ".png"],
            known={"fingerprints": {k: told[k].get("sha256") for k in ("model", "data")}},
        )
        show(told, console)
    console.print(f"Done in {time.perf_counter() - start:.1f} s.", highlight=False)
    console.print(Text(f"Report: {folder / 'evaluation.html'}"), soft_wrap=True)
    return objective(told)


def _workers(settings: EvaluateConfig) -> int:
    """Processes: as asked, else as many as there are processors for a long suite, at most 4."""
    if settings.workers is not None:
        return settings.workers
    return 1 if settings.suite == "smoke" else min(len(processors()), 4)


def _lasting(cfg: DictConfig) -> dict[str, Any]:
    """The settings without what only says where results go."""
    plain = redact(OmegaConf.to_container(cfg, resolve=True))
    return {k: v for k, v in plain.items() if k not in ("logger", "output_dir", "paths", "workers")}


def _inputs(settings: EvaluateConfig) -> dict[str, Any]:
    """The files that are judged, and those they are judged by."""
    from parfait.microstructure.model import EMBEDDED

    reads = settings.task == "semantic"
    return {
        "model": None if reads else settings.run or EMBEDDED,
        "reader": settings.semantic.get("run") or settings.semantic.get("base") if reads else None,
        "data": data_files(settings.data.path),
        "examples": settings.examples,
        "catalogue": settings.catalogue,
    }


def _check(settings: EvaluateConfig) -> None:
    """``UserError`` for what the layers below would name by other words."""
    for name, known in (("task", TASKS), ("suite", SUITES)):
        value = getattr(settings, name)
        if value not in known:
            raise UserError(f"{name}={value} is unknown; use one of {', '.join(known)}")
    if settings.run == "":
        raise UserError("the setting 'run' is empty; give run=..., or leave it out")
    require("every", settings.every, 1)
    require("per_split", settings.per_split, 1)
    for name, least in (("windows", 8), ("samples", 1), ("steps", 1), ("workers", 1)):
        value = getattr(settings, name)
        if value is not None:
            require(name, value, least)
