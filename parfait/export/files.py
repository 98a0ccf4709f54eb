"""Folders of files: CSV, and the layout that zipline's csvdir bundle reads."""

import math
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from parfait.data.sources import file_name
from parfait.export.source import Given, Paths, Series, Source
from parfait.utils.errors import UnwritableError, UserError

CONTENTS = "contents.csv"
_UINT32 = 2**32 - 1  # zipline keeps volumes and thousandths of prices in so many bits
_HOUR = pl.duration(hours=1)

Put = Callable[[Series], Path]


def to_csv(given: Given, folder: str | Path, paths: Paths = None) -> int:
    """A CSV file for every path: ``path-000012.csv``, below ``SYMBOL`` for several assets.

    Columns ``timestamp, open, high, low, close, volume``; every float64 is written with the digits
    that give exactly it when read. ``contents.csv`` lists the files with symbol, path and scenario.

    Args:
        given: a ``Simulation``, a ``Basket``, the folder of a run, or a polars frame of bars.
        folder: new or empty; it appears when all is written.
        paths: which ones, "0-9,20" or [3, 4]; ``None`` is all.

    Returns:
        How many series were written.

    Raises:
        UserError: a folder that is not empty or cannot be written, or a run that cannot be read.
    """
    with new_folder(folder) as place:
        return write_csv(Source.of(given), place, paths)


def to_zipline(
    given: Given, folder: str | Path, paths: Paths = None, volume_scale: float = 1.0
) -> int:
    """The layout of zipline's ``csvdir`` bundle: ``daily/P000012.csv`` or ``minute/P000012.csv``,
    ``P000012SPX.csv`` for several assets.

    Columns ``date, open, high, low, close, volume, dividend, split``, as
    ``zipline/data/bundles/csvdir.py`` (quantopian/zipline, 1.4) reads them; no dividends and no
    splits. Volumes are whole, half to even.

    Args:
        given, folder, paths: as ``to_csv``.
        volume_scale: factor on volumes. zipline keeps them in 32 bits, and sets a bar that has more
            to zero.

    Raises:
        UserError: as ``to_csv``; bars within a minute, or volumes or prices above what zipline
            holds.
    """
    with new_folder(folder) as place:
        return write_zipline(Source.of(given), place, paths, volume_scale)


def write_csv(source: Source, folder: Path, paths: Paths = None) -> int:
    """As ``to_csv``, into a folder that is there."""
    width = _width(source)

    def put(one: Series) -> Path:
        place = folder / file_name(one.symbol) if one.symbol else folder
        place.mkdir(exist_ok=True)
        file = place / f"path-{one.path:0{width}d}.csv"
        _write(file, one.bars.write_csv(datetime_format="%Y-%m-%d %H:%M:%S%.f"))
        return file

    return write_all(source, folder, paths, put)


def write_zipline(
    source: Source, folder: Path, paths: Paths = None, volume_scale: float = 1.0
) -> int:
    """As ``to_zipline``, into a folder that is there."""
    name = tickers(source)

    def put(one: Series) -> Path:
        size = bar_size(one.bars["timestamp"])
        if size == "second":
            raise UserError(
                "zipline has no bars within a minute; export format=csv, or simulate larger bars"
            )
        frame = "daily" if size == "daily" else "minute"
        bars = whole_volumes(one, volume_scale, _UINT32, "zipline")
        highest = bars["high"].to_numpy().max()
        if highest * 1000 > _UINT32:
            raise UserError(
                f"path {one.path} has a price of {highest:,.6g}, above the {_UINT32 / 1000:,.0f} "
                "that zipline holds"
            )
        (folder / frame).mkdir(exist_ok=True)
        file = folder / frame / f"{name(one)}.csv"
        clock = "%Y-%m-%d" if frame == "daily" else "%Y-%m-%d %H:%M:%S"
        date = pl.col("timestamp").dt.strftime(clock).alias("date")
        none = [pl.lit(0.0).alias("dividend"), pl.lit(1.0).alias("split")]
        _write(file, bars.select(date, pl.exclude("timestamp"), *none).write_csv())
        return file

    return write_all(source, folder, paths, put)


