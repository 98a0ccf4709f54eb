"""Cells -> the one document of an evaluation: every number beside its null."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NULLS = ("real vs real, blocks of 63 bars", "real vs real, blocks of 5 bars")
WORST = "worst judge"


def document(
    cells: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], **about: Any
) -> dict[str, Any]:
    """``evaluation.json``: settings, what is known of model, data and code, and every score.

    Args:
        cells: as ``compute_cells`` gives them.
        settings: of the run.
        about: ``task``, ``suite``, ``model``, ``data``, ``commit``.
    """
    scores = [
        dict(score, seeds=cell["seeds"], cpu_seconds=cell["cpu_seconds"])
        for cell in cells
        for score in cell["scores"]
    ]
    scores = with_worst(with_nulls(scores))
    return {
        "format": 1,
        **about,
        "settings": dict(settings),
        "scores": scores,
        "cells": [{k: cell[k] for k in ("name", "key", "seeds", "cpu_seconds")} for cell in cells],
        "extra": {cell["name"]: cell["extra"] for cell in cells if cell["extra"]},
        "cpu_seconds": round(sum(cell["cpu_seconds"] for cell in cells), 1),
    }


def with_nulls(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """C2ST scores with the null of their judge: real against real in alternate blocks of time."""
    known: dict[str, dict[str, Any]] = {}
    for name in reversed(NULLS):  # the longer blocks win where both were computed
        known |= {s["column"]: s for s in scores if s["row"] == name and s["question"] == "c2st"}
    completed = []
    for score in scores:
        null = known.get(score["column"])
        if score["question"] == "c2st" and score["row"] not in NULLS and null is not None:
            score = score | {"null": null["value"], "null_error": null["error"]}
        completed.append(score)
    return completed


def with_worst(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A column more for every row of the C2ST: the judge that sees most, by name."""
    completed, last = [], {s["row"]: k for k, s in enumerate(scores) if s["question"] == "c2st"}
    for k, score in enumerate(scores):
        completed.append(score)
        if last.get(score["row"]) != k or score["row"] in NULLS:
            continue
        mine = [s for s in scores if (s["question"], s["row"]) == ("c2st", score["row"])]
        known = [s for s in mine if s["value"] is not None]
        if known:
            worst = max(known, key=lambda s: s["value"] - (s["null"] or 0.0))
            completed.append(worst | {"column": WORST, "note": worst["column"]})
    return completed


def tables(scores: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """question -> row -> column -> score, in order of appearance."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for score in scores:
        rows = found.setdefault(score["question"], {})
        rows.setdefault(score["row"], {})[score["column"]] = dict(score)
    return found


def commit() -> str | None:
    """The commit of the checkout that the package lies in, with "+" where files were changed."""
    here = Path(__file__)
    known = _git(here.parent, "ls-files", "--error-unmatch", here.name)
    head = _git(here.parent, "rev-parse", "--short=12", "HEAD") if known else None
    if head is None:
        return None
    return head + ("+" if _git(here.parent, "status", "--porcelain", "-uno") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; ``None`` without git, a repository or an answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.strip() or None) if done.returncode == 0 else None
