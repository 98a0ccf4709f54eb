"""Directives applied: literal numbers replace what the events said."""

from dataclasses import replace

import torch

from parfait.regime import (
    FIELD_NAMES,
    Component,
    Override,
    Regime,
    RegimeDistribution,
    normalise_weights,
)
from parfait.regime.fields import INITIAL_VOLATILITY, from_coordinate, to_coordinate
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.directives import Directive
from parfait.semantic.ontology.normalise import Text


def apply_overrides(
    components: tuple[Component, ...], directives: list[Directive], text: Text, now: Present
) -> tuple[tuple[Component, ...], tuple[Override, ...], list[str]]:
    """Literal numbers on every scenario: only their own field moves, and its width goes to 0.

    "About" leaves a width of 10 %; two contradictory values are both covered, with a warning. A
    volatility holds from now on, unless the text says that it is the long run's or what it is now.
    """
    overrides: list[Override] = []
    warnings: list[str] = []
    by_field: dict[str, list[Directive]] = {}
    for d in directives:
        by_field.setdefault(d.of, []).append(d)
    for name, group in by_field.items():
        j = FIELD_NAMES.index(name)
        values = [
            now.volatility * d.value if d.field == "volatility_factor" else d.value for d in group
        ]
        if name == "volatility":  # a factor on the present volatility may leave the bounds
            values = [min(max(v, 1e-3), 10.0) for v in values]
        z = [float(to_coordinate(name, _double(v))) for v in values]
        centre, spread = sum(z) / len(z), (max(z) - min(z)) / 2
        if spread > 1e-9:
            quotes = ", ".join(text.quote(d.start, d.end) for d in group)
            warnings.append(f"Two values were given for {name}: {quotes}; both are covered.")
        about = max((0.1 if d.about else 0.0) for d in group)
        old = (
            float(getattr(_mean_regime(components), name) or 0.0)
            if name != "initial_volatility"
            else None
        )
        components = tuple(_set(c, j, centre, max(spread, about)) for c in components)
        later = any(d.field == "long_run_volatility" for d in group)
        if name == "volatility" and "initial_volatility" not in by_field and not later:
            start = to_coordinate("initial_volatility", from_coordinate(name, _double(centre)))
            components = tuple(
                _set(c, INITIAL_VOLATILITY, float(start), max(spread, about)) for c in components
            )
        new = float(getattr(components[0].regime, name))
        for d in group:
            overrides.append(
                Override(
                    name,
                    old,
                    new if spread > 1e-9 or d.field == "volatility_factor" else d.value,
                    text.quote(d.start, d.end),
                )
            )
            if d.clamped:
                quote, times = text.quote(d.start, d.end), ""
                if d.field == "volatility_factor":
                    times = " times the present one"
                warnings.append(
                    f'"{quote}" is outside what {name} can be; {d.value:g}{times} was used.'
                )
    return components, tuple(overrides), warnings


def _double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _mean_regime(components: tuple[Component, ...]) -> Regime:
    return RegimeDistribution(normalise_weights(components)).mean


def _set(c: Component, j: int, centre: float, sd: float) -> Component:
    mean, cholesky = c.mean.clone(), c.cholesky.clone()
    mean[j] = centre
    cholesky[j] = 0.0
    cholesky[j, j] = sd
    return replace(c, mean=mean, cholesky=cholesky)
