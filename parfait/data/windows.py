"""Segments of contiguous bars, and windows over them without copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import polars as pl
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.bars import bars_to_tensor, check_bars, estimate_bars_per_year, missing_sessions
from parfait.utils.errors import UserError

_YEAR_MICROSECONDS = 365.25 * 86_400e6


@dataclass(frozen=True, eq=False)
class Segment:
    """A contiguous run of one symbol's bars.

    Args:
        symbol: whose bars.
        bars: (n, 5) float64, columns as ``BAR_FIELDS``.
        timestamps: (n,) int64, microseconds since 1970, strictly increasing.
        bars_per_year: frequency of the symbol's bars.
    """

    symbol: str
    bars: Float64[Tensor, "n 5"]
    timestamps: Int64[Tensor, " n"]
    bars_per_year: float

    def __len__(self) -> int:
        return self.bars.shape[0]


def make_segments(frames: Mapping[str, pl.DataFrame], max_gap: int = 5) -> list[Segment]:
    """Cuts every symbol's frame where more than ``max_gap`` sessions are missing.

    A gap is never filled: invented bars would lower the volatility of every window over them.
    The segments of one symbol are views of one tensor.

    Raises:
        UserError: a frame is not valid bars, or ``max_gap`` is negative.
    """
    if max_gap < 0:
        raise UserError(f"max_gap {max_gap} must not be negative")
    segments = []
    for symbol, frame in frames.items():
        check_bars(frame, symbol)
        if frame.height < 2:
            continue
        bars = bars_to_tensor(frame)
        times = torch.from_numpy(frame["timestamp"].cast(pl.Int64).to_numpy(writable=True))
        bars_per_year = estimate_bars_per_year(frame["timestamp"])
        breaks = (missing_sessions(frame["timestamp"]) > max_gap).nonzero()[0] + 1
        edges = [0, *breaks.tolist(), frame.height]
        for start, stop in pairwise(edges):
            segments.append(Segment(symbol, bars[start:stop], times[start:stop], bars_per_year))
    return segments


def aggregate_segment(segment: Segment, k: int, offset: int = 0) -> Segment:
    """k-bar bars: first open, highest high, lowest low, last close, summed volume.

    A bar carries the time of its last part, when all of it is known. ``offset`` leaves out that
    many leading bars, which gives the k different ways to cut; an incomplete last bar is left out.

    Raises:
        UserError: k below 1, or an offset outside [0, k).
    """
    if k < 1 or not 0 <= offset < k:
        raise UserError(f"aggregation by {k} bars with offset {offset}: need 0 <= offset < k")
    n = max(len(segment) - offset, 0) // k
    parts = segment.bars[offset : offset + n * k].reshape(n, k, 5)
    o, h, low, c, v = parts.unbind(dim=-1)
    bars = torch.stack([o[:, 0], h.amax(1), low.amin(1), c[:, -1], v.sum(1)], dim=-1)
    times = segment.timestamps[offset : offset + n * k].reshape(n, k)[:, -1].contiguous()
    bars_per_year = segment.bars_per_year / k
    return replace(segment, bars=bars, timestamps=times, bars_per_year=bars_per_year)


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """Windows of ``length`` bars inside segments: a table of starts, no copies.

    Args:
        segments: what ``index`` points into.
        index: (windows, 2) int64, columns segment number and start row.
        length: bars per window.
    """

    segments: Sequence[Segment]
    index: Int64[Tensor, "windows 2"]
    length: int

    def __len__(self) -> int:
        return self.index.shape[0]

    def gather(self, rows: Int64[Tensor, " batch"] | Sequence[int]) -> Float64[Tensor, "batch n 5"]:
        """The bars of these windows; the only place where windows are copied."""
        picked = self._pick(rows).tolist()
        if not picked:
            return torch.zeros((0, self.length, 5), dtype=torch.float64)
        return torch.stack([self.segments[s].bars[i : i + self.length] for s, i in picked])

    def last_time(self, rows: Int64[Tensor, " batch"] | Sequence[int]) -> Int64[Tensor, " batch"]:
        """Time of each window's last bar [microseconds since 1970]."""
        picked = self._pick(rows).tolist()
        times = [self.segments[s].timestamps[i + self.length - 1] for s, i in picked]
        return torch.stack(times) if times else torch.zeros(0, dtype=torch.int64)

    def segment_of(self, rows: Int64[Tensor, " batch"] | Sequence[int]) -> Int64[Tensor, " batch"]:
        """Position in ``segments`` of each window."""
        return self._pick(rows)[:, 0]

    def bars_per_year(
        self, rows: Int64[Tensor, " batch"] | Sequence[int]
    ) -> Float64[Tensor, " batch"]:
        """Bar frequency of each window's segment."""
        known = torch.tensor([s.bars_per_year for s in self.segments], dtype=torch.float64)
        return known[self.segment_of(rows)]

    def _pick(self, rows: Int64[Tensor, " batch"] | Sequence[int]) -> Int64[Tensor, "batch 2"]:
        return self.index[torch.as_tensor(rows, dtype=torch.int64)]


