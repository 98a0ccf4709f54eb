"""What the stages of a run hand on: its settings, and every asset on the way to its bars."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from parfait.bars import future_timestamps
from parfait.courses import draw_course, scenarios_of
from parfait.history import History
from parfait.likeness import LIKE, Like
from parfait.regime import MarketContext, Regime, RegimeDistribution
from parfait.sde import Schedule
from parfait.semantic import UNSURE_BELOW, Reader
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError
from parfait.utils.seeding import derive_seed

MAX_BARS = 10_000_000  # paths * bars * assets: a table of 700 MB, and several copies on the way
BATCH = 256  # paths generated at a time

Progress = Callable[[str, int, int], None]
Source = str | RegimeDistribution | Schedule | Regime
Sources = Source | Like | Mapping[str, RegimeDistribution | Schedule | Regime]


def derive_generator(seed: int, purpose: str) -> torch.Generator:
    """A generator that depends on the seed and on what it is for, and on nothing else.

    Drawing more in one stage so never shifts another.
    """
    return torch.Generator().manual_seed(derive_seed(seed, purpose))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of ``Pipeline.run`` that all assets share, checked.

    Raises:
        UserError: a size that is no whole number of at least 1, or more bars than a run holds.
    """

    n_paths: int
    horizon: int
    seed: int
    guide_every: int
    jump_sigmas: float
    batch_size: int
    instruction: str | None
    bars_per_year: float | None
    history_options: dict[str, Any]

    def __post_init__(self) -> None:
        for name in ("n_paths", "horizon", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1")
        self.check_assets(1)

    def check_assets(self, assets: int) -> None:
        """``UserError`` when so many assets make too many bars."""
        bars = self.n_paths * self.horizon * assets
        if bars > MAX_BARS:
            times = "" if assets == 1 else f" x {assets} assets"
            raise UserError(
                f"n_paths x horizon{times} is {bars:,} bars, above the {MAX_BARS:,} that one run "
                "holds in memory; simulate.py stream=true makes more in parts of part_paths= each, "
                "or run several seeds"
            )


@dataclass(frozen=True, eq=False)
class Draft:
    """One asset of a run, from its reading to the regimes of its paths.

    Args:
        past: its history.
        context: its present market.
        scenarios: the reading.
        resolved: the same, started at the present volatility.
        index: scenario of every path.
        settings: of the run.
        has_variance: the process starts at a variance of its own.
    """

    past: History
    context: MarketContext
    scenarios: RegimeDistribution
    resolved: RegimeDistribution
    index: Int64[Tensor, " paths"]
    settings: Settings
    has_variance: bool

    @classmethod
    def draw(
        cls,
        past: History,
        context: MarketContext,
        scenarios: RegimeDistribution,
        settings: Settings,
        *,
        has_variance: bool,
    ) -> "Draft":
        """Deals the paths to scenarios; ``regime`` draws one for each.

        Several assets share both draws. The paths are the same points of (0, 1) in every asset,
        laid along the probabilities of its scenarios: where two readings agree, path i is in the
        same scenario of both, and where they differ the coupling is comonotone in the scenarios'
        order. And path i has the same standard normals, so a severe draw is severe for all.
        """
        resolved = scenarios
        if context.volatility is not None:
            resolved = scenarios.resolve(context.volatility)
        index = resolved.allocate(settings.n_paths, derive_generator(settings.seed, "scenarios"))
        return cls(past, context, scenarios, resolved, index, settings, has_variance)

    def regime(self, bars: int) -> Regime:
        """Parameters of every path, (paths,), or (bars, paths) where some scenario has phases; the
        same for any number of bars.
        """
        generator = derive_generator(self.settings.seed, "regimes")
        how = {"has_variance": self.has_variance}
        return draw_course(self.resolved, self.index, bars, self.bars_per_year, generator, **how)

    @property
    def bars_per_year(self) -> float:
        """Of the bars to generate."""
        assert self.context.bars_per_year is not None
        return self.context.bars_per_year

    def times(self, horizon: int) -> pl.Series:
        """Timestamps of the bars to generate."""
        return future_timestamps(self.past.bars["timestamp"], horizon)


def source_of_each(source: Source | Mapping[str, Any], pasts: Sequence[History]) -> list[Source]:
    """What every history is read from: the one source, or its own of a mapping by symbol.

    Raises:
        UserError: a mapping whose symbols are not those of the histories.
    """
    if not isinstance(source, Mapping):
        return [source] * len(pasts)
    symbols = [past.symbol for past in pasts]
    if len(pasts) == 1 and len(source) == 1:
        return list(source.values())
    if set(source) != set(symbols):
        given, held = ", ".join(map(str, source)), ", ".join(filter(None, symbols))
        raise UserError(
            f"scenarios were given for {given}, and the histories are {held or 'one series'}; "
            "give scenarios for each of them"
        )
    return [source[symbol] for symbol in symbols]


def read_source(reader: Reader, source: Any, context: MarketContext) -> RegimeDistribution:
    """The scenarios of a sentence; regimes pass as they are.

    Raises:
        UserError: neither a sentence nor regimes, or a batch of regimes.
    """
    if isinstance(source, str):
        return reader.read(source, context)
    if isinstance(source, RegimeDistribution):
        return source
    if isinstance(source, Schedule):
        return scenarios_of(source)
    if not isinstance(source, Regime):
        raise UserError(
            "Pipeline.run takes a sentence, a RegimeDistribution, a Schedule, a Regime or a Like, "
            f"not {type(source).__name__}"
        )
    if source.shape:
        raise UserError(
            f"a batch of regimes of shape {source.shape} was given; give one Regime, "
            "or a RegimeDistribution with a scenario for each"
        )
    return RegimeDistribution.single(source)


def unsure(scenarios: RegimeDistribution) -> list[str]:
    """A sentence when the reader was unsure and did not say so itself."""
    if scenarios.confidence >= UNSURE_BELOW or scenarios.warnings:
        return []
    return [
        f"The reading is unsure (confidence {scenarios.confidence:.2f}); "
        "the scenarios are wide, check them before use."
    ]


def differences(drafts: Sequence[Draft], horizon: int) -> list[str]:
    """Sentences on what several assets do not share: asset classes known, calendars, scenarios."""
    said = []
    told = [d for d in drafts if d.scenarios.source not in ("user", LIKE)]
    unknown = [d for d in told if d.context.asset_class is None]
    if unknown:
        names = ", ".join(f"{d.past.symbol} ({d.scenarios.asset_class})" for d in unknown)
        said.append(
            f"Names that tell of no asset class were read as the sentence says: {names}; "
            f"asset={{{unknown[0].past.symbol}: ...}} says which it is."
        )
    text = (drafts[0].settings.instruction or "").casefold()
    for symbol in (d.past.symbol for d in drafts):
        named = re.search(rf"(?<!\w){re.escape(symbol.casefold())}(?!\w)", text)
        if named and symbol_asset(symbol) is None:
            said.append(
                f"{symbol} is a history here and no asset that a sentence can name: what is said "
                "of it was read for every history; give scenarios by symbol, or run it apart."
            )
    weights = [draft.resolved.weights for draft in drafts]
    if any(
        len(w) != len(weights[0]) or not torch.allclose(w, weights[0], atol=1e-9) for w in weights
    ):
        said.append(
            "The scenarios differ between the assets in number or probability: a path belongs to "
            "scenarios of the same rank in each, as far as probabilities allow."
        )
    return said + _calendars(drafts, horizon)


def _calendars(drafts: Sequence[Draft], horizon: int) -> list[str]:
    ends = [draft.past.bars["timestamp"].tail(1) for draft in drafts]
    futures = [draft.times(horizon) for draft in drafts]
    if all(f.dt.date().n_unique() == len(f) for f in futures):  # daily: the clock says nothing
        ends, futures = [e.dt.date() for e in ends], [f.dt.date() for f in futures]
    if any(not e.equals(ends[0]) for e in ends):
        by_end: dict[str, list[str]] = {}
        for draft, end in zip(drafts, ends, strict=True):
            by_end.setdefault(str(end[0]), []).append(draft.past.symbol)
        last = "; ".join(f"{', '.join(names)} {end}" for end, names in by_end.items())
        return [
            f"The histories end at different times ({last}); the paths of each continue its own, "
            "so bars of equal number have different times."
        ]
    for draft, future in zip(drafts, futures, strict=True):
        if not future.equals(futures[0]):
            return [
                f"The calendars of {drafts[0].past.symbol} and {draft.past.symbol} differ, so bars "
                "of equal number have different times."
            ]
    return []


def whole_batches(size: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is not below ``size``."""
    return math.ceil(size / unit) * unit


def plain_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options as a summary holds them; whatever JSON has no word for as text."""
    kept = (str, int, float, bool, type(None), list, tuple, dict)
    return {k: v if isinstance(v, kept) else str(v) for k, v in (options or {}).items()}
