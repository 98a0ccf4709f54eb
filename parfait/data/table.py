"""A CSV or Parquet file -> columns of text cells with the row number of each row."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from parfait.data.archive import RawFile, read_raw
from parfait.data.options import LoadOptions
from parfait.data.parquet import ParquetCells
from parfait.data.text import decode, sniff, unquoted_lines
from parfait.utils.errors import UserError

MAX_COLUMNS = 10_000
CELL_BYTES = 5  # of a file's allowance that each cell takes at least: empty cells cost memory too
_SAMPLE_LINES = 50
_UNIT = "\x1f"  # the separator of ASCII that no file of bars uses
_BATCH = 100_000  # records


@dataclass(frozen=True, eq=False)
class Lines:
    """Records of a text file, one string each.

    Args:
        text: cells joined by ``separator``; blank records are left out.
        separator: what stands between cells.
        numbers: line number of each record in the file, from 1.
    """

    text: pl.Series
    separator: str
    numbers: pl.Series

    def columns(self, positions: Sequence[int], first: int, width: int) -> pl.DataFrame:
        """Stripped cells at ``positions`` of the records from ``first`` on, named "0", "1", ...

        Besides ``row``, and ``too_long`` where a cell beyond ``width`` holds something; an absent
        cell is "".
        """
        text = self.text.slice(first)
        fields = text.str.splitn(self.separator, width + 1).struct.unnest()
        fields.columns = [str(i) for i in range(width)] + ["beyond"]
        beyond = pl.col("beyond").fill_null("").str.replace_all(self.separator, "", literal=True)
        absent = [pl.lit("").alias(str(i)) for i in positions if i >= width]
        cells = [pl.col(str(i)).fill_null("").str.strip_chars() for i in positions if i < width]
        return fields.select(
            self.numbers.slice(first).alias("row"),
            (beyond.str.strip_chars() != "").alias("too_long"),
            *cells,
            *absent,
        )


@dataclass(frozen=True, eq=False)
class TextTable:
    """Cells as text.

    Args:
        cells: where they are cut from.
        height: number of records, the header included where there is one.
        head: the first records.
        delimiter: what separated cells; "" for Parquet.
        header: the names where the file format itself has them (Parquet).
        sha256: of the file.
        names: of the file and of the archive member inside it.
        wrapped: whether cells may stand in '...' or ="...".
        notes: what was decided on the way.
    """

    cells: Lines | ParquetCells
    height: int
    head: list[list[str]]
    delimiter: str
    header: list[str] | None
    sha256: str
    names: tuple[str, ...]
    wrapped: bool = True
    notes: tuple[str, ...] = ()

    def numbers(self, count: int) -> list[int]:
        """Line numbers of the first records."""
        return self.cells.numbers.head(count).to_list()


def read_table(path: Path, options: LoadOptions) -> TextTable:
    """Reads CSV (plain, gzip or zip, any common delimiter and encoding) or Parquet.

    Raises:
        UserError: missing, unreadable, empty, binary or too large.
    """
    raw = read_raw(path, options.max_bytes, options.member)
    if raw.data[:4] == b"PAR1":
        cells = ParquetCells.open(raw.data, path, options.max_bytes)
        height = len(cells.numbers)
        _check_size(path, height, len(cells.names), options.max_bytes)
        if height == 0:
            raise UserError(f"{path} is empty; give a file with rows of bars")
        return TextTable(cells, height, [], "", cells.names, raw.sha256, raw.names)
    return _read_text(raw, path, options.max_bytes)


def _read_text(raw: RawFile, path: Path, max_bytes: int) -> TextTable:
    text, encoding = decode(raw.data, path)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if '"' in text:
        text = unquoted_lines(text)
    _check_size(path, text.count("\n"), 1, max_bytes)  # a disk of empty lines packs well, too
    delimiter = sniff(text)
    if delimiter == " ":
        text, delimiter = re.sub(r"(?m)^ +| +$", "", text), _UNIT
        text = re.sub("[ \t]+", _UNIT, text)
    lines = _quoted(text, delimiter, path) if '"' in text else _plain(text, delimiter)
    if lines.text.is_empty():
        raise UserError(f"{path} is empty; give a file with a header and rows of bars")
    head = [
        [cell.strip() for cell in line.split(lines.separator)]
        for line in lines.text.head(_SAMPLE_LINES)
    ]
    _check_size(path, lines.text.len(), max(map(len, head)), max_bytes)
    notes = () if encoding == "utf-8" else (f"text read as {encoding}",)
    wrapped = "'" in text or '="' in text
    return TextTable(
        lines, lines.text.len(), head, delimiter, None, raw.sha256, raw.names, wrapped, notes
    )


def _check_size(path: Path, height: int, width: int, max_bytes: int) -> None:
    if width > MAX_COLUMNS:
        raise UserError(f"{path} has {width} columns, more than {MAX_COLUMNS}; split it")
    if height * width > max_bytes // CELL_BYTES:
        raise UserError(
            f"{path} holds more than {max_bytes // CELL_BYTES} cells; split it, thin it out, or "
            f"allow more with max_bytes={2 * CELL_BYTES * height * width}"
        )


def _plain(text: str, delimiter: str) -> Lines:
    """Without quotes every line is a record."""
    frame = pl.DataFrame({"text": pl.Series([text]).str.split("\n").explode()})
    frame = frame.with_row_index("row", offset=1)
    bare = pl.col("text").str.replace_all(delimiter, "", literal=True).str.strip_chars()
    frame = frame.filter(bare != "")
    return Lines(frame["text"], delimiter, frame["row"].cast(pl.Int64))


def _quoted(text: str, delimiter: str, path: Path) -> Lines:
    """Quotes may hide delimiters and line ends: a reader undoes them, batch by batch."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    parts, texts, numbers = [], [], []
    schema = {"text": pl.String, "row": pl.Int64}
    line = 0
    try:
        for record in reader:
            if reader.line_num > line + 1 and _swallowed(record, delimiter):
                raise UserError(
                    f"{path}, line {line + 1}: a quote opens there and swallows the lines up to "
                    f"{reader.line_num}; mend that line"
                )
            line = reader.line_num
            if any(cell.strip() for cell in record):
                texts.append(_UNIT.join(cell.replace(_UNIT, " ") for cell in record))
                numbers.append(reader.line_num)
            if len(texts) == _BATCH:
                parts.append(pl.DataFrame({"text": texts, "row": numbers}, schema))
                texts, numbers = [], []
    except csv.Error as error:
        if "field limit" in str(error):
            raise UserError(
                f"{path}, line {line + 1}: a cell of more than {csv.field_size_limit()} "
                "characters, as if a quote were opened and never closed; mend that line"
            ) from error
        raise UserError(f"{path}, line {reader.line_num}: not readable as CSV: {error}") from error
    frame = pl.concat([*parts, pl.DataFrame({"text": texts, "row": numbers}, schema)])
    return Lines(frame["text"], _UNIT, frame["row"])


def _swallowed(record: list[str], delimiter: str) -> bool:
    """Whether a cell of several lines holds lines of cells: its quote was never meant to open."""
    return any(line.count(delimiter) > 1 for cell in record for line in cell.split("\n")[1:])
