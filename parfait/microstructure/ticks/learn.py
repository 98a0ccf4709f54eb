"""The trading day learned from minute bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parfait.calendars import read_calendar
from parfait.data import load_bars
from parfait.microstructure.ticks.intraday import Intraday, MinuteVolume, u_shape
from parfait.microstructure.ticks.sessions import parse_session
from parfait.microstructure.ticks.spread import edge_of, pooled
from parfait.utils.errors import UserError

Array = NDArray[np.float64]
_MINUTE = 60_000_000  # microseconds
_DAY = 1440 * _MINUTE
_BIN = 15  # minutes
_LAGS = 20  # minutes of the autocovariance of volume that are fitted
_PRIOR_DAYS = 0.5  # the parametric shape counts as half a day
_SUFFIXES = (".csv", ".txt", ".parquet", ".csv.gz", ".txt.gz")


def load_minutes(
    source: str | Path | Sequence[str | Path], options: Mapping[str, Any] | None = None
) -> list[pl.DataFrame]:
    """One frame per series of a file, a list of files, or a folder of them.

    Args:
        source: file or files of minute bars.
        options: of ``parfait.data.load_bars``.

    Raises:
        UserError: nothing there, or a file that cannot be read.
    """
    files = [source] if isinstance(source, str | Path) else list(source)
    if len(files) == 1 and Path(files[0]).is_dir():
        folder = Path(files[0])
        files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(_SUFFIXES))
        if not files:
            raise UserError(f"ticks.minutes={folder} holds no file of minute bars")
    frames = []
    for file in files:
        frame, _ = load_bars(file, **(options or {}))
        parts = frame.partition_by("symbol") if "symbol" in frame.columns else [frame]
        frames += [part.sort("timestamp") for part in parts]
    return frames


def learn_day(frames: Sequence[pl.DataFrame], session: str | None = None) -> Intraday:
    """Shape of volume and of variance, clustering of arrivals and spread, from minute bars.

    Shapes are mean shares by quarter of an hour over the days, each day and symbol with equal
    weight, half a day of the parametric U added. Clustering comes from the variance and the
    autocovariances, at lags 1 to 20, of minute volume over its shape: see ``MinuteVolume``. The
    spread is EDGE, pooled over the frames.

    Args:
        frames: valid bars a minute apart, one symbol each, any number of days.
        session: "09:30-16:00" in the clock of the frames; other bars are left out. ``None`` takes
            the hours that the frames hold.

    Raises:
        UserError: no day with at least 30 minutes, or bars that are not minutes.
    """
    limits = None if session is None else parse_session(session)
    days = [day for frame in frames for day in _days(frame, limits)]
    if not days:
        raise UserError(
            "the minute bars hold no day of at least 30 minutes in the session; give more, or "
            "another ticks.session"
        )
    starts, ends = zip(*((int(t[0]), int(t[-1]) + _MINUTE) for t, _ in days), strict=True)
    open_, close = limits or (_usual(starts), _usual(ends))
    minutes = max((close - open_) // _MINUTE, 1)
    bins = int(np.clip(minutes // _BIN, 4, 96))
    grids = [_on_grid(t, values, open_, minutes) for t, values in days]
    prior = u_shape(0.0 if minutes >= 1380 else 1.5, bins)
    edges = np.minimum(np.arange(minutes) * bins // minutes, bins - 1)
    activity = _shares([volume for volume, _ in grids], edges, prior)
    variance = _shares([_calmed(move**2) for _, move in grids], edges, prior)
    volumes = [v / v.mean() / (activity[edges] * bins) for v, _ in grids if v.sum() > 0]
    return Intraday(
        activity=activity,
        variance=variance,
        source=f"learned from {len(days)} day{'s' * (len(days) > 1)} of minute bars",
        session=(open_, close),
        spread=pooled([edge_of(frame) for frame in frames]).value,
        minute=minute_moments(volumes) if volumes else None,
    )


def _days(frame: pl.DataFrame, limits: tuple[int, int] | None) -> list[tuple[Array, Array]]:
    """(microseconds since midnight, OHLCV) of every day."""
    if frame.height > 1 and read_calendar(frame["timestamp"]).step != _MINUTE:
        raise UserError("ticks.minutes must hold bars a minute apart")
    times = frame["timestamp"].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    values = frame.select("open", "high", "low", "close", "volume").to_numpy()
    date, clock = times // _DAY, times % _DAY
    inside = np.ones(len(clock), bool)
    if limits is not None:
        inside = (clock >= limits[0]) & (clock < limits[1])
    found = []
    for day in np.unique(date[inside]):
        mine = inside & (date == day)
        if mine.sum() >= 30:
            found.append((clock[mine], values[mine]))
    return found


def _usual(times: Sequence[int]) -> int:
    return int(np.sort(times)[len(times) // 2]) // _MINUTE * _MINUTE


def _on_grid(clock: Array, values: Array, open_: int, minutes: int) -> tuple[Array, Array]:
    """Volume and log return of every minute; absent minutes had neither."""
    place = (clock.astype(np.int64) - open_) // _MINUTE
    inside = (place >= 0) & (place < minutes)
    volume, move = np.zeros(minutes), np.zeros(minutes)
    closes = np.log(values[:, 3])
    moves = np.diff(closes, prepend=np.log(values[0, 0]))
    volume[place[inside]], move[place[inside]] = values[inside, 4], moves[inside]
    return volume, move


def _calmed(squares: Array) -> Array:
    """The largest one in two hundred cut to the next: one print shall not make the shape."""
    positive = squares[squares > 0]
    return np.minimum(squares, np.quantile(positive, 0.995)) if len(positive) else squares


def _shares(days: Sequence[Array], edges: NDArray[np.int64], prior: Array) -> Array:
    total = _PRIOR_DAYS * prior
    for day in days:
        if day.sum() > 0:
            total = total + np.bincount(edges, day, len(prior)) / day.sum()
    return total / total.sum()


def minute_moments(days: Sequence[Array]) -> MinuteVolume:
    """Variance, covariance and decay of minute volumes over their shape.

    The autocorrelations at lags 1 to 20, averaged over days, are fitted by rho_1 e^{-gamma (k-1)}:
    least squares, gamma on a grid from an hour and a half to twenty seconds.

    Args:
        days: volumes by minute over their shape, mean about 1.
    """
    found = np.mean([autocorrelation(day, _LAGS) for day in days], axis=0)
    lags = np.arange(_LAGS)

    def fitted(gamma: float) -> tuple[float, float, float]:
        curve = np.exp(-gamma * lags)
        first = float(found @ curve / (curve @ curve))
        return float(((found - first * curve) ** 2).sum()), first, float(gamma)

    _, first, gamma = min(fitted(gamma) for gamma in np.geomspace(0.01, 3, 60))
    variance = float(np.mean([day.var() for day in days]))
    return MinuteVolume(variance, max(first, 0.0) * variance, gamma)


def autocorrelation(x: Array, lags: int) -> Array:
    """Sample autocorrelation at lags 1 to ``lags``; 0 for a constant."""
    centred = x - x.mean()
    square = float((centred**2).sum())
    if square == 0:
        return np.zeros(lags)
    return (
        np.array([float((centred[k:] * centred[:-k]).sum()) for k in range(1, lags + 1)]) / square
    )
