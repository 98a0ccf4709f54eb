"""Files that are never half written, and whose bytes depend on their content alone."""

import io
import json
import math
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from parfait.utils.errors import UnwritableError

ROW_GROUP = 131_072  # fixed, so that the bytes of a table depend on its rows alone
HOST = socket.gethostname()


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """The table as zstd parquet; equal tables give equal bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=3, row_group_size=ROW_GROUP)
    return buffer.getvalue()


def json_bytes(data: Any) -> bytes:
    """Strict JSON in UTF-8: whatever is not finite becomes null."""
    return (
        json.dumps(_finite(data), allow_nan=False, ensure_ascii=False, indent=2) + "\n"
    ).encode()


def write_files(folder: str | Path, files: Mapping[str, bytes]) -> list[Path]:
    """Writes each file through a sibling, fsync and rename.

    Raises:
        UnwritableError: the folder refuses, or the disk is full.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [_write_file(folder / name, data) for name, data in files.items()]
        _sync_folder(folder)
    except OSError as error:
        raise UnwritableError(
            f"the output folder {folder} cannot be written ({error.strerror or error}); "
            "choose another one"
        ) from error
    return written


def write_through(folder: str | Path, name: str, write: Callable[[Path], None]) -> Path:
    """Lets ``write`` fill a sibling of a file too large for memory, then renames it.

    Raises:
        UnwritableError: the folder refuses, or the disk is full.
    """
    path = Path(folder) / name
    sibling = _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(sibling)
        with sibling.open("rb+") as file:
            os.fsync(file.fileno())
        sibling.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UnwritableError(
            f"the output folder {folder} cannot be written ({error.strerror or error}); "
            "choose another one"
        ) from error
    finally:
        sibling.unlink(missing_ok=True)
    return path


def write_once(folder: str | Path, name: str, data: bytes) -> bytes:
    """What the file holds: ``data``, or what another process wrote first.

    Raises:
        UnwritableError: the folder refuses, or the disk is full.
    """
    path = Path(folder) / name
    (written,) = write_files(folder, {_sibling(path).name: data})
    try:
        os.link(written, path)  # of several processes one succeeds
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            written.replace(path)
    finally:
        written.unlink(missing_ok=True)
    return path.read_bytes()


def sweep_temporaries(folder: Path) -> None:
    """Deletes what killed processes of this machine left half written."""
    for file in folder.glob(".*.tmp"):
        host, told, _ = file.name[1:].partition("~")
        pid = file.name.split(".")[-2]
        if (not told or host == HOST) and pid.isdigit() and not is_alive(int(pid)):
            file.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has the number ``pid``; elsewhere than POSIX: perhaps."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _write_file(path: Path, data: bytes) -> Path:
    sibling = _sibling(path)
    try:
        with sibling.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sibling.replace(path)
    except BaseException:
        sibling.unlink(missing_ok=True)
        raise
    return path


def _sibling(path: Path) -> Path:
    """Its name tells machine and process: those of others are not to be swept."""
    return path.with_name(f".{HOST}~{path.name}.{os.getpid()}.tmp")


def _sync_folder(folder: Path) -> None:
    """Makes the renames survive a power cut; a no-op where folders cannot be opened."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
