"""Kept scenarios: made once, and again when the code that makes them is another."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import parfait
import parfait.semantic
from parfait.agents import scenarios
from parfait.data import embedded_bars
from parfait.streaming import job

HISTORY = embedded_bars()["SP500"].tail(30)


class Repeating:
    """A pipeline that counts its runs and costs nothing."""

    microstructure = SimpleNamespace(fingerprint="some network")

    def __init__(self) -> None:
        self.runs = 0

    def run(self, *given: Any, n_paths: int, horizon: int, **settings: Any) -> SimpleNamespace:
        self.runs += 1
        place = pl.int_range(pl.len(), dtype=pl.Int32)
        bars = HISTORY.head(n_paths * horizon).with_columns(path=place // horizon, step=place)
        return SimpleNamespace(bars=bars)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Makes scenarios, and says how often anything was generated so far."""
    pipeline = Repeating()
    monkeypatch.setattr(scenarios, "Pipeline", SimpleNamespace(load=lambda run: pipeline))

    def make() -> int:
        job.code_key.cache_clear()  # an edit comes with another process
        starts = [scenarios.Start("SP500", HISTORY, "A crash")]
        size = {"past": 4, "horizon": 3, "paths": 2, "seed": 0}
        place: dict[str, Any] = {"run": None, "cache": tmp_path, "progress": lambda *_: None}
        made = scenarios.scenario_bars(starts, **size, **place)
        assert made.shape == (2, 7, 5)
        return pipeline.runs

    yield make
    job.code_key.cache_clear()


@pytest.mark.parametrize(
    ("package", "file"),
    [
        *((parfait, f"{name}.py") for name in ("pipeline", "plan", "draft", "simulation")),
        *((parfait, f"{name}.py") for name in ("tables", "history", "guides")),
        (parfait.semantic, "reader.py"),
    ],
)
def test_an_edit_of_what_makes_scenarios_makes_kept_ones_stale(
    package: Any,
    file: str,
    runs: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert runs() == 1
    assert runs() == 1
    edited = tmp_path / "edited"
    edited.mkdir()
    for one in Path(package.__path__[0]).glob("*.py"):
        shutil.copy(one, edited)
    with (edited / file).open("a") as source:
        source.write("# edited")
    monkeypatch.setattr(package, "__path__", [str(edited)])
    assert runs() == 2
