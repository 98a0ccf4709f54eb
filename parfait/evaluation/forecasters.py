"""Whoever says beforehand what follows a dated event: readers, and rivals that know less."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.distill.shrinkage import fit_baseline
from parfait.evaluation.occasions import Occasions
from parfait.evaluation.understanding import PRIOR, READER, PriorOnly
from parfait.metrics.functional.mixtures import Mixtures
from parfait.metrics.functional.reading import Yardstick
from parfait.metrics.neutral import scenario_returns
from parfait.metrics.rivals.ngrams import NGramRidge
from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import Reader, load_reader
from parfait.utils.seeding import derive_seed

HISTVOL, RIDGE, SILENCE = "HistVol60", "n-gram ridge", "no instruction"
FORECASTERS = (READER, PRIOR, HISTVOL, RIDGE, SILENCE)
_PATHS = 256  # draws of a forecast
_ALPHA = 10.0  # of the ridge: two hundred events


@dataclass(frozen=True, eq=False)
class Forecast:
    """What was said beforehand of every occasion, as draws.

    Args:
        bars: of what can be seen, in sd of what follows in general.
        regime: of drift and ln sigma, in prior sd.
    """

    bars: Float64[Tensor, "n paths 2"]
    regime: Float64[Tensor, "n paths 2"]


class Forecaster(Protocol):
    """Whoever says beforehand what will follow."""

    def __call__(self, asked: Occasions, usual: Occasions) -> Forecast:
        """The forecast of every occasion; ``usual`` are windows in general."""
        ...


def forecaster(name: str, reader: Reader) -> Forecaster:
    """One of ``FORECASTERS``."""
    if name == HISTVOL:
        return histvol
    if name == RIDGE:
        return ridge
    if name == SILENCE:
        return lambda asked, usual: read(load_reader(), asked, usual, silent=True)
    judge = reader if name == READER else PriorOnly(reader)
    return lambda asked, usual: read(judge, asked, usual)


def read(reader: Reader, asked: Occasions, usual: Occasions, *, silent: bool = False) -> Forecast:
    """Readings of the events' texts, or of nothing, each in the market before it; paths of their
    scenarios show what they say of bars.
    """
    texts = ["" if silent else event.text for event in asked.events]
    told = [reader.read(text, c) for text, c in zip(texts, asked.contexts, strict=True)]
    units = [Yardstick.of(c.asset_class or "equity", c) for c in asked.contexts]
    mixtures = Mixtures.of(told, units).of_fields((0, 1))
    g = torch.Generator().manual_seed(derive_seed("followed", "regimes"))
    regime = mixtures.draw(_PATHS, g)
    paths = _paths(told, asked, g)
    return Forecast(asked.observed(paths) / usual.observed(usual.returns).std(0), regime)


def histvol(asked: Occasions, usual: Occasions) -> Forecast:
    """What follows in general, given the volatility of the 60 bars before: means and log variances
    linear in its logarithm, from windows that share no time with events of the type.
    """
    return _normal(asked, usual, lambda kind, mine, deviation: 0.0)


def ridge(asked: Occasions, usual: Occasions) -> Forecast:
    """``histvol`` and what a ridge on n-grams learnt of how events of all other types differ."""
    texts, beside = [event.text for event in asked.events], asked.present.log()[:, None]

    def moved(kind: str, mine: Tensor, deviation: Tensor) -> Tensor:
        learnt = ~mine & asked.apart(asked, mine)
        known = [texts[i] for i in learnt.nonzero()[:, 0].tolist()]
        model = NGramRidge(known, beside[learnt], deviation[learnt], _ALPHA)
        held = [texts[i] for i in mine.nonzero()[:, 0].tolist()]
        return model.predict(held, beside[mine])

    return _normal(asked, usual, moved)


def _normal(
    asked: Occasions, usual: Occasions, moved: Callable[[str, Tensor, Tensor], Tensor | float]
) -> Forecast:
    """The law of windows in general, moved by what others than this type tell; by type."""
    parts = []
    g = torch.Generator().manual_seed(derive_seed("followed", "histvol"))
    for truth, value, noise in _targets(asked, usual):
        draws = torch.randn(len(asked), _PATHS, 2, generator=g, dtype=torch.float64)
        for kind in sorted(set(asked.types)):
            mine = asked.of_type(kind)
            free = usual.apart(asked, mine)
            law = fit_baseline(value[free], noise[free], usual.present[free].log())
            base, spread = (x(asked.present.log()) for x in (law.at, law.spread))
            centre = base[mine] + moved(kind, mine, truth - base)
            draws[mine] = centre[:, None] + spread[mine][:, None] * draws[mine]
        parts.append(draws)
    return Forecast(*parts)


def _targets(asked: Occasions, usual: Occasions) -> list[tuple[Tensor, Tensor, Tensor]]:
    """What followed events; what follows in general, and how uncertain that is: of bars and of
    regimes.
    """
    seen = usual.observed(usual.returns)
    unit = seen.std(0)
    bars = asked.observed(asked.returns) / unit, seen / unit, torch.zeros_like(seen)
    (here, scale), (centre, sd) = units_of(asked.contexts), units_of(usual.contexts)
    regime = (
        (asked.loc[:, :2] - here) / scale,
        (usual.loc[:, :2] - centre) / sd,
        usual.scale[:, :2] / sd,
    )
    return [bars, regime]


def units_of(contexts: Sequence[MarketContext]) -> tuple[Tensor, Tensor]:
    """Centre and sd of the priors of drift and ln sigma."""
    units = [Yardstick.of(c.asset_class or "equity", c) for c in contexts]
    return torch.stack([u.centre[:2] for u in units]), torch.stack([u.sd[:2] for u in units])


def _paths(told: Sequence[RegimeDistribution], asked: Occasions, g: torch.Generator) -> Tensor:
    """Paths of each reading's scenarios, as long as the windows."""
    steps = asked.returns.shape[1]
    found = torch.zeros(len(told), _PATHS, steps, dtype=torch.float64)
    resolved = [one.resolve(float(v)) for one, v in zip(told, asked.present, strict=True)]
    for frequency in asked.bars_per_year.unique().tolist():
        mine = (asked.bars_per_year == frequency).nonzero()[:, 0]
        some = [resolved[i] for i in mine.tolist()]
        found[mine] = scenario_returns(some, steps, _PATHS, bars_per_year=frequency, generator=g)
    return found
