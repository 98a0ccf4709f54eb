"""From drawn regimes to guides: paths of one process, or of several that move together."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.bars import bars_to_tensor
from parfait.checks import horizon_variance
from parfait.conditions import Outcome, farthest, impose
from parfait.correlation import Request, pairs_of
from parfait.draft import Draft, Settings, derive_generator
from parfait.microstructure import Microstructure
from parfait.microstructure.familiarity import UNFAMILIAR
from parfait.regime import Regime, RegimeDistribution
from parfait.sde import (
    Correlations,
    Guide,
    Mode,
    MultiAsset,
    Process,
    SdeWarning,
    nearest_correlation,
)
from parfait.targets import LARGEST
from parfait.utils.threads import one_thread

Correlation = Float64[Tensor, "assets assets"]
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)  # of the jumps, common to all assets
REACHED = 0.03  # a correlation expected so near is the one asked for
MANY_STRANGE = 0.1  # of a scenario's guides: in training one in a hundred is
WORTH_IT = 0.02  # fewer common jumps must bring the correlation nearer by this


def draw_outcomes(
    drafts: Sequence[Draft],
    settings: Settings,
    joint: Request | None,
    *,
    make: Callable[[Regime], Process],
    mode: Mode,
) -> tuple[list[Outcome], Correlation | None, list[str]]:
    """Paths of the process that meet the conditions of their scenarios, for every asset.

    Those of several assets are sampled together, as long as the farthest target needs.

    Args:
        drafts: the assets.
        joint: their correlation; ``None`` for a single one.
        make: the process of a batch of regimes.
        mode: how conditions are imposed.

    Returns:
        An outcome for each; the correlation of the noise between their anchors; and sentences on
        what correlation cannot be had.
    """
    notes: list[str] = []
    noise: Correlation | None = None
    frequency, steps = drafts[0].bars_per_year, settings.horizon
    most = None if joint is None else LARGEST // (settings.n_paths * len(drafts))
    common: dict[str, Any] = {
        "mode": mode,
        "horizon": settings.horizon,
        "bars_per_year": frequency,
        "most": most,
    }
    bounded: dict[str, Any] = common | {"most": most or LARGEST}
    reach = [farthest(draft.resolved, spot=draft.past.last_close, **bounded) for draft in drafts]
    if joint is not None:
        steps = max(reach)
    regimes = [draft.regime(max(reach)) for draft in drafts]
    processes = tuple(make(regime.first(steps)) for regime in regimes)
    how: dict[str, Any] = {
        "generator": derive_generator(settings.seed, "sde"),
        "dtype": torch.float64,
    }
    if joint is None:
        sampled = (processes[0].sample(settings.n_paths, steps, steps / frequency, **how),)
    else:
        size = (settings.n_paths, steps, steps / frequency)
        with one_thread(), warnings.catch_warnings():
            together, plan, notes = _moving_together(processes, joint, drafts, regimes, size)
            noise = _between_anchors(plan.diffusive, regimes)
            warnings.simplefilter("ignore", SdeWarning)  # the notes say what it misses
            sampled = together.sample(*size, **how)
    outcomes = [
        impose(
            draft.resolved,
            draft.index,
            regime,
            paths,
            make=make,
            spot=draft.past.last_close,
            generator=partial(_own_generator, settings.seed, "" if joint is None else str(k)),
            **common,
        )
        for k, (draft, regime, paths) in enumerate(zip(drafts, regimes, sampled, strict=True))
    ]
    return outcomes, noise, notes


def _moving_together(
    processes: tuple[Process, ...],
    joint: Request,
    drafts: Sequence[Draft],
    regimes: Sequence[Regime],
    size: tuple[int, int, float],
) -> tuple[MultiAsset, Correlations, list[str]]:
    """The processes with as many common jumps as the correlation allows, and what it still misses.

    Jumps that hit all assets at once correlate them by themselves. Where that is more than was
    asked for, a part of the jumps comes to each asset alone.
    """
    symbols = tuple(draft.past.symbol for draft in drafts)
    variance = torch.stack(
        [
            horizon_variance(regime, size[2], jumps=process.has_jumps)
            for regime, process in zip(regimes, processes, strict=True)
        ],
        dim=1,
    )
    best: tuple[float, MultiAsset, Correlations, Correlation] | None = None
    for share in SHARES:
        tried = MultiAsset(processes, joint.used, shared_jumps=share, names=symbols)
        plan = tried.correlations(*size)
        expected = _pooled(plan.attainable, variance.sqrt())
        missed = float((expected - joint.used).abs().max())
        if best is None or missed < best[0] - WORTH_IT:
            best = (missed, tried, plan, expected)
        if missed < REACHED:
            break
    assert best is not None
    _, chosen, plan, expected = best
    said = [
        f"A correlation of {joint.used[i, j]:.2f} between {symbols[i]} and {symbols[j]} is beyond "
        f"these regimes; about {expected[i, j]:.2f} is to be expected."
        for i, j in pairs_of(symbols)
        if abs(expected[i, j] - joint.used[i, j]) >= REACHED
    ]
    if chosen.shared_jumps < 1:
        common = f"{chosen.shared_jumps:.0%}" if chosen.shared_jumps else "none"
        said.append(
            f"Of the jumps {common} hit all assets at once; with more of them the correlation "
            "asked for would be farther away."
        )
    return chosen, plan, said


def _pooled(
    each: Float64[Tensor, "paths assets assets"], deviation: Float64[Tensor, "paths assets"]
) -> Correlation:
    """The correlation over all paths together: wild paths count for more than calm ones."""
    covariance = (each * deviation[:, :, None] * deviation[:, None, :]).mean(0)
    scale = covariance.diagonal().rsqrt()
    return covariance * scale[:, None] * scale


def _between_anchors(
    diffusive: Float64[Tensor, "paths assets assets"], regimes: Sequence[Regime]
) -> Correlation:
    """One matrix for the noise of all paths: their price noise's, weighted by volatility.

    Jumps have anchors of their own, so what the bars add between anchors is the diffusive part.
    """
    levels = [torch.as_tensor(regime.volatility) for regime in regimes]
    rms = [x.square().mean(0).sqrt() if x.ndim == 2 else x for x in levels]
    sigma = torch.stack(rms, dim=1)
    weight = sigma[:, :, None] * sigma[:, None, :]
    return nearest_correlation((diffusive * weight).sum(0) / weight.sum(0))[0]


def make_guides(
    drafts: Sequence[Draft], outcomes: Sequence[Outcome], settings: Settings
) -> list[tuple[Guide, list[str]]]:
    """The guide of every asset with its remarks; several have one another's anchors too.

    Between anchors their bars share noise, which only equal segments turn into correlation.
    """
    found = [
        outcome.guide(
            draft.past.last_close, settings.guide_every, settings.jump_sigmas, draft.bars_per_year
        )
        for draft, outcome in zip(drafts, outcomes, strict=True)
    ]
    anchored = torch.stack([guide.anchored for guide, _ in found]).any(0)
    return [(Guide(guide.level, anchored), notes) for guide, notes in found]


def _own_generator(seed: int, asset: str, purpose: str) -> torch.Generator:
    """Fresh randomness by purpose, and by asset where there are several."""
    return derive_generator(seed, f"{purpose}/{asset}" if asset else purpose)


def strange_guides(model: Microstructure, draft: Draft, guide: Guide, regime: Regime) -> list[str]:
    """A sentence for every scenario many of whose guides lie outside the network's training."""
    history = bars_to_tensor(draft.past.bars.tail(model.history_length + 1))
    place = model.unfamiliarity(history, guide, regime, bars_per_year=draft.bars_per_year)
    strange = place > UNFAMILIAR
    said = []
    for k, component in enumerate(draft.resolved.components):
        mine = draft.index == k
        count, paths = int((strange & mine).sum()), int(mine.sum())
        if count > max(1, MANY_STRANGE * paths):
            said.append(
                f"{component.name}: {count} of {paths} guides are stranger than {UNFAMILIAR:.0%} "
                "of those the network was trained on; the bars follow them exactly, but their "
                "tails, clustering and volume are a guess."
            )
    return said


def left_out(make: Callable[[Regime], Process], scenarios: RegimeDistribution) -> list[str]:
    """Fields of the scenarios that the process cannot express.

    Single draws stray from neutral values by the width of the reading; only a centre that does was
    meant.
    """
    said = []
    for component in scenarios.components:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SdeWarning)
            for part in (component, *component.phases):
                make(part.regime)
        said += dict.fromkeys(f"{component.name}: {w.message}." for w in caught)
    return said
