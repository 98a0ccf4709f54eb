"""A file -> a table of text cells with the row number of each row."""

import csv
import gzip
import hashlib
import io
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from parfait.utils.errors import UserError

MAX_BYTES = 1 << 28  # of text after decompression: a small archive can hold a disk of zeros
MAX_CELLS = 50_000_000  # the same for Parquet, whose constant columns compress without limit
_DELIMITERS = "\t;|,"  # comma last: it is also a decimal mark in files separated otherwise
_SAMPLE_LINES = 50


@dataclass(frozen=True)
class TextTable:
    """Cells as text.

    Args:
        rows: every record, the header included where there is one.
        numbers: row number of each record for messages.
        delimiter: what separated cells; "" for Parquet.
        header: the names where the file format itself has them (Parquet).
        sha256: of the file.
        notes: what was decided on the way.
    """

    rows: list[list[str]]
    numbers: list[int]
    delimiter: str
    header: list[str] | None
    sha256: str
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> TextTable:
    """Reads CSV (plain or gzip, any common delimiter and encoding) or Parquet.

    Raises:
        UserError: missing, unreadable, empty, binary or too large.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a CSV or Parquet file")
    try:
        raw = _read_capped(path.open("rb"), path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; give the path of a CSV or Parquet file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    sha256 = hashlib.sha256(raw).hexdigest()
    if raw[:4] == b"PAR1":
        return _parquet(path, raw, sha256)
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(raw)) as stream:
                raw = _read_capped(stream, path)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is a damaged gzip file: {error}") from error
    text, encoding = _decode(raw, path)
    delimiter = _sniff(text)
    rows, numbers = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                rows.append([cell.strip() for cell in record])
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not readable as CSV: {error}") from error
    if not rows:
        raise UserError(f"{path} is empty; give a file with a header and rows of bars")
    notes = () if encoding == "utf-8" else (f"text read as {encoding}",)
    return TextTable(rows, numbers, delimiter, None, sha256, notes)


def _read_capped(stream: io.IOBase | gzip.GzipFile, path: Path) -> bytes:
    with stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path} holds more than {MAX_BYTES} bytes; split it or thin it out")
    return raw


def _decode(raw: bytes, path: Path) -> tuple[str, str]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    elif b"\x00" in raw:
        raise UserError(f"{path} is binary, neither CSV nor Parquet; export it as CSV")
    else:
        encodings = ("utf-8-sig", "gb18030", "latin-1")
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text, "utf-8" if encoding == "utf-8-sig" else encoding
    raise UserError(f"{path} is not readable as text; save it as UTF-8")


def _sniff(text: str) -> str:
    """The delimiter that cuts most of the first lines into the same number of cells."""
    lines = [line for line in text[:100_000].splitlines() if line.strip()][:_SAMPLE_LINES] or [""]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            widths = Counter(len(record) for record in csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        width, count = max(widths.items(), key=lambda item: item[1] if item[0] > 1 else 0)
        if width > 1 and count > best_score + 0.1 * len(lines):
            best, best_score = delimiter, count
    return best


def _parquet(path: Path, raw: bytes, sha256: str) -> TextTable:
    try:
        source = pl.scan_parquet(io.BytesIO(raw))
        height, names = source.select(pl.len()).collect().item(), source.collect_schema().names()
        if height * max(len(names), 1) > MAX_CELLS:
            raise UserError(f"{path} holds more than {MAX_CELLS} cells; split it or thin it out")
        frame = source.collect()
        for name, dtype in frame.schema.items():
            if isinstance(dtype, pl.Datetime) and dtype.time_zone:
                naive = pl.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None)
                frame = frame.with_columns(naive)
        text = frame.select(pl.all().cast(pl.String, strict=False).fill_null(""))
    except PolarsError as error:
        raise UserError(f"{path} is not readable as Parquet: {str(error)[:200]}") from error
    except (MemoryError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not readable as Parquet: {str(error)[:200]}") from error
    rows = [list(row) for row in text.iter_rows()]
    if not rows:
        raise UserError(f"{path} is empty; give a file with rows of bars")
    return TextTable(rows, list(range(1, len(rows) + 1)), "", names, sha256)
