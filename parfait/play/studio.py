"""The one worker behind the page: simulations, figures and files, one at a time."""

import asyncio
import io
import logging
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from parfait import report
from parfait.history import History
from parfait.pipeline import Pipeline
from parfait.play.form import Ask
from parfait.regime import RegimeDistribution
from parfait.report.content import Content
from parfait.report.figures import fan
from parfait.report.html import LABELS
from parfait.report.outcomes import outcomes
from parfait.report.paired import Paired, paired_figure
from parfait.report.style import inline_svg
from parfait.simulation import Simulation
from parfait.utils.errors import UserError
from parfait.utils.files import write_files

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 64  # paths between two looks at whether the page was closed
WARM = "The market falls, then recovers"
TABLES = ("paths.parquet", "guides.parquet", "scenarios.json", "summary.json")
PICTURES = ("report.html", "fan.png", "candles.png")
FILES = (*TABLES, *PICTURES, "paths.csv", "run.zip")


class BusyError(UserError):
    """More is asked for than can wait."""


class GoneError(UserError):
    """A run that is not kept."""


@dataclass(frozen=True, eq=False)
class Result:
    """A run and what the page shows of it.

    Args:
        number: of the run, from 1.
        ask: what was asked for; its instruction is that of the run the scenarios come from.
        simulation: the run itself.
        parent: number of the run whose scenarios were edited.
        notes: sentences on the editing.
        figures: SVG by name.
        seconds: wall time, figures among it.
    """

    number: int
    ask: Ask
    simulation: Simulation
    parent: int | None
    notes: tuple[str, ...]
    figures: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two runs of one seed, and their figure as SVG."""

    pair: Paired
    figure: str


@dataclass(eq=False)
class Studio:
    """Answers one request after the other, once it was started.

    Args:
        load: makes the pipeline.
        histories: what paths may continue.
        folder: where files of a run are written once they are asked for.
        options: further arguments of ``Pipeline.run``.
        waiting: requests that may wait while one is answered.
        kept: runs and comparisons in memory; the oldest go first.
    """

    load: Callable[[], Pipeline]
    histories: Sequence[History]
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    waiting: int = 4
    kept: int = 16

    def __post_init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="play")
        self._closing = threading.Event()
        self._asked = 0
        self._made = 0
        self._written: set[Path] = set()  # an earlier session may have left its files in ``folder``
        self._results: OrderedDict[int, Result] = OrderedDict()
        self._comparisons: OrderedDict[tuple[int, int], Comparison] = OrderedDict()
        self.error: Exception | None = None

    def start(self, failed: Callable[[], None] = lambda: None) -> None:
        """Loads the pipeline in the background; requests wait for it.

        Args:
            failed: called in the worker when it cannot be loaded; ``error`` says why.
        """
        self._pipeline = self._worker.submit(self._warm, failed)

    @property
    def made(self) -> int:
        """Runs so far."""
        return self._made

    def close(self) -> None:
        """Ends what runs at its next batch, and what waits at once."""
        self._closing.set()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def result(self, number: int) -> Result:
        """A run that is kept; ``GoneError`` for any other."""
        if number not in self._results:
            raise GoneError(
                f"Run {number} is not here; this page keeps its last {self.kept} runs. "
                "Generate it again, the same seed gives the same paths."
            )
        return self._results[number]

    async def run(
        self,
        ask: Ask,
        source: str | RegimeDistribution,
        parent: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> Result:
        """Simulates and draws.

        Raises:
            BusyError: too many wait already.
            UserError: the run cannot be made, in one sentence.
        """
        return await self._work(lambda: self._run(ask, source, parent, notes))

    async def compare(self, first: Result, second: Result) -> Comparison:
        """Pairs two runs.

        Raises:
            BusyError: too many wait already.
            UserError: they differ in more than their scenarios.
        """
        key = first.number, second.number
        if key not in self._comparisons:
            made = await self._work(lambda: _compare(first, second))
            _keep(self._comparisons, key, made, self.kept)
        return self._comparisons[key]

    async def file(self, result: Result, name: str) -> bytes:
        """One of ``FILES``; written below ``folder`` when it is first asked for.

        Raises:
            BusyError: too many wait already.
            UserError: the folder cannot be written.
        """
        return await self._work(lambda: self._file(result, name))

    async def _work(self, job: Callable[[], T]) -> T:
        if self._asked > self.waiting:
            raise BusyError(
                f"{self._asked} requests are being answered already, and no more can wait; "
                "try again in a few seconds."
            )
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, job)
        finally:
            self._asked -= 1

    def _warm(self, failed: Callable[[], None]) -> Pipeline:
        """The pipeline, after a run that fills every cache which a first answer would wait for."""
        try:
            pipeline = self.load()
            simulation = pipeline.run(WARM, n_paths=32, horizon=8, progress=self._progress)
            assert isinstance(simulation, Simulation)
            _figures(simulation)
        except Exception as error:
            if not self._closing.is_set():  # else it was told to stop
                self.error = error
                failed()
            raise
        return pipeline

    def _run(
        self,
        ask: Ask,
        source: str | RegimeDistribution,
        parent: int | None,
        notes: tuple[str, ...],
    ) -> Result:
        start = time.perf_counter()
        simulation = self._pipeline.result().run(
            source,
            self.histories[ask.history],
            n_paths=ask.n_paths,
            horizon=ask.horizon,
            seed=ask.seed,
            asset=ask.asset,
            batch_size=BATCH,
            progress=self._progress,
            **self.options,
        )
        assert isinstance(simulation, Simulation)
        figures = _figures(simulation)
        self._made += 1
        took = time.perf_counter() - start
        result = Result(self._made, ask, simulation, parent, notes, figures, took)
        _keep(self._results, result.number, result, self.kept)
        log.info("run %d: %.2f s", result.number, took, extra={"file_only": True})
        return result

    def _file(self, result: Result, name: str) -> bytes:
        place = self.folder / f"{result.number:03d}"
        wanted = FILES[:-1] if name == "run.zip" else (name,)
        for file in wanted:
            if place / file not in self._written or not (place / file).is_file():
                self._written.update(_write(result.simulation, place, file))
        if name != "run.zip":
            return (place / name).read_bytes()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in wanted:
                archive.write(place / file, f"{place.name}/{file}")
        return buffer.getvalue()

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._closing.is_set():
            raise UserError("The page was closed.")


def _figures(simulation: Simulation) -> dict[str, str]:
    content = Content.of(simulation)
    charts = {"fan": fan(content), "outcomes": outcomes(content, simulation.risk["VaR95"])}
    return {name: inline_svg(figure, LABELS[name]) for name, figure in charts.items()}


def _compare(first: Result, second: Result) -> Comparison:
    pair = Paired.of(first.simulation, second.simulation)
    figure = paired_figure(pair, (f"run {first.number}", f"run {second.number}"))
    label = "Both fans, where they end, and their differences path by path"
    return Comparison(pair, inline_svg(figure, label))


def _write(simulation: Simulation, place: Path, name: str) -> list[Path]:
    """Writes a file with those that are made together with it; returns their paths."""
    if name in PICTURES:
        return report.write(simulation, place)
    if name in TABLES:
        return simulation.save(place)
    return write_files(place, {name: simulation.bars.write_csv().encode()})


def _keep(store: OrderedDict[Any, T], key: Any, value: T, size: int) -> None:
    store[key] = value
    while len(store) > size:
        store.popitem(last=False)
