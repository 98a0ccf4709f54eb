"""``distill``: a teacher's examples for a semantic model, as one file with its card."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.distill.card import write_data_set
from parfait.distill.ontology import Shares, ontology_jobs
from parfait.distill.parts import make_parts
from parfait.semantic.examples import FILE
from parfait.stages.progress import progress_bar
from parfait.stages.schema import DistillConfig, plain, validate
from parfait.utils.errors import UserError, require
from parfait.utils.files import sweep_temporaries
from parfait.utils.run_guard import run_guard
from parfait.utils.threads import one_thread, processors

log = logging.getLogger(__name__)

_STEPS = {"parts": "making examples"}
_WORKERS = 4  # at most, where nothing is said
TEACHERS = ("ontology",)


def distill(cfg: DictConfig) -> None:
    """Writes ``examples.parquet``, ``dataset.json`` and ``README.md`` into ``output_dir``.

    Parts that an earlier call made of the same settings by the same code lie in ``cache`` and are
    not made again, so that a killed run goes on where it was.

    Raises:
        UserError: a setting cannot be used, or there is nothing to learn from.
    """
    start = time.perf_counter()
    settings = validate(cfg, DistillConfig)
    require("n", settings.n, 1)
    workers = settings.workers
    if workers is None:
        workers = min(len(processors()), _WORKERS)
    require("workers", workers, 1)
    teacher: dict[str, Any] = plain(settings.teacher)
    name = teacher.pop("name", None)
    if name not in TEACHERS:
        raise UserError(f"teacher.name={name} is unknown; use one of {', '.join(TEACHERS)}")
    console = Console()
    try:
        shares = Shares(**teacher)
    except TypeError as error:
        raise UserError(f"the teacher {name!r} has another set of options: {error}") from error
    jobs = ontology_jobs(settings.n, settings.seed, shares)
    with run_guard(cfg, "distill") as folder, one_thread():
        sweep_temporaries(folder)
        with progress_bar(console, _STEPS) as progress:
            parts = make_parts(jobs, Path(settings.cache), workers, progress)
        lost: Counter[str] = Counter()
        for _, more in parts:
            lost.update(more)
        told = {"teacher": name, "n": settings.n, "seed": settings.seed, **teacher}
        sources = {"texts": "the grammar of this package", "targets": "the ontology reader"}
        frame = pl.concat([rows for rows, _ in parts])
        card = write_data_set(folder, frame, told, sources, lost)
        took = time.perf_counter() - start
        log.info("%d examples", card["examples"], extra={"file_only": True})
    splits = ", ".join(f"{k} {v}" for k, v in card["counts"]["split"].items())
    console.print(Text(f"{card['examples']} examples ({splits}); {took:.1f} s."), soft_wrap=True)
    console.print(Text(f"Examples: {folder / FILE}"), soft_wrap=True)