def write_all(source: Source, folder: Path, paths: Paths, put: Put) -> int:
    """Puts every series into a file, and ``contents.csv`` beside them."""
    rows = [
        (put(one).relative_to(folder).as_posix(), one.symbol, one.path, one.scenario, one.title)
        for one in source.each(paths)
    ]
    columns = ["file", "symbol", "path", "scenario", "name"]
    _write(folder / CONTENTS, pl.DataFrame(rows, columns, orient="row").write_csv())
    return len(rows)


def bar_size(timestamps: pl.Series) -> str:
    """daily (at most a bar a day), hour (an hour apart or more), minute or second, by the times.

    Raises:
        UserError: bars between the seconds.
    """
    if timestamps.dt.date().n_unique() == len(timestamps):
        return "daily"
    times = pl.select(
        hour=(timestamps.diff() >= _HOUR).all(),
        minute=(timestamps.dt.truncate("1m") == timestamps).all(),
        second=(timestamps.dt.truncate("1s") == timestamps).all(),
    ).row(0, named=True)
    size = next((name for name, fits in times.items() if fits), None)
    if size is None:
        raise UserError("bars between the seconds fit no other tool's files; export format=csv")
    return size


def whole_volumes(one: Series, scale: float, most: int, holder: str) -> pl.DataFrame:
    """The bars with volumes times ``scale`` as whole numbers, half to even.

    Raises:
        UserError: a scale that is none, or a volume above the ``most`` that ``holder`` holds.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise UserError(f"volume_scale={scale:g} must be a finite number above 0")
    scaled = (one.bars["volume"] * scale).round(0, mode="half_to_even")
    given = one.bars["volume"].to_numpy().max()
    largest = float(scaled.to_numpy().max())
    if largest > most:
        # A hair lower, as the largest int64 is no float64.
        enough = 10.0 ** math.floor(math.log10(most / given) - 1e-12)
        raise UserError(
            f"path {one.path} has a volume of {largest:,.6g}, above the {most:,} that {holder} "
            f"holds; give volume_scale={enough:g}"
        )
    return one.bars.with_columns(scaled.cast(pl.Int64))


def tickers(source: Source) -> Callable[[Series], str]:
    """What a series is called where names are plain: P, the path, and the letters and digits of the
    symbol.

    No name ends with another: zipline takes the first file that contains what it looks for.
    """
    width, slugs = _width(source), _slugs(source.symbols)
    return lambda one: f"P{one.path:0{width}d}{slugs[one.symbol]}"


def _write(file: Path, text: str) -> None:
    """By Python: an error of polars does not tell that the disk is full."""
    file.write_text(text, encoding="utf-8", newline="")


def _slugs(symbols: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for symbol in symbols:
        letters = unicodedata.normalize("NFKD", symbol).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Z0-9]", "", letters.upper()) or ("ASSET" if symbol else "")
        slug = plain = f"X{plain}" if plain[:1].isdigit() else plain
        number = 2
        while slug in found.values():
            slug, number = f"{plain}X{number}", number + 1
        found[symbol] = slug
    return found


def _width(source: Source) -> int:
    """Digits of a path's number."""
    return max(6, len(str(source.n_paths - 1)))


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A sibling that takes the place of ``folder`` when all is written.

    Raises:
        UserError: the folder is not empty, or cannot be written.
    """
    final = Path(folder).absolute()
    if final.exists() and not (final.is_dir() and not any(final.iterdir())):
        raise UserError(f"{final} is there and not empty; export into a new folder")
    part = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        part.replace(final)
    except OSError as error:
        raise UnwritableError(
            f"{final} cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
