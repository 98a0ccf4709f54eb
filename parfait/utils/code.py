"""Which code made a result."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


def code_hash(packages: Iterable[ModuleType], files: Iterable[Path] = ()) -> str:
    """SHA-256 of every file of some packages, weights and lexicons included, and of single files.

    Args:
        packages: imported ones.
        files: in the order in which they count.
    """
    digest = hashlib.sha256()
    for package in packages:
        folder = Path(package.__path__[0])
        for file in sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
