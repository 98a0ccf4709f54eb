"""Work that several processes share, here and on other machines."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from parfait.utils.children import end_with_parent, parent_id
from parfait.utils.errors import UserError

Item = TypeVar("Item")
_PATIENCE = 5.0  # seconds between two looks at what others have in work
_STATE: dict[str, Any] = {}  # of a worker


def work_off(
    make: Callable[[Item], bool],
    items: Sequence[Item],
    workers: int,
    done: Callable[[Item], None],
) -> None:
    """Calls ``make`` for every item until it says that the item is there.

    Args:
        make: makes an item; ``False`` while somebody else is at it (``parfait.utils.claims``).
            Where there are several workers it is sent to each, and should be no larger than the
            64 KB of a pipe: Python waits for ever for one that dies before it has read more.
        items: what is to be made.
        workers: processes; with one, this one.
        done: told of every item that is there.

    Raises:
        UserError: what ``make`` raises, or a worker was killed.
    """
    with _mapper(make, min(workers, len(items))) as each:
        while items:
            busy = []
            for item, made in each(items):
                if made:
                    done(item)
                else:
                    busy.append(item)
            if len(busy) == len(items):
                time.sleep(_PATIENCE)
            items = busy


@contextmanager
def _mapper(
    make: Callable[[Any], bool], workers: int
) -> Iterator[Callable[[Sequence[Any]], Iterable[tuple[Any, bool]]]]:
    if workers < 2:
        yield lambda items: ((item, make(item)) for item in items)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(make, parent_id()),
    )

    def each(items: Sequence[Any]) -> Iterator[tuple[Any, bool]]:
        running = {pool.submit(_call, item): item for item in items}
        for future in as_completed(running):
            yield running[future], future.result()

    try:
        yield each
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, most often for want of memory; what is finished stays: "
            "run the same command again, with fewer workers="
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(make: Callable[[Any], bool], parent: int) -> None:
    import torch

    torch.set_num_threads(1)
    end_with_parent(parent)
    _STATE["make"] = make


def _call(item: Any) -> bool:
    return _STATE["make"](item)
