"""Settings of the ``evaluate`` stage -> the cells it has to compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfait.evaluation.candidates import Ingredients
from parfait.evaluation.cells import Cell
from parfait.evaluation.microstructure import SUITES, microstructure_cells
from parfait.evaluation.windows import Split, load_split
from parfait.microstructure import Microstructure
from parfait.stages.data_settings import data_path, load_options
from parfait.stages.schema import EvaluateConfig


@dataclass(frozen=True)
class Task:
    """Cells, what they depend on, and what the result says about it.

    Args:
        cells: in the order of the tables.
        ingredients: everything that a cell's key is made of beside its name and the code.
        about: ``model`` and ``data`` of the document.
        steps: question -> words for the progress bar.
    """

    cells: Sequence[Cell]
    ingredients: Mapping[str, Any]
    about: Mapping[str, Any]
    steps: Mapping[str, str]


STEPS = {
    "validity": "valid bars",
    "facts": "stylised facts",
    "c2st": "judges",
    "legacy": "legacy scores",
}


def prepare(settings: EvaluateConfig) -> Task:
    """Loads model and data.

    Raises:
        UserError: either cannot be used.
    """
    model = Microstructure.load(settings.run)
    suite = SUITES[settings.suite]
    split = _split(settings, suite.windows)
    ingredients = Ingredients(model, split.train, split.held, settings.every)
    about = {
        "model": {"run": settings.run or "embedded", "sha256": model.fingerprint},
        "data": split.describe(),
    }
    told = {
        "task": settings.task,
        "suite": settings.suite,
        "every": settings.every,
        "model": model.fingerprint,
        "data": about["data"],
    }
    return Task(microstructure_cells(ingredients, suite), told, about, STEPS)


def _split(settings: EvaluateConfig, most: int) -> Split:
    data = settings.data
    path = data_path(data.path)
    cache = None if path is None else Path(settings.paths.outputs) / "cache"
    return load_split(
        path,
        options=load_options(data.options),
        pattern=data.pattern,
        cache=cache,
        train_end=data.train_end,
        history=data.history,
        horizon=data.horizon,
        most=most,
        bars_per_year=data.bars_per_year,
    )
