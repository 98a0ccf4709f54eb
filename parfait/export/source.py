"""The bars of a run path by path, whether they are in memory or on disk."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from parfait.bars import BAR_COLUMNS, BAR_FIELDS, check_bars
from parfait.basket import Basket
from parfait.simulation import Simulation
from parfait.utils.errors import MISFITS, UserError, first_line

BLOCK_BARS = 200_000  # read at a time, of whatever size a run is
_RANGE = re.compile(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?")

Given = Simulation | Basket | pl.DataFrame | str | Path
Paths = int | str | Iterable[int | str] | None


@dataclass(frozen=True, eq=False)
class Series:
    """The bars of one path of one asset.

    Args:
        symbol: of the asset; empty where there is one.
        path, scenario: numbers of both.
        title: name of the scenario.
        bars: with the columns ``BAR_COLUMNS``.
    """

    symbol: str
    path: int
    scenario: int
    title: str
    bars: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Source:
    """A run whose bars are read block by block.

    Args:
        name: what messages call it.
        tables: ``paths.parquet`` in parts: symbol by symbol, path by path, step by step; every part
            holds whole paths.
        titles: names of the scenarios by symbol and number.
    """

    name: str
    tables: tuple[pl.LazyFrame, ...]
    titles: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Given) -> "Source":
        """The run: a ``Simulation``, a ``Basket``, the folder of a run, or a frame as its
        ``paths.parquet`` (without ``path`` the bars of a single one).

        Raises:
            UserError: none of them, or a folder without the bars of a finished run.
        """
        if isinstance(given, Simulation | Basket):
            assets = given.simulations if isinstance(given, Basket) else {"": given}
            titles = {
                (symbol, k): c.name
                for symbol, s in assets.items()
                for k, c in enumerate(s.resolved.components)
            }
            return cls("the simulation", (given.bars.lazy(),), titles)
        if isinstance(given, pl.DataFrame):
            return cls("the frame", (_completed(given),))
        if isinstance(given, str | Path):
            return _on_disk(Path(given))
        raise UserError(
            f"an export takes a Simulation, a Basket, a polars frame or the folder of a run, not "
            f"{type(given).__name__}"
        )

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """In the order of the run; one that is empty where bars have no symbol."""
        table = self.tables[0]
        if "symbol" not in self._read(table.limit(0)).columns:
            return ("",)
        found = self._read(table.select(pl.col("symbol").unique(maintain_order=True)))
        return tuple(map(str, found["symbol"]))

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last path of every table."""
        ends = [pl.col("path").min().alias("low"), pl.col("path").max().alias("high")]
        found = [self._read(table.select(ends)).row(0) for table in self.tables]
        if any(low is None for low, _ in found):
            raise UserError(f"{self.name} holds no bars; simulate again")
        return found

    @property
    def n_paths(self) -> int:
        """Paths of every asset."""
        return self.ranges[-1][1] + 1

    def each(self, paths: Paths = None) -> Iterator[Series]:
        """The chosen paths, asset by asset and in ascending order.

        Args:
            paths: numbers and ranges, "0-9,20" or [3, 4]; ``None`` is all.

        Raises:
            UserError: a path that is not there, or bars that are missing or broken.
        """
        chosen = chosen_paths(paths, self.n_paths)
        for symbol in self.symbols:
            for table, (low, high) in zip(self.tables, self.ranges, strict=True):
                if symbol:
                    table = table.filter(pl.col("symbol") == symbol)
                wanted = [range(max(r.start, low), min(r.stop, high + 1)) for r in chosen]
                for block in _blocks(filter(len, wanted), self._steps):
                    yield from self._block(table, symbol, block)

    def one(self, path: int, symbol: str | None = None) -> Series:
        """A path of an asset; of a run of several the symbol says which.

        Raises:
            UserError: a path or a symbol that is not there.
        """
        symbols = list(self.symbols)
        held = ", ".join(symbols)
        if symbol is None and len(symbols) > 1:
            raise UserError(f"the run holds several assets; give symbol=, one of {held}")
        if symbol is not None and symbol not in symbols:
            raise UserError(f"the run holds no asset {symbol!r}; it has {held or 'one, unnamed'}")
        number = chosen_paths(path, self.n_paths)[0]
        name = symbols[0] if symbol is None else symbol
        for table, (low, high) in zip(self.tables, self.ranges, strict=True):
            if low <= number.start <= high:
                mine = table.filter(pl.col("symbol") == name) if name else table
                return next(self._block(mine, name, number))
        raise UserError(f"{self.name} holds no path {path}; simulate again")

    @cached_property
    def _steps(self) -> int:
        """Bars of a path."""
        return int(self._read(self.tables[0].select(pl.col("step").max())).item()) + 1

    def _block(self, table: pl.LazyFrame, symbol: str, numbers: range) -> Iterator[Series]:
        inside = pl.col("path").is_between(numbers.start, numbers.stop - 1)
        frame = self._read(table.filter(inside))
        parts = frame.partition_by("path", as_dict=True, maintain_order=True)
        for number in numbers:
            part = parts.get((number,))
            what = " of ".join([f"path {number}", *filter(None, [symbol]), self.name])
            steps = None if part is None else part["step"].to_list()
            if part is None or steps != list(range(self._steps)):
                raise UserError(f"{what} is not whole; simulate again")
            bars = part.select(BAR_COLUMNS)
            check_bars(bars, what)
            scenario = int(part["scenario"][0])
            title = self.titles.get((symbol, scenario), "")
            yield Series(symbol, number, scenario, title, bars)

    def _read(self, table: pl.LazyFrame) -> pl.DataFrame:
        try:
            return table.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(
                f"the bars of {self.name} cannot be read ({first_line(error)}); simulate again"
            ) from error


