"""Realised windows as a teacher: what followed an event, shrunk to what follows such events."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.data.windows import Segment, make_segments
from parfait.distill.catalogue import Event
from parfait.distill.held_out import Facts, band, split_of
from parfait.distill.shrinkage import Effects, fit_baseline, observed, shrink
from parfait.labelling.rolling import range_correction, window_batch
from parfait.labels import label_windows
from parfait.regime import FIELD_NAMES, Component, MarketContext, RegimeDistribution
from parfait.regime.fields import INITIAL_VOLATILITY
from parfait.semantic.examples import Example
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError, require

CONTEXT_BARS = 60  # before the event, as the simulation looks at its history
_RELATIVE = ("volatility", "vol_of_vol")  # coordinates that are ln of something in units of sigma
_DRIFT, _SIGMA = FIELD_NAMES.index("drift"), FIELD_NAMES.index("volatility")
_CARRIERS = ("{}.", "Suppose {}.", "Breaking: {}", "News: {}.", "What happens next? {}.", "{}")


@dataclass(frozen=True)
class WindowSettings:
    """How events are joined to windows.

    Args:
        n: returns of a window, the first of them that of the event's own session.
        realised: weight of what followed this very event; the rest is what follows such events.
        phrasings: examples per event and symbol.

    Raises:
        UserError: a setting out of range.
    """

    n: int = 20
    realised: float = 0.5
    phrasings: int = 4

    def __post_init__(self) -> None:
        require("teacher.n", self.n, 3, 10_000)
        require("teacher.realised", self.realised, 0.0, 1.0)
        require("teacher.phrasings", self.phrasings, 1, len(_CARRIERS))


@dataclass(frozen=True, eq=False)
class _Market:
    """Windows of one symbol: those after its events first, then those side by side."""

    asset: str
    events: list[Event]
    spans: list[tuple[int, int]]  # of the events, in microseconds
    contexts: list[MarketContext]
    value: Tensor  # deviation of every event from what follows on average, as its bars alone tell
    noise: Tensor
    base: Tensor
    spread: Tensor
    splits: list[str]


def window_examples(
    frames: Mapping[str, pl.DataFrame],
    events: Sequence[Event],
    settings: WindowSettings,
    bars_per_year: float | None = None,
) -> tuple[list[Example], dict[str, int], list[dict[str, Any]]]:
    """Examples of every event and symbol, what was left out, and the effects by type and asset.

    The posterior of the window that begins with the event's session is compared with what follows
    on average given the volatility before. The deviations are shrunk by type and asset class
    (``shrink``, from events of training alone); the target mixes what followed (its posterior given
    its type) and what usually follows.

    An event of training whose window overlaps one that is held out is left out.

    Args:
        frames: bars by symbol.
        events: the catalogue.
        settings: see ``WindowSettings``.
        bars_per_year: frequency; ``None`` estimates it.

    Raises:
        UserError: no event of training has a window, or an event's symbol is unknown.
    """
    unknown = sorted({e.asset for e in events if e.asset} - set(frames))
    if unknown:
        raise UserError(
            f"the catalogue names the symbol {unknown[0]!r}, the data hold {', '.join(frames)}"
        )
    lost: Counter[str] = Counter()
    segments = make_segments(frames)
    if bars_per_year is not None:
        segments = [replace(s, bars_per_year=bars_per_year) for s in segments]
    markets: dict[str, _Market] = {}
    for symbol in sorted(frames):
        own = [s for s in segments if s.symbol == symbol]
        mine = [e for e in events if e.asset in ("", symbol)]
        market = _market(symbol, own, mine, settings, lost)
        if market is not None:
            markets[symbol] = market
    rows = [(s, i) for s, m in markets.items() for i in range(len(m.events))]
    rows = _purged(markets, rows, lost)
    learnt = [(s, i) for s, i in rows if markets[s].splits[i] == "train"]
    if not learnt:
        raise UserError("no event of training has a window in the data; look at dates and symbols")
    examples = []
    for symbol, i in rows:
        others = [(s, j) for s, j in learnt if markets[s].events[j] != markets[symbol].events[i]]
        found = _effects(markets, others or learnt)
        examples += _examples(markets[symbol], symbol, i, found, settings)
    return examples, dict(sorted(lost.items())), _table(markets, learnt)


def _market(
    symbol: str,
    segments: list[Segment],
    events: Sequence[Event],
    settings: WindowSettings,
    lost: Counter[str],
) -> _Market | None:
    n = settings.n
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
    splits = [split_of(_facts(event, symbol)) or "" for event in kept]
    held = [span for span, split in zip(spans, splits, strict=True) if split != "train"]
    ends = [(int(s.timestamps[r]), int(s.timestamps[r + n - 1])) for s, r in plain]
    free = [count + k for k, span in enumerate(ends) if not any(_meet(span, h) for h in held)]
    if len(free) < 10:
        lost["too few windows to compare with"] += count
        return None
    baseline = fit_baseline(loc[free], scale[free], sigma[free].log())
    base = baseline.at(sigma[:count].log())
    asset = symbol_asset(symbol) or "equity"
    contexts = [
        MarketContext(asset, float(s), float(t), segment.bars_per_year)
        for s, t, (segment, _) in zip(sigma, trend, cut, strict=False)
    ]
    spread = baseline.spread(sigma[:count].log())
    value, noise = observed(loc[:count] - base, scale[:count], spread)
    return _Market(asset, kept, spans, contexts, value, noise, base, spread, splits)


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
    """Coordinates relative to the volatility before, their spreads, that volatility, the trend."""
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
    for name in _RELATIVE:
        loc[:, FIELD_NAMES.index(name)] -= sigma.log()
    return loc, label.scale, sigma, torch.as_tensor(past.mean.drift)


def _facts(event: Event, symbol: str) -> Facts:
    """Phrasings of one event share its date, so that validation holds whole events."""
    dose = () if event.magnitude is None else (band(event.type, event.magnitude),)
    asset = symbol_asset(symbol) or "equity"
    return Facts(event.date, (event.type,), (), dose, (asset,), "en")


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _purged(
    markets: Mapping[str, _Market], rows: list[tuple[str, int]], lost: Counter[str]
) -> list[tuple[str, int]]:
    """Without events of several rules, and without those of training that share bars with a test:
    markets move together, so those of any symbol count.
    """
    held = [markets[s].spans[i] for s, i in rows if markets[s].splits[i] not in ("train", "")]
    kept = []
    for symbol, i in rows:
        market = markets[symbol]
        if not market.splits[i]:
            lost["two rules broken"] += 1
        elif market.splits[i] == "train" and any(_meet(market.spans[i], h) for h in held):
            lost["overlaps a window that is held out"] += 1
        else:
            kept.append((symbol, i))
    return kept


def _effects(markets: Mapping[str, _Market], rows: Sequence[tuple[str, int]]) -> Effects:
    groups = [f"{markets[s].events[i].type} {markets[s].asset}" for s, i in rows]
    told = [(markets[s].asset, markets[s].events[i]) for s, i in rows]
    weight = torch.tensor([1 / told.count(t) for t in told], dtype=torch.float64)
    value, noise, spread = (
        torch.stack([getattr(markets[s], name)[i] for s, i in rows])
        for name in ("value", "noise", "spread")
    )
    return shrink(value, noise, groups, weight, spread)


def _examples(
    market: _Market, symbol: str, i: int, found: Effects, settings: WindowSettings
) -> list[Example]:
    event, context = market.events[i], market.contexts[i]
    group = f"{event.type} {market.asset}"
    if group in found.groups:
        k = found.groups.index(group)
        mean, doubt = found.mean[k], found.sd[k]
    else:  # a type never seen in training: no effect, give or take what effects are like
        mean, doubt = torch.zeros_like(found.between), found.between
    prior = market.spread[i].square() + doubt.square()
    noise = market.noise[i].square()
    share = prior / (prior + noise)
    own = mean + share * (market.value[i] - mean)
    parts = [
        ("what followed", settings.realised, own, (share * noise).sqrt()),
        ("what usually follows", 1 - settings.realised, mean, prior.sqrt()),
    ]
    components = tuple(
        _component(event, name, weight, market.base[i] + deviation, sd, context)
        for name, weight, deviation, sd in parts
        if weight > 0
    )
    target = RegimeDistribution(components, "windows", asset_class=market.asset)
    low = event.text[:1].lower() + event.text[1:] if event.text[1:2].islower() else event.text
    bands = _facts(event, symbol).bands
    tags = {
        "event": event.type,
        "magnitude": ",".join(bands),
        "asset": market.asset,
        "symbol": symbol,
        "date": event.date,
        "composition": "catalogue",
    }
    pair = f"{event.date} {symbol} {event.type}" if settings.phrasings > 1 else ""
    made = []
    for number, carrier in enumerate(_CARRIERS[: settings.phrasings]):
        text = carrier.format(low if "Suppose" in carrier else event.text)
        paired = pair if number < 2 else ""
        role = "same" if paired else ""
        more = {**tags, "template": f"carrier.{number}"}
        split = market.splits[i]
        made.append(
            Example(text, context, target, "windows", "en", "event", more, split, paired, role)
        )
    return made


def _component(
    event: Event,
    name: str,
    weight: float,
    relative: Float64[Tensor, " d"],
    sd: Float64[Tensor, " d"],
    context: MarketContext,
) -> Component:
    """A Gaussian in coordinates; the initial volatility stays open, the history knows it."""
    assert context.volatility is not None
    mean, sd = relative.clone(), sd.clone()
    for field in _RELATIVE:
        mean[FIELD_NAMES.index(field)] += math.log(context.volatility)
    mean[INITIAL_VOLATILITY], sd[INITIAL_VOLATILITY] = math.nan, 0.0
    slot = _slot(float(mean[_DRIFT]), float(relative[_SIGMA]))
    why = f"Windows of bars after {event.date} and after other events of the type {event.type}."
    return Component(slot, name, weight, mean, torch.diag(sd), why)


def _slot(drift: float, log_ratio: float) -> str:
    """The typed role nearest to a drift (coordinate) and a volatility (ln of the ratio to now)."""
    if log_ratio > 0.4:
        return "crash" if drift < 0 else "shock_and_recover"
    if abs(drift) > 0.5:
        return "trend_up" if drift > 0 else "grind_down"
    return "calm" if log_ratio < -0.4 else "baseline"


def _table(markets: Mapping[str, _Market], rows: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Effects by type and asset, in coordinates, from events of training."""
    found = _effects(markets, rows)
    counts = Counter(
        f"{t} {a}" for t, a, _ in {(e.type, m.asset, e) for m in markets.values() for e in m.events}
    )
    told = []
    for k, group in enumerate(found.groups):
        row: dict[str, Any] = {"group": group, "events": counts[group]}
        for name, j in (("drift", _DRIFT), ("volatility", _SIGMA)):
            row[name] = round(float(found.mean[k, j]), 4)
            row[f"{name}_sd"] = round(float(found.sd[k, j]), 4)
        told.append(row)
    return told
