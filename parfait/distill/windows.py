"""Realised windows as a teacher: what followed an event, shrunk to what follows such events."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.data.windows import make_segments
from parfait.distill.catalogue import Event
from parfait.distill.market import RELATIVE, Market, facts_of, market_of, meet
from parfait.distill.parts import Made
from parfait.distill.shrinkage import Effects, shrink
from parfait.regime import FIELD_NAMES, Component, MarketContext, RegimeDistribution
from parfait.regime.fields import INITIAL_VOLATILITY
from parfait.semantic.examples import Example
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError, require

_DRIFT, _SIGMA = FIELD_NAMES.index("drift"), FIELD_NAMES.index("volatility")
CARRIERS = ("{}.", "Suppose {}.", "Breaking: {}", "News: {}.", "What happens next? {}.", "{}")


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
        require("teacher.phrasings", self.phrasings, 1, len(CARRIERS))


@dataclass(frozen=True, eq=False)
class WindowJob:
    """The examples of a whole catalogue; see ``window_examples``.

    Args:
        frames: bars by symbol.
        key: hash of them.
        events: the catalogue.
        settings: see ``WindowSettings``.
        bars_per_year, asset: as there.
        most: examples at most; an event is there with all its examples or not at all.
    """

    frames: Mapping[str, pl.DataFrame]
    key: str
    events: tuple[Event, ...]
    settings: WindowSettings
    bars_per_year: float | None
    asset: str | None
    most: int

    def describe(self) -> dict[str, Any]:
        """All that decides about the examples but the code."""
        told = {
            "bars": self.key,
            "bars_per_year": self.bars_per_year,
            "asset": self.asset,
            "most": self.most,
        }
        events = [asdict(event) for event in self.events]
        return {"teacher": "windows", **told, **vars(self.settings), "events": events}

    def make(self) -> Made:
        """The examples, what was left out, and the effects by type and asset."""
        found, lost, table = window_examples(
            self.frames, self.events, self.settings, self.bars_per_year, self.asset
        )
        kept = found[: self.most - self.most % self.settings.phrasings]
        return Made(kept, lost, table)


def window_examples(
    frames: Mapping[str, pl.DataFrame],
    events: Sequence[Event],
    settings: WindowSettings,
    bars_per_year: float | None = None,
    asset: str | None = None,
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
        asset: asset class; ``None`` is what the name of a symbol says, else a broad equity index.

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
    markets: dict[str, Market] = {}
    for symbol in sorted(frames):
        own = [s for s in segments if s.symbol == symbol]
        mine = [e for e in events if e.asset in ("", symbol)]
        market = market_of(asset or symbol_asset(symbol) or "equity", own, mine, settings.n, lost)
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


def _purged(
    markets: Mapping[str, Market], rows: list[tuple[str, int]], lost: Counter[str]
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
        elif market.splits[i] == "train" and any(meet(market.spans[i], h) for h in held):
            lost["overlaps a window that is held out"] += 1
        else:
            kept.append((symbol, i))
    return kept


def _effects(markets: Mapping[str, Market], rows: Sequence[tuple[str, int]]) -> Effects:
    groups = [f"{markets[s].events[i].type} {markets[s].asset}" for s, i in rows]
    told = [(markets[s].asset, markets[s].events[i]) for s, i in rows]
    weight = torch.tensor([1 / told.count(t) for t in told], dtype=torch.float64)
    value, noise, spread = (
        torch.stack([getattr(markets[s], name)[i] for s, i in rows])
        for name in ("value", "noise", "spread")
    )
    return shrink(value, noise, groups, weight, spread)


def _examples(
    market: Market, symbol: str, i: int, found: Effects, settings: WindowSettings
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
    bands = facts_of(event, market.asset).bands
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
    for number, carrier in enumerate(CARRIERS[: settings.phrasings]):
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
    for field in RELATIVE:
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


def _table(markets: Mapping[str, Market], rows: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
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
