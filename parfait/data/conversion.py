"""Files as they came -> one sorted Parquet file per symbol, with an account beside each."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from parfait.bars import BAR_COLUMNS, check_bars
from parfait.data.describe import describe
from parfait.data.load import clean_series, located
from parfait.data.merge import merge_parts
from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.data.rows import file_symbol
from parfait.data.sources import (
    SUMMARY,
    content_key,
    file_name,
    find_sources,
    joint_key,
    names_symbols,
    symbol_from_name,
)
from parfait.utils.errors import UnwritableError, UserError
from parfait.utils.files import json_bytes, parquet_bytes, sweep_temporaries, write_files
from parfait.utils.shards import Shard

Progress = Callable[[str, int, int], None]
_PARTS = ".parts"
_INDEX = "index.json"


@dataclass
class Conversion:
    """What one ``convert`` call did.

    Args:
        folder: where the Parquet files lie.
        written: symbols made by this call.
        unchanged: symbols that an earlier call had made from the same files and options.
        failed: file, or "file: symbol", -> why it could not be used.
        failed_symbols: the same keys -> the symbol, or the name of a file that gave none.
        reports: symbol -> report, for every symbol in ``folder`` of these files.
        keys: symbol -> hash of the bytes and options that its bars were made of.
    """

    folder: Path
    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    failed_symbols: dict[str, str] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def fail(self, key: str, symbol: str, error: object) -> None:
        """Notes why a file, or a symbol of it, could not be used."""
        self.failed[key], self.failed_symbols[key] = str(error), symbol

    def summary(self) -> str:
        """Readable lines: totals, a line per symbol, a line per failure."""
        rows_in = sum(r["rows_in"] for r in self.reports.values())
        rows_out = sum(r["rows_out"] for r in self.reports.values())
        lines = [
            f"{len(self.reports)} symbols, {rows_out} of {rows_in} rows; {len(self.failed)} failed"
        ]
        lines += [f"{s}: {LoadReport(**r).summary()}" for s, r in sorted(self.reports.items())]
        lines += [f"FAILED {sentence}" for _, sentence in sorted(self.failed.items())]
        return "\n".join(lines) + "\n"


def convert(
    path: str | Path,
    folder: str | Path,
    pattern: str | None = None,
    progress: Progress | None = None,
    shard: Shard | None = None,
    **options: Any,
) -> Conversion:
    """Reads files of bars and writes ``SYMBOL.parquet`` and ``SYMBOL.json`` into ``folder``.

    One file is in memory at a time, then one symbol. Every file is written beside its place and
    renamed; a call that was interrupted, or repeated, does only what is missing, as told by a hash
    of each file's bytes and the options. A symbol found in several files is merged: of equal times
    with other content the later file, in the order of names, is kept and the other counted. A file
    or symbol that cannot be used is reported in ``failed`` and the rest goes on.

    Args:
        path: a file, a folder (searched with its subfolders) or a glob.
        folder: where results go.
        pattern: regular expression whose first group in a file's name is the symbol, for files
            without a symbol column; ``None`` takes the name without endings.
        progress: called with what was done ("read" or "written"), how many, and of how many.
        shard: only these symbols; processes with other shards may share ``folder``. A file named
            after a symbol of another shard is not even read, unless it has symbols of its own.
        **options: see ``LoadOptions``; they hold for every file.

    Raises:
        UserError: no file is found, an option is wrong, or nothing at all can be used (of a shard
            this is no error).
        UnwritableError: ``folder`` cannot be written.
    """
    folder, shard = Path(folder), shard or Shard()
    asked = LoadOptions.read(options)
    sources = find_sources(path, folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"the output folder {folder} is a file; choose another one")
    result = Conversion(folder)
    parts_folder = folder / (_PARTS if shard.whole else f"{_PARTS}-{shard}")
    work = _Work(result, parts_folder, shard, pattern, asked, options)
    work.count_names(sources)
    parts: dict[str, dict[str, str]] = {}  # symbol -> part key -> source
    for done, source in enumerate(sources, 1):
        name = file_symbol(source)
        try:
            name = work.name_of(source)
            if shard.holds(name) or names_symbols(source, asked):
                index = _read_part(source, name, work)
                for symbol in index["symbols"]:
                    parts.setdefault(symbol, {})[index["key"]] = str(source)
                for symbol, error in index["failed"].items():
                    result.fail(f"{source}: {symbol}", symbol, error)
        except UnwritableError:
            raise
        except UserError as error:
            if shard.holds(name):
                result.fail(str(source), name, error)
        if progress is not None:
            progress("read", done, len(sources))
    for done, (symbol, keys) in enumerate(sorted(parts.items()), 1):
        if result.keys.get(symbol) != joint_key(list(keys)):
            try:
                _write_symbol(symbol, keys, work)
            except UnwritableError:
                raise
            except UserError as error:
                result.fail(", ".join(keys.values()) + f": {symbol}", symbol, error)
                _forget(symbol, result)
        if progress is not None:
            progress("written", done, len(parts))
    # A symbol that was made of one file, and then of all that hold it, counts once.
    result.written = sorted(set(result.written))
    result.unchanged = sorted(set(result.unchanged).difference(result.written))
    _tidy(work.parts, {key for keys in parts.values() for key in keys})
    if shard.whole:
        if not result.reports:
            raise UserError(next(iter(result.failed.values())))
        write_files(folder, {SUMMARY: result.summary().encode()})
    return result


@dataclass(frozen=True)
class _Work:
    """Where results and intermediate bars lie, which symbols count, and how files are read."""

    result: Conversion
    parts: Path
    shard: Shard
    pattern: str | None
    asked: LoadOptions
    options: dict[str, Any]
    single: set[str] = field(default_factory=set)  # names that one file alone has

    def name_of(self, source: Path) -> str:
        """The symbol that the name of a file gives."""
        return (
            file_symbol(source) if self.pattern is None else symbol_from_name(source, self.pattern)
        )

    def count_names(self, sources: Sequence[Path]) -> None:
        """Notes which names one file alone has."""
        counts: Counter[str] = Counter()
        for source in sources:
            with suppress(UserError):  # a name without a symbol is told when its turn comes
                counts[self.name_of(source)] += 1
        self.single.update(name for name, count in counts.items() if count == 1)


def _read_part(source: Path, name: str, work: _Work, again: bool = False) -> dict[str, Any]:
    """The index of what a file holds, made now unless it lies there; ``again`` remakes the bars.

    The bars of a file with one symbol, named after it as no other file is, are not kept as a part:
    they go to their place at once. Should a file named otherwise hold the same symbol, they are
    read again and merged.
    """
    key = content_key(source, name, work.options)
    home = work.parts / key[:32]
    known = _read_json(home / _INDEX)
    if known is not None and known.get("key") == key and not again:
        return known
    index: dict[str, Any] = {"key": key, "source": str(source), "symbols": {}, "failed": {}}
    alone = name in work.single and not again
    if alone and _is_made(name, joint_key([key]), work.result):
        return index | {"symbols": {name: {}}}
    series = clean_series(source, work.asked, name)
    first = list(islice(series, 2))
    alone = alone and [symbol for symbol, _, _ in first] == [name]
    for number, (symbol, frame, report) in enumerate(chain(first, series)):
        if not work.shard.holds(symbol):
            continue
        if isinstance(report, UserError):
            index["failed"][symbol] = str(report)
            continue
        if alone:
            try:
                _finish(name, {key: str(source)}, [frame], [report], work)
            except UnwritableError:
                raise
            except UserError as error:
                return index | {"failed": {name: str(error)}}
            return index | {"symbols": {name: {}}}
        file = f"{number}.parquet"
        write_files(home, {file: parquet_bytes(frame)})
        index["symbols"][symbol] = {"file": file, "report": report.to_dict()}
    write_files(home, {_INDEX: json_bytes(index)})
    return index


def _is_made(symbol: str, key: str, result: Conversion) -> bool:
    """Whether the bars of these bytes lie there; then they are noted as unchanged."""
    stem = file_name(symbol)
    parquet, beside = result.folder / f"{stem}.parquet", _read_json(result.folder / f"{stem}.json")
    if beside is None or beside.get("key") != key or not parquet.exists():
        return False
    if parquet.stat().st_size != beside.get("bytes"):
        return False
    result.unchanged.append(symbol)
    result.reports[symbol], result.keys[symbol] = beside["report"], key
    return True


def _write_symbol(symbol: str, keys: dict[str, str], work: _Work) -> None:
    """Merges the parts of one symbol, unless that was done."""
    if _is_made(symbol, joint_key(list(keys)), work.result):
        return
    frames, reports = [], []
    for part, source in keys.items():
        home = work.parts / part[:32]
        index = _read_json(home / _INDEX) or {}
        if symbol not in index.get("symbols", {}) or not _has_bars(home, index, symbol):
            index = _read_part(Path(source), work.name_of(Path(source)), work, again=True)
        entry = index["symbols"][symbol]
        frames.append(pl.read_parquet(home / entry["file"]))
        reports.append(LoadReport(**entry["report"]))
    _finish(symbol, keys, frames, reports, work)


def _finish(
    symbol: str,
    keys: dict[str, str],
    frames: list[pl.DataFrame],
    reports: list[LoadReport],
    work: _Work,
) -> None:
    """Writes the bars of one symbol, and then their account."""
    result, key, stem = work.result, joint_key(list(keys)), file_name(symbol)
    parquet = result.folder / f"{stem}.parquet"
    beside = _read_json(result.folder / f"{stem}.json")
    sources = [] if beside is None else beside.get("sources", [])
    if beside is not None and parquet.exists() and not set(sources) & set(keys.values()):
        raise UserError(
            f"{parquet} was made from other files ({', '.join(sources[:3])});"
            " convert all files of a symbol in one call, or choose another folder"
        )
    frame, report = merge_parts(frames, reports)
    try:
        describe(frame, work.asked, report)
    except UserError as error:
        raise located(error, Path(report.path), symbol) from error
    frame = frame.select(BAR_COLUMNS)
    check_bars(frame, symbol)
    data, plain = parquet_bytes(frame), report.to_dict()
    told = {"symbol": symbol, "key": key, "bytes": len(data), "sources": list(keys.values())}
    told |= {"options": work.options, "report": plain}
    account = json.dumps(told, default=str, indent=1).encode()
    write_files(result.folder, {parquet.name: data, f"{stem}.json": account})
    result.written.append(symbol)
    result.reports[symbol], result.keys[symbol] = plain, key


def _forget(symbol: str, result: Conversion) -> None:
    """Takes back what this call made of one file of a symbol whose files do not go together."""
    result.reports.pop(symbol, None)
    result.keys.pop(symbol, None)
    result.unchanged = [s for s in result.unchanged if s != symbol]
    if symbol in result.written:
        result.written = [s for s in result.written if s != symbol]
        for ending in ("json", "parquet"):
            (result.folder / f"{file_name(symbol)}.{ending}").unlink(missing_ok=True)


def _has_bars(home: Path, index: dict[str, Any], symbol: str) -> bool:
    return (home / index["symbols"][symbol]["file"]).exists()


def _read_json(path: Path) -> dict[str, Any] | None:
    """``None`` where it is absent or was not written to its end."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _tidy(parts: Path, keys: set[str]) -> None:
    """Bars of parts are in the results now; indexes stay, so that a repeated call can skip."""
    known = {key[:32] for key in keys}
    for home in parts.glob("*"):
        if home.name not in known:
            shutil.rmtree(home, ignore_errors=True)
            continue
        sweep_temporaries(home)
        for file in home.glob("*.parquet"):
            file.unlink(missing_ok=True)
