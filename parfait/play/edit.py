"""Scenarios as cards of a form: what is shown of each, and the distribution that comes back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from parfait.play.form import Fields, Values, number, whole
from parfait.regime import FIELDS, Component, Phase, RegimeDistribution
from parfait.regime.component import marginal
from parfait.regime.distribution import MAX_COMPONENTS
from parfait.regime.fields import INITIAL_VOLATILITY, to_coordinate
from parfait.regime.records import Z_90, scaled
from parfait.utils.errors import UserError

MAX_NAME = 80  # characters
MAX_SPREAD = 3.0  # times the width that was read


@dataclass(frozen=True)
class Slider:
    """The usual range of a field; its number takes whatever is within the field's bounds."""

    low: float
    high: float
    step: float
    meaning: str


SLIDERS = {
    "drift": Slider(-2, 2, 0.01, "expected return a year, jumps included"),
    "volatility": Slider(0.01, 1.5, 0.005, "of ordinary moves, jumps left out: its long-run level"),
    "jump_intensity": Slider(0, 50, 0.1, "jumps a year"),
    "jump_mean": Slider(-0.5, 0.5, 0.005, "mean size of a jump"),
    "jump_std": Slider(0, 0.3, 0.005, "how much the sizes of jumps differ"),
    "mean_reversion": Slider(0, 50, 0.1, "pull of the log price to its trend; 0 is none"),
    "hurst": Slider(0.05, 0.95, 0.01, "memory of the moves; 0.5 is none"),
    "variance_reversion": Slider(0, 30, 0.1, "pull of the variance to its long-run level"),
    "vol_of_vol": Slider(0, 5, 0.05, "how much the variance itself moves"),
    "leverage": Slider(-1, 1, 0.01, "correlation of the moves of price and variance"),
    "initial_volatility": Slider(0, 1.5, 0.005, "where it starts; empty: where the history ends"),
}
FIRST = 5  # fields that are in sight; the others are folded away
_LISTS = ("origin", "name", "weight", "spread", "targets", *SLIDERS)


def cards(base: RegimeDistribution, resolved: RegimeDistribution) -> list[dict[str, Any]]:
    """What the form shows of every scenario.

    Args:
        base: the scenarios that are edited.
        resolved: the same, started at the present volatility.
    """
    pairs = enumerate(zip(base.components, resolved.components, strict=True))
    return [_card(k, c, {**_typed(c), "origin": str(k)}, r) for k, (c, r) in pairs]


def cards_again(base: RegimeDistribution, values: Values) -> list[dict[str, Any]]:
    """The cards with what was typed into them, right or wrong."""
    rows = _rows(values)
    origins = [_origin(row, base) for row in rows]
    shown = enumerate(zip(origins, rows, strict=True))
    return [_card(k, base.components[origin], row, None) for k, (origin, row) in shown]


def edited(base: RegimeDistribution, values: Values) -> tuple[RegimeDistribution, tuple[str, ...]]:
    """The distribution that a form describes, and sentences on what was done to it.

    A field that says what was shown keeps its exact value, and every scenario the shape of the one
    it comes from: widths, targets and later phases. Weights are scaled to sum to 1. Confidence
    and warnings stay those of the reading, which no edit makes surer.

    Raises:
        FormError: names every field that cannot be used.
        UserError: the form is torn.
    """
    fields = Fields()
    rows = _rows(values)
    found = [_component(base, row, k, fields) for k, row in enumerate(rows)]
    total = sum(weight for weight, _ in found)
    if not fields.errors and total <= 0:
        fields.errors["weight.0"] = "give at least one scenario a weight above 0"
    fields.check()
    shares = tuple(replace(c, weight=weight / total) for weight, c in found)
    read = {"confidence": base.confidence, "warnings": base.warnings}
    return RegimeDistribution(shares, asset_class=base.asset_class, **read), scaled(total)


def _rows(values: Values) -> list[dict[str, str]]:
    """One mapping per scenario; ``UserError`` unless every scenario has every field."""
    count = len(values.get("origin", ()))
    if not 1 <= count <= MAX_COMPONENTS or any(
        len(values.get(name, ())) != count for name in _LISTS
    ):
        raise UserError("the form cannot be read; reload the page and try again")
    return [{name: values[name][k] for name in _LISTS} for k in range(count)]


