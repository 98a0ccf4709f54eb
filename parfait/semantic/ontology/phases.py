"""Scenarios that follow one another: each of the first stretch, then the later ones in turn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from parfait.regime import Component, Condition, Phase, Regime, collapse
from parfait.regime.fields import FIELD_NAMES, to_coordinate
from parfait.semantic.ontology.mixture import NO_CHANGE

# The variance goes on from one phase to the next. So that a phase shows within the time it is
# given, it moves half of the way to its own level in a quarter of it.
_HALF_LIVES = 4
_REVERSION = FIELD_NAMES.index("variance_reversion")
_VOL_OF_VOL = FIELD_NAMES.index("vol_of_vol")


@dataclass(frozen=True)
class Part:
    """The scenarios of one stretch and how long it lasts in years (``None``: it stays)."""

    components: tuple[Component, ...]
    years: float | None


def chain(parts: Sequence[Part]) -> tuple[tuple[Component, ...], list[str]]:
    """The scenarios of the first part, each followed by what the later ones amount to (``collapse``
    of their scenarios), and sentences on the conditions that have no place.

    A move counts from the beginning of its stretch. Where the price of that moment is stated too it
    becomes a target; elsewhere it stays in the drift alone. An undated condition holds at the end
    of its stretch. "No change" instead of an event that is only possible is followed by nothing.
    """
    warnings: list[str] = []
    durations = [part.years or 0.0 for part in parts]
    found = []
    for first in parts[0].components:
        only_possible = any(c.slot != "baseline" for c in parts[0].components)
        if first.name == NO_CHANGE and only_possible:
            found.append(first)
            continue
        conditions, base = _first_conditions(first, durations[0])
        name, _, variant = first.name.partition(": ")
        phases, names, told = [], [name], []
        for number, part in enumerate(parts[1:], 1):
            begin = sum(durations[:number])
            whole = collapse(part.components)
            reach = durations[number] if number < len(parts) - 1 else durations[number - 1]
            mean, cholesky = _quick(whole, reach)
            phases.append(Phase(begin, whole.name, mean, cholesky))
            names.append(whole.name)
            told.append(_told(whole, begin))
            end = None if number == len(parts) - 1 else begin + durations[number]
            more, base, lost = _later_conditions(whole.conditions, begin, end, base)
            conditions += more
            warnings += lost
        mean, cholesky = _quick(first, durations[0])
        found.append(
            replace(
                first,
                name=", then ".join(names) + (f": {variant}" if variant else ""),
                mean=mean,
                cholesky=cholesky,
                rationale=f"{first.rationale.rstrip('.')}; {'; '.join(told)}.",
                conditions=tuple(conditions),
                phases=tuple(phases),
            )
        )
    return tuple(found), list(dict.fromkeys(warnings))


def _quick(component: Component, years: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The component's Gaussian with a variance reversion of 4 ln 2 / ``years`` at least.

    The vol-of-vol grows with its root, which leaves the spread of the variance as it was. A
    reversion without width was stated, and stays.
    """
    mean, cholesky = component.mean.clone(), component.cholesky
    regime = component.regime
    kappa, xi = float(regime.variance_reversion or 0.0), float(regime.vol_of_vol or 0.0)
    floor = min(_HALF_LIVES * math.log(2) / max(years, 1e-9), 1000.0)
    if kappa < floor and bool(cholesky[_REVERSION].any()):
        changed = {
            _REVERSION: floor,
            _VOL_OF_VOL: min(xi * math.sqrt(floor / max(kappa, 1e-9)), 20.0),
        }
        for j, value in changed.items():
            exact = torch.tensor(value, dtype=torch.float64)
            mean[j] = to_coordinate(FIELD_NAMES[j], exact)
    return mean, cholesky


def _first_conditions(first: Component, end: float) -> tuple[list[Condition], Condition | None]:
    """Conditions of a first stretch with their dates, and the price at its end if that is stated.

    Where a recovery follows a shock within the stretch, ``targets.plan`` counts moves from one
    another and takes undated ones for drawdowns; here the same is written out.
    """
    recovers = first.slot == "shock_and_recover"
    dated = sorted(first.conditions, key=lambda c: math.inf if c.years is None else c.years)
    found: list[Condition] = []
    price: Condition | None = None
    for c in dated:
        if c.kind != "drawdown" and recovers and c.years is None:
            if not c.absolute and c.level < 0:
                found.append(replace(c, kind="drawdown", years=end))
            continue
        c = replace(c, years=end if c.years is None else c.years)
        if c.kind != "drawdown":
            price = c = _from(c, price) if recovers else c
        found.append(c)
    return found, price


def _later_conditions(
    conditions: Sequence[Condition], begin: float, end: float | None, base: Condition | None
) -> tuple[list[Condition], Condition | None, list[str]]:
    """Conditions of a later stretch, counted from now: dated, and moves joined to ``base``."""
    found: list[Condition] = []
    lost: list[str] = []
    price: Condition | None = None
    for c in conditions:
        c = replace(c, years=end if c.years is None else begin + c.years)
        if c.kind == "drawdown" or c.absolute:
            found.append(c)
        elif base is None:
            lost.append(
                f'"{c.quote}" counts from a price that is not stated, that after '
                f"{spell(begin)}; it shapes the drift and is not imposed as a target."
            )
            continue
        else:
            found.append(_from(c, base))
        if c.kind != "drawdown":
            price = found[-1]
    return found, price, lost


def _from(c: Condition, base: Condition | None) -> Condition:
    """A move after another one, counted from the same price as that."""
    if base is None or c.absolute:
        return c
    if base.absolute:
        return replace(c, level=base.level * (1 + c.level), absolute=True)
    return replace(c, level=(1 + base.level) * (1 + c.level) - 1)


def _told(whole: Component, begin: float) -> str:
    regime: Regime = whole.regime
    drift, volatility = float(regime.drift), float(regime.volatility)
    numbers = f"drift {drift:+.0%} a year, volatility {volatility:.0%}"
    return f"after {spell(begin)} {whole.name} ({numbers})"


def spell(years: float) -> str:
    """A length of time in days, or months and years where it is long."""
    days = 365 * years
    if days < 1:
        return f"{24 * days:.3g} hours"
    if days < 60:
        return f"{days:.3g} days"
    return f"{12 * years:.3g} months" if years < 2 else f"{years:.3g} years"
