"""Kills the ``label`` stage again and again, and compares what is left with a run left alone.

    OMP_NUM_THREADS=1 python benchmarks/interruptions.py [--kills 30] [--symbols 24] [--seed 0]

SIGKILL at moments drawn evenly over a run, and every second time while a file is being written: the
sibling that a file is written through is watched for. A killed run is continued until it is done,
then the next begins anew, every third as two shards of one folder of which one is killed. Prints
where each kill struck, and how many files were lost, made twice, or differ from those of the run
left alone. Ends with 1 unless all three are 0.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import polars as pl
from _common import Table
from _scale import write_bars

_PARTS = ".parts"


class Trial:
    """One folder of results, brought to its end through kills.

    Args:
        data: folder of bars.
        out: where results go.
        usual: seconds that a run takes.
        draw: of the moments.
    """

    def __init__(self, data: Path, out: Path, usual: float, draw: random.Random) -> None:
        self.data, self.out, self.usual, self.draw = data, out, usual, draw
        self.made: dict[str, int] = {}  # labels that were whole at a kill -> time of writing
        self.remade = 0
        self.before = (0, 0)

    def start(self, shard: str = "0/1") -> subprocess.Popen:
        """A process of the stage."""
        self.before = self.counts()
        command = [sys.executable, "-m", "parfait", "label", f"data.path={self.data}", "figures=0"]
        command += [f"output_dir={self.out}", "data.bars_per_year=252", f"shard={shard}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def strike(self, process: subprocess.Popen, in_write: bool) -> str | None:
        """Kills the process and says where that was; ``None`` where it had ended."""
        wait = self.draw.uniform(0.3, 0.9) * self.usual
        skipped = self.draw.randrange(12)
        begun, seen = time.monotonic(), set()
        while process.poll() is None:
            if in_write:
                found = set(self.siblings(process.pid)) - seen
                seen |= found
                if found and len(seen) > skipped:
                    break
            elif time.monotonic() - begun > wait:
                break
            else:
                time.sleep(0.002)
        if process.poll() is not None:
            self.check()
            return None
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.check()
        return self.phase(process.pid)

    def siblings(self, pid: int) -> list[str]:
        """Files that this process is writing."""
        found = []
        for folder in ("", "bars", "labels", "failed"):
            try:
                with os.scandir(self.out / folder) as entries:
                    found += [e.name for e in entries if e.name.endswith(f".{pid}.tmp")]
            except FileNotFoundError:
                continue
        parts = self.out.glob(f"bars/{_PARTS}*/*/.*.{pid}.tmp")
        return found or [file.name for file in parts]

    def phase(self, pid: int) -> str:
        """What a process was doing, from what it left."""
        if left := self.siblings(pid):
            kind = left[0].removesuffix(f".{pid}.tmp").rpartition(".")[2]
            return f"inside a write ({kind})"
        bars, labels = self.counts()
        if (bars, labels) == self.before:
            return "start-up, or finding out what is there"
        return "reading" if labels == self.before[1] else "labelling"

    def counts(self) -> tuple[int, int]:
        """Symbols whose bars, and whose labels, are there."""
        bars, labels = (len(list((self.out / n).glob("*.json"))) for n in ("bars", "labels"))
        return bars, labels

    def check(self) -> None:
        """Counts labels that are whole and were written anew since the last look."""
        for account in (self.out / "labels").glob("*.json"):
            table = account.with_suffix(".parquet")
            if table.exists():
                stamp = table.stat().st_mtime_ns
                self.remade += self.made.get(table.name, stamp) != stamp
                self.made[table.name] = stamp


def contents(folder: Path) -> dict[str, bytes]:
    """Results by name; not the log, the configuration and the bookkeeping of the conversion."""
    files = {f.relative_to(folder): f for f in folder.rglob("*") if f.is_file()}
    kept = {n: f for n, f in files.items() if n.suffix != ".log" and n.parts[0] != ".hydra"}
    index = {n for n in kept if any(p.startswith(_PARTS) for p in n.parts) and n.suffix == ".json"}
    index.add(Path("bars/summary.txt"))  # of a single process
    return {str(n): f.read_bytes() for n, f in kept.items() if n not in index}


def main() -> None:
    """A table on the terminal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--symbols", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    phases: Counter[str] = Counter()
    lost = differ = twice = remade = folders = 0
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        home = Path(name)
        write_bars(home / "in", arguments.symbols)
        _mix(home / "in")
        whole = Trial(home / "in", home / "whole", 0.0, draw)
        begun = time.monotonic()
        if whole.start().wait():
            raise SystemExit("the run left alone failed")
        usual = time.monotonic() - begun
        expected = contents(whole.out)
        while sum(phases.values()) < arguments.kills:
            trial = Trial(home / "in", home / "out", usual, draw)
            sharded = folders % 3 == 2
            folders += 1
            while sum(phases.values()) < arguments.kills:
                other = trial.start("1/2") if sharded else None
                victim = trial.start("0/2" if sharded else "0/1")
                phase = trial.strike(victim, in_write=sum(phases.values()) % 2 == 0)
                if other is not None and other.wait():
                    raise SystemExit("the other shard failed")
                if phase is None:
                    break
                phases[phase + (", one of two shards" if sharded else "")] += 1
                print(f"{sum(phases.values()):3} folder {folders}: {phase}", flush=True)
            if trial.start("0/2" if sharded else "0/1").wait():
                raise SystemExit("a continued run failed")
            trial.check()
            found = contents(trial.out)
            odd = expected.keys() ^ found.keys()
            print(*(f"    {name}" for name in sorted(odd)), sep="\n", end="")
            lost += len(expected.keys() - found.keys())
            twice += len(found.keys() - expected.keys())
            differ += sum(found[n] != expected[n] for n in expected.keys() & found.keys())
            remade += trial.remade
            shutil.rmtree(trial.out)
    table = Table(f"{sum(phases.values())} kills in {folders} folders", ("where", "kills"))
    for phase, count in sorted(phases.items()):
        table.add(phase, count)
    table.print()
    print(f"files lost {lost}, left over {twice}, different {differ}; labels made twice {remade}")
    raise SystemExit(bool(lost or twice or differ or remade))


def _mix(folder: Path) -> None:
    """Some symbols in one file of several, one as text, one in two files, one that is broken."""
    files = sorted(folder.glob("*.parquet"))
    long = [pl.read_parquet(f).with_columns(symbol=pl.lit(f.stem)) for f in files[:3]]
    pl.concat(long).write_parquet(folder / "long.parquet")
    for file in files[1:3]:
        file.unlink()  # the first is in a file of its own, too
    pl.read_parquet(files[3]).write_csv(folder / f"{files[3].stem}.csv")
    files[3].unlink()
    (folder / "broken.csv").write_text("a,b\n1,2\n")


if __name__ == "__main__":
    main()
