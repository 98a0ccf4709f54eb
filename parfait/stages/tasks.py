"""Settings of the ``evaluate`` stage -> the cells it has to compute."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from parfait.data import embedded_bars, fingerprint, make_segments
from parfait.distill.catalogue import read_catalogue
from parfait.evaluation.battery import load_battery
from parfait.evaluation.candidates import CANDIDATES, Ingredients
from parfait.evaluation.cells import Cell
from parfait.evaluation.followed import HORIZON, followed_cells
from parfait.evaluation.legacy import ROWS, Protocol, legacy_cells, series
from parfait.evaluation.lessons import examples_key, load_lesson
from parfait.evaluation.microstructure import microstructure_cells
from parfait.evaluation.occasions import occasions
from parfait.evaluation.suites import SUITES, Suite
from parfait.evaluation.taught import taught_cells
from parfait.evaluation.understanding import understanding_cells
from parfait.evaluation.windows import Split, load_split
from parfait.labelling import read_series
from parfait.metrics.trees import MISSING
from parfait.microstructure import Microstructure
from parfait.regime.context import check_asset_class
from parfait.semantic import load_reader
from parfait.stages.data_settings import data_path, load_options
from parfait.stages.schema import EvaluateConfig, plain
from parfait.utils.errors import UserError


@dataclass(frozen=True)
class Task:
    """Cells, what they depend on, and what the result says about it.

    Args:
        cells: in the order of the tables.
        ingredients: everything that a cell's key is made of beside its name and the code.
        model, data: what the document says of them.
        steps: question -> words for the progress bar.
    """

    cells: Sequence[Cell]
    ingredients: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    steps: Mapping[str, str]


STEPS = {
    "validity": "valid bars",
    "facts": "stylised facts",
    "memorisation": "copies",
    "calibration": "forecasts",
    "control": "round trip",
    "ablation": "ablations",
    "rollout": "long paths",
    "c2st": "judges",
    "legacy": "legacy scores",
    "understanding": "instructions",
    "topics": "topics",
    "monotone": "doses",
    "speed": "speed",
    "taught": "a teacher's examples",
    "taught fields": "fields",
    "taught weights": "weights",
    "pairs": "pairs",
    "abstention": "nonsense",
    "followed": "dated events",
    "followed by type": "events by type",
}


def prepare(settings: EvaluateConfig) -> Task:
    """Loads model and data.

    Raises:
        UserError: either cannot be used, or a row is unknown.
    """
    if settings.task == "semantic":
        return _semantic(settings)
    model = Microstructure.load(settings.run)
    known = {"run": settings.run or "embedded", "sha256": model.fingerprint}
    make = _legacy if settings.suite == "legacy" else _microstructure
    cells, data = make(settings, model)
    # What a cell may depend on; where the files lie is no part of it.
    asked = {
        name: plain(getattr(settings, name))
        for name in ("task", "suite", "every", "windows", "samples", "steps")
    } | {"asset": settings.data.asset}
    return Task(cells, asked | {"model": model.fingerprint, "data": data}, known, data, STEPS)


def _semantic(settings: EvaluateConfig) -> Task:
    """Expectations, a teacher's examples, and dated events with the bars that followed them."""
    for name in ("run", "rows", "windows", "samples", "steps"):
        if getattr(settings, name) is not None:
            raise UserError(
                f"task=semantic has no {name}; leave it out, or ask for fewer questions"
            )
    options = {str(k): plain(v) for k, v in settings.semantic.items()}
    reader = load_reader(**options)
    battery = load_battery(settings.battery)
    events = read_catalogue(settings.catalogue)
    frames, failed = _frames(settings)
    examples, most = settings.examples, settings.per_split
    asset, frequency = settings.data.asset, settings.data.bars_per_year
    asset = None if asset is None else check_asset_class(asset)
    cells = [
        *understanding_cells(reader, battery),
        *taught_cells(reader, lambda: load_lesson(examples, most)),
        *followed_cells(
            reader, events, lambda: occasions(frames, events, HORIZON, asset, frequency)
        ),
    ]
    data = {
        "symbols": [settings.battery],
        "expectations": len(battery),
        "events": len(events),
        "sha256": hashlib.sha256(repr(battery).encode()).hexdigest(),
        "left_out": failed,
    }
    known = {"run": options["name"], "sha256": getattr(reader, "fingerprint", "")}
    asked = {
        "task": "semantic",
        "semantic": options,
        "bars": fingerprint(frames),
        "asset": asset,
        "bars_per_year": frequency,
        "events": hashlib.sha256(repr(events).encode()).hexdigest(),
        "examples": None if examples is None else examples_key(examples),
        "per_split": most,
    }
    chosen = [cell for cell in cells if _chosen(cell, settings.questions)]
    return Task(chosen, asked | {"model": known, "data": data}, known, data, STEPS)


