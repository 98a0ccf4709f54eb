"""Kills stages again and again, and compares what is left with runs left alone.

    OMP_NUM_THREADS=1 python benchmarks/interruptions.py [--kills 50] [--stages label train]

SIGKILL at moments drawn evenly over a run after its imports, and every second time while a file is
being written: the sibling that a file is written through is watched for. A killed run is continued
by the same command until it is done, then the next begins anew. Every fourth kill leaves the
workers of the process to themselves. Prints where each kill struck, and how many files were lost,
left over, different at the end, corrupt at a kill, or made twice. Ends with 1 unless all are 0.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from _common import Table
from _kill_stages import STAGES, Stage
from _kills import Account, Trial


def kill_stage(name: str, stage: Stage, kills: int, home: Path, draw: random.Random) -> Account:
    """So many kills of one stage."""
    told = Account()
    home.mkdir()
    stage.prepare(home)
    usual = Trial(stage, home, home / "whole", draw)
    usual.finish()
    if stage.beside:
        Trial(stage, home, home / "whole", draw).finish(stage.beside)
    expected = stage.results(usual.work)
    print(f"{name}: {usual.seconds:.1f} s, {usual.writes} writes, {len(expected)} results compared")
    while len(told.where) < kills:
        trial = Trial(stage, home, home / "work", draw)
        told.folders += 1
        while len(told.where) < kills:
            other = trial.start(stage.beside) if stage.beside else None
            number = len(told.where)
            phase = trial.strike(usual, in_write=number % 2 == 0, alone=number % 4 == 1)
            if other is not None:
                other.join()
                if other.exitcode:
                    raise SystemExit("the process beside failed")
            corrupt, twice = trial.check(expected)
            told.corrupt, told.twice = told.corrupt + corrupt, told.twice + twice
            if phase is None:
                break
            told.where.append(phase)
            print(f"  {len(told.where):3} folder {told.folders}: {phase}", flush=True)
        trial.finish()
        told.end(expected, stage.results(trial.work))
        shutil.rmtree(trial.work)
    return told


def main() -> None:
    """A table on the terminal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each stage")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    columns = ("kills", "inside writes", "folders", "lost", "left", "differ", "corrupt", "twice")
    table = Table("SIGKILL", ("stage", *columns, "minutes"))
    where: Counter[str] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        for name in arguments.stages:
            begun = time.monotonic()
            draw = random.Random(f"{arguments.seed} {name}")
            home = Path(folder) / name.replace(" ", "-")
            told = kill_stage(name, STAGES[name], arguments.kills, home, draw)
            counts = (told.lost, told.left, told.differ, told.corrupt, told.twice)
            minutes = f"{(time.monotonic() - begun) / 60:.1f}"
            table.add(name, len(told.where), told.inside_writes, told.folders, *counts, minutes)
            where.update(f"{name}: {phase}" for phase in told.where)
            faults += told.faults
            shutil.rmtree(home)
    places = Table("where", ("phase", "kills"))
    for phase, count in sorted(where.items()):
        places.add(phase, count)
    places.print()
    table.print()
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
