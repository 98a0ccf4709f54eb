"""Scenario JSON: what a language model may say, and nothing else.

Numbers are whole ones in the units of ``UNITS``, so that digits cost little and NaN, 1e400 and
``true`` cannot be said. Reasons come before numbers. Every scenario gives the middle of a field and
the interval that holds it with 80 %; in coordinates (``parfait.regime.fields``)

    mean = f(mid),    sd = (f(high) - f(low)) / (2 x 1.2816).
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from parfait.regime import Component, MarketContext, RegimeDistribution, normalise_weights
from parfait.regime.fields import FIELD_NAMES, field_named, from_coordinate, to_coordinate
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.naming import prior_component
from parfait.utils.errors import UserError
from parfait.utils.printable import printable

MAX_BYTES = 32_768  # of an answer
MAX_SCENARIOS = 7  # and the prior
_Z80 = 1.2815515655446004
_LEAST_SD = 0.02
# Characters of the texts in answers whose every token costs a pass through a model of one's own.
SHORT = {"reading": 160, "rationale": 160, "name": 60}
# Field -> what one unit of its whole number is worth.
UNITS: dict[str, float] = {
    "drift": 0.01,
    "volatility": 0.01,
    "jump_intensity": 0.1,
    "jump_mean": 0.01,
    "jump_std": 0.01,
    "mean_reversion": 0.1,
    "hurst": 0.01,
}
MEANINGS = {
    "drift": "expected return, percent a year",
    "volatility": "annualised volatility, percent",
    "jump_intensity": "jumps a year, tenths",
    "jump_mean": "mean jump, percent",
    "jump_std": "spread of jumps, percent",
    "mean_reversion": "pull to the trend line, tenths a year; 0 is none",
    "hurst": "Hurst exponent, hundredths; 50 is no memory",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Range(_Strict):
    """Middle of a field and its 80 % interval."""

    low: int = Field(ge=-1_000_000, le=1_000_000)
    mid: int = Field(ge=-1_000_000, le=1_000_000)
    high: int = Field(ge=-1_000_000, le=1_000_000)

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low <= self.mid <= self.high:
            raise ValueError(f"low {self.low}, mid {self.mid}, high {self.high} are out of order")
        return self


class Scenario(_Strict):
    """One scenario; its probability in percent."""

    rationale: str = Field(min_length=1, max_length=400)
    name: str = Field(min_length=1, max_length=80)
    slot: Literal[
        "crash",
        "shock_and_recover",
        "trend_up",
        "grind_down",
        "calm",
        "squeeze",
        "baseline",
    ]
    probability: int = Field(ge=0, le=100)
    drift: Range
    volatility: Range
    jump_intensity: Range
    jump_mean: Range
    jump_std: Range
    mean_reversion: Range
    hurst: Range

    @model_validator(mode="after")
    def _possible(self) -> "Scenario":
        for name in UNITS:
            told, (low, high) = getattr(self, name), whole_bounds(name)
            for value in (told.low, told.mid, told.high):
                if not low <= value <= high:
                    raise ValueError(f"{name} {value} must be within {low} and {high}")
        return self


class Answer(_Strict):
    """What is asked for."""

    reading: str = Field(min_length=1, max_length=600)
    scenarios: list[Scenario] = Field(min_length=1, max_length=MAX_SCENARIOS)


def whole_bounds(name: str) -> tuple[int, int]:
    """The least and the largest whole number that a field may be told as."""
    field, unit = field_named(name), UNITS[name]
    return math.ceil(field.low / unit - 1e-9), math.floor(field.high / unit + 1e-9)


def json_schema(short: bool = False) -> dict[str, Any]:
    """JSON schema of ``Answer`` without references: every key required, no other allowed, every
    number within its bounds. That low, mid and high are in order is beyond such a schema.

    Args:
        short: texts no longer than ``SHORT``, and no scenario of probability 0.
    """
    told = Answer.model_json_schema()
    parts = told.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(x) for x in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inlined(parts[node["$ref"].rpartition("/")[2]])
        return {k: inlined(v) for k, v in node.items() if k not in ("title", "description")}

    schema = inlined(told)
    parts = schema["properties"]["scenarios"]["items"]["properties"]
    for name in UNITS:
        low, high = whole_bounds(name)
        bounded = {"type": "integer", "minimum": low, "maximum": high}
        parts[name]["properties"] = dict.fromkeys(("low", "mid", "high"), bounded)
    if short:
        parts["probability"]["minimum"] = 1
        for texts in (schema["properties"], parts):
            for name in SHORT.keys() & texts.keys():
                texts[name]["maxLength"] = SHORT[name]
    return schema


def parse(text: str) -> Answer:
    """A validated answer.

    Raises:
        UserError: too long, no JSON object, a key twice, or what the schema does not allow; names
            the first thing that is wrong.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise UserError(f"the answer is longer than {MAX_BYTES} bytes")
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the answer is no JSON object: {str(error)[:200]}") from error
    try:
        answer = Answer.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"the answer does not fit at {where or 'its top'}: {first['msg']}"
        ) from error
    if sum(s.probability for s in answer.scenarios) == 0:
        raise UserError("the answer does not fit: all probabilities are 0")
    return answer


