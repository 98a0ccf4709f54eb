"""Signals that ask a process to end: exceptions, so that what is open is closed and told."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGUSR1 is how batch systems warn of the end of a job's time (sbatch --signal=USR1@90).
ENDING = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGUSR1") if hasattr(signal, n))


def exit_code(signum: int) -> int:
    """What a shell reports of a process that this signal ended."""
    return 128 + signum


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGUSR1 raise ``SystemExit`` with their exit code, once: a second one must not
    cut short what the first one cleans up.

    Elsewhere than in the main thread, and where somebody handles them already, nothing changes.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(exit_code(signum))

    before = {s: signal.getsignal(s) for s in ENDING if signal.getsignal(s) is signal.SIG_DFL}
    install(list(before), stop)
    try:
        yield
    finally:
        for signum, handler in before.items():
            install([signum], handler)


def install(
    signums: list[int], handler: Callable[[int, FrameType | None], object] | int | None
) -> None:
    """Sets a handler; only the main thread may."""
    if threading.current_thread() is threading.main_thread():
        for signum in signums:
            signal.signal(signum, handler)
