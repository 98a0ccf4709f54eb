"""Events and what followed them in one market: label posteriors of the windows they begin."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parfait.data.windows import Segment
from parfait.distill.catalogue import Event
from parfait.distill.held_out import Facts, band, split_of
from parfait.distill.shrinkage import fit_baseline, observed
from parfait.labelling.rolling import range_correction, window_batch
from parfait.labels import label_windows
from parfait.regime import FIELD_NAMES, MarketContext

CONTEXT_BARS = 60  # before the event, as the simulation looks at its history
RELATIVE = ("volatility", "vol_of_vol")  # coordinates that are ln of something in units of sigma
_LEAST = 10  # windows that a comparison needs


@dataclass(frozen=True, eq=False)
class Market:
    """One symbol's events, each with the window that begins with its session.

    Coordinates are relative: ln volatility and ln vol-of-vol less ln of the volatility before.

    Args:
        asset: asset class.
        events: those with a window.
        spans: first and last time of the windows, in microseconds.
        contexts: the market before each.
        value, noise: deviation from what follows on average, as the bars alone tell it.
        base, spread: what follows on average at such a volatility, and its standard deviation.
        splits: of each event; "" where it breaks several rules.
    """

    asset: str
    events: list[Event]
    spans: list[tuple[int, int]]
    contexts: list[MarketContext]
    value: Tensor
    noise: Tensor
    base: Tensor
    spread: Tensor
    splits: list[str]


def market_of(
    asset: str,
    segments: list[Segment],
    events: Sequence[Event],
    n: int,
    lost: Counter[str],
) -> Market | None:
    """The events of one symbol that have windows of n returns; what has none is counted in
    ``lost``. ``None`` without any.
    """
    kept: list[Event] = []
    cut: list[tuple[Segment, int]] = []
    for event in events:
        place = _place(segments, event.time, n)
        if isinstance(place, str):
            lost[place] += 1
        else:
            kept.append(event)
            cut.append(place)
    if not kept:
        return None
    plain = [
        (segment, int(row))
        for segment in segments
        for row in range(CONTEXT_BARS + 1, len(segment) - n, n)
    ]
    correction, _ = range_correction(segments, n, int(segments[-1].timestamps[-1]))
    loc, scale, sigma, trend = _labels([*cut, *plain], n, correction)
    count = len(cut)
    spans = [(int(s.timestamps[r]), int(s.timestamps[r + n - 1])) for s, r in cut]
    splits = [split_of(facts_of(event, asset)) or "" for event in kept]
    held = [span for span, split in zip(spans, splits, strict=True) if split != "train"]
    ends = [(int(s.timestamps[r]), int(s.timestamps[r + n - 1])) for s, r in plain]
    free = [count + k for k, span in enumerate(ends) if not any(meet(span, h) for h in held)]
    if len(free) < _LEAST:
        lost["too few windows to compare with"] += count
        return None
    baseline = fit_baseline(loc[free], scale[free], sigma[free].log())
    base = baseline.at(sigma[:count].log())
    contexts = [
        MarketContext(asset, float(s), float(t), segment.bars_per_year)
        for s, t, (segment, _) in zip(sigma, trend, cut, strict=False)
    ]
    spread = baseline.spread(sigma[:count].log())
    value, noise = observed(loc[:count] - base, scale[:count], spread)
    return Market(asset, kept, spans, contexts, value, noise, base, spread, splits)


def _place(segments: Sequence[Segment], time: int, n: int) -> tuple[Segment, int] | str:
    """The first bar from this time on, with a context before it and a window after."""
    for segment in segments:
        row = int(torch.searchsorted(segment.timestamps, time))
        if row == len(segment):
            continue
        if row < CONTEXT_BARS + 1:
            return "too few bars before the event"
        return (segment, row) if row + n <= len(segment) else "too few bars after the event"
    return "after the data"


def _labels(
    places: Sequence[tuple[Segment, int]], n: int, correction: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Coordinates relative to the volatility before, their spreads, that volatility, its trend."""
    after = torch.cat([window_batch(s.bars, torch.tensor([r - 1]), n + 1) for s, r in places])
    start = -CONTEXT_BARS - 1
    before = torch.cat(
        [window_batch(s.bars, torch.tensor([r + start]), CONTEXT_BARS + 1) for s, r in places]
    )
    frequency = torch.tensor([s.bars_per_year for s, _ in places], dtype=torch.float64)
    label = label_windows(after, frequency, range_correction=correction)
    past = label_windows(before, frequency, range_correction=correction)
    sigma = past.total_volatility
    loc = label.loc.clone()
    for name in RELATIVE:
        loc[:, FIELD_NAMES.index(name)] -= sigma.log()
    trend = (before[:, -1, 3] / before[:, 0, 3]).log() * frequency / CONTEXT_BARS
    return loc, label.scale, sigma, trend


def facts_of(event: Event, asset: str) -> Facts:
    """What decides about its split.

    Phrasings share the date in place of a template, so that validation holds whole events.
    """
    dose = () if event.magnitude is None else (band(event.type, event.magnitude),)
    return Facts(event.date, (event.type,), (), dose, (asset,), "en")


def meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two spans share a moment."""
    return a[0] <= b[1] and b[0] <= a[1]
