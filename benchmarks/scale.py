"""How a streamed ``simulate`` grows: time, memory and disk by paths, and speed by workers.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--paths 1000 10000 100000] [--workers 1 2]
        [--horizon 20] [--run FOLDER] [--steps N] [--folder FOLDER]

A process for every row, from the command line as anybody would start it. "CPU" is of all processes
together and the column to compare on a machine that others use; "start" is what a run of one part
of 64 paths costs, most of it imports, and is left out of "ms/path". Peak memory is that of the
largest process. The last column is the load of the machine where the row began.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from _common import Table

ROOT = Path(__file__).parents[1]


class Cost(NamedTuple):
    """Of one run: wall and CPU seconds, peak memory [MB], bytes of the tables, load before."""

    wall: float
    cpu: float
    peak: float
    disk: int
    load: float


def main() -> None:
    """Prints the table, a row at a time on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--horizon", type=int, default=20)
    parser.add_argument("--run", help="folder of a training run; the model that ships by default")
    parser.add_argument("--steps", type=int, help="of the sampler")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR", "/var/tmp"))
    args = parser.parse_args()
    more = [f"horizon={args.horizon}", *([f"run={args.run}"] if args.run else [])]
    more += [f"sampler.steps={args.steps}"] if args.steps else []
    start = run(64, 1, more, args.folder)
    print(f"start: {start.cpu:.1f} CPU s, {start.peak:.0f} MB", file=sys.stderr, flush=True)
    columns = ("workers", "wall s", "CPU s", "CPU ms/path", "paths/wall s", "peak MB", "disk MB")
    table = Table(
        f"simulate, streamed, {args.horizon} bars", ("paths", *columns, "bytes/bar", "load before")
    )
    for workers in args.workers:
        for paths in args.paths:
            cost = run(paths, workers, more, args.folder)
            print(f"{paths} paths, {workers} workers: {cost}", file=sys.stderr, flush=True)
            table.add(
                f"{paths:,}",
                workers,
                f"{cost.wall:.0f}",
                f"{cost.cpu:.0f}",
                f"{1000 * (cost.cpu - workers * start.cpu) / paths:.2f}",
                f"{paths / cost.wall:.0f}",
                f"{cost.peak:.0f}",
                f"{cost.disk / 1e6:.1f}",
                f"{cost.disk / paths / args.horizon:.1f}",
                f"{cost.load:.1f}",
            )
    table.print()


def run(paths: int, workers: int, more: list[str], place: str) -> Cost:
    """One command in a folder of its own, which is removed."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        out = Path(name) / "out"
        command = [sys.executable, str(ROOT / "simulate.py"), "War breaks out", "stream=true"]
        command += [f"n_paths={paths}", f"workers={workers}", f"output_dir={out}", *more]
        env = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        load, start = os.getloadavg()[0], time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}")
        wall = time.perf_counter() - start
        disk = sum(f.stat().st_size for f in out.glob("*.parquet/*.parquet"))
        shutil.rmtree(out)
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, disk, load)


if __name__ == "__main__":
    main()
