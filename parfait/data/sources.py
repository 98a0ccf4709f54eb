"""Which files to convert, what identifies their content, and safe names for what comes out."""

import csv
import glob
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from parfait.data.columns import side_by_side
from parfait.data.headers import stacked_header
from parfait.data.names import ranked_role
from parfait.data.options import LoadOptions
from parfait.utils.errors import UserError

FORMAT = 2  # raised when the same file and options give other bars
_KINDS = (".csv", ".txt", ".tsv", ".parquet")
_ENDINGS = (*_KINDS, ".gz", ".zip")
SUMMARY = "summary.txt"  # what a conversion tells beside its bars
_LONGEST = 150  # bytes of a file name, endings left out
_SAFE = frozenset("-_.+=^@ ")
# Names that Windows keeps for itself, whatever ending follows.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{p}{n}" for p in ("COM", "LPT") for n in range(1, 10))}
_HEAD = 1 << 16  # bytes of a file that are enough to see its header
_HEAD_LINES = 12


def find_sources(path: str | Path, exclude: Path | None = None) -> list[Path]:
    """A file itself, the data files below a folder, or those that match a glob, in order.

    Below a folder, hidden files and folders, those that hold the results of a run and the summary
    of a conversion are left out; a link that leads nowhere is not, so that it is told.

    Args:
        path: file, folder or glob ("data/**/*.csv.gz").
        exclude: folder that is left out, because results lie in it.

    Raises:
        UserError: nothing is found, or a name is no text.
    """
    given = Path(path)
    if given.is_dir():
        found = [f for f in given.rglob("*") if f.suffix.lower() in _ENDINGS and _is_data(f, given)]
        below = {p for f in found for p in f.parents if given in p.parents}
        runs = {p for p in below if (p / ".hydra").is_dir()}
        found = [f for f in found if runs.isdisjoint(f.parents)]
    elif given.exists():
        return [given]
    elif not glob.has_magic(str(path)):
        raise UserError(f"{path} does not exist; give a file, a folder or a glob such as '*.csv'")
    else:
        root = Path(given.anchor)
        found = [f for f in root.glob(str(given.relative_to(root))) if f.is_file()]
        found = [f for f in found if not f.name.startswith(".")]
    home = None if exclude is None else exclude.resolve()
    found = sorted(f for f in found if home not in Path(os.path.realpath(f)).parents)
    if not found:
        kinds = ", ".join(_ENDINGS)
        raise UserError(f"{path} holds no file of bars ({kinds}); give another path")
    for file in found:
        shown = os.fsencode(file.name).decode("utf-8", "backslashreplace")
        if shown != file.name:  # no table, log or page could name it
            raise UserError(f"{path} holds a file named {shown}, which is not UTF-8; rename it")
    return found


def _is_data(file: Path, below: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(below).parts)
    if hidden or file.name == SUMMARY:
        return False
    return file.is_file() or (file.is_symlink() and not file.exists())


def names_symbols(path: Path, options: LoadOptions) -> bool:
    """Whether a file may name its symbols itself, as far as its first lines tell.

    Only a cheap look: where it cannot tell, the answer is yes.
    """
    if options.symbol is not None or "symbol" in (options.columns or {}):
        return True
    try:
        if path.suffix.lower() == ".parquet":
            heads = [list(pl.read_parquet_schema(path))]
        else:
            head = _head(path)
            if b"\x00" in head or head.startswith(b"PK"):
                return True
            # All but the last line, which may be cut in the middle of a character.
            lines = head[: head.rfind(b"\n") + 1].decode("utf-8-sig").splitlines()[:_HEAD_LINES]
            heads = [head for d in "\t;|," for head in _headers(lines, d)]
    except (PolarsError, OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
        return True
    cells = [[cell.strip() for cell in head] for head in (*heads, options.names or [])]
    return any(
        side_by_side(head, None) or any(_names_symbol(cell) for cell in head) for head in cells
    )


def _names_symbol(cell: str) -> bool:
    found = ranked_role(cell)
    return found is not None and found[0] == "symbol"


def _headers(lines: list[str], delimiter: str) -> list[list[str]]:
    """Lines as cells, and those that are headers together with the line below as one."""
    cells = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    stacked = [stacked_header(cells, i) for i in range(len(cells))]
    return [*cells, *(found[0] for found in stacked if found is not None)]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.open(file) as unpacked:
                return unpacked.read(_HEAD)
        return file.read(_HEAD)


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
    safe = "".join(c if c.isalnum() or c in _SAFE else _escaped(c) for c in symbol) or "%"
    if safe.startswith(".") or safe.partition(".")[0].strip().upper() in _RESERVED:
        safe = _escaped(safe[0]) + safe[1:]
    if len(safe.encode()) > _LONGEST:
        safe = f"{safe[:30]}%{hashlib.sha256(_bytes(symbol)).hexdigest()[:32]}"
    return safe


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _bytes(character))


def _bytes(text: str) -> bytes:
    """UTF-8, half characters included: names of files need not be text."""
    return text.encode("utf-8", "surrogatepass")


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
