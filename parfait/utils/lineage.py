"""Where results come from: hashes of what went in, of what came out, and of the code."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

from parfait import __version__
from parfait.utils.files import json_bytes, write_files

FILE = "lineage.json"
READ_AT_MOST = 1 << 30  # bytes
_PACKAGE = Path(__file__).parents[1]

Given = str | Path | Sequence[Any] | Mapping[Any, Any]


def fingerprint(given: Given) -> dict[str, Any]:
    """What identifies files: ``path, files, bytes, method, sha256``.

    ``sha256`` is that of the file where there is one, else that of the sorted lines of
    ``sha256sum`` over all, with names below the folder that was given. Of more than
    ``READ_AT_MOST`` bytes nothing is read (``method`` "listing", not "content"): the lines are
    size, time of change and name. Hidden files do not count. What is no file (the name of a model
    on a hub) or cannot be read has ``sha256`` ``None``.

    Args:
        given: a file, a folder, a glob, or several in a list or mapping. Of the folder of a run
            the outputs count that its ``lineage.json`` names.
    """
    roots = list(_roots(given))
    told: dict[str, Any] = {"path": _shown(roots), "files": 0, "bytes": 0, "method": None}
    try:
        found = [(name, file, file.stat()) for name, file in files_of(given)]
        size = sum(stat.st_size for _, _, stat in found)
        told |= {"files": len(found), "bytes": size}
        if size > READ_AT_MOST:
            marks = [f"{s.st_size} {s.st_mtime_ns}" for _, _, s in found]
        else:
            marks = [_sha256(str(f), s.st_size, s.st_mtime_ns) for _, f, s in found]
    except OSError:
        return told | {"sha256": None}
    if not found:
        return told | {"sha256": None}
    told["method"] = "listing" if size > READ_AT_MOST else "content"
    if len(found) == 1 and told["method"] == "content":
        return told | {"sha256": marks[0]}
    lines = sorted(f"{mark}  {name}\n" for mark, (name, _, _) in zip(marks, found, strict=True))
    return told | {"sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


def describe_input(given: Given) -> dict[str, Any]:
    """``fingerprint``, and as ``made_by`` the lineage of the run that made these very bytes, if one
    did; it holds the inputs of that run, and so on back to the first data.

    A run made files that lie in outputs which still have the hash that its ``lineage.json`` tells.
    """
    told = fingerprint(given)
    files = [file.resolve() for _, file in files_of(given)]
    for folder in _homes(given):
        lineage = read(folder)
        if lineage is not None and files and _made(folder, lineage["outputs"], files):
            return told | {"made_by": {"folder": str(folder), **lineage}}
    return told


def describe_code() -> dict[str, Any]:
    """Version of Parfait and, in a checkout, ``commit`` and whether files were changed."""
    head = commit()
    known = {} if head is None else {"commit": head.rstrip("+"), "dirty": head.endswith("+")}
    return {"version": __version__, **known}


def write(
    folder: Path, about: Mapping[str, Any], outputs: Mapping[str, str | Path]
) -> dict[str, Any]:
    """Writes ``lineage.json``, ``about`` and a fingerprint of every output; returns what it says.

    Again while outputs change, so that of processes that share a folder the last one tells of all.
    """
    while True:
        told = {name: _below(folder, given) for name, given in outputs.items()}
        lineage = {**about, "outputs": told}
        write_files(folder, {FILE: json_bytes(lineage)})
        if told == {name: _below(folder, given) for name, given in outputs.items()}:
            return lineage


def read(folder: Path) -> dict[str, Any] | None:
    """What ``lineage.json`` says; ``None`` where it is absent or broken."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("outputs"), dict) else None


@cache
def commit() -> str | None:
    """The commit of the checkout that the package lies in, with "+" where files were changed."""
    here = Path(__file__)
    known = _git(here.parent, "ls-files", "--error-unmatch", here.name)
    head = _git(here.parent, "rev-parse", "--short=12", "HEAD") if known else None
    if head is None:
        return None
    return head + ("+" if _git(here.parent, "status", "--porcelain", "-uno") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; ``None`` without git, a repository or an answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.strip() or None) if done.returncode == 0 else None


def _roots(given: Given) -> Iterator[Path]:
    if isinstance(given, Mapping):
        given = list(given.values())
    if isinstance(given, Sequence) and not isinstance(given, str):
        for one in given:
            yield from _roots(one)
        return
    path = Path(str(given))
    lineage = read(path)
    if lineage is not None:
        for told in lineage["outputs"].values():
            yield from _roots(path / told["path"])
    elif path.exists():
        yield path
    else:
        found = sorted(glob(str(path), recursive=True))  # noqa: PTH207 - takes any text
        yield from map(Path, found or [str(path)])


def files_of(given: Given) -> Iterator[tuple[str, Path]]:
    """Every file of ``given`` and its name below what was given, in no order."""
    for root in _roots(given):
        if root.is_file():
            yield root.name, root
        for file in root.rglob("*") if root.is_dir() else ():
            name = file.relative_to(root)
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                yield name.as_posix(), file


@cache
def _sha256(file: str, size: int, changed: int) -> str:
    """Of a file; read once per process while size and time of change stay."""
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _homes(given: Given) -> list[Path]:
    """Folders whose ``lineage.json`` may tell of ``given``: of its files, and two above each."""
    roots = [root.resolve() for root in _roots(given)]
    return sorted({folder for root in roots for folder in (root, *root.parents[:2])})


def _made(folder: Path, outputs: Mapping[str, Any], files: Sequence[Path]) -> bool:
    places = [(folder / told["path"], told["sha256"]) for told in outputs.values()]
    intact = [p for p, sha256 in places if sha256 and fingerprint(p)["sha256"] == sha256]
    return {file.resolve() for _, file in files_of(intact)}.issuperset(files)


def _shown(roots: Sequence[Path]) -> str:
    """The path, or what all paths begin with; what ships with Parfait is named from there."""
    if len(roots) == 1 and not roots[0].exists():
        return str(roots[0])
    common = Path(os.path.commonpath([p.absolute() for p in roots])) if roots else Path()
    inside = common.is_relative_to(_PACKAGE)
    return str(common.relative_to(_PACKAGE.parent) if inside else common)


def _below(folder: Path, given: str | Path) -> dict[str, Any]:
    """The fingerprint with the path as seen from ``folder``."""
    return fingerprint(given) | {"path": os.path.relpath(given, folder)}
