"""Kills a process at a moment drawn beforehand, and tells what it was doing."""

import fnmatch
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context, set_start_method
from pathlib import Path
from typing import Any

from _kill_stages import Contents, Stage

from parfait.cli import main
from parfait.microstructure import module

# Commands run in forks of a process that has imported what they need: imports are most of a short
# run, and of no interest.
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("parfait.stages.distill", "parfait.stages.label", "parfait.stages.simulate"),
        *("parfait.stages.train", "parfait.pipeline", "parfait.report", "parfait.report.labels"),
        *("parfait.labels.module", "parfait.microstructure.module", "hydra.main"),
    ]
)
_LOOK = 0.002  # seconds between two looks at the folder
_KIND = re.compile(r"\.(?P<name>.+)\.\d+\.tmp")


@dataclass
class Account:
    """What was found in one stage.

    Attributes:
        where: phases of kills, in order.
        lost, left, differ: files at the ends of folders that are missing, too many, other.
        corrupt: files that were there at a kill and were not what a run left alone writes.
        twice: files that were whole at a kill and were written again.
    """

    where: list[str] = field(default_factory=list)
    folders: int = 0
    lost: int = 0
    left: int = 0
    differ: int = 0
    corrupt: int = 0
    twice: int = 0

    @property
    def faults(self) -> int:
        """0 where kills left no trace."""
        return self.lost + self.left + self.differ + self.corrupt + self.twice

    @property
    def inside_writes(self) -> int:
        """Kills that left a file half written."""
        return sum(one.startswith("inside a write") for one in self.where)

    def end(self, expected: Contents, found: Contents) -> None:
        """Compares the end of a folder with that of a run left alone."""
        self.lost += len(expected.keys() - found.keys())
        self.left += len(found.keys() - expected.keys())
        self.differ += sum(found[n] != expected[n] for n in expected.keys() & found.keys())
        for name in sorted(expected.keys() ^ found.keys())[:5]:
            print(f"    {'lost' if name in expected else 'left over'}: {name}")
        for name in sorted(n for n in expected.keys() & found.keys() if found[n] != expected[n])[
            :5
        ]:
            print(f"    different: {name}")


def _command(arguments: list[str], output: str) -> None:
    """What a terminal would run, in a child that has everything imported."""
    os.setsid()
    set_start_method("fork", force=True)  # workers start as in a command of its own
    with Path(output).open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    module._CONSTANT_WINDOWS = 256  # tiny, as all of these runs
    sys.argv = arguments
    main()


