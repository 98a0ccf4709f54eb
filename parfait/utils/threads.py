"""One thread for work that is too small to share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread and restores the setting.

    Small batches gain nothing from a second thread, threads that wait for each other on a busy
    machine lose tenfold, and threaded Fourier transforms round differently.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def processors() -> set[int]:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def usual_workers() -> int:
    """Processes where nothing is said: one per processor, at most 4, shared with the processes that
    torchrun started on this machine.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return max(1, min(len(processors()) // here, 4))
