"""Dated events as occasions to forecast: what was known the day before, and what came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from parfait.data.windows import Segment, make_segments
from parfait.distill.catalogue import Event
from parfait.labelling.rolling import window_batch
from parfait.labels import label_windows
from parfait.outlook import LOOK_BACK, outlook
from parfait.regime import MarketContext
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError

HISTORY = 60  # bars whose label is the present, as ``Pipeline.run`` has it


@dataclass(frozen=True, eq=False)
class Occasions:
    """Windows of n returns, and the market before each; coordinates as ``FIELD_NAMES``.

    Args:
        symbols: of each.
        events: what happened; none for windows at regular times.
        contexts: the market up to the bar before, and no bar later.
        date, end: of the first and the last bar [microseconds since 1970].
        bars_per_year: frequency of each.
        loc, scale: what the bars of the window say of its regime.
        returns: log returns.
    """

    symbols: Sequence[str]
    events: Sequence[Event]
    contexts: Sequence[MarketContext]
    date: Int64[Tensor, " n"]
    end: Int64[Tensor, " n"]
    bars_per_year: Float64[Tensor, " n"]
    loc: Float64[Tensor, "n 11"]
    scale: Float64[Tensor, "n 11"]
    returns: Float64[Tensor, "n steps"]

    def __len__(self) -> int:
        return len(self.contexts)

    @property
    def present(self) -> Float64[Tensor, " n"]:
        """Volatility of the bars before [1/sqrt(year)]."""
        return torch.tensor([c.volatility for c in self.contexts], dtype=torch.float64)

    @property
    def types(self) -> list[str]:
        """Type of each event."""
        return [event.type for event in self.events]

    def of_type(self, kind: str) -> Bool[Tensor, " n"]:
        """Which are events of this type."""
        return torch.tensor([one == kind for one in self.types])

    def apart(self, other: "Occasions", which: Bool[Tensor, " m"]) -> Bool[Tensor, " n"]:
        """Which windows share no time with those of ``other``, whatever the symbol: markets move
        together.
        """
        met = (self.date[:, None] <= other.end[which]) & (other.date[which] <= self.end[:, None])
        return ~met.any(1)

    def observed(self, returns: Float64[Tensor, "n *paths steps"]) -> Tensor:
        """What can be seen of returns, in units of the volatility before: (n, *paths, 2).

        r / (sigma sqrt T) of the whole window, and ln(realised volatility / sigma) with the
        realised volatility sqrt(mean r^2 f).
        """
        shape = (len(self), *[1] * (returns.ndim - 2))
        f, sigma = self.bars_per_year.reshape(shape), self.present.reshape(shape)
        years = returns.shape[-1] / f
        realised = (returns.square().mean(-1) * f).sqrt()
        whole = returns.sum(-1) / (sigma * years.sqrt())
        return torch.stack([whole, (realised / sigma).clamp_min(1e-6).log()], -1)


def occasions(
    frames: Mapping[str, pl.DataFrame],
    events: Sequence[Event],
    n: int,
    asset: str | None = None,
    bars_per_year: float | None = None,
) -> tuple[Occasions, Occasions]:
    """Every event with a window of n returns, its first the session from which markets could
    react; and all windows that follow one another, whatever happened in them.

    An event without symbol is one of every symbol. Those without 60 bars before, or n from their
    day on, are left out.

    Args:
        frames: bars by symbol.
        events: the catalogue.
        n: returns of a window.
        asset: class of every symbol; ``None`` goes by their names.
        bars_per_year: of every symbol; ``None`` estimates it.

    Raises:
        UserError: no event has a window.
    """
    segments = make_segments(frames)
    if bars_per_year is not None:
        segments = [replace(s, bars_per_year=bars_per_year) for s in segments]
    places = []
    for symbol in sorted(frames):
        mine = [s for s in segments if s.symbol == symbol]
        for event in events:
            place = _place(mine, event.time, n) if event.asset in ("", symbol) else None
            if place is not None:
                places.append((event, *place))
    if not places:
        raise UserError("no event of the catalogue has a window in the data; look at the dates")
    usual = [(s, r) for s in segments for r in range(HISTORY, len(s) - n + 1, n)]
    told = [event for event, *_ in places]
    held = [(s, r) for _, s, r in places]
    return _gathered(held, told, n, asset), _gathered(usual, [], n, asset)


def _place(segments: Sequence[Segment], time: int, n: int) -> tuple[Segment, int] | None:
    """The first bar from this time on, with a history before it and a window from it on."""
    for segment in segments:
        row = int(torch.searchsorted(segment.timestamps, time))
        if row < len(segment):
            return (segment, row) if HISTORY <= row <= len(segment) - n else None
    return None


def _gathered(
    places: Sequence[tuple[Segment, int]], events: Sequence[Event], n: int, asset: str | None
) -> Occasions:
    after = torch.cat([window_batch(s.bars, torch.tensor([r - 1]), n + 1) for s, r in places])
    before = torch.cat(
        [window_batch(s.bars, torch.tensor([r - HISTORY]), HISTORY) for s, r in places]
    )
    frequency = torch.tensor([s.bars_per_year for s, _ in places], dtype=torch.float64)
    label, past = label_windows(after, frequency), label_windows(before, frequency)
    trend = (before[:, -1, 3] / before[:, 0, 3]).log() * frequency / (HISTORY - 1)
    contexts = [
        MarketContext(
            asset or symbol_asset(s.symbol) or "equity",
            float(past.total_volatility[i]),
            float(trend[i]),
            s.bars_per_year,
            outlook=outlook(s.bars[max(r - LOOK_BACK, 0) : r], s.bars_per_year),
        )
        for i, (s, r) in enumerate(places)
    ]
    return Occasions(
        [s.symbol for s, _ in places],
        events,
        contexts,
        torch.tensor([int(s.timestamps[r]) for s, r in places]),
        torch.tensor([int(s.timestamps[r + n - 1]) for s, r in places]),
        frequency,
        label.loc,
        label.scale,
        after[..., 3].log().diff(dim=1),
    )
