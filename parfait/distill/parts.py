"""Parts of a data set: made once, kept under a hash of all they are made of, in any process."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

import parfait.distill
import parfait.regime
import parfait.semantic.ontology
from parfait.semantic.examples import Example, examples_frame
from parfait.utils.claims import claim
from parfait.utils.code import code_hash
from parfait.utils.files import json_bytes, parquet_bytes, sweep_temporaries, write_files
from parfait.utils.pool import work_off
from parfait.utils.shards import WHOLE, Shard

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
    jobs: Sequence[Job], folder: Path, workers: int, progress: Progress, shard: Shard = WHOLE
) -> list[tuple[pl.DataFrame, list[dict[str, Any]], dict[str, int]]] | None:
    """Rows, what else is told, and losses of every job, in order.

    What the folder holds is not made again, and what another process is at is awaited.

    Args:
        jobs: one for each part.
        folder: where parts are kept; other processes and machines may share it.
        workers: processes; they change no byte.
        progress: told of every part of the shard that is there.
        shard: make those of these numbers alone.

    Returns:
        ``None`` where parts of other shards are missing.

    Raises:
        UserError: what a job raises, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    own = [job for number, job in enumerate(jobs) if shard.holds_number(number)]
    missing = [job for job in own if _account(folder, job) is None]
    there = len(own) - len(missing)

    def finished(_: Job) -> None:
        nonlocal there
        there += 1
        progress("parts", there, len(own))

    progress("parts", there, len(own))
    work_off(partial(_keep, folder), missing, workers, finished)
    if not shard.whole and any(_account(folder, job) is None for job in jobs):
        return None
    return [_load(folder, job) for job in jobs]


def _keep(folder: Path, job: Job) -> bool:
    """Makes a part unless it is there; ``False`` if another process is at it."""
    with claim(folder / f"{part_key(job)}.claim") as mine:
        if mine and _account(folder, job) is None:
            _write(folder, job)
        return mine


def _write(folder: Path, job: Job) -> None:
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
        _write(folder, job)
        account = _account(folder, job)
    assert account is not None
    return pl.read_parquet(io.BytesIO(account["data"])), account["told"], account["lost"]
