"""Windows of real bars for the diffusion: several symbols and bar sizes, split by date."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from jaxtyping import Float64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from parfait.data import (
    Segment,
    WindowIndex,
    aggregate_segment,
    embedded_bars,
    fingerprint,
    make_segments,
    split_windows,
)
from parfait.data.windows import date_at
from parfait.labelling import cached_labels, read_series
from parfait.labels import Labels, label_windows
from parfait.microstructure.markets import SimulatedMarkets
from parfait.utils.epochs import epoch_left
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

log = logging.getLogger(__name__)

_MICROSECONDS_PER_YEAR = 365.25 * 86_400e6
_VALIDATION_BATCH = 256
MAX_GAP = 5  # missing sessions, as in the loader
EMBEDDED_CUT = "2014-12-31"


class WindowDataModule(lightning.LightningDataModule):
    """Training windows before ``train_end``, held-out windows after an embargo.

    A window has ``1 + history + horizon`` bars; the first supplies the close before the second. A
    training "epoch" is a fixed number of batches, each a function of (seed, epoch, position), so
    that a resumed run sees exactly the batches it would have seen.

    Args:
        path: an OHLCV file, a folder, a glob, or a list of them, with any number of symbols, each
            of its own frequency; ``None`` is the embedded S&P 500 and NASDAQ data.
        options: how to read the files, see ``parfait.data.load_bars``.
        pattern: regular expression whose first group in a file's name is its symbol.
        cache: folder that keeps what was made of files, bars and labels, under hashes of their
            content and all settings, so that nothing in it is ever stale; ``None`` keeps nothing.
        history: bars the network looks back.
        horizon: longest window of the future, bars.
        train_end: last date of the training part; ``None`` is 2014-12-31 for the embedded data and
            the first 80 % of the time span of other data.
        batch_size: windows per step.
        steps_per_epoch: steps between two validations.
        bar_sizes: aggregation factors; (1, 2, 3, 5) adds 2-, 3- and 5-day views of daily data.
        half_life_years: training windows lose half their weight per this many years of age;
            ``None`` weighs all alike. Vendors' conventions change over decades.
        pretrain_steps: steps on ``markets`` alone before the first real window.
        simulated_share: share of simulated windows in the batches that follow.
        markets: where simulated windows come from.
        validation_windows: held-out windows of a validation at most, evenly spaced.
        seed: of the order of the windows.
        num_workers: of the loaders; results do not depend on it.

    Raises:
        UserError: an unreadable file, or no window fits into one of the two parts.
    """

    def __init__(
        self,
        path: str | Sequence[str] | None = None,
        history: int = 60,
        horizon: int = 32,
        train_end: str | None = None,
        batch_size: int = 64,
        steps_per_epoch: int = 100,
        bar_sizes: Sequence[int] = (1,),
        half_life_years: float | None = None,
        pretrain_steps: int = 0,
        simulated_share: float = 0.0,
        markets: SimulatedMarkets | None = None,
        validation_windows: int = 512,
        seed: int = 0,
        num_workers: int = 0,
        options: Mapping[str, Any] | None = None,
        pattern: str | None = None,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        for name, value, low in (
            ("history", history, 2),
            ("horizon", horizon, 2),
            ("batch_size", batch_size, 1),
            ("steps_per_epoch", steps_per_epoch, 1),
            ("validation_windows", validation_windows, 1),
            ("num_workers", num_workers, 0),
            ("pretrain_steps", pretrain_steps, 0),
            ("bar_sizes", min(bar_sizes, default=0), 1),
        ):
            require(f"data.{name}", value, low)
        require("data.simulated_share", simulated_share, 0.0, 1.0)
        if half_life_years is not None:
            require("data.half_life_years", half_life_years, 1e-3)
        self.path, self.history, self.horizon = path, history, horizon
        self.options, self.pattern = dict(options or {}), pattern
        self.cache = None if cache is None or path is None else Path(cache)
        self.train_end, self.batch_size, self.steps_per_epoch = (
            train_end,
            batch_size,
            steps_per_epoch,
        )
        self.bar_sizes, self.half_life_years = tuple(bar_sizes), half_life_years
        self.pretrain_steps, self.simulated_share = pretrain_steps, simulated_share
        self.markets = markets or SimulatedMarkets()
        self.validation_windows, self.seed, self.num_workers = validation_windows, seed, num_workers
        self._ready = False

    def setup(self, stage: str | None = None) -> None:
        """Reads the files once and cuts the windows."""
        if self._ready:
            return
        frames = embedded_bars()
        if self.path is not None:
            frames, failed = read_series(self.path, self.options, self.pattern, self.cache)
            for sentence in failed:
                log.warning("%s", sentence)
        self.fingerprint = fingerprint(frames)
        base = make_segments(frames, int(self.options.get("max_gap", MAX_GAP)))
        if not base:
            raise UserError("the data hold no two bars in a row; give a longer history")
        cut = self.train_end or (EMBEDDED_CUT if self.path is None else date_at(base, 0.8))
        views = [
            aggregate_segment(s, k, offset)
            for k in self.bar_sizes
            for offset in range(k)
            for s in base
        ]
        past = 1 + self.history
        self.train, _ = split_windows(views, past, self.horizon, cut)
        _, self.held_out = split_windows(base, past, self.horizon, cut)
        for part, name in ((self.train, "train"), (self.held_out, "held-out")):
            if len(part) == 0:
                raise UserError(
                    f"the {name} part (cut at {cut}) holds no window of {past + self.horizon} "
                    "bars; give more data, or change data.train_end, data.history or data.horizon"
                )
        self.train_end = cut
        self.weights = self._weights()
        self._ready = True

    def _weights(self) -> Float64[Tensor, " windows"]:
        """Sampling weights; they sum to 1.

        The share of a window's bars that moved at all, halved per half-life of age: a stretch in
        which trading was halted, or hardly took place, is so much less to learn from.
        """
        rows = torch.arange(len(self.train))
        weights = moving_share(self.train)
        if not bool((weights > 0).any()):
            raise UserError("no bar of the training part moves; give other data")
        if self.half_life_years is not None:
            times = self.train.last_time(rows).to(torch.float64)
            age = (times.max() - times) / _MICROSECONDS_PER_YEAR
            weights = weights * torch.exp2(-age / self.half_life_years)
        return weights / weights.sum()

    @property
    def effective_windows(self) -> float:
        """Training windows that share no bar, in number: neighbours differ in one bar only.

        (sum w)^2 / sum w^2 (Kish 1965), over the length of a window and the number of bar sizes,
        which are views of the same bars.
        """
        repeats = self.train.length * len(self.bar_sizes)
        return float(1 / self.weights.square().sum()) / repeats

    def labels(
        self, bars: Float64[Tensor, "windows n 5"], bars_per_year: Float64[Tensor, " windows"]
    ) -> Labels:
        """``label_windows``, kept in ``cache`` where there is one: for windows every run asks for.

        The windows of a step are labelled as they come: with a random horizon each, hardly one is
        ever asked for twice.
        """
        if self.cache is None:
            return label_windows(bars, bars_per_year)
        return cached_labels(bars, bars_per_year, self.cache / "labels")

    def provenance(self) -> dict[str, Any]:
        """Which data this is: fingerprint, symbols, cut and numbers of windows."""
        return {
            "fingerprint": self.fingerprint,
            "symbols": sorted({s.symbol for s in self.held_out.segments}),
            "train_end": self.train_end,
            "train_windows": len(self.train),
            "held_out_windows": len(self.held_out),
            "effective_train_windows": round(self.effective_windows, 1),
        }

    def train_sample(self, n: int) -> tuple[Tensor, Tensor]:
        """n training windows by weight and their frequencies, for fitting constants."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "constants"))
        rows = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.train.gather(rows), self.train.bars_per_year(rows)

    def train_dataloader(self) -> DataLoader:
        """``steps_per_epoch`` batches; starts where a resumed epoch stopped."""
        trainer = self.trainer
        plan = _Plan(
            self.weights,
            self.batch_size,
            self.pretrain_steps,
            self.simulated_share,
            self.seed,
            trainer.global_rank if trainer else 0,
        )
        source = _Windows(self.train, self.markets)
        order = _Batches(plan, self.steps_per_epoch, trainer)
        return DataLoader(source, batch_size=None, sampler=order, num_workers=self.num_workers)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Bars stay on the CPU in float64; the module moves what it makes of them."""
        return batch

    def val_dataloader(self) -> DataLoader:
        """Evenly spaced held-out windows, always the same."""
        count = min(self.validation_windows, len(self.held_out))
        rows = torch.linspace(0, len(self.held_out) - 1, count).round().to(torch.int64).tolist()
        batches = [
            _Request(rows[i : i + _VALIDATION_BATCH]) for i in range(0, count, _VALIDATION_BATCH)
        ]
        source = _Windows(self.held_out, self.markets)
        return DataLoader(source, batch_size=None, sampler=batches)


@dataclass(frozen=True)
class _Request:
    """One batch: rows of real windows, and how many simulated ones from which seed."""

    rows: list[int]
    simulated: int = 0
    seed: int = 0


class _Windows(Dataset):
    """A ``WindowIndex`` indexed by whole batches, so that one call gathers a batch."""

    def __init__(self, index: WindowIndex, markets: SimulatedMarkets) -> None:
        self.index, self.markets = index, markets

    def __getitem__(self, request: _Request) -> tuple[Tensor, Tensor]:
        rows = request.rows
        parts = [(self.index.gather(rows), self.index.bars_per_year(rows))] if rows else []
        if request.simulated:
            generator = torch.Generator().manual_seed(request.seed)
            parts.append(self.markets(request.simulated, self.index.length, generator))
        bars, bars_per_year = zip(*parts, strict=True)
        return torch.cat(bars), torch.cat(bars_per_year)


@dataclass(frozen=True)
class _Plan:
    """What batch number j of a run holds; a fixed draw, so that a resumed run sees the same."""

    weights: Tensor
    batch_size: int
    pretrain_steps: int
    simulated_share: float
    seed: int
    rank: int

    def __call__(self, number: int) -> _Request:
        generator = torch.Generator().manual_seed(
            derive_seed(self.seed, "batch", number, self.rank)
        )
        rows = torch.multinomial(self.weights, self.batch_size, True, generator=generator)
        share = 1.0 if number < self.pretrain_steps else self.simulated_share
        simulated = round(share * self.batch_size)
        seed = derive_seed(self.seed, "markets", number, self.rank)
        return _Request(rows[simulated:].tolist(), simulated, seed)


class _Batches(Sampler[_Request]):
    """The batches of one epoch, from where the run stopped."""

    def __init__(self, plan: _Plan, steps: int, trainer: Any) -> None:
        self.plan, self.steps, self.trainer = plan, steps, trainer

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[_Request]:
        epoch, left = epoch_left(self.trainer, self.steps)
        for position in left:
            yield self.plan(epoch * self.steps + position)


def moving_share(windows: WindowIndex) -> Float64[Tensor, " windows"]:
    """Share of each window's bars that moved: another close than before, or a range."""
    before = [_moved(segment) for segment in windows.segments]
    counts = torch.cat(before) if before else torch.zeros(0, dtype=torch.int64)
    sizes = torch.tensor([len(b) for b in before], dtype=torch.int64)
    first = (sizes.cumsum(0) - sizes)[windows.index[:, 0]] + windows.index[:, 1]
    moved = counts[first + windows.length] - counts[first + 1]  # the first bar is a close only
    return moved.to(torch.float64) / (windows.length - 1)


def _moved(segment: Segment) -> Tensor:
    """How many of the first 0, 1, ..., n bars of a segment moved."""
    bars = segment.bars
    moved = bars[:, 1] != bars[:, 2]
    moved[1:] |= bars[1:, 3] != bars[:-1, 3]
    return torch.nn.functional.pad(moved.to(torch.int64).cumsum(0), (1, 0))