def _frames(settings: EvaluateConfig) -> tuple[Mapping[str, pl.DataFrame], list[str]]:
    """The bars that followed the events, and files that are left out."""
    path = data_path(settings.data.path)
    if path is None:
        return embedded_bars(), []
    return read_series(path, *_reading(settings).values())


def _chosen(cell: Cell, questions: Sequence[str] | None) -> bool:
    return questions is None or cell.question in questions


def _microstructure(
    settings: EvaluateConfig, model: Microstructure
) -> tuple[list[Cell], dict[str, Any]]:
    suite = SUITES[settings.suite]
    given = {name: getattr(settings, name) for name in ("windows", "samples", "steps")}
    suite = replace(suite, **{name: v for name, v in given.items() if v is not None}).available()
    suite = replace(suite, rows=_rows(settings.rows, tuple(CANDIDATES), suite.rows))
    asset = settings.data.asset
    ingredients = Ingredients(
        model,
        _split(settings, suite, settings.data.horizon),
        settings.every,
        None if asset is None else check_asset_class(asset),
        lambda horizon: _split(settings, suite, horizon),
    )
    data = ingredients.split.describe() | {"judges": list(suite.judges)}
    if "trees" not in suite.judges:
        data["left_out"].append(f"a third judge, boosted trees, which {MISSING}")
    return microstructure_cells(ingredients, suite, settings.questions), data


def _split(settings: EvaluateConfig, suite: Suite, horizon: int) -> Split:
    data = settings.data
    return load_split(
        data_path(data.path),
        **_reading(settings),
        train_end=data.train_end,
        history=data.history,
        horizon=horizon,
        most=suite.windows,
        most_train=suite.train,
        bars_per_year=data.bars_per_year,
    )


def _legacy(settings: EvaluateConfig, model: Microstructure) -> tuple[list[Cell], dict[str, Any]]:
    path = data_path(settings.data.path)
    frames, failed = {"SP500": embedded_bars()["SP500"]}, list[str]()
    if path is not None:
        frames, failed = read_series(path, *_reading(settings).values())
    one = series(make_segments(frames))
    frequency = settings.data.bars_per_year or one.bars_per_year
    protocol = Protocol(model, one.bars, frequency, history=settings.data.history)
    if settings.steps is not None:
        protocol = replace(protocol, steps=(settings.steps, settings.steps))
    data = {
        "sha256": fingerprint(frames),
        "symbols": [one.symbol],
        "bars_per_year": round(frequency, 3),
        "history": protocol.history,
        "windows": len(protocol.windows),
        "left_out": failed,
    }
    rows = _rows(settings.rows, tuple(ROWS), tuple(ROWS))
    return legacy_cells(protocol, rows), data


def _reading(settings: EvaluateConfig) -> dict[str, Any]:
    """How files are read: options, pattern, and the folder that keeps them converted."""
    data = settings.data
    cache = None if data.path is None else Path(settings.paths.outputs) / "cache"
    return {"options": load_options(data.options), "pattern": data.pattern, "cache": cache}


def _rows(
    asked: list[str] | None, known: tuple[str, ...], usual: tuple[str, ...]
) -> tuple[str, ...]:
    """Rows whose name holds one of the texts asked for."""
    if asked is None:
        return usual
    for text in asked:
        if not any(text in row for row in known):
            raise UserError(f"rows: no row holds {text!r}; rows are {'; '.join(known)}")
    return tuple(row for row in known if any(text in row for text in asked))