class Trial:
    """One folder of results, brought to its end through kills.

    Args:
        stage: what runs.
        home: its inputs.
        work: where all its results go.
        draw: of the moments.
    """

    def __init__(self, stage: Stage, home: Path, work: Path, draw: random.Random) -> None:
        self.stage, self.home, self.work, self.draw = stage, home, work, draw
        self.stamps: dict[str, int] = {}  # kept files that were there at a kill -> time of writing
        self.old: set[Path] = set()
        self.seconds, self.writes = 0.0, 0  # of a run left alone, imports excluded

    def start(self, arguments: tuple[str, ...] | None = None) -> Any:
        """A process of the stage, in a group of its own with its workers."""
        self.old, self.ready = set(self.half()), self._begun()
        self.files = {file: file.stat().st_mtime_ns for file in self._marks()}
        told = [a.format(home=self.home, work=self.work) for a in arguments or self.stage.command]
        command = ["parfait", *told, f"output_dir={self.work}/run"]
        process = _FORKS.Process(target=_command, args=(command, str(self.home / "output.txt")))
        process.start()
        return process

    def finish(self, arguments: tuple[str, ...] | None = None) -> None:
        """Runs to the end; counts seconds and writes.

        Raises:
            SystemExit: it fails.
        """
        process, seen = self.start(arguments), set()
        begun = time.monotonic()
        while process.is_alive():
            if self._begun() == self.ready:
                begun = time.monotonic()
            seen |= set(self.half()) - self.old
            time.sleep(_LOOK)
        self.seconds, self.writes = time.monotonic() - begun, len(seen)
        self._require_success(process)

    def _require_success(self, process: Any) -> None:
        process.join()
        if process.exitcode:
            raise SystemExit((self.home / "output.txt").read_text()[-2000:])

    def strike(self, usual: "Trial", in_write: bool, alone: bool) -> str | None:
        """Starts, kills, and says where that was; ``None`` where it had ended.

        Args:
            usual: a run left alone.
            in_write: wait for a file that is being written, else for a moment after the imports.
            alone: kill the process and leave its workers to themselves, else the whole group.
        """
        process, seen, begun = self.start(), set(), None
        wait, skipped = self.draw.uniform(0.0, 0.8) * usual.seconds, self.draw.random()
        while process.is_alive():
            if begun is None:
                begun = time.monotonic() if self._begun() != self.ready else None
            elif in_write:
                found = set(self.half()) - self.old - seen
                seen |= found
                if found and len(seen) > 0.6 * skipped * usual.writes:
                    break
            elif time.monotonic() - begun > wait:
                break
            time.sleep(_LOOK)
        if not process.is_alive():
            self._require_success(process)
            return None
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.join()
        phase = self._phase()
        if alone:
            _wait_for_group(process.pid)
        return phase

    def check(self, expected: Contents) -> tuple[int, int]:
        """Files that are not what they will be, and those kept that were written again."""
        there = {k: v for k, v in self.stage.results(self.work).items() if not _is_half(k)}
        corrupt = 0
        if self.stage.contents is None:
            final = {
                name: data
                for name, data in there.items()
                if not any(fnmatch.fnmatch(name, p) for p in self.stage.interim)
            }
            wrong = [k for k, v in final.items() if k in expected and expected[k] != v]
            corrupt = len(wrong)
            print(*(f"    corrupt: {name}" for name in wrong), sep="", end="\n" * bool(wrong))
        twice = 0
        for pattern in self.stage.kept:
            for file in self.work.glob(pattern):
                if file.with_suffix(".json").exists():  # which vouches for it
                    stamp = file.stat().st_mtime_ns
                    twice += self.stamps.get(str(file), stamp) != stamp
                    self.stamps[str(file)] = stamp
        return corrupt, twice

    def half(self) -> Iterator[Path]:
        """Files that are being written, or were when a process was killed."""
        folders = [self.work]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        if _is_half(entry.name):
                            yield Path(entry.path)
                        elif entry.is_dir(follow_symlinks=False):
                            folders.append(Path(entry.path))
            except FileNotFoundError:
                continue

    def _begun(self) -> set[tuple[str, int]]:
        """Changes when the stage begins, which saves its configuration once all is imported."""
        found = set()
        for file in (*self.work.glob("run/.hydra/config.yaml"), *self.work.glob(".run.*.partial")):
            try:
                found.add((file.name, file.stat().st_mtime_ns if file.is_file() else 0))
            except FileNotFoundError:
                continue
        return found

    def _marks(self) -> Iterator[Path]:
        for _, pattern in self.stage.marks:
            yield from self.work.glob(pattern)

    def _phase(self) -> str:
        """What a process was doing, from what it left."""
        for file in set(self.half()) - self.old:
            kind = _KIND.fullmatch(file.name)
            return f"inside a write ({Path(kind['name']).suffix if kind else file.name})"
        if self._begun() == self.ready:
            return "start-up"
        new = {f for f in self._marks() if self.files.get(f) != f.stat().st_mtime_ns}
        for words, pattern in self.stage.marks:
            if any(fnmatch.fnmatch(str(f), str(self.work / pattern)) for f in new):
                return f"after {words}"
        return "before anything new"


def _is_half(name: str) -> bool:
    return name.endswith(".tmp")


def _wait_for_group(group: int) -> None:
    """Until orphaned workers have noticed; at most some seconds."""
    for _ in range(100):
        if not _alive(group):
            return
        time.sleep(0.1)
    raise SystemExit("workers outlive the process that started them")


def _alive(group: int) -> bool:
    """Whether a process of the group runs; one that has ended but was not asked for does not."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(its) == group and state != "Z":
            return True
    return False
