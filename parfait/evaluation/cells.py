"""Cells: units of an evaluation that are computed once, stored whole, and never again."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import parfait
from parfait.metrics.measured import Measured
from parfait.utils.code import code_hash
from parfait.utils.errors import UnwritableError, UserError
from parfait.utils.files import json_bytes, sweep_temporaries, write_files

CELLS = "cells"
FORMAT = 1  # raised when a stored cell is written in another form
# What cells are computed by: an edit of any of these makes stored ones stale.
_CODE = (
    "evaluation",
    "metrics",
    "labels",
    "microstructure",
    "regime",
    "sde",
    "semantic",
    "distill",
)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """One number of a table.

    Args:
        question: which table.
        row, column: where in it.
        value: the number; ``None`` where it cannot be had, for the reason in ``note``.
        error: standard error.
        null: what real data score against real data.
        null_error: spread of the null over its repeats.
        ceiling: the best that the estimator allows.
        n: windows or paths behind it.
        note: the reason, or what the number refers to.
    """

    question: str
    row: str
    column: str
    value: float | None
    error: float | None = None
    null: float | None = None
    null_error: float | None = None
    ceiling: float | None = None
    n: int | None = None
    note: str = ""

    def beside(self, null: Measured) -> "Score":
        """The same with its null."""
        return replace(self, null=null.value, null_error=null.error)

    def under(self, ceiling: float | None) -> "Score":
        """The same with its ceiling."""
        return replace(self, ceiling=ceiling)


def measured_score(
    question: str, row: str, column: str, told: Measured, n: int | None = None, note: str = ""
) -> Score:
    """A measured number as a score; without a value its reason is the note."""
    note = note if told.known else told.reason
    return Score(question, row, column, told.value, error=told.error, n=n, note=note)


@dataclass(frozen=True)
class Found:
    """What a cell found.

    Args:
        scores: its numbers.
        seeds: of what was drawn.
        extra: arrays for figures, as plain lists.
    """

    scores: Sequence[Score]
    seeds: Sequence[int] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    Args:
        name: unique in its task, ``question/row``.
        compute: what to do; it depends on nothing but the ingredients of the task.
    """

    name: str
    compute: Callable[[], Found]

    @property
    def question(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    @property
    def row(self) -> str:
        """The part of the name after the slash."""
        return self.name.partition("/")[2]


def cell(question: str, row: str, compute: Callable[[str], Found]) -> Cell:
    """The cell of a row whose computation is told the name of the row."""
    return Cell(f"{question}/{row}", lambda: compute(row))


def cell_key(name: str, ingredients: Mapping[str, Any]) -> str:
    """SHA-256 of the cell's name, the settings, model and data, and the code."""
    told = json.dumps([FORMAT, name, ingredients, code_key()], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


@cache
def code_key() -> str:
    """SHA-256 of what cells are computed by: code, lexicons, weights."""
    packages = [import_module(f"parfait.{package}") for package in _CODE]
    return code_hash(packages, sorted(Path(parfait.__path__[0]).glob("*.py")))


def compute_cells(
    cells: Sequence[Cell],
    folder: Path,
    ingredients: Mapping[str, Any],
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """Every cell as it is stored, in order; those that lie in ``folder`` are read.

    A cell that a mistake or the data make impossible is stored with a single score without value,
    whose note is the reason.

    Raises:
        UnwritableError: the folder refuses.
    """
    place = folder / CELLS
    sweep_temporaries(place)
    for number, cell in enumerate(cells, 1):
        key = cell_key(cell.name, ingredients)
        told = _stored(place, key)
        if told is None:
            told = _computed(cell, key)
            write_files(place, {f"{key}.json": json_bytes(told)})
        yield told
        if progress is not None:
            progress(cell.question, number, len(cells))


def stored_keys(folder: Path) -> set[str]:
    """Keys of the cells that lie in ``folder``."""
    return {file.stem for file in (folder / CELLS).glob("*.json")}


def _stored(place: Path, key: str) -> dict[str, Any] | None:
    try:
        told = json.loads((place / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("key") == key else None


def _computed(cell: Cell, key: str) -> dict[str, Any]:
    start = time.process_time()
    try:
        found = cell.compute()
    except UnwritableError:
        raise
    except UserError as error:
        found = Found([Score(cell.question, cell.row, "all", None, note=str(error))])
    told = {
        "key": key,
        "name": cell.name,
        "seeds": list(found.seeds),
        "cpu_seconds": round(time.process_time() - start, 2),
        "scores": [asdict(score) for score in found.scores],
        "extra": dict(found.extra),
    }
    return json.loads(json_bytes(told))  # what is read back later, now