def split_windows(
    segments: Sequence[Segment],
    history: int,
    horizon: int,
    train_end: datetime | date | str,
    stride: int = 1,
    embargo: int | None = None,
) -> tuple[WindowIndex, WindowIndex]:
    """Training and held-out windows of ``history + horizon`` bars, cut by one calendar date.

    A training window's last bar is at or before ``train_end`` (a date means the whole day). A
    held-out window's first bar comes ``embargo`` bars (default ``history + horizon``) after the
    cut, in bars and in elapsed time, so that no bar and no neighbourhood is shared.

    Raises:
        UserError: a length, stride or embargo out of range, or an unreadable ``train_end``.
    """
    if history < 0 or horizon < 1 or stride < 1 or (embargo is not None and embargo < 0):
        raise UserError(
            f"windows of history {history}, horizon {horizon}, stride {stride}, embargo {embargo}: "
            "horizon and stride must be at least 1, the others not negative"
        )
    length = history + horizon
    embargo = length if embargo is None else embargo
    cut = end_of(train_end)
    train, held = [], []
    for number, segment in enumerate(segments):
        before = int(torch.searchsorted(segment.timestamps, cut, right=True))
        start = first_after(segment, cut, embargo)
        train.append(_starts(number, 0, before - length, stride))
        held.append(_starts(number, start, len(segment) - length, stride))
    empty = torch.zeros((0, 2), dtype=torch.int64)
    return (
        WindowIndex(segments, torch.cat([empty, *train]), length),
        WindowIndex(segments, torch.cat([empty, *held]), length),
    )


def first_after(segment: Segment, cut: int, embargo: int) -> int:
    """Row of the first bar ``embargo`` bars after ``cut``, in bars and in elapsed time."""
    before = int(torch.searchsorted(segment.timestamps, cut, right=True))
    wait = cut + round(embargo / segment.bars_per_year * _YEAR_MICROSECONDS)
    start = int(torch.searchsorted(segment.timestamps, wait, right=True))
    return max(start, before + embargo) if before else start


def _starts(number: int, first: int, last: int, stride: int) -> Int64[Tensor, "windows 2"]:
    starts = torch.arange(first, max(last + 1, first), stride, dtype=torch.int64)
    return torch.stack([torch.full_like(starts, number), starts], dim=1)


def end_of(cut: datetime | date | str) -> int:
    """Last microsecond that belongs to the training part; a date means its whole day."""
    if isinstance(cut, str):
        try:
            moment = datetime.fromisoformat(cut)
        except ValueError as error:
            raise UserError(f"train_end {cut!r} is not a date like 2014-12-31") from error
        cut = moment.date() if len(cut.strip()) <= 10 else moment
    if not isinstance(cut, datetime):
        cut = datetime.combine(cut, time.max)
    if cut.tzinfo is not None:
        raise UserError(f"train_end {cut} has a zone; give it in UTC without one")
    return (cut - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def date_at(segments: Sequence[Segment], share: float) -> str:
    """The day at a share of the time that all segments span together."""
    first = min(int(s.timestamps[0]) for s in segments)
    last = max(int(s.timestamps[-1]) for s in segments)
    moment = first + share * (last - first)
    return datetime.fromtimestamp(moment / 1e6, tz=UTC).date().isoformat()