def _origin(row: Mapping[str, str], base: RegimeDistribution) -> int:
    return whole({"origin": [row["origin"]]}, "origin", 0, len(base.components) - 1)


def _component(
    base: RegimeDistribution, row: Mapping[str, str], k: int, fields: Fields
) -> tuple[float, Component]:
    """The weight as it was typed, as a share, and the scenario."""
    origin = base.components[_origin(row, base)]
    shown = _typed(origin)

    def read(name: str, low: float, high: float, usual: float) -> float:
        if row[name] == shown[name]:
            return usual
        return fields.take(f"{name}.{k}", lambda: number(row[name], low, high), usual)

    weight = read("weight", 0.0, 100.0, 100 * origin.weight) / 100
    spread = read("spread", 0.0, MAX_SPREAD, 1.0)
    name = fields.take(f"name.{k}", lambda: _name(row["name"]), origin.name)
    mean = origin.mean.clone()
    for j, f in enumerate(FIELDS):
        if row[f.name] == shown[f.name]:
            continue
        if j == INITIAL_VOLATILITY and not row[f.name].strip():
            mean[j] = math.nan
            continue
        value = read(f.name, f.low, f.high, f.low)
        mean[j] = to_coordinate(f.name, torch.tensor(value, dtype=torch.float64))
    component = replace(
        origin,
        name=name,
        weight=min(weight, 1.0),
        mean=mean,
        cholesky=origin.cholesky * spread,
        phases=tuple(replace(p, cholesky=p.cholesky * spread) for p in origin.phases),
        conditions=origin.conditions if row["targets"] == "keep" else (),
    )
    return weight, component


def _name(text: str) -> str:
    text = " ".join(text.split())
    if not 1 <= len(text) <= MAX_NAME:
        raise UserError(f"give a name of 1 to {MAX_NAME} characters")
    return text


def _typed(c: Component) -> dict[str, str]:
    """What the fields of a scenario say before somebody changes them."""
    values = c.regime.to_dict()
    shown = {f.name: "" if values[f.name] is None else _digits(values[f.name]) for f in FIELDS}
    return {
        **shown,
        "name": c.name,
        "weight": _digits(100 * c.weight),
        "spread": "1",
        "targets": "keep",
    }


def _digits(value: float) -> str:
    """Four significant digits without an exponent, which a number field would not show."""
    places = 3 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _card(
    k: int, c: Component, row: Mapping[str, str], resolved: Component | None
) -> dict[str, Any]:
    """What the template shows of one scenario.

    Args:
        k: its place among the cards.
        c: the scenario it comes from.
        row: what its fields say.
        resolved: the scenario at the present volatility, whose start an empty field stands for.
    """
    return {
        "k": k,
        "row": row,
        "rationale": c.rationale,
        "phases": [_phase(p) for p in c.phases],
        "targets": [_target(x) for x in c.conditions],
        "fields": [
            {
                "name": f.name,
                "symbol": f.symbol,
                "unit": f.unit.replace("sqrt(year)", "√year").replace("-", "", f.unit == "-"),
                "low": f.low,
                "high": f.high,
                "slider": SLIDERS[f.name],
                "hint": "" if resolved is None else _digits(marginal(f.name, resolved, 0.0)),
                "interval": _interval(c, f.name),
            }
            for f in FIELDS
        ],
    }


def _interval(c: Component, name: str) -> str:
    low, high = marginal(name, c, -Z_90), marginal(name, c, Z_90)
    known = math.isfinite(low) and not math.isclose(low, high, abs_tol=1e-9)
    return f"{low:.3g} to {high:.3g}".replace("-", "−") if known else ""


def _phase(phase: Phase) -> str:
    regime = phase.regime
    return (
        f"after {phase.after * 365:.0f} days {phase.name}: drift {regime.drift:+.2f}, "
        f"volatility {regime.volatility:.2f}"
    ).replace("-", "−")


def _target(condition: Any) -> str:
    level = f"{condition.level:,.6g}" if condition.absolute else f"{condition.level:+.1%}"
    when = "at the end" if condition.years is None else f"in {condition.years * 365:.0f} days"
    return f"{condition.kind} {level} {when}".replace("-", "−")
