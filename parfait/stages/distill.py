"""``distill``: a teacher's examples for a semantic model, as one file with its card."""

import json
import logging
import time
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.distill.card import write_data_set
from parfait.semantic.examples import FILE
from parfait.stages.data_settings import data_files
from parfait.stages.findings import distill_findings
from parfait.stages.on_ray import on_ray
from parfait.stages.progress import progress_bar
from parfait.stages.schema import DistillConfig, plain, validate
from parfait.stages.teaching import Teacher
from parfait.utils import tracking
from parfait.utils.errors import require
from parfait.utils.files import write_files
from parfait.utils.run_guard import run_guard
from parfait.utils.shards import Shard
from parfait.utils.threads import one_thread, usual_workers

log = logging.getLogger(__name__)

REJECTED = "rejected.jsonl"
_STEPS = {
    "parts": "making examples",
    "answers": "asking the teacher",
    "paraphrases": "asking for wordings",
}


def distill(cfg: DictConfig) -> None:
    """Writes ``examples.parquet``, ``dataset.json`` and ``README.md`` into ``output_dir``, and
    ``rejected.jsonl``: what a server was asked for in vain.

    Parts that an earlier call made of the same settings by the same code, and answers of servers,
    lie in ``cache`` and are not made again, so that a killed run goes on where it was. Shards share
    ``cache`` and ``output_dir``; the last one to finish writes the examples. With ``dry_run``
    nothing is asked and no folder is made: the costs are told.

    Raises:
        UserError: a setting cannot be used, or there is nothing to learn from.
    """
    start = time.perf_counter()
    settings = validate(cfg, DistillConfig)
    if on_ray("distill", cfg):
        return
    require("n", settings.n, 1)
    workers = usual_workers() if settings.workers is None else settings.workers
    require("workers", workers, 1)
    shard = Shard.of(settings.shard)
    teacher = Teacher(settings, workers, shard)
    console = Console()
    if settings.dry_run:
        with one_thread(), progress_bar(console, _STEPS) as progress:
            told = teacher.cost(progress)
        console.print(Text(f"teacher={teacher.name}: {told}. Nothing was asked."), soft_wrap=True)
        return
    name = "distill" if shard.whole else f"distill.{shard}"
    with run_guard(cfg, name, shared=True) as folder, one_thread():
        part = "" if shard.whole else str(shard)
        tracker = tracking.start(cfg, "distill", folder, _inputs(settings), part)
        with progress_bar(console, _STEPS) as progress:
            taught = teacher.teach(progress)
        if taught is None:
            told = f"The parts of shard {shard} are made; others are missing in {settings.cache}."
            log.info("%s", told, extra={"file_only": True})
            console.print(Text(f"{told} Whoever finishes last writes the examples."))
            return
        if teacher.name == "openai":
            lines = [json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in taught.rejected]
            write_files(folder, {REJECTED: "".join(lines).encode()})
        card = write_data_set(
            folder, taught.frame, taught.settings, taught.sources, taught.lost, taught.effects
        )
        log.info("%d examples", card["examples"], extra={"file_only": True})
        tracker.report(**distill_findings(card, taught.frame), outputs={"examples": folder / FILE})
    splits = ", ".join(f"{k} {v}" for k, v in card["counts"]["split"].items())
    took = time.perf_counter() - start
    console.print(Text(f"{card['examples']} examples ({splits}); {took:.1f} s."), soft_wrap=True)
    if taught.rejected:
        what = f"{len(taught.rejected)} answers did not validate: {folder / REJECTED}"
        console.print(Text(what), soft_wrap=True)
    console.print(Text(f"Examples: {folder / FILE}"), soft_wrap=True)


def _inputs(settings: DistillConfig) -> dict[str, Any]:
    """The files that the teacher learns from: bars where windows teach, a catalogue, a model."""
    teacher = plain(settings.teacher)
    reader = teacher.get("reader") or {}
    bars = teacher.get("name") == "windows" or teacher.get("texts") == "catalogue"
    return {
        "data": data_files(settings.data.path) if bars else None,
        "catalogue": teacher.get("catalogue"),
        "reader": reader.get("run") or reader.get("base"),
    }
