"""``simulate`` for runs too large for memory: parts on disk, then one summary and report."""

import logging
import math
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.text import Text

from parfait.stages.progress import progress_bar
from parfait.stages.schema import SimulateConfig
from parfait.utils.errors import UserError, require
from parfait.utils.shards import Shard
from parfait.utils.threads import one_thread, usual_workers

if TYPE_CHECKING:
    from parfait.simulation import Simulation

log = logging.getLogger(__name__)

STREAM_ABOVE = 2_000_000  # bars of one asset, from which on a run is streamed unless told otherwise
_STEPS = {"found": "comparing parts", "paths": "generating paths"}
_SILENCE = 30.0  # seconds between two lines of the log


def is_streamed(settings: SimulateConfig) -> bool:
    """Whether a run is made in parts: as the settings say, else for its size.

    Raises:
        UserError: a setting of streamed runs where none is wanted.
    """
    asked = settings.shard is not None
    if settings.stream is False and asked:
        raise UserError(f"shard={settings.shard} divides streamed runs; leave out stream=false")
    if settings.stream is not None:
        return settings.stream
    several = OmegaConf.is_config(settings.history)
    return asked or (settings.n_paths * settings.horizon > STREAM_ABOVE and not several)


class Streamer:
    """Makes one run after the other in parts.

    Args:
        settings: of the stage.
        layers: arguments of ``Pipeline.load``.
        asked: arguments of ``Pipeline.run``.

    Raises:
        UserError: a setting that cannot be used.
    """

    def __init__(
        self, settings: SimulateConfig, layers: dict[str, Any], asked: dict[str, Any]
    ) -> None:
        self.shard = Shard.of(settings.shard)
        self.workers = usual_workers() if settings.workers is None else settings.workers
        require("workers", self.workers, 1)
        require("n_paths", settings.n_paths, 1, 2**31 - 1)  # a path's number is an i32
        require("part_paths", settings.part_paths, 1)
        require("horizon", settings.horizon, 1)
        if settings.ticks.name != "none":
            raise UserError(
                "a streamed run writes no ticks, which are a hundred times its bars; leave out "
                "ticks, or give fewer paths and stream=false"
            )
        self._settings, self._layers, self._asked = settings, layers, asked

    def run(
        self,
        source: Any,
        folder: Path,
        console: Console,
        show: Callable[["Simulation", Console], None],
    ) -> "Simulation | None":
        """Makes this process's share of the paths; writes summary and report if that was the last.

        Returns:
            The whole, with the bars of the first part; ``None`` while parts are missing.

        Raises:
            UserError: the sentence cannot be read, a part not drawn, the disk is too small.
        """
        from parfait.streaming import Job, finish, stream

        start = time.perf_counter()
        given = (self._layers, self._asked, self._settings.part_paths, source, folder)
        load = partial(Job.load, *given)
        job = load()
        with one_thread(), progress_bar(console, _STEPS) as bar:
            told = _Told(bar, console.is_terminal)
            compared = stream(folder, job, self.shard, told, self.workers, load)
            made = finish(folder, job, compared)
        took = time.perf_counter() - start
        share = "" if self.shard.whole else f" (shard {self.shard})"
        if isinstance(made, list):
            there = job.n_paths - sum(map(job.size, made))
            said = (
                f"{there:,} of {job.n_paths:,} paths are there{share}; parts of other shards are "
                "missing, and whoever finishes last writes summary and report. "
                f"{took:.1f} s."
            )
        else:
            from parfait import report

            report.write(made, folder)
            show(made, console)
            said = f"{job.n_paths:,} paths x {made.horizon} bars in {job.parts} parts{share}: "
            said += f"{took:.1f} s."
        log.info("%s", said, extra={"file_only": True})
        console.print(Text(said, style="dim"), soft_wrap=True)
        return None if isinstance(made, list) else made


class _Told:
    """Progress on the terminal, and now and then as a line of the log, with what is left."""

    def __init__(self, bar: Callable[[str, int, int], None], terminal: bool) -> None:
        self._bar, self._extra = bar, {"file_only": terminal}
        self._start = self._last = time.perf_counter()
        self._found: int | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        self._bar(step, done, total)
        if step != "paths":
            return
        now = time.perf_counter()
        if self._found is None:
            self._found, self._start = done, now
        if now - self._last < _SILENCE or done == self._found:
            return
        self._last = now
        rate = (done - self._found) / (now - self._start)
        left = math.ceil((total - done) / rate / 60)
        told = (f"{done:,}", f"{total:,}", rate, left)
        log.info("%s of %s paths, %.0f/s, %d min left", *told, extra=self._extra)


def check_space(folder: Path, n_paths: int, horizon: int, runs: int) -> None:
    """``UserError`` unless the disk has room for the paths that are not there yet.

    Args:
        folder: of the runs, perhaps not there yet.
        n_paths, horizon: paths, and bars of each.
        runs: how many.
    """
    from parfait.streaming.job import BYTES_PER_BAR, BYTES_PER_PATH

    place = next(p for p in (folder, *folder.parents) if p.exists())
    there = sum(f.stat().st_size for f in folder.rglob("*.parquet/*.parquet"))
    needed = runs * n_paths * (horizon * BYTES_PER_BAR + BYTES_PER_PATH) - there
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{runs * n_paths:,} paths of {horizon} bars need about {_size(needed)}, and {place} "
            f"has {_size(free)} free; give fewer paths or bars, or another output_dir="
        )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
