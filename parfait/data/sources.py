"""Which files to convert, what identifies their content, and safe names for what comes out."""

import glob
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parfait.utils.errors import UserError

FORMAT = 1  # raised when the same file and options give other bars
_KINDS = (".csv", ".txt", ".tsv", ".parquet")
_ENDINGS = (*_KINDS, ".gz", ".zip")
_LONGEST = 150  # bytes of a file name, endings left out
_SAFE = frozenset("-_.+=^@ ")


def find_sources(path: str | Path, exclude: Path) -> list[Path]:
    """A file itself, the data files below a folder, or those that match a glob, in order.

    Args:
        path: file, folder or glob ("data/**/*.csv.gz").
        exclude: folder that is left out, because results lie in it.

    Raises:
        UserError: nothing is found.
    """
    given = Path(path)
    if given.is_dir():
        found = [f for f in given.rglob("*") if f.suffix.lower() in _ENDINGS and f.is_file()]
    elif given.exists():
        return [given]
    elif not glob.has_magic(str(path)):
        raise UserError(f"{path} does not exist; give a file, a folder or a glob such as '*.csv'")
    else:
        root = Path(given.anchor)
        found = [f for f in root.glob(str(given.relative_to(root))) if f.is_file()]
    home = exclude.resolve()
    found = sorted(f for f in found if home not in f.resolve().parents)
    if not found:
        kinds = ", ".join(_ENDINGS)
        raise UserError(f"{path} holds no file of bars ({kinds}); give another path")
    return found


def content_key(path: Path, name: str, options: Mapping[str, Any]) -> str:
    """SHA-256 of a file's bytes, its name and symbol, and every option.

    Raises:
        UserError: the file cannot be read.
    """
    digest = hashlib.sha256(f"{FORMAT}\0{path.name}\0{name}\0{_canonical(options)}".encode())
    digest.update(_file_digest(path))
    factors = options.get("factors")
    if factors is not None:
        folder = Path(factors)
        for file in sorted(folder.glob("*.csv")) if folder.is_dir() else [folder]:
            digest.update(file.stem.encode() + _file_digest(file))
    return digest.hexdigest()


def joint_key(keys: list[str]) -> str:
    """One key for several parts, whatever their order."""
    return hashlib.sha256("\0".join(sorted(keys)).encode()).hexdigest()


def file_name(symbol: str) -> str:
    """The symbol as a file name: other symbols get other names, none leaves its folder."""
    safe = "".join(
        c if c.isalnum() or c in _SAFE else "".join(f"%{b:02X}" for b in c.encode()) for c in symbol
    )
    safe = "%2E" + safe[1:] if safe.startswith(".") else safe or "%"
    if len(safe.encode()) > _LONGEST:
        safe = f"{safe[:30]}%{hashlib.sha256(symbol.encode()).hexdigest()[:32]}"
    return safe


def symbol_from_name(path: Path, pattern: str) -> str:
    """The first group of ``pattern`` in a file's name.

    Raises:
        UserError: no match, or a pattern without a group.
    """
    try:
        found = re.search(pattern, path.name)
        symbol = found and found.group(1)
    except (re.error, IndexError) as error:
        raise UserError(f"pattern {pattern!r} has no group: {error}; use r'^(.+?)_'") from error
    if not symbol:
        raise UserError(f"{path}: its name does not match the pattern {pattern!r}; change pattern")
    return symbol


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _canonical(options: Mapping[str, Any]) -> str:
    return json.dumps({k: options[k] for k in sorted(options)}, default=str, sort_keys=True)
