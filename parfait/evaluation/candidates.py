"""Candidates: generators of bars that continue real histories, under the names of their rows.

Guided ones know every few true closes (with the defaults 8 of 32 degrees of freedom), so compare
guided with guided. A network is *neutral* (no regime is told), told a regime drawn from the label
posterior of the *history* (what a forecaster may know), or of the *future* (an upper bound that no
forecaster has; it shows what a correct regime is worth).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from parfait.evaluation.windows import EVERY, Split, Windows
from parfait.labels import label_windows
from parfait.metrics.baselines import bootstrap_bars, bridge_bars
from parfait.metrics.rivals import Rival, make_rivals
from parfait.microstructure import Microstructure
from parfait.regime import Regime
from parfait.sde import Bates, Guide, make_guide
from parfait.utils.errors import UserError

RECENT_YEARS = 5
NEUTRAL = "network, neutral"
FREE = "network, no guide"
ORACLE = "network, regime of the future (oracle)"
Sample = tuple[Tensor, Guide | None]  # bars, and the guide they had to follow


@dataclass(frozen=True)
class Ingredients:
    """What candidates are made of, and the samples drawn so far.

    Args:
        model: the network.
        split: real windows; candidates continue the histories of its held-out part.
        every: bars between anchors.
        asset: asset class; ``None`` reads it from the names of the symbols.
        longer: split of the same data with another horizon, for long paths.
    """

    model: Microstructure
    split: Split
    every: int = EVERY
    asset: str | None = None
    longer: Callable[[int], Split] | None = None
    _drawn: dict[tuple[str, int], Sample] = field(default_factory=dict, repr=False)
    _rivals: dict[str, Rival | str] = field(default_factory=dict, repr=False)

    @property
    def train(self) -> Windows:
        """Training windows."""
        return self.split.train

    @property
    def held(self) -> Windows:
        """Held-out windows."""
        return self.split.held

    def draw(self, name: str, seed: int) -> Sample:
        """The sample of a candidate with a seed, drawn once."""
        if (name, seed) not in self._drawn:
            generator = torch.Generator().manual_seed(seed)
            self._drawn[name, seed] = CANDIDATES[name](self, generator)
        return self._drawn[name, seed]

    def network(self, guide: Guide | None, regime: Regime | None, g: torch.Generator) -> Sample:
        """Bars of the network after every history."""
        held = self.held
        how = {"bars_per_year": held.bars_per_year, "generator": g}
        shape = None if guide is not None else (len(held), held.future.shape[1])
        return self.model.generate(held.history, guide, regime, shape=shape, **how), guide

    def bootstrap(self, source: Windows, g: torch.Generator) -> Sample:
        """Runs of real bars projected on the true guide."""
        guide, steps = self.held.guide(self.every), self.held.future.shape[1]
        pool = source.history, source.future
        block = min(8, steps)
        bars = bootstrap_bars(
            *pool, self.held.history, steps, guide=guide, block=block, generator=g
        )
        return bars, guide

    def rival(self, name: str, guide: Guide | None, g: torch.Generator) -> Sample:
        """Bars of a rival of ``parfait.metrics.rivals``, fitted to the training part once.

        Raises:
            UserError: it cannot be had, as GARCH without ``arch``.
        """
        if not self._rivals:
            known = [
                s.bars[s.timestamps <= self.split.cut, 3].log().diff() for s in self.split.segments
            ]
            returns = [r for r in known if len(r)]
            pool = self.train.history, self.train.future
            self._rivals.update(make_rivals(*pool, returns, self.held.bars_per_year))
        rival = self._rivals[name]
        if isinstance(rival, str):
            raise UserError(rival)
        return rival(self.held.history, self.held.future.shape[1], guide=guide, generator=g), guide

    def recent(self) -> Windows:
        """Training windows of the last ``RECENT_YEARS``."""
        times = self.train.time
        span = self.train.span(round(RECENT_YEARS * self.train.bars_per_year))
        return self.train.rows(torch.nonzero(times > times.max() - span)[:, 0])


def history_regime(windows: Windows, g: torch.Generator, *, measured: bool = False) -> Regime:
    """One draw per window from the label posterior of its history.

    ``measured`` leaves what a window cannot tell at the centre of its prior: drawing jumps as well
    would lend every calm history those of a wild one.
    """
    labels = label_windows(windows.history, windows.bars_per_year)
    kept = labels.identified if measured else torch.ones_like(labels.identified)
    return replace(labels, scale=labels.scale * kept).draw(g)


def future_regime(windows: Windows, g: torch.Generator) -> Regime:
    """One draw per window from the label posterior of what followed."""
    context = torch.cat([windows.history[:, -1:], windows.future], dim=1)
    return label_windows(context, windows.bars_per_year).draw(g)


def bates_guide(windows: Windows, regime: Regime, every: int, g: torch.Generator) -> Guide:
    """Bates paths from each window's last close, anchored as in the pipeline.

    A label's volatility is the total one, so the variance of the drawn jumps is taken out of it.
    """
    sigma, v0 = (
        torch.as_tensor(x, dtype=torch.float64)
        for x in (regime.volatility, regime.initial_volatility)
    )
    size = torch.as_tensor(regime.jump_mean) ** 2 + torch.as_tensor(regime.jump_std) ** 2
    share = (torch.as_tensor(regime.jump_intensity) * size / sigma.square()).clamp_max(0.5)
    keep = (1 - share).sqrt()
    intensity = share * sigma.square() / size.clamp_min(1e-12)
    told = replace(
        regime,
        volatility=sigma * keep,
        initial_volatility=v0 * keep,
        jump_intensity=intensity,
        mean_reversion=torch.zeros_like(sigma),
        hurst=torch.full_like(sigma, 0.5),
    )
    steps = windows.future.shape[1]
    years = steps / windows.bars_per_year
    paths = Bates.from_regime(told).sample(len(windows), steps, years, generator=g)
    bar_sd = sigma / windows.bars_per_year**0.5
    guide, _ = make_guide(paths, 1.0, every=every, bar_sd=bar_sd)
    return Guide(guide.level * windows.history[:, -1:, 3], guide.anchored)


def _bates(i: Ingredients, g: torch.Generator) -> Guide:
    return bates_guide(i.held, history_regime(i.held, g, measured=True), i.every, g)


def _on_sde(i: Ingredients, g: torch.Generator, told: bool) -> Sample:
    regime = history_regime(i.held, g, measured=True)
    return i.network(bates_guide(i.held, regime, i.every, g), regime if told else None, g)


def _bridge(i: Ingredients, g: torch.Generator, guide: Guide | None) -> Sample:
    steps = i.held.future.shape[1]
    return bridge_bars(i.held.history, steps, guide=guide, generator=g), guide


def _truth(i: Ingredients) -> Guide:
    return i.held.guide(i.every)


CANDIDATES: dict[str, Callable[[Ingredients, torch.Generator], Sample]] = {
    NEUTRAL: lambda i, g: i.network(_truth(i), None, g),
    "network, regime of the history": lambda i, g: i.network(
        _truth(i), history_regime(i.held, g), g
    ),
    ORACLE: lambda i, g: i.network(_truth(i), future_regime(i.held, g), g),
    "network on SDE guides, neutral": lambda i, g: _on_sde(i, g, False),
    "network on SDE guides, their regime": lambda i, g: _on_sde(i, g, True),
    "block bootstrap projected on guide": lambda i, g: i.bootstrap(i.train, g),
    "the same, from the last 5 years": lambda i, g: i.bootstrap(i.recent(), g),
    "Brownian bridge on guide": lambda i, g: _bridge(i, g, _truth(i)),
    FREE: lambda i, g: i.network(None, None, g),
    "Brownian bridge on SDE guides, no network": lambda i, g: _bridge(i, g, _bates(i, g)),
    "GJR skew-t projected on guide": lambda i, g: i.rival("gjr-skewt", _truth(i), g),
    "GBM, no guide": lambda i, g: _bridge(i, g, None),
    "Heston, no guide, no network": lambda i, g: i.rival("heston", None, g),
    "GARCH-t, no guide": lambda i, g: i.rival("garch-t", None, g),
    "GJR skew-t, no guide": lambda i, g: i.rival("gjr-skewt", None, g),
    "copy of training windows, no guide": lambda i, g: i.rival("copy", None, g),
}
