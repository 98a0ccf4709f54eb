"""The parts of a shard, made in this process or in several."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from parfait.streaming.job import ACCOUNTS, TABLES, Job, part_file
from parfait.streaming.parts import Progress, make, stored
from parfait.utils.errors import UnwritableError
from parfait.utils.files import sweep_temporaries
from parfait.utils.pool import work_off
from parfait.utils.shards import Shard


def stream(
    folder: Path,
    job: Job,
    shard: Shard,
    progress: Progress,
    workers: int = 1,
    load: Callable[[], Job] | None = None,
) -> set[int]:
    """Makes the parts of a shard that are missing; returns when all of them are there.

    What other processes have in work is left to them, and taken over when they die. Parts that are
    there are read once and compared with their hashes.

    Args:
        folder: of the run, which other processes and machines may share.
        job: the run.
        shard: which parts are this process's.
        progress: told of ``paths`` that are there, and of parts ``found``.
        workers: processes to make them in; they change no byte.
        load: makes the job in each of several workers, small enough to be sent there.

    Returns:
        The numbers of the shard's parts.

    Raises:
        UserError: a part cannot be drawn, a worker was killed, or the disk is full; what is
            finished stays.
    """
    for place in (folder, *(folder / name for name in (*TABLES, ACCOUNTS))):
        place.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(place)
    own = [k for k in range(job.parts) if shard.holds_number(k)]
    missing = []
    for count, number in enumerate(own, 1):
        if stored(folder, job, number) is None:
            missing.append(number)
        else:  # a kill may have come between the account and this
            (folder / ACCOUNTS / part_file(number, "claim")).unlink(missing_ok=True)
        progress("found", count, len(own))
    total = sum(map(job.size, own))
    there = total - sum(map(job.size, missing))

    def finished(number: int) -> None:
        nonlocal there
        there += job.size(number)
        progress("paths", there, total)

    def inside(stage: str, some: int, _: int) -> None:
        if stage == "bars":
            progress("paths", there + some, total)

    progress("paths", there, total)
    making: Callable[[int], bool] = partial(make, folder, job, progress=inside)
    if workers > 1 and load is not None:
        making = _Maker(folder, load)
    try:
        work_off(making, missing, workers if load is not None else 1, finished)
    except (UnwritableError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnwritableError(
            f"{error}; {there:,} of {total:,} paths are finished and stay: make room and run the "
            "same command again"
        ) from error
    return set(own)


@dataclass
class _Maker:
    """Makes parts in a process that has no job yet."""

    folder: Path
    load: Callable[[], Job]
    job: Job | None = None

    def __call__(self, number: int) -> bool:
        self.job = self.job or self.load()
        return make(self.folder, self.job, number)
