"""All parts together: manifest, summary, and the simulation that a report is drawn from."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from parfait import __version__
from parfait.bars import BAR_FIELDS
from parfait.checks import alignment
from parfait.conditions import Imposed
from parfait.simulation import Simulation, Whole
from parfait.streaming.job import OUTCOMES, PATHS, Job, part_file
from parfait.streaming.parts import Account, read_outcomes, stored
from parfait.utils.files import json_bytes, write_files

MANIFEST = "manifest.json"


def finish(folder: Path, job: Job, compared: Collection[int] = ()) -> Simulation | list[int]:
    """Writes ``scenarios.json``, ``summary.json`` and ``manifest.json`` once every part is there.

    Risk, checks and alignment are of all paths: the same functions as for a run in memory, on the
    columns of ``outcomes.parquet``, 48 bytes a path. Whoever finishes last gets here, and so does
    any later call, with the same bytes.

    Args:
        folder: of the run.
        job: the run.
        compared: parts whose hashes need not be compared again.

    Returns:
        The first part with the figures of all, for ``report.write``; or the numbers of the parts
        that are missing, and nothing is written.
    """
    found = {k: stored(folder, job, k, whole=False) for k in range(job.parts)}
    if None not in found.values():  # before, nobody needs to read what others made
        found |= {k: stored(folder, job, k) for k in range(job.parts) if k not in compared}
    missing = [number for number, account in found.items() if account is None]
    if missing:
        return missing
    told = [account for account in found.values() if account is not None]
    made = _whole(folder, job, told)
    write_files(
        folder,
        {
            "scenarios.json": json_bytes(made.scenarios_table()),
            "summary.json": json_bytes(made.summary()),
            MANIFEST: json_bytes(_manifest(job, told)),
        },
    )
    return made


def _whole(folder: Path, job: Job, told: list[Account]) -> Simulation:
    table = pl.read_parquet(folder / PATHS / part_file(0), columns=list(BAR_FIELDS))
    bars = torch.from_numpy(table.to_numpy().copy()).view(job.size(0), -1, len(BAR_FIELDS))
    sample = job.draw(0, known=bars)
    files = [folder / OUTCOMES / part_file(k) for k in range(job.parts)]
    index, outcomes = read_outcomes(files)
    counts = torch.bincount(index, minlength=len(sample.resolved.components)).tolist()
    rows = [account["files"][PATHS]["rows"] for account in told]
    valid = [account["checks"]["valid_bars"] for account in told]
    return replace(
        sample,
        whole=Whole(tuple(counts), job.part_paths),
        warnings=tuple(joint_warnings([account["warnings"] for account in told])),
        imposed=tuple(joint_conditions(account["imposed"] for account in told)),
        checks={
            "valid_bars": sum(n * share for n, share in zip(rows, valid, strict=True)) / sum(rows),
            "max_guide_error": max(account["checks"]["max_guide_error"] for account in told),
        },
        outcomes=outcomes,
        alignment=tuple(alignment(outcomes, index, sample.horizon / sample.bars_per_year)),
        risk=outcomes.risk,
        seconds={},
    )


def joint_warnings(parts: list[list[str]]) -> list[str]:
    """Every sentence once; of those that differ in their numbers the first, and how many say so."""
    said: dict[str, str] = {}
    count: Counter[str] = Counter()
    for sentences in parts:
        forms = {re.sub(r"\d[\d,.]*", "#", sentence): sentence for sentence in sentences}
        said = said | {form: s for form, s in forms.items() if form not in said}
        count.update(forms.keys())
    everywhere = set(parts[0]).intersection(*parts)
    return [
        s if s in everywhere else f"{s} (So or alike in {count[form]} of {len(parts)} parts.)"
        for form, s in said.items()
    ]


def joint_conditions(parts: Iterable[list[dict[str, Any]]]) -> list[Imposed]:
    """Every condition once, with the paths drawn for it in all parts."""
    found: dict[tuple[Any, ...], Imposed] = {}
    for records in parts:
        for one in (Imposed(**record) for record in records):
            key = (one.scenario, one.kind, one.level, one.bar, one.mode)
            found[key] = _added(found[key], one) if key in found else one
    return sorted(found.values(), key=lambda one: one.scenario)


def _added(one: Imposed, other: Imposed) -> Imposed:
    drawn = one.drawn + other.drawn
    ess = acceptance = None
    if one.ess is not None and other.ess is not None:
        ess = one.ess + other.ess
    if one.acceptance is not None and other.acceptance is not None:
        acceptance = (one.acceptance * one.drawn + other.acceptance * other.drawn) / drawn
    return replace(one, ess=ess, acceptance=acceptance, drawn=drawn)


def _manifest(job: Job, told: list[Account]) -> dict[str, Any]:
    return {
        "version": __version__,
        "key": job.key,
        "n_paths": job.n_paths,
        "horizon": job.plan.settings.horizon,
        "seed": job.plan.settings.seed,
        "part_paths": job.part_paths,
        "bytes": sum(entry["bytes"] for account in told for entry in account["files"].values()),
        "files": [
            {"name": f"{table}/{part_file(number)}", "first_path": account["first_path"], **entry}
            for number, account in enumerate(told)
            for table, entry in account["files"].items()
        ],
    }
