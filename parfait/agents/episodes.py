"""``Episodes``: what agents are trained on and judged on, cut from history or made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64
from numpy import ndarray

from parfait.agents.scenarios import Start, scenario_bars
from parfait.bars import bars_to_tensor, estimate_bars_per_year
from parfait.data import embedded_bars
from parfait.data.windows import end_of
from parfait.draft import Progress
from parfait.labelling import read_series
from parfait.metrics.baselines import bootstrap_bars
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

ARMS = {
    "history": "history alone",
    "bootstrap": "history and bootstrap",
    "scenarios": "history and scenarios",
}
Bars = Float64[ndarray, "paths bars 5"]


@dataclass(frozen=True)
class HeldOut:
    """Episodes of the held-out years, one after the other, the same days for every symbol.

    Args:
        bars: of every episode, ``past`` bars and those that are traded, symbol after symbol.
        symbol: of every episode.
        times: of the traded bars, (episodes, bars).
    """

    bars: Bars
    symbol: list[str]
    times: ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Episodes:
    """Episodes of ``past + horizon`` bars; an agent trades the last ``horizon`` of them.

    Everything for training ends by ``train_end``, or goes on from a day before it. The bars after
    it, until ``test_end``, are cut into equal episodes that follow each other, of about ``horizon``
    bars so that fewer bars are left over at the end than there are episodes.

    Args:
        path: OHLCV files; ``None`` is the embedded data.
        options: of ``parfait.data.load_bars``.
        pattern: regular expression whose first group in a file's name is the symbol.
        cache: folder that keeps generated scenarios under hashes of all that they were made of;
            ``None`` keeps nothing.
        train_end: last day of the training years.
        test_end: last day of the years held out; ``None`` is the end of the data.
        past: bars before the first decision.
        horizon: bars that are traded.
        stride: bars between two training windows of history.
        arms: what agents are trained on, names of ``ARMS``.
        share: of the episodes that are not history, in the arms with more than history.
        starts: days of the training years from which scenarios and bootstrap go on.
        paths: of each of them.
        block: bars of a run of the bootstrap.
        run: training run of the network that dresses scenarios; ``None`` is what ships, which knows
            the embedded data until the end of 2014.
        sentences: what scenarios are made of, with weights; starts are shared out by these.
        seed: of scenarios and bootstrap.

    Raises:
        UserError: a setting out of range.
    """

    path: str | Sequence[str] | None = None
    options: Mapping[str, Any] | None = None
    pattern: str | None = None
    cache: str | None = None
    train_end: str = "2014-12-31"
    test_end: str | None = None
    past: int = 64
    horizon: int = 63
    stride: int = 5
    arms: Sequence[str] = tuple(ARMS)
    share: float = 0.5
    starts: int = 64
    paths: int = 64
    block: int = 10
    run: str | None = None
    sentences: Sequence[Mapping[str, Any]] = field(default_factory=list)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("past", 61), ("horizon", 2), ("stride", 1), ("starts", 1), ("paths", 1)):
            require(f"data.{name}", getattr(self, name), low)
        require("data.share", self.share, 0.0, 1.0)
        require("data.block", self.block, 1, self.horizon)
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms or len(set(self.arms)) < len(self.arms):
            raise UserError(
                f"data.arms={list(self.arms)} must be different ones of {', '.join(ARMS)}"
            )
        for row in self.sentences:
            if set(row) != {"weight", "text"} or not row["weight"] > 0 or not row["text"]:
                raise UserError(
                    f"data.sentences holds {dict(row)}; give each a text and a weight above 0"
                )
        if "scenarios" in self.arms and not self.sentences:
            raise UserError("data.sentences is empty; give sentences, or arms without scenarios")
        if self._end <= end_of(self.train_end):
            raise UserError(
                f"data.test_end={self.test_end} is not after data.train_end={self.train_end}"
            )

    @cached_property
    def frames(self) -> dict[str, pl.DataFrame]:
        """Bars by symbol, sorted."""
        if self.path is None:
            return dict(sorted(embedded_bars().items()))
        cache = None if self.cache is None else Path(self.cache)
        frames, failed = read_series(self.path, self.options or {}, self.pattern, cache)
        if failed:
            raise UserError(failed[0])
        return frames

    @cached_property
    def bars_per_year(self) -> float:
        """The frequency that all symbols share."""
        each = [estimate_bars_per_year(f["timestamp"]) for f in self.frames.values()]
        return float(np.median(each))

    @cached_property
    def history(self) -> Bars:
        """Every ``stride``-th window of the training years, symbol after symbol."""
        length = self.past + self.horizon
        found = []
        for symbol, frame in self._training.items():
            bars = bars_to_tensor(frame).numpy()
            if len(bars) < length:
                raise UserError(
                    f"{symbol} has {len(bars)} bars until data.train_end={self.train_end}, an "
                    f"episode needs {length}; give a longer history or a shorter data.horizon"
                )
            windows = np.lib.stride_tricks.sliding_window_view(bars, length, axis=0)
            found.append(windows[:: self.stride].transpose(0, 2, 1))
        return np.concatenate(found)

    @cached_property
    def starting(self) -> list[Start]:
        """Where scenarios begin: days spread evenly over the training years, the symbols in turn,
        sentences in shuffled order with counts in proportion to their weights.
        """
        weights = np.array([row["weight"] for row in self.sentences] or [1.0], dtype=np.float64)
        texts = [str(row["text"]) for row in self.sentences] or [""]
        points = (np.arange(self.starts) + 0.5) / self.starts
        chosen = np.searchsorted(np.cumsum(weights / weights.sum()), points)
        order = np.random.default_rng(derive_seed(self.seed, "sentences")).permutation(self.starts)
        training = list(self._training.items())
        found = []
        for k, (row, point) in enumerate(zip(chosen[order], points, strict=True)):
            symbol, frame = training[k % len(training)]
            first = self.past
            last = first + int(point * (frame.height - first))
            found.append(Start(symbol, frame.head(last + 1), texts[row]))
        return found

    def scenarios(self, progress: Progress) -> Bars:
        """``paths`` continuations of every start by its sentence, behind their history."""
        return scenario_bars(
            self.starting,
            past=self.past,
            horizon=self.horizon,
            paths=self.paths,
            run=self.run,
            cache=None if self.cache is None else Path(self.cache),
            seed=self.seed,
            progress=progress,
        )

    def bootstrap(self) -> Bars:
        """As many continuations of the same starts by a block bootstrap of the training years, at
        the volatility of the bars before the start.
        """
        source = torch.from_numpy(self.history)
        pasts = [bars_to_tensor(s.bars.tail(self.past)) for s in self.starting]
        past = torch.stack(pasts).repeat_interleave(self.paths, 0)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "bootstrap"))
        made = bootstrap_bars(
            source[:, : self.past],
            source[:, self.past :],
            past,
            self.horizon,
            block=self.block,
            generator=generator,
        )
        return torch.cat([past, made], 1).numpy()

    def test(self) -> HeldOut:
        """The years held out."""
        frames, firsts = list[pl.DataFrame](), list[int]()
        for symbol, frame in self.frames.items():
            held = _until(frame, self._end)
            first = _until(frame, end_of(self.train_end)).height
            if first < self.past or held.height - first < self.horizon:
                raise UserError(
                    f"{symbol} has {held.height - first} bars after data.train_end="
                    f"{self.train_end} and {first} before; an episode needs {self.horizon} after "
                    f"and {self.past} before"
                )
            frames.append(held)
            firsts.append(first)
        total = min(f.height - k for f, k in zip(frames, firsts, strict=True))
        count = round(total / self.horizon)
        length = total // count
        bars, symbols, times = list[ndarray](), list[str](), list[ndarray]()
        for symbol, frame, first in zip(self.frames, frames, firsts, strict=True):
            for start in range(first, first + count * length, length):
                piece = frame.slice(start - self.past, self.past + length)
                bars.append(bars_to_tensor(piece).numpy())
                symbols.append(symbol)
                times.append(piece["timestamp"][self.past :].to_numpy())
        days = np.stack(times)
        each = days.reshape(len(frames), count, length)
        if (each != each[0]).any():
            raise UserError(
                f"{', '.join(self.frames)} have no bars at the same times after data.train_end="
                f"{self.train_end}; agents are judged on symbols of one calendar"
            )
        return HeldOut(np.stack(bars), symbols, days)

    @property
    def _end(self) -> float:
        return float("inf") if self.test_end is None else end_of(self.test_end)

    @cached_property
    def _training(self) -> dict[str, pl.DataFrame]:
        cut = {s: _until(f, end_of(self.train_end)) for s, f in self.frames.items()}
        for symbol, frame in cut.items():
            if frame.height <= self.past:
                raise UserError(
                    f"{symbol} has {frame.height} bars until data.train_end={self.train_end}; "
                    f"{self.past + 1} are needed"
                )
        return cut


def _until(frame: pl.DataFrame, end: float) -> pl.DataFrame:
    """The bars with timestamps up to ``end`` [microseconds]."""
    return frame.filter(pl.col("timestamp").cast(pl.Int64) <= end)
