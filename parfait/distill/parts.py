"""Parts of a data set: made once, kept under a hash of all they are made of, in any process."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import polars as pl

import parfait.distill
import parfait.regime
import parfait.semantic.ontology
from parfait.semantic.examples import Example, examples_frame
from parfait.utils.children import end_with_parent, parent_id
from parfait.utils.code import code_hash
from parfait.utils.files import json_bytes, parquet_bytes, sweep_temporaries, write_files

FORMAT = 1  # raised when the same examples are written in another form
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Made:
    """What a job made.

    Args:
        examples: of the part.
        lost: reason -> how many were thrown away.
        told: what else there is to say, as plain data.
    """

    examples: list[Example]
    lost: dict[str, int]
    told: list[dict[str, Any]] = field(default_factory=list)


class Job(Protocol):
    """What makes one part; a frozen dataclass that can be sent to another process."""

    def describe(self) -> dict[str, Any]:
        """All that decides about the part but the code, as plain data."""
        ...

    def make(self) -> Made:
        """The examples and their account."""
        ...


@cache
def code_key() -> str:
    """SHA-256 of the files that examples are made by: teachers, grammars, lexicons, regimes."""
    return code_hash((parfait.distill, parfait.semantic.ontology, parfait.regime))


def part_key(job: Job) -> str:
    """SHA-256 of what decides about a part, the code included."""
    told = json.dumps([FORMAT, job.describe(), code_key()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def make_parts(
    jobs: Sequence[Job], folder: Path, workers: int, progress: Progress
) -> list[tuple[pl.DataFrame, list[dict[str, Any]], dict[str, int]]]:
    """Rows, what else is told, and losses of every job, in order.

    What the folder holds is not made again.

    Args:
        jobs: one for each part.
        folder: where parts are kept.
        workers: processes; they change no byte.
        progress: told of every part that is there.

    Raises:
        UserError: what a job raises, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    missing = [job for job in jobs if _account(folder, job) is None]
    done = len(jobs) - len(missing)
    progress("parts", done, len(jobs))
    if workers < 2 or len(missing) < 2:
        for number, job in enumerate(missing, done + 1):
            _keep(job, folder)
            progress("parts", number, len(jobs))
    else:
        pool = ProcessPoolExecutor(
            min(workers, len(missing)),
            mp_context=get_context("spawn"),
            initializer=_start,
            initargs=(parent_id(),),
        )
        try:
            running = [pool.submit(_keep, job, folder) for job in missing]
            for number, future in enumerate(as_completed(running), done + 1):
                future.result()
                progress("parts", number, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)
    return [_load(folder, job) for job in jobs]


def _start(parent: int) -> None:
    import torch

    torch.set_num_threads(1)
    end_with_parent(parent)


def _keep(job: Job, folder: Path) -> None:
    made = job.make()
    data = parquet_bytes(examples_frame(made.examples))
    account = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "lost": made.lost,
        "told": made.told,
        "job": job.describe(),
    }
    key = part_key(job)  # the account last: it vouches for the rows
    write_files(folder, {f"{key}.parquet": data, f"{key}.json": json_bytes(account)})


def _account(folder: Path, job: Job) -> dict[str, Any] | None:
    """What is told of a part that lies there whole."""
    key = part_key(job)
    try:
        account = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        data = (folder / f"{key}.parquet").read_bytes()
    except (OSError, ValueError):
        return None
    whole = account.get("sha256") == hashlib.sha256(data).hexdigest()
    return account | {"data": data} if whole else None


def _load(folder: Path, job: Job) -> tuple[pl.DataFrame, list[dict[str, Any]], dict[str, int]]:
    account = _account(folder, job)
    if account is None:  # somebody emptied the cache meanwhile
        _keep(job, folder)
        account = _account(folder, job)
    assert account is not None
    return pl.read_parquet(io.BytesIO(account["data"])), account["told"], account["lost"]
