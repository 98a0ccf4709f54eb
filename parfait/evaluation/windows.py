"""Real windows to judge by: histories and what followed them, split by one date."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.data import (
    Segment,
    WindowIndex,
    embedded_bars,
    fingerprint,
    make_segments,
    split_windows,
)
from parfait.data.windows import date_at, end_of
from parfait.labelling import read_series
from parfait.sde import Guide
from parfait.utils.errors import UserError, require

HISTORY, HORIZON, EVERY = 60, 32, 4
EMBEDDED_CUT = "2014-12-31"
MAX_GAP = 5  # missing sessions, as in the loader
YEAR = 365.25 * 86_400e6  # microseconds
DAY = 86_400_000_000  # microseconds
# Frequencies are estimated from timestamps: two daily symbols differ by a little.
_SAME_FREQUENCY = 1.25


@dataclass(frozen=True, eq=False)
class Windows:
    """Real windows: the past, the future, and when the past ends.

    Args:
        history: 1 + ``HISTORY`` bars (open, high, low, close, volume); the first supplies the close
            before the second.
        future: the bars that followed.
        time: last bar of the future [microseconds since 1970].
        symbol: whose window, a position in ``Split.symbols``.
        bars_per_year: of all windows.
    """

    history: Float64[Tensor, "windows bars 5"]
    future: Float64[Tensor, "windows steps 5"]
    time: Int64[Tensor, " windows"]
    symbol: Int64[Tensor, " windows"]
    bars_per_year: float

    def __len__(self) -> int:
        return len(self.time)

    @property
    def days(self) -> Int64[Tensor, " windows"]:
        """``time`` in days since 1970."""
        return self.time // DAY

    @property
    def purge(self) -> int:
        """Time that history and future span together [microseconds]: nearer windows share bars."""
        return self.span(self.history.shape[1] - 1 + self.future.shape[1])

    def span(self, bars: int) -> int:
        """Calendar time that so many bars take on average [microseconds]."""
        return round(bars / self.bars_per_year * YEAR)

    def rows(self, rows: Tensor) -> "Windows":
        """A subset."""
        names = ("history", "future", "time", "symbol")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def thinned(self, most: int) -> "Windows":
        """At most so many, evenly spaced."""
        return self.rows(torch.arange(0, len(self), max(-(-len(self) // most), 1)))

    def guide(self, every: int = EVERY) -> Guide:
        """The true closes as guide, anchored every ``every`` bars and at the last."""
        anchored = torch.zeros(self.future.shape[:2], dtype=torch.bool)
        anchored[:, every - 1 :: every] = True
        anchored[:, -1] = True
        return Guide(self.future[..., 3].clone(), anchored)


@dataclass(frozen=True, eq=False)
class Split:
    """Windows before and after one date, and what they were cut from.

    Args:
        train, held: windows whose last bar is at or before the date; whose first bar comes an
            embargo of history + horizon bars after it.
        symbols: names, sorted.
        fingerprint: SHA-256 of the bars.
        train_end: the date.
        segments: the bars themselves.
        left_out: sentences on windows and files that were not used.
    """

    train: Windows
    held: Windows
    symbols: tuple[str, ...]
    fingerprint: str
    train_end: str
    segments: tuple[Segment, ...]
    left_out: tuple[str, ...] = ()

    @property
    def cut(self) -> int:
        """Last moment of the training part [microseconds since 1970]."""
        return end_of(self.train_end)

    def describe(self) -> dict[str, Any]:
        """What a result says of its data."""
        parts = {"train": self.train, "held_out": self.held}
        past, future = self.train.history.shape[1], self.train.future.shape[1]
        return {
            "sha256": self.fingerprint,
            "symbols": list(self.symbols),
            "bars_per_year": round(self.held.bars_per_year, 3),
            "train_end": self.train_end,
            "history": past - 1,
            "horizon": future,
            "embargo_bars": past + future,
            **{
                name: {
                    "windows": len(part),
                    "first_end": _date(int(part.time.min())),
                    "last_end": _date(int(part.time.max())),
                }
                for name, part in parts.items()
            },
            "left_out": list(self.left_out),
        }


def load_split(
    path: str | list[str] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    pattern: str | None = None,
    cache: Path | None = None,
    train_end: str | None = None,
    history: int = HISTORY,
    horizon: int = HORIZON,
    stride: int | None = None,
    train_stride: int | None = None,
    most: int = 850,
    most_train: int = 1000,
    bars_per_year: float | None = None,
) -> Split:
    """Windows of a file, a folder or a glob of bars; ``None`` is the embedded data.

    Args:
        path: where the bars are, any number of symbols of one bar size.
        options, pattern: how files are read, see ``parfait.data.load_bars`` and ``convert``.
        cache: folder that keeps converted files.
        train_end: last day of the training part; ``None`` is 2014-12-31 for the embedded data, else
            the date at 80 % of the time span.
        history, horizon: bars.
        stride, train_stride: bars from one window to the next; ``None`` takes the smallest that
            leaves at most ``most`` and ``most_train`` windows.
        most, most_train: windows of the held-out and of the training part, where no stride is
            given.
        bars_per_year: frequency; ``None`` estimates it.

    Raises:
        UserError: the data cannot be read, hold no window on one side of the date, do not move, or
            have symbols of different bar sizes.
    """
    require("data.history", history, 8)
    require("data.horizon", horizon, 2)
    require("data.most", most, 8)
    frames, failed = embedded_bars(), []
    if path is not None:
        frames, failed = read_series(path, options or {}, pattern, cache)
    segments = make_segments(frames, int((options or {}).get("max_gap", MAX_GAP)))
    if not segments:
        raise UserError("the data hold no two bars in a row; give a longer history")
    cut = train_end or (EMBEDDED_CUT if path is None else date_at(segments, 0.8))
    frequency = bars_per_year or common_frequency(segments)
    symbols = tuple(sorted(frames))
    train, held = split_windows(segments, history + 1, horizon, cut)
    parts, said = [], list(failed)
    wanted = (("training", train, train_stride, most_train), ("held-out", held, stride, most))
    for name, index, step, limit in wanted:
        step = step or max(-(-len(index) // limit), 1)
        windows = _gather(index, step, history, frequency, symbols)
        moving = moves(windows.history) & moves(windows.future)
        if len(windows) and not bool(moving.any()):
            raise UserError(f"no price of the {name} part (cut at {cut}) moves; give other data")
        if not bool(moving.all()):
            said.append(f"{int((~moving).sum())} {name} windows whose close never moves")
        windows = windows.rows(torch.nonzero(moving)[:, 0])
        if len(windows) < 8:
            raise UserError(
                f"the {name} part (cut at {cut}) holds {len(windows)} windows of "
                f"{history + 1 + horizon} bars, at least 8 are needed; give more data, or change "
                "data.train_end, data.history or data.horizon"
            )
        parts.append(windows)
    return Split(
        parts[0], parts[1], symbols, fingerprint(frames), cut, tuple(segments), tuple(said)
    )


def moves(bars: Float64[Tensor, "windows n 5"]) -> Tensor:
    """Which windows have a close that is not the same throughout."""
    close = bars[..., 3]
    return (close != close[:, :1]).any(1)


def common_frequency(segments: list[Segment]) -> float:
    """Median bars per year of the symbols.

    Raises:
        UserError: they differ, as daily and weekly bars do.
    """
    known = {s.symbol: s.bars_per_year for s in segments}
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    if known[most] > _SAME_FREQUENCY * known[least]:
        raise UserError(
            f"{least!r} has {known[least]:.6g} bars per year, {most!r} has {known[most]:.6g}; "
            "evaluate symbols of different bar sizes one by one"
        )
    return float(torch.tensor(sorted(known.values()), dtype=torch.float64).median())


def _gather(
    index: WindowIndex, stride: int, history: int, frequency: float, symbols: tuple[str, ...]
) -> Windows:
    rows = torch.arange(0, len(index), stride)
    bars = index.gather(rows)
    owner = torch.tensor([symbols.index(s.symbol) for s in index.segments])
    return Windows(
        bars[:, : history + 1],
        bars[:, history + 1 :],
        index.last_time(rows),
        owner[index.segment_of(rows)],
        frequency,
    )


def _date(microseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(microseconds / 1e6, tz=UTC).date().isoformat()
