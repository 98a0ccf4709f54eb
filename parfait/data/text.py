"""Bytes of a text file -> text, what it is if it is none, and what separates its cells."""

import csv
import re
from collections import Counter
from pathlib import Path

from parfait.data.names import role_of
from parfait.utils.errors import UserError

_MAGIC = {
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"SQLite format 3": "a SQLite database",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}
_PACKED = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
    b"\x04\x22\x4d\x18": "lz4",
}
_ENCODINGS = ("gb18030", "cp949", "cp932", "big5", "cp1252", "cp1251", "latin-1")
_DELIMITERS = "\t;|^\x01,"  # comma last: it is also a decimal mark in files separated otherwise
_SAMPLE_LINES = 50
_HEAD = 1 << 14  # bytes that show the header


def decode(raw: bytes, path: Path) -> tuple[str, str]:
    """Text and the encoding it was read in.

    UTF-8 where it can be; else, of the encodings that can read it, the one under which most names
    of columns are known, so that a header in Japanese is not read as Chinese.

    Raises:
        UserError: the file is no text, or JSON, HTML or another kind of text.
    """
    _refuse_other_kinds(raw, path)
    wide = _wide_encoding(raw)
    if wide is None and b"\x00" in raw:
        line = raw[: raw.index(b"\x00")].count(b"\n") + 1
        if raw.count(b"\x00") <= 1e-3 * len(raw) + 1 and line > 1:
            raise UserError(
                f"{path}, line {line}: holds a NUL byte, so the file is damaged; save it anew"
            )
        raise UserError(f"{path} is binary, neither CSV nor Parquet; export it as CSV")
    for encoding in [wide] if wide else ["utf-8-sig", *_by_header(raw)]:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        _refuse_other_texts(text, path)
        return text.removeprefix("\ufeff"), "utf-8" if encoding == "utf-8-sig" else encoding
    raise UserError(f"{path} is not readable as text; save it as UTF-8")


def _refuse_other_kinds(raw: bytes, path: Path) -> None:
    for magic, kind in _MAGIC.items():
        if raw.startswith(magic):
            raise UserError(f"{path} is {kind}, neither CSV nor Parquet; export it as CSV")
    for magic, kind in _PACKED.items():
        if raw.startswith(magic):
            raise UserError(f"{path} is packed with {kind}; unpack it, or pack it with gzip or zip")
    if raw[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive; unpack it and give the files or their folder")


def _refuse_other_texts(text: str, path: Path) -> None:
    begin = text[:400].lstrip("\ufeff \t\r\n")
    kind = "an HTML or XML page" if re.match(r"<[!?a-zA-Z]", begin) and ">" in begin else None
    stooq = re.match(r"<\w+>\s*[,;\t]", begin)  # a header whose names stand in brackets
    kind = None if stooq else kind
    kind = "JSON" if re.match(r'[\[{]\s*["\[{]', begin) else kind
    kind = "a pointer of git LFS" if begin.startswith("version https://git-lfs") else kind
    if kind is not None:
        shown = " ".join(begin[:80].split())
        raise UserError(
            f"{path} is {kind}, not CSV (it begins {shown!r}); download the table itself"
        )


def _wide_encoding(raw: bytes) -> str | None:
    """UTF-32 and UTF-16, by their mark or by the zeros of Latin text."""
    if raw[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"):
        return "utf-32"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    head = raw[: min(len(raw), _HEAD) // 2 * 2]
    for name, zero, letter in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if len(head) >= 8 and head[zero::2].count(0) > 0.8 * len(head) / 2:
            return name if head[letter::2].count(0) == 0 else None
    return None


def _by_header(raw: bytes) -> list[str]:
    head = raw[:_HEAD].splitlines()[:12]
    known = {name: _known_names(head, name) for name in _ENCODINGS}
    return sorted(_ENCODINGS, key=lambda name: -known[name])  # stable: ties keep their order


def _known_names(lines: list[bytes], encoding: str) -> int:
    found = 0
    for line in lines:
        text = line.decode(encoding, "replace")
        if not text.isascii():
            cells = re.split(r"[\t;|,]", text)
            found += sum(role_of(c.strip(' "')) is not None for c in cells if not c.isascii())
    return found


def sniff(text: str) -> str:
    """The delimiter that cuts most of the first lines into the same number of cells.

    " " stands for runs of spaces, where no other delimiter cuts at all.
    """
    lines = [line for line in text[:100_000].splitlines() if line.strip()][:_SAMPLE_LINES] or [""]
    best, best_score, best_width = ",", 0.0, 1
    for delimiter in _DELIMITERS:
        try:
            widths = Counter(len(record) for record in csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        width, count = max(widths.items(), key=lambda item: item[1] if item[0] > 1 else 0)
        if width > 1 and count > best_score + 0.1 * len(lines):
            best, best_score, best_width = delimiter, count, width
    if best_width < 4:
        width, count = Counter(len(line.split()) for line in lines).most_common(1)[0]
        if width > 4 and count > 0.8 * len(lines):
            return " "
    return best


def unquoted_lines(text: str) -> str:
    """Lines that stand in quotes as a whole, without them."""
    lines = text.split("\n")
    filled = [line.strip() for line in lines if line.strip()]
    if not all(len(x) > 1 and x[0] == x[-1] == '"' for x in filled):
        return text
    if any(re.search(r'(?:^|[^"])"(?:$|[^"])', x[1:-1]) for x in filled):
        return text  # several quoted cells
    return "\n".join(x.strip()[1:-1].replace('""', '"') for x in lines)
