"""The loop over parts: in this process or in several, shared with whoever works in the folder."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from parfait.streaming.job import ACCOUNTS, TABLES, Job
from parfait.streaming.parts import Progress, forget, make, stored
from parfait.utils.children import end_with_parent, parent_id
from parfait.utils.errors import UnwritableError, UserError
from parfait.utils.files import sweep_temporaries
from parfait.utils.shards import Shard

_PATIENCE = 5.0  # seconds between two looks at parts that others have in work
_STATE: dict[str, Any] = {}  # of a worker: its folder and job


def stream(folder: Path, job: Job, shard: Shard, workers: int, progress: Progress) -> set[int]:
    """Makes the parts of a shard that are missing; returns when all of them are there.

    What other processes have in work is left to them, and taken over when they die. Parts that are
    there are read once and compared with their hashes.

    Args:
        folder: of the run, which other processes and machines may share.
        job: the run.
        shard: which parts are this process's.
        workers: processes to make them in; they change no byte.
        progress: told of ``paths`` that are there.

    Returns:
        The numbers of the parts that were compared or made.

    Raises:
        UserError: a part cannot be drawn, a worker was killed, or the disk is full; what is
            finished stays.
    """
    for name in (*TABLES, ACCOUNTS):
        (folder / name).mkdir(parents=True, exist_ok=True)
        sweep_temporaries(folder / name)
    own = [k for k in range(job.parts) if shard.holds_number(k)]
    total = sum(map(job.size, own))
    missing, done = [], 0
    for number in own:
        if stored(folder, job, number) is None:
            forget(folder, number)
            missing.append(number)
        else:
            done += job.size(number)
            progress("found", done, total)
    progress("paths", done, total)
    try:
        with _maker(folder, job, min(workers, len(missing)), progress, total) as each:
            while missing:
                busy = []
                for number, made in each(missing, done):
                    if made:
                        done += job.size(number)
                        progress("paths", done, total)
                    else:
                        busy.append(number)
                if len(busy) == len(missing):
                    time.sleep(_PATIENCE)
                missing = busy
    except UnwritableError as error:
        raise UnwritableError(
            f"{error}; {done:,} of {total:,} paths are finished and stay: make room and run the "
            "same command again"
        ) from error
    except BrokenProcessPool as error:
        raise UserError(
            f"a worker process was killed, most often for want of memory; {done:,} of {total:,} "
            "paths are finished and stay: run the same command again, with fewer workers="
        ) from error
    return set(own)


@contextmanager
def _maker(folder: Path, job: Job, workers: int, progress: Progress, total: int) -> Iterator[Any]:
    """A function of numbers that yields (number, whether it was made here or found)."""

    def here(numbers: list[int], done: int) -> Iterator[tuple[int, bool]]:
        for number in numbers:

            def tell(stage: str, some: int, _: int, before: int = done) -> None:
                if stage == "bars":
                    progress("paths", before + some, total)

            made = make(folder, job, number, tell)
            done += job.size(number) if made else 0
            yield number, made

    if workers < 2:
        yield here
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(folder, job, parent_id()),
    )

    def apart(numbers: list[int], _: int) -> Iterator[tuple[int, bool]]:
        running = {pool.submit(_make, number): number for number in numbers}
        for future in as_completed(running):
            yield running[future], future.result()

    try:
        yield apart
    finally:
        pool.shutdown(cancel_futures=True)


def _start(folder: Path, job: Job, parent: int) -> None:
    import torch

    torch.set_num_threads(1)
    end_with_parent(parent)
    _STATE.update(folder=folder, job=job)


def _make(number: int) -> bool:
    return make(_STATE["folder"], _STATE["job"], number)
