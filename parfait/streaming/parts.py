"""One part on disk: three tables and the account that vouches for them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch

from parfait.checks import Outcomes
from parfait.simulation import Simulation
from parfait.streaming.job import ACCOUNTS, GUIDES, OUTCOMES, PATHS, TABLES, Job, part_file
from parfait.utils.claims import claim
from parfait.utils.files import json_bytes, parquet_bytes, write_files

Account = dict[str, Any]
Progress = Callable[[str, int, int], None]


def stored(folder: Path, job: Job, number: int, *, whole: bool = True) -> Account | None:
    """The account of a part that was made by this job and lies there.

    Args:
        folder: of the run.
        job: the run.
        number: of the part.
        whole: compare the hashes of its tables too, not only their sizes.
    """
    try:
        told = json.loads((folder / ACCOUNTS / part_file(number, "json")).read_text("utf-8"))
        if told["key"] != job.part_key(number) or set(told["files"]) != set(TABLES):
            return None
        for table, entry in told["files"].items():
            file = folder / table / part_file(number)
            if file.stat().st_size != entry["bytes"]:
                return None
            if whole and _sha256(file) != entry["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told


def make(folder: Path, job: Job, number: int, progress: Progress | None = None) -> bool:
    """Makes a part unless it is there; ``False`` if another process is at it.

    Raises:
        UserError: the part cannot be drawn, or not be written.
    """
    with claim(folder / ACCOUNTS / part_file(number, "claim")) as mine:
        if mine and stored(folder, job, number) is None:
            _write(folder, job, number, job.draw(number, progress))
        return mine


def _write(folder: Path, job: Job, number: int, made: Simulation) -> None:
    shift = pl.col("path") + pl.lit(job.first(number), pl.Int32)
    tables = {
        PATHS: made.bars.with_columns(shift),
        GUIDES: made.guides.with_columns(shift),
        OUTCOMES: outcomes_table(made).with_columns(shift),
    }
    account_file = folder / ACCOUNTS / part_file(number, "json")
    account_file.unlink(missing_ok=True)  # it vouches for tables that are about to change
    files = {}
    for table, frame in tables.items():
        data = parquet_bytes(frame)
        write_files(folder / table, {part_file(number): data})
        size, digest = len(data), hashlib.sha256(data).hexdigest()
        files[table] = {"rows": frame.height, "bytes": size, "sha256": digest}
    account = {
        "key": job.part_key(number),
        "first_path": job.first(number),
        "paths": made.n_paths,
        "files": files,
        "checks": made.checks,
        "imposed": [one.to_dict() for one in made.imposed],
        "warnings": list(made.warnings),
    }
    write_files(account_file.parent, {account_file.name: json_bytes(account)})


def outcomes_table(made: Simulation) -> pl.DataFrame:
    """A row per path: ``path``, ``scenario``, and the fields of ``Outcomes``.

    ``measured`` is null where the horizon is too short for it.
    """
    index = pl.Series("scenario", made.scenario_of_path, dtype=pl.Int32)
    number = pl.int_range(made.n_paths, dtype=pl.Int32, eager=True).alias("path")
    found = [
        pl.Series(name, [None] * made.n_paths if values is None else values.numpy(), pl.Float64)
        for name, values in vars(made.outcomes).items()
    ]
    return pl.DataFrame([number, index, *found])


def read_outcomes(files: list[Path]) -> tuple[torch.Tensor, Outcomes]:
    """Scenario of every path, and what became of it, from the tables of all parts in order."""
    frame = pl.read_parquet(files, columns=["scenario", *Outcomes.__dataclass_fields__])
    columns: dict[str, Any] = {
        name: torch.from_numpy(frame[name].to_numpy().copy()) for name in frame.columns
    }
    if frame["measured"].null_count():
        columns["measured"] = None
    return columns.pop("scenario").long(), Outcomes(**columns)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
