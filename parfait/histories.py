"""The histories of a run: one series or several, in whatever form they were given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from parfait.history import History, stem
from parfait.regime import MarketContext
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError

SAME_FREQUENCY = 0.1  # bars per year that differ by less, as 252 and 261 do, are of one bar size
_SUFFIXES = (".csv", ".txt", ".tsv", ".parquet", ".csv.gz", ".txt.gz", ".tsv.gz")

File = str | Path
Given = History | pl.DataFrame | File | Mapping[str, pl.DataFrame | File] | Sequence[File] | None
Assets = str | Mapping[str, str] | None


def load_histories(given: Given, options: Mapping[str, Any] | None = None) -> list[History]:
    """One history for each symbol of what was given, in its order.

    Args:
        given: a history as it is; a frame or a file, which may hold several symbols; a mapping of
            symbols to frames or files; a list of files or a folder of them, each named by its stem;
            ``None`` for the embedded S&P 500. A single series has no symbol unless given one.
        options: of ``parfait.data.load_bars`` for every file; a mapping under a symbol holds what
            that symbol's file needs besides.

    Raises:
        UserError: nothing was given, a series cannot be used, or a symbol is empty or there twice.
    """
    if isinstance(given, History):
        return [given]
    if isinstance(given, Mapping):
        names = [str(symbol).strip() for symbol in given]
        own = options_of_each(options, names)
        found = [_named(*each) for each in zip(names, given.values(), own, strict=True)]
    elif isinstance(given, File) and Path(given).is_dir():
        found = _from_files(_files_of(Path(given)), options)
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = _from_files(given, options)
    else:
        return _checked(History.load(given, options))
    if not found:
        raise UserError("the history holds no series; give at least one file or frame")
    return _checked(found)


def options_of_each(
    options: Mapping[str, Any] | None, symbols: Sequence[str]
) -> list[dict[str, Any]]:
    """Options of every symbol's file: those of all, and over them its own."""
    given = {str(k): v for k, v in (options or {}).items()}
    own = {k: given[k] for k in symbols if isinstance(given.get(k), Mapping)}
    common = {k: v for k, v in given.items() if k not in own}
    return [{**common, **own.get(symbol, {})} for symbol in symbols]


def _named(name: str, source: Any, options: Mapping[str, Any]) -> History:
    """The one series of ``source``, or that of this symbol where it holds several."""
    empty = source is None or (isinstance(source, File) and not str(source))
    if empty or (isinstance(source, File) and Path(source).is_dir()):
        raise UserError(f"the history of {name!r} is {source!r}; give one file or one frame")
    found = History.load(source, options)
    mine = [h for h in found if h.symbol == name] if len(found) > 1 else found
    if not mine:
        held = ", ".join(h.symbol for h in found[:5])
        raise UserError(
            f"the history of {name!r} holds several symbols ({held}) and none of that name; choose "
            f"one with history_options.{name}.symbol={found[0].symbol}"
        )
    return replace(mine[0], symbol=name)


def _from_files(files: Sequence[Any], options: Mapping[str, Any] | None) -> list[History]:
    """Every series of every file; the only one of a file is called by the file's stem."""
    for file in files:
        if not isinstance(file, File) or not str(file):
            raise UserError(
                f"the list of histories holds {type(file).__name__} {str(file)[:40]!r}; give paths "
                "of files in a list, and frames in a mapping of symbols to frames"
            )
    names = [stem(Path(file)) for file in files]
    found = []
    for file, name, own in zip(files, names, options_of_each(options, names), strict=True):
        held = History.load(file, own)
        found += held if len(held) > 1 else [replace(held[0], symbol=name)]
    return found


def _files_of(folder: Path) -> list[Path]:
    files = sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and p.name.lower().endswith(_SUFFIXES) and not p.name.startswith(".")
    )
    if not files:
        raise UserError(
            f"the folder {folder} holds no file of bars ({', '.join(_SUFFIXES[:4])}, plain or "
            "gzip); give a folder of such files, or one file"
        )
    return files


def _checked(found: list[History]) -> list[History]:
    symbols = [h.symbol for h in found]
    for k, symbol in enumerate(symbols):
        if len(found) > 1 and not symbol.strip():
            raise UserError("a history has an empty symbol; name every series")
        if symbol in symbols[:k]:
            raise UserError(
                f"the symbol {symbol!r} stands for two histories; give a mapping with a symbol of "
                "its own for each"
            )
    return found


def asset_classes(given: Assets, pasts: Sequence[History]) -> list[str | None]:
    """The asset class of every history: as it was given, else what its symbol tells of.

    A single history without a mapping takes ``given`` as it is, so that the sentence decides.

    Raises:
        UserError: a mapping that names a symbol which is not there.
    """
    if isinstance(given, Mapping):
        symbols = [h.symbol for h in pasts]
        for symbol in map(str, given):
            if symbol not in symbols:
                held = ", ".join(filter(None, symbols)) or "one series without a symbol"
                raise UserError(f"asset names the symbol {symbol!r}; the histories are {held}")
    elif given is not None or len(pasts) == 1:
        return [given] * len(pasts)
    asked = {str(k): v for k, v in given.items()} if isinstance(given, Mapping) else {}
    return [asked.get(h.symbol) or symbol_asset(h.symbol) for h in pasts]


def market_contexts(
    pasts: Sequence[History], bars_per_year: float | None, asset: Assets
) -> tuple[list[MarketContext], list[str]]:
    """The present market of every history, all with the bar frequency of the first.

    Returns:
        The contexts, and a sentence where the frequencies differ a little.

    Raises:
        UserError: bar frequencies that differ by more than a tenth.
    """
    classes = asset_classes(asset, pasts)
    own = [past.context(bars_per_year, n) for past, n in zip(pasts, classes, strict=True)]
    rates = [context.bars_per_year or 0.0 for context in own]
    said = []
    for past, rate in zip(pasts, rates, strict=True):
        if abs(rate / rates[0] - 1) > SAME_FREQUENCY:
            raise UserError(
                f"the history of {pasts[0].symbol} has {rates[0]:.6g} bars a year and that of "
                f"{past.symbol} {rate:.6g}; give histories of one bar size, or bars_per_year= to "
                "count the bars of all alike"
            )
    if len(set(rates)) > 1:
        found = ", ".join(f"{p.symbol} {r:.6g}" for p, r in zip(pasts, rates, strict=True))
        said.append(f"Bars per year differ a little ({found}); {rates[0]:.6g} is used for all.")
        own = [past.context(rates[0], n) for past, n in zip(pasts, classes, strict=True)]
    return own, said
