"""The ``label`` stage on synthesised daily bars: time and memory."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import polars as pl
import torch
from _common import Table

from parfait.bars import BAR_FIELDS
from parfait.labels.synthetic import bars_around, clustered_variances, jump_sums

BARS = 7_560  # 30 years
SHARDS = 2
BATCH = 20  # symbols drawn together


def scale(sizes: list[int]) -> Table:
    """Two processes, a shard each, on the first so many of the same files.

    The last column is the load of the machine, others' work included, where the run began.
    """
    columns = ("bars", "windows", "seconds", "CPU s", "CPU ms/symbol", "peak MB", "load before")
    table = Table("label stage, two shards, from Parquet", ("symbols", *columns))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        write_bars(folder / "all", max(sizes))
        for symbols in sizes:
            some = folder / "some"
            some.mkdir()
            for file in sorted((folder / "all").iterdir())[:symbols]:
                os.link(file, some / file.name)
            load = os.getloadavg()[0]
            seconds, cpu, peak = run(some, folder / "out")
            summary = json.loads((folder / "out" / "summary.json").read_text())
            table.add(
                symbols,
                f"{summary['bars']:,}",
                f"{summary['windows']:,}",
                f"{seconds:.0f}",
                f"{cpu:.0f}",
                f"{1000 * cpu / symbols:.0f}",
                f"{peak:.0f}",
                f"{load:.1f}",
            )
            shutil.rmtree(some)
            shutil.rmtree(folder / "out")
    return table


def write_bars(folder: Path, symbols: int) -> None:
    """One file per symbol, with clustering, jumps and an overnight share."""
    folder.mkdir()
    days = (date.fromordinal(i) for i in itertools.count(date(1990, 1, 1).toordinal()))
    weekdays = list(itertools.islice((day for day in days if day.weekday() < 5), BARS))
    times = pl.Series(weekdays).cast(pl.Datetime("us"))
    for first in range(0, symbols, BATCH):
        bars = _bars(min(BATCH, symbols - first), torch.Generator().manual_seed(first))
        for symbol, one in enumerate(bars, first):
            columns = {name: one[:, j].numpy() for j, name in enumerate(BAR_FIELDS)}
            frame = pl.DataFrame({"timestamp": times} | columns)
            frame.write_parquet(folder / f"S{symbol:05d}.parquet")


def _bars(symbols: int, generator: torch.Generator) -> torch.Tensor:
    variances = 4e-4 * clustered_variances(symbols, BARS, generator)
    noise = torch.randn((symbols, BARS), generator=generator, dtype=torch.float64)
    one = torch.ones(symbols, dtype=torch.float64)
    jumps = jump_sums(symbols, BARS, 0.02 * one, 0 * one, 0.04 * one, generator)
    bars = bars_around(variances.sqrt() * noise, variances, generator, jumps, start=100.0)
    # A path of 30 years wanders far: pull it back to where it began.
    level = bars[..., 3:4].log()
    ramp = torch.linspace(0, 1, BARS, dtype=torch.float64)[:, None]
    bars[..., :4] /= (ramp * (level[:, -1:] - level[:, :1])).exp()
    return bars


def run(data: Path, out: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds of both processes, and the peak memory of the larger one [MB]."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-m", "parfait", "label", f"data.path={data}", "figures=0"]
    command += [f"output_dir={out}", "data.bars_per_year=252"]
    start = time.perf_counter()
    processes = [
        subprocess.Popen(
            [*command, f"shard={i}/{SHARDS}"], env=environment, stdout=subprocess.DEVNULL
        )
        for i in range(SHARDS)
    ]
    cpu = peak = 0.0
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the stage ended with {process.returncode}")
        cpu += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss / 1024)
    return time.perf_counter() - start, cpu, peak
