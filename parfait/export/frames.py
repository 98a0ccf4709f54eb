"""Frames of pandas, as backtesting.py and vectorbt take them."""

from typing import TYPE_CHECKING, Any

from parfait.bars import BAR_FIELDS
from parfait.export.source import Given, Paths, Source
from parfait.utils.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def to_pandas(given: Given, path: int = 0, symbol: str | None = None) -> "pd.DataFrame":
    """The bars of one path.

    Args:
        given: a ``Simulation``, a ``Basket``, the folder of a run, or a polars frame of bars.
        path: its number.
        symbol: of the asset, where the run has several.

    Returns:
        Columns ``open, high, low, close, volume`` (float64) over a ``DatetimeIndex`` ``timestamp``
        (UTC without zone).

    Raises:
        UserError: no pandas, or a path, symbol or run that is not there.
    """
    pandas = _pandas("to_pandas")
    bars = Source.of(given).one(path, symbol).bars
    columns = {name: bars[name].to_numpy() for name in BAR_FIELDS}
    return pandas.DataFrame(columns, index=_index(pandas, bars["timestamp"]))


def to_backtesting(given: Given, path: int = 0, symbol: str | None = None) -> "pd.DataFrame":
    """The bars of one path as ``backtesting.Backtest`` takes them: ``Open, High, Low, Close,
    Volume`` over a ``DatetimeIndex``. Arguments and errors as ``to_pandas``.
    """
    return to_pandas(given, path, symbol).rename(columns=str.capitalize)


def to_vectorbt(given: Given, paths: Paths = None, field: str = "close") -> "pd.DataFrame":
    """One price of many paths side by side, as ``vectorbt.Portfolio.from_holding`` takes it.

    Args:
        given: a ``Simulation``, a ``Basket``, the folder of a run, or a polars frame of bars.
        paths: which ones, "0-9,20" or [3, 4]; ``None`` is all.
        field: one of ``open, high, low, close, volume``.

    Returns:
        A row per time and a column per path. The columns have the levels ``path`` and ``scenario``
        (its name), and a first one ``symbol`` for several assets; where these have different times,
        bars that one lacks are NaN.

    Raises:
        UserError: no pandas, an unknown field, or a path or run that is not there.
    """
    pandas = _pandas("to_vectorbt")
    if field not in BAR_FIELDS:
        raise UserError(f"field={field!r} is none of {', '.join(BAR_FIELDS)}")
    source = Source.of(given)
    several = source.symbols != ("",)
    names = [*(["symbol"] if several else []), "path", "scenario"]
    columns: dict[tuple[Any, ...], Any] = {}
    index: dict[str, Any] = {}
    for one in source.each(paths):
        key = (*([one.symbol] if several else []), one.path, one.title or one.scenario)
        if one.symbol not in index:  # the paths of an asset share their times
            index[one.symbol] = _index(pandas, one.bars["timestamp"])
        columns[key] = pandas.Series(one.bars[field].to_numpy(), index=index[one.symbol])
    wide = pandas.concat(columns, axis=1, names=names)
    return wide.sort_index()


def _index(pandas: Any, timestamps: Any) -> Any:
    return pandas.DatetimeIndex(timestamps.to_numpy(), name="timestamp")


def _pandas(what: str) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UserError(f"{what} needs pandas: pip install 'parfait[interop]'") from error
    return pandas