def chosen_paths(paths: Paths, count: int) -> list[range]:
    """Ranges of path numbers, ascending and apart from each other.

    Raises:
        UserError: no number or range, one that is backwards, or a path that is not there.
    """
    if paths is None:
        return [range(count)]
    given = [paths] if isinstance(paths, int | str) else list(paths)
    words = [word for item in given for word in str(item).strip("[] ").split(",")]
    found = []
    for word in words:
        match = _RANGE.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UserError(
                f"paths={','.join(words)} is no choice of paths; give numbers and ranges such as "
                "0-9 or 0-9,20, or leave it out for all"
            )
        if last >= count:
            raise UserError(f"paths={word.strip()} goes beyond the run, whose last is {count - 1}")
        found.append(range(first, last + 1))
    joined: list[range] = []
    for one in sorted(found, key=lambda r: r.start):
        if joined and one.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, one.stop))
        else:
            joined.append(one)
    return joined


def _blocks(ranges: Iterable[range], steps: int) -> Iterator[range]:
    size = max(BLOCK_BARS // steps, 1)
    for one in ranges:
        for start in range(one.start, one.stop, size):
            yield range(start, min(start + size, one.stop))


def _completed(frame: pl.DataFrame) -> pl.LazyFrame:
    if "path" not in frame.columns:
        frame = frame.with_columns(pl.lit(0).alias("path"))
    if "step" not in frame.columns:
        series = [name for name in ("symbol", "path") if name in frame.columns]
        frame = frame.with_columns(pl.int_range(pl.len()).over(series).alias("step"))
    if "scenario" not in frame.columns:
        frame = frame.with_columns(pl.lit(0).alias("scenario"))
    return frame.lazy()


def _on_disk(folder: Path) -> Source:
    """``paths.parquet`` of a run folder, a file or the parts of a streamed run."""
    place, name = folder / "paths.parquet", f"the run {folder}"
    if not place.exists():
        inner = sorted(p.parent.name for p in folder.glob("*/paths.parquet"))
        hint = (
            f"it holds runs in {inner[0]} to {inner[-1]}, give one of them"
            if inner
            else ("give the folder that simulate.py printed")
        )
        raise UserError(f"run={folder} holds no paths.parquet; {hint}")
    files = _parts(folder, name) if place.is_dir() else [place]
    source = Source(name, tuple(map(pl.scan_parquet, files)), _titles(folder, name))
    found = source._read(source.tables[0].limit(0)).columns
    missing = {"path", "step", "scenario", "timestamp", *BAR_FIELDS} - set(found)
    if missing:
        raise UserError(
            f"{place} has no column {', '.join(sorted(missing))}, so simulate did not write it; "
            "give the folder of a run"
        )
    return source


def _parts(folder: Path, name: str) -> list[Path]:
    """The files of a streamed run, as large as its manifest says."""
    try:
        told: Any = json.loads((folder / "manifest.json").read_text("utf-8"))
        parts = [e for e in told["files"] if e["name"].startswith("paths.parquet/")]
        sizes = {folder / entry["name"]: entry["bytes"] for entry in parts}
        whole = all(file.stat().st_size == size for file, size in sizes.items()) and bool(sizes)
    except MISFITS as error:
        raise UserError(
            f"{name} has no whole manifest.json or not all parts it names, so it is unfinished or "
            "damaged; run its simulate command again, which makes what is missing"
        ) from error
    if not whole:
        raise UserError(
            f"parts of {name} are not as large as its manifest says; run its simulate command "
            "again, which makes them anew"
        )
    return sorted(sizes)


def _titles(folder: Path, name: str) -> dict[tuple[str, int], str]:
    try:
        records: Any = json.loads((folder / "scenarios.json").read_text("utf-8"))
        titles: dict[tuple[str, int], str] = {}
        for record in records:
            symbol = str(record.get("symbol", ""))
            number = sum(known == symbol for known, _ in titles)
            titles[symbol, number] = str(record["name"])
    except MISFITS as error:
        raise UserError(
            f"scenarios.json of {name} cannot be read ({first_line(error)}); simulate again"
        ) from error
    return titles
