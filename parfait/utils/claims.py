"""Who is at which part: processes that share a folder need no other agreement.

A claim saves work and never decides about a result: two processes that make the same part write
the same bytes, each through a file of its own.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parfait.utils.files import HOST, is_alive

BEAT = 20.0  # seconds between two signs of life
LEASE = 180.0  # seconds without one after which another machine's process counts as dead


@contextmanager
def claim(file: Path) -> Iterator[bool]:
    """Whether this process may work: nobody else is at it, or whoever was has died.

    A process of this machine is looked up; one of another must touch its claim now and then.
    """
    if not _take(file):
        yield False
        return
    done = threading.Event()
    threading.Thread(target=_beat, args=(file, done), daemon=True).start()
    try:
        yield True
    finally:
        done.set()
        file.unlink(missing_ok=True)


def _take(file: Path) -> bool:
    for _ in range(2):
        try:
            with file.open("x") as opened:
                opened.write(f"{HOST} {os.getpid()}")
        except FileExistsError:
            if not _abandoned(file):
                return False
            file.unlink(missing_ok=True)
        else:
            return True
    return False


def _abandoned(file: Path) -> bool:
    try:
        host, _, pid = file.read_text().partition(" ")
        silent = time.time() - file.stat().st_mtime > LEASE
    except FileNotFoundError:  # given up this moment
        return True
    if host == HOST and pid.isdigit():
        return silent or not is_alive(int(pid))
    return silent


def _beat(file: Path, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):
            os.utime(file)
