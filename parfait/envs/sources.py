"""Where a market comes from: arrays, frames, files, run folders, histories."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy import ndarray

from parfait.bars import bars_to_tensor, estimate_bars_per_year
from parfait.envs.market import Market
from parfait.envs.scenarios import Frame, of_folder, of_paths, of_simulation
from parfait.history import History
from parfait.simulation import Simulation
from parfait.utils.errors import MISFITS, UserError


def load_market(
    source: Any = None,
    *,
    window: int = 32,
    bars_per_year: float | None = None,
    history: Frame | None = None,
) -> Market:
    """The paths of a source.

    Args:
        source: one of

            - ``None``: the embedded S&P 500;
            - a folder of a ``simulate`` run, or a ``Simulation``: its generated paths, each after
              the end of its history;
            - a frame of bars, or a file of them: with a column ``path`` these are generated paths,
              else the history of one or several symbols, each of which is one path;
            - an array (paths, bars, 5) with open, high, low, close, volume, or a ``.npy`` file of
              one, which is mapped and read block by block;
            - a ``Market``.
        window: bars of an observation: so many of the history are put before generated paths.
        bars_per_year: estimated from timestamps unless given; arrays have none, so it is needed.
        history: what generated paths continue, in place of what their run folder names.

    Raises:
        UserError: a source that cannot be used, in one sentence.
    """
    if isinstance(source, Market):
        return source
    if isinstance(source, Simulation):
        return of_simulation(source, window)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            return of_folder(path, window, bars_per_year, history)
        if path.suffix == ".npy":
            source = _mapped(path)
        elif path.suffix == ".parquet" and "path" in _columns(path):
            source = pl.read_parquet(path)
    if isinstance(source, ndarray):
        if bars_per_year is None:
            raise UserError("an array has no timestamps; say bars_per_year")
        return Market.of(source, bars_per_year=bars_per_year)
    if isinstance(source, pl.DataFrame) and "path" in source.columns:
        past = None if history is None else History.load(history)[0].bars
        return of_paths(source, window, bars_per_year, past)
    if source is None or isinstance(source, pl.DataFrame | str | Path):
        return _of_histories(History.load(source), bars_per_year)
    raise UserError(
        f"source is a {type(source).__name__}; give a run folder, a frame or file of bars, an "
        "array (paths, bars, 5), or a Market"
    )


def _of_histories(histories: list[History], bars_per_year: float | None) -> Market:
    names = [h.symbol or h.name for h in histories]
    return Market.of(
        [bars_to_tensor(h.bars).numpy() for h in histories],
        bars_per_year=bars_per_year or estimate_bars_per_year(histories[0].bars["timestamp"]),
        scenario=np.arange(len(names)),
        scenarios=names,
    )


def _mapped(path: Path) -> ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except MISFITS as error:
        raise UserError(f"{path} cannot be read as an array: {error}") from error


def _columns(path: Path) -> list[str]:
    try:
        return list(pl.read_parquet_schema(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