def components(answer: Answer, asset: str, context: MarketContext | None) -> tuple[Component, ...]:
    """The scenarios of an answer; probabilities are scaled to sum to 1. Fields that are not told
    are those of the asset class, the initial volatility is left to the history.
    """
    prior = prior_component(Present.of(asset, context), 1.0)
    found = []
    for told in answer.scenarios:
        mean, sd = prior.mean.clone(), prior.sd.clone()
        for name, unit in UNITS.items():
            j, part = FIELD_NAMES.index(name), getattr(told, name)
            low, mid, high = (
                to_coordinate(
                    name, torch.tensor(v * unit, dtype=torch.float64).clamp(*_bounds(name))
                )
                for v in (part.low, part.mid, part.high)
            )
            mean[j] = mid
            sd[j] = ((high - low) / (2 * _Z80)).clamp(min=_LEAST_SD)
        root = torch.diag(sd)
        weight = told.probability / 100
        name, why = printable(told.name) or told.slot, printable(told.rationale)
        found.append(Component(told.slot, name, weight, mean, root, why))
    return normalise_weights([c for c in found if c.weight > 0])


def to_text(told: RegimeDistribution, reading: str = "") -> str:
    """A distribution as such an answer, the inverse of ``components`` but for rounding: every
    number is the nearest whole one within its bounds, probabilities are whole percent that sum to
    100. The likeliest ``MAX_SCENARIOS`` are told, none below half a percent, the prior as a
    baseline. What the schema does not know is lost: correlations, the variance process,
    conditions, phases. What was read is by default the name of the likeliest scenario.
    """
    likely = sorted(told.components, key=lambda c: -c.weight)[:MAX_SCENARIOS]
    percent = _whole([c.weight for c in likely], 100)
    scenarios = [_row(c, p) for c, p in zip(likely, percent, strict=True) if p > 0]
    read = reading or likely[0].name or "As told."
    data = {"reading": _cut(read, "reading"), "scenarios": scenarios}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _row(c: Component, percent: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rationale": _cut(c.rationale or c.name or c.slot, "rationale"),
        "name": _cut(c.name or c.slot, "name"),
        "slot": "baseline" if c.slot == "prior" else c.slot,
        "probability": percent,
    }
    for name, unit in UNITS.items():
        j, (least, most) = FIELD_NAMES.index(name), whole_bounds(name)
        z = c.mean[j] + c.sd[j] * torch.tensor([-_Z80, 0.0, _Z80], dtype=torch.float64)
        whole = [min(max(round(v / unit), least), most) for v in from_coordinate(name, z).tolist()]
        row[name] = dict(zip(("low", "mid", "high"), whole, strict=True))
    return row


def _cut(text: str, name: str) -> str:
    """At most so many characters, and none that JSON or UTF-8 cannot hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= SHORT[name] else text[: SHORT[name] - 1].rstrip() + "…"


def _whole(shares: list[float], total: int) -> list[int]:
    """Whole numbers near the shares that sum to ``total`` (largest remainders)."""
    exact = [s / sum(shares) * total for s in shares]
    found = [int(x) for x in exact]
    order = sorted(range(len(exact)), key=lambda k: found[k] - exact[k])
    for k in order[: total - sum(found)]:
        found[k] += 1
    return found


def _bounds(name: str) -> tuple[float, float]:
    field = field_named(name)
    return field.low, field.high


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
