"""How long Parfait keeps a person waiting: answers of ``--help``, a first run, an installation.

    python benchmarks/startup.py [--repeats 5] [--install] [--pip-args "..."] [--out FOLDER]

Wall and processor seconds, medians over repeats, of new processes. With ``--install`` torch, the
core and each extra by itself are installed into a new environment: minutes by the clock (network
included, nothing from pip's cache) and megabytes on disk. An extra is taken out again before the
next one, so what several share counts for each.
"""

import argparse
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    run,
    write_results,
)

from parfait.cli import STAGES
from parfait.utils.errors import UserError

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
MB = 1e6


def timed(command: list[str], folder: str) -> tuple[float, float]:
    """Wall and processor seconds of a process that must succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise UserError(f"{shlex.join(command)} failed: {done.stderr.strip()[-300:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def answers(repeats: int) -> Table:
    """``--help`` and ``--cfg job`` of every stage, and a training of one batch."""
    table = Table("Seconds until a command answers, median", ("command", "wall", "processor"))
    commands = {
        f"python -m parfait {stage} {option}": ["-m", "parfait", stage, *option.split()]
        for stage in STAGES
        for option in ("--help", "--cfg job")
    }
    commands["python train.py debug=fdr"] = [str(ROOT / "train.py"), "debug=fdr"]
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in commands.items():
            found = [timed([sys.executable, *arguments], folder) for _ in range(repeats)]
            wall, processor = (statistics.median(column) for column in zip(*found, strict=True))
            table.add(name, f"{wall:.2f}", f"{processor:.2f}")
    return table


def installation(pip_args: list[str]) -> Table:
    """Minutes and megabytes of a new environment, torch first, and of each extra."""
    table = Table("A new environment", ("step", "minutes", "MB added", "packages added"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        python = str(place / "bin" / "python")
        install = [python, "-m", "pip", "install", "-q", "--no-cache-dir", "-c", str(CONSTRAINTS)]

        def step(name: str, what: str) -> set[str]:
            size, had = megabytes(place), packages(python)
            wall, _ = timed([*install, *pip_args, what], folder)
            new = packages(python) - had
            added = megabytes(place) - size
            table.add(name, f"{wall / 60:.1f}", f"{added:.0f}", str(len(new)))
            return new

        step("torch", "torch")
        step("parfait", str(ROOT))
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for extra in sorted(extras["optional-dependencies"]):
            new = step(f"extra {extra}", f"{ROOT}[{extra}]") - {"parfait"}
            if new:
                subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", *new], check=True)
    return table


def packages(python: str) -> set[str]:
    """Names of what is installed."""
    listed = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.partition("==")[0] for line in lines}


def megabytes(folder: Path) -> float:
    """Sizes of the files below a folder."""
    files = (f for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    return sum(f.stat().st_size for f in files) / MB


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--install", action="store_true", help="measure an installation, too")
    parser.add_argument("--pip-args", default="", help="further arguments of pip install")
    parser.add_argument("--out", default="outputs/benchmarks")
    given = parser.parse_args()
    tables = [answers(given.repeats)]
    if given.install:
        tables.append(installation(shlex.split(given.pip_args)))
    for table in tables:
        table.print()
    write_results(given.out, "startup", tables, {t.title: t.rows for t in tables})


if __name__ == "__main__":
    run(main)
