"""Rolling labels of one symbol: a frame of bars in, a table of labels out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.data.windows import Segment, end_of, first_after, make_segments
from parfait.labels import FLAGS, Labels, label_windows, yang_zhang
from parfait.labels.amortised import knows
from parfait.labels.jumps import split_jumps
from parfait.labels.label import METHODS
from parfait.labels.volatility import close_to_close, window_parts
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError, require

# Closed forms label batches of exactly so many windows, the last one filled up: the last bits of a
# product depend on its shape, and a label must not depend on how many windows follow it.
WIDTH = 512
CORRECTION_BARS = 500  # bars of the training part below which ranges are taken as they are
TRAIN_SHARE = 0.8
_USUAL = 4.0  # times the median ratio of variances from closes and from ranges
SURE = 0.9  # probability from which a bar counts as a jump in a figure
PARTS = ("train", "embargo", "held-out")
QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}


@dataclass(frozen=True)
class Rolling:
    """How a history is cut into windows, and how they are labelled.

    Args:
        lengths: returns per window; with several, each has its own rows.
        stride: bars between the ends of two windows of one length.
        before: returns before a window that decide its initial volatility; 0 takes the window's.
        max_gap: more missing sessions than this end a segment, and no window crosses its end.
        method: see ``label_windows``.
        bars_per_year: frequency; ``None`` estimates it from the timestamps.
        range_correction: factor on volatilities from ranges; ``None`` measures it on the training
            part of a symbol, where that has 500 bars.
        train_end: last day of the training part; ``None`` is the first 80 % of a symbol's bars.

    Raises:
        UserError: a setting out of range.
    """

    lengths: tuple[int, ...] = (60,)
    stride: int = 20
    before: int = 20
    max_gap: int = 5
    method: str = "amortised"
    bars_per_year: float | None = None
    range_correction: float | None = None
    train_end: str | None = None

    def __post_init__(self) -> None:
        if not self.lengths or len(set(self.lengths)) < len(self.lengths):
            raise UserError(f"labels.n={list(self.lengths)} must be different numbers of returns")
        for n in self.lengths:
            require("labels.n", n, 3, 10_000)
        require("labels.stride", self.stride, 1)
        if self.before:
            require("labels.before", self.before, 2, 10_000)
        require("labels.max_gap", self.max_gap, 0)
        for name in ("bars_per_year", "range_correction"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name}={value:g} must be a finite number above 0")
        if self.method not in METHODS:
            raise UserError(f"labels.method={self.method!r} is none of {', '.join(METHODS)}")
        if self.train_end is not None:
            end_of(self.train_end)

    def bars(self, n: int) -> int:
        """Bars that a window of n returns needs, those before it included."""
        return self.before + n + 1


@dataclass(frozen=True, eq=False)
class SymbolLabels:
    """Labels of one symbol.

    Args:
        frame: a row per window, by length and time; see ``label_symbol``.
        constants: what was the same for all of them.
        segments: the contiguous bars that the windows were cut from.
    """

    frame: pl.DataFrame
    constants: dict[str, Any]
    segments: Sequence[Segment]


def label_symbol(frame: pl.DataFrame, symbol: str, settings: Rolling) -> SymbolLabels:
    """Labels of the rolling windows of one symbol.

    A window starts ``before`` bars into a segment and then every ``stride`` bars, so later bars
    move no window, and with ``bars_per_year``, ``range_correction`` and ``train_end`` given they
    change no label either.

    Columns: symbol, segment (from 0), n, start and timestamp (first and last bar of the window),
    part (one of ``PARTS``: held-out windows begin ``before + n + 1`` bars after the training part
    ends); per field ``FIELD_loc`` and ``FIELD_scale`` in regime coordinates (float64), and
    ``_mean, _sd, _q05, _q50, _q95`` in natural units (float32); ``total_volatility`` and the spread
    of its logarithm; n_eff; reversion_probability; log_bayes of memory and of reversion;
    ``flag_NAME``.

    Args:
        frame: valid bars of one symbol.
        symbol: its name.
        settings: see ``Rolling``.
    """
    segments = make_segments({symbol: frame}, settings.max_gap)
    if settings.bars_per_year is not None:
        segments = [replace(s, bars_per_year=settings.bars_per_year) for s in segments]
    cut = _cut(segments, settings)
    correction, why = settings.range_correction or 1.0, "given"
    if settings.range_correction is None:
        correction, why = range_correction(segments, settings.lengths[0], cut)
    tables = [
        _table(segment, symbol, number, n, cut, correction, settings)
        for n in settings.lengths
        for number, segment in enumerate(segments)
        if len(segment) >= settings.bars(n)
    ]
    constants = {
        "bars_per_year": segments[0].bars_per_year if segments else None,
        "range_correction": correction,
        "range_correction_from": why,
        "train_end": _iso(cut),
        "segments": len(segments),
        "method": settings.method,
    }
    empty = pl.DataFrame(schema={"symbol": pl.String, "n": pl.Int32})
    return SymbolLabels(pl.concat(tables) if tables else empty, constants, segments)


def range_correction(segments: Sequence[Segment], n: int, cut: int) -> tuple[float, str]:
    """sqrt(sum var_close / sum var_range) of the windows up to ``cut``, and what it is from.

    Ticks, and opens that repeat the close before, make ranges too small. Windows of n returns that
    do not overlap; left out are those whose ranges say nothing, and those whose ratio is more than
    four times off the median: one misprinted high would decide alone. 1 with fewer than 500 bars.
    """
    closing, ranging = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.float64)]
    for segment in segments:
        known = int(torch.searchsorted(segment.timestamps, cut, right=True))
        starts = torch.arange(0, max(known - n, 0), n)
        for some in starts.split(WIDTH) if len(starts) else ():
            windows = window_batch(segment.bars, some, n + 1)
            parts = window_parts(windows)
            used = ~parts.closes & ~parts.still
            closing.append(close_to_close(windows)[used])
            ranging.append(yang_zhang(windows)[used])
    closes, ranges = torch.cat(closing), torch.cat(ranging)
    usual = torch.zeros(0, dtype=torch.bool)
    if len(closes):
        ratio = closes / ranges
        usual = (ratio / ratio.median()).log().abs() <= math.log(_USUAL)
    bars = int(usual.sum()) * n
    if bars < CORRECTION_BARS:
        return 1.0, f"none: {bars} bars of the training part have ranges, {CORRECTION_BARS} needed"
    factor = float((closes[usual].sum() / ranges[usual].sum()).sqrt())
    return factor, f"{bars} bars of the training part"


def jump_bars(segment: Segment, n: int, correction: float = 1.0) -> Int64[Tensor, " jumps"]:
    """Rows of bars that jumped with a probability of 90 %, judged in windows of n returns."""
    last = len(segment) - n - 1
    if last < 0:
        return torch.zeros(0, dtype=torch.int64)
    starts = torch.unique(torch.tensor([*range(0, last, n), last]))
    rows = []
    for some in starts.split(WIDTH):
        parts = window_parts(window_batch(segment.bars, some, n + 1), correction)
        window, bar = torch.nonzero(split_jumps(parts).probability > SURE, as_tuple=True)
        rows.append(some[window] + 1 + bar)
    return torch.unique(torch.cat(rows))


def window_batch(
    bars: Float64[Tensor, "n 5"], starts: Int64[Tensor, " windows"], length: int
) -> Float64[Tensor, "windows bars 5"]:
    """Copies of the windows of ``length`` bars at these rows."""
    return bars.unfold(0, length, 1)[starts].transpose(1, 2).contiguous()


def _table(
    segment: Segment,
    symbol: str,
    number: int,
    n: int,
    cut: int,
    correction: float,
    settings: Rolling,
) -> pl.DataFrame:
    before = settings.before
    starts = torch.arange(before, len(segment) - n, settings.stride)
    labels = _label(segment, starts, n, correction, settings)
    times = segment.timestamps
    held = first_after(segment, cut, settings.bars(n))
    part = torch.where(times[starts + n] <= cut, 0, torch.where(starts - before >= held, 2, 1))
    columns: dict[str, Any] = {
        "symbol": pl.repeat(symbol, len(starts), dtype=pl.String, eager=True),
        "segment": pl.repeat(number, len(starts), dtype=pl.Int32, eager=True),
        "n": pl.repeat(n, len(starts), dtype=pl.Int32, eager=True),
        "start": _series(times[starts]).cast(pl.Datetime("us")),
        "timestamp": _series(times[starts + n]).cast(pl.Datetime("us")),
        "part": pl.Series([PARTS[i] for i in part.tolist()], dtype=pl.String),
    }
    natural = {"mean": labels.mean, "sd": labels.sd}
    natural |= {name: labels.quantile(q) for name, q in QUANTILES.items()}
    for j, field in enumerate(FIELD_NAMES):
        columns[f"{field}_loc"] = _series(labels.loc[:, j])
        columns[f"{field}_scale"] = _series(labels.scale[:, j])
        for name, values in natural.items():
            columns[f"{field}_{name}"] = _series(getattr(values, field)).cast(pl.Float32)
    columns |= {
        "total_volatility": _series(labels.total_volatility),
        "total_spread": _series(labels.total_spread),
        "n_eff": _series(labels.n_eff),
        "reversion_probability": _series(labels.reversion_probability),
        "log_bayes_memory": _series(labels.log_bayes[:, 0]),
        "log_bayes_reversion": _series(labels.log_bayes[:, 1]),
    }
    columns |= {f"flag_{name}": _series(labels.flagged(name)) for name in FLAGS}
    return pl.DataFrame(columns)


def _label(
    segment: Segment,
    starts: Int64[Tensor, " windows"],
    n: int,
    correction: float,
    settings: Rolling,
) -> Labels:
    """In batches; where a label depends on the width of its batch, all have one, the last filled up
    with its last window.
    """
    alone = settings.method == "amortised" and knows(n)
    filled = starts if alone else torch.cat([starts, starts[-1:].expand(-len(starts) % WIDTH)])
    chunks = []
    for rows in filled.split(8 * WIDTH if alone else WIDTH):
        before = None
        if settings.before:
            before = window_batch(segment.bars, rows - settings.before, settings.before + 1)
        chunks.append(
            label_windows(
                window_batch(segment.bars, rows, n + 1),
                segment.bars_per_year,
                before,
                method=settings.method,  # pyright: ignore[reportArgumentType]
                range_correction=correction,
            )
        )
    return Labels.concatenate(chunks).first(len(starts))


def _cut(segments: Sequence[Segment], settings: Rolling) -> int:
    if settings.train_end is not None:
        return end_of(settings.train_end)
    if not segments:
        return 0
    times = torch.cat([s.timestamps for s in segments])
    return int(times[max(math.ceil(TRAIN_SHARE * len(times)) - 1, 0)])


def _iso(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, tz=UTC).replace(tzinfo=None).isoformat()


def _series(values: Any) -> pl.Series:
    return pl.Series(torch.as_tensor(values).numpy())
