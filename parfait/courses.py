"""Regimes that follow one another: drawn for every path, taken from a schedule, told in words."""

import math
from datetime import datetime

import torch
from jaxtyping import Int64
from torch import Tensor

from parfait.regime import Component, Phase, Regime, RegimeDistribution
from parfait.sde import Schedule
from parfait.utils.errors import UserError


def draw_course(
    scenarios: RegimeDistribution,
    index: Int64[Tensor, " paths"],
    bars: int,
    bars_per_year: float,
    generator: torch.Generator,
    *,
    has_variance: bool,
) -> Regime:
    """A regime for every path, of shape (paths,), or (bars, paths) where some scenario has phases.

    Args:
        scenarios: resolved.
        index: scenario of every path.
        bars: to draw for; those beyond the horizon serve the targets that lie there.
        has_variance: the process starts at a variance of its own; otherwise it runs at the
            volatility of every bar, and where that changes none of them is the initial one.
    """
    drawn = scenarios.sample_course(len(index), bars, 1 / bars_per_year, generator, index)
    if has_variance:
        return drawn.resolve()
    level = drawn.volatility if len(drawn.shape) == 1 else None
    return drawn.replace(initial_volatility=level)


def scenarios_of(schedule: Schedule) -> RegimeDistribution:
    """One certain scenario with the phases of a schedule.

    Raises:
        UserError: a phase is a batch of regimes.
    """
    for number, (regime, _) in enumerate(schedule.phases):
        if regime.shape:
            raise UserError(
                f"Schedule.phases[{number}]: regime has shape {regime.shape}; give single regimes, "
                "or a RegimeDistribution with a scenario for each"
            )
    durations = [0.0 if years is None else years for _, years in schedule.phases]
    phases = tuple(
        Phase.around(sum(durations[:number]), f"phase {number + 1}", regime)
        for number, (regime, _) in enumerate(schedule.phases)
        if number > 0
    )
    first = schedule.phases[0][0]
    why = "Given by the caller."
    given = Component.around("baseline", "given schedule", 1.0, first, rationale=why, phases=phases)
    return RegimeDistribution((given,))


def phase_sentences(
    component: Component, bars_per_year: float, timestamps: list[datetime]
) -> list[str]:
    """ "from 7 Dec 2018 (bar 11): rebound, +68 % a year, volatility 16 %" for every later phase.

    Bars are counted from 1.

    Args:
        component: the scenario.
        bars_per_year: of the generated bars.
        timestamps: of the generated bars.
    """
    intraday = len({t.date() for t in timestamps}) < len(timestamps)
    said = []
    for phase, start in zip(component.phases, component.starts(1 / bars_per_year), strict=True):
        where = f"from bar {start + 1:,}, beyond the horizon"
        if start < len(timestamps):
            t = timestamps[start]
            clock = f" {t:%H:%M}" if intraday else ""
            where = f"from {t.day} {t:%b %Y}{clock} (bar {start + 1:,})"
        r = phase.regime
        growth = math.expm1(float(r.drift))  # E[S_T] = S_0 exp(drift T), T = 1 year
        numbers = f"{growth:+.0%} a year, volatility {float(r.volatility):.0%}"
        said.append(f"{where}: {phase.name}, {numbers}")
    return said
