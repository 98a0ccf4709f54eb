"""Cells -> the one document of an evaluation: every number beside its null."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from parfait.evaluation.candidates import NEUTRAL
from parfait.evaluation.legacy import NETWORK
from parfait.evaluation.legacy import NULL as HALVES

NULLS = ("real vs real, blocks of 63 bars", "real vs real, blocks of 5 bars")
NULL_ROWS = {"c2st": NULLS, "legacy": (HALVES,)}
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
    """Scores with what real data get against real data in the same column."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for question, rows in NULL_ROWS.items():
        for row in reversed(rows):  # the first wins where several were computed
            found = [s for s in scores if (s["question"], s["row"]) == (question, row)]
            known |= {(question, s["column"]): s for s in found}
    completed = []
    for score in scores:
        null = known.get((score["question"], score["column"]))
        if null is not None and score["row"] not in NULL_ROWS[score["question"]]:
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


def flat_scores(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """``question/row/column`` -> value of every score that has one, in names loggers accept."""
    named = {(_slug(s["question"]), _slug(s["row"]), _slug(s["column"])): s for s in scores}
    return {"/".join(k): s["value"] for k, s in named.items() if s["value"] is not None}


def objective(told: Mapping[str, Any]) -> float:
    """What a sweep over runs minimises: the score of the network's worst judge above its null, or
    the discriminative score of the suite ``legacy``, or the share of expectations that a reader
    misses; infinity where none was computed."""
    for question, row, column in (("c2st", NEUTRAL, WORST), ("legacy", NETWORK, "DS")):
        for s in told["scores"]:
            found = (s["question"], s["row"], s["column"]) == (question, row, column)
            if found and s["value"] is not None:
                return s["value"] - (s["null"] or 0.0)
    read = [s for s in told["scores"] if (s["question"], s["column"]) == ("understanding", "all")]
    asked = sum(s["n"] for s in read)
    return 1 - sum(s["n"] * s["value"] for s in read) / asked if asked else math.inf


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.|%]+", "_", text.lower()).strip("_")
