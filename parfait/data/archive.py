"""The bytes of a file, unpacked, and never more of them than allowed."""

import gzip
import hashlib
import io
import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from parfait.utils.errors import UserError

_MAX_LAYERS = 3  # a gzip in a zip is seen, an endless nest is an attack
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    KeyError,
    IndexError,
    NotImplementedError,  # an exotic compression
    OverflowError,
    RuntimeError,  # an encrypted member
    ValueError,
)


@dataclass(frozen=True)
class RawFile:
    """Content.

    Args:
        data: after unpacking.
        sha256: of the bytes as they lie on disk.
        names: of the file and of the archive members inside it, outermost first.
    """

    data: bytes
    sha256: str
    names: tuple[str, ...]


def read_raw(path: Path, max_bytes: int, member: str | None = None) -> RawFile:
    """Reads a plain, gzip or zip file; decompression stops at ``max_bytes``.

    Args:
        path: the file.
        max_bytes: most bytes of the file itself, and after unpacking.
        member: which file of a zip archive that holds several.

    Raises:
        UserError: missing, unreadable, damaged, too large, or an archive of several files.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a CSV or Parquet file")
    try:
        with path.open("rb") as stream:
            raw = _read_capped(stream, path, max_bytes)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; give the path of a CSV or Parquet file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    sha256, names = hashlib.sha256(raw).hexdigest(), (path.name,)
    for _ in range(_MAX_LAYERS):
        if raw[:2] == b"\x1f\x8b":
            raw = _gunzip(raw, path, max_bytes)
        elif raw[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            raw, name = _unzip(raw, path, max_bytes, member)
            names = (*names, name)
        else:
            return RawFile(raw, sha256, names)
    raise UserError(f"{path} is packed more than {_MAX_LAYERS - 1} times; unpack it first")


def _gunzip(raw: bytes, path: Path, max_bytes: int) -> bytes:
    try:
        with gzip.open(io.BytesIO(raw)) as stream:
            return _read_capped(stream, path, max_bytes)
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from error


def _unzip(raw: bytes, path: Path, max_bytes: int, member: str | None) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            name = _choose(archive.namelist(), path, member)
            with archive.open(name) as stream:
                return _read_capped(stream, path, max_bytes), PurePosixPath(name).name
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(f"{path} is a damaged or locked zip file: {error}") from error


def _choose(names: list[str], path: Path, member: str | None) -> str:
    if any(name.startswith(("xl/", "ppt/", "word/")) for name in names):
        raise UserError(f"{path} is an office document; save the table as CSV")
    files = [n for n in names if not n.endswith("/") and not _is_hidden(n)]
    if member is not None:
        if member not in files:
            raise UserError(f"{path} has no member {member!r}; it holds {_listed(files)}")
        return member
    if len(files) != 1:
        if not files:
            raise UserError(f"{path} is an empty archive; give a file with rows of bars")
        raise UserError(
            f"{path} holds {len(files)} files ({_listed(files)}); choose one, as in "
            f"member={files[0]!r}"
        )
    return files[0]


def _is_hidden(name: str) -> bool:
    """What file managers leave in archives."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:5])
    return shown + (", ..." if len(names) > 5 else "") if names else "nothing"


def _read_capped(stream: IO[bytes] | gzip.GzipFile, path: Path, max_bytes: int) -> bytes:
    raw = stream.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise UserError(
            f"{path} holds more than {max_bytes} bytes; split it, thin it out, or allow more with "
            f"max_bytes={2 * max_bytes}"
        )
    return raw
