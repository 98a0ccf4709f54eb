"""Scenario JSON: what a language model may say, and nothing else.

Numbers are whole ones in the units of ``UNITS``, so that digits cost little and NaN, 1e400 and
``true`` cannot be said. Reasons come before numbers. Every scenario gives the middle of a field and
the interval that holds it with 80 %; in coordinates (``parfait.regime.fields``)

    mean = f(mid),    sd = (f(high) - f(low)) / (2 x 1.2816).
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from parfait.regime import Component, MarketContext, RegimeDistribution, normalise_weights
from parfait.regime.fields import FIELD_NAMES, field_named, from_coordinate, to_coordinate
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.naming import prior_component
from parfait.utils.errors import UserError

MAX_BYTES = 32_768  # of an answer
MAX_SCENARIOS = 7  # and the prior
_Z80 = 1.2815515655446004
_LEAST_SD = 0.02
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
        for name, unit in UNITS.items():
            told, field = getattr(self, name), field_named(name)
            for value in (told.low, told.mid, told.high):
                if not field.low - 1e-9 <= value * unit <= field.high + 1e-9:
                    raise ValueError(
                        f"{name} {value} must be within {field.low / unit:g} and "
                        f"{field.high / unit:g}"
                    )
        return self


class Answer(_Strict):
    """What is asked for."""

    reading: str = Field(min_length=1, max_length=600)
    scenarios: list[Scenario] = Field(min_length=1, max_length=MAX_SCENARIOS)


def json_schema() -> dict[str, Any]:
    """JSON schema of ``Answer`` without references: every key required, no other allowed."""
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

    return inlined(told)


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
        found.append(Component(told.slot, told.name, weight, mean, root, told.rationale))
    return normalise_weights([c for c in found if c.weight > 0])


def to_text(told: RegimeDistribution, reading: str = "") -> str:
    """A distribution as such an answer; what the schema does not know is lost (correlations, the
    variance process, conditions, phases). The prior is told as a baseline.
    """
    scenarios, left = [], 100
    shares = [c.weight for c in told.components]
    percent = _whole(shares, 100)
    for c, share in zip(told.components, percent, strict=True):
        left -= share
        row: dict[str, Any] = {
            "rationale": (c.rationale or c.name)[:400],
            "name": c.name[:80],
            "slot": "baseline" if c.slot == "prior" else c.slot,
            "probability": share,
        }
        for name, unit in UNITS.items():
            j = FIELD_NAMES.index(name)
            z = c.mean[j] + c.sd[j] * torch.tensor([-_Z80, 0.0, _Z80], dtype=torch.float64)
            values = [round(v / unit) for v in from_coordinate(name, z).tolist()]
            row[name] = dict(zip(("low", "mid", "high"), values, strict=True))
        scenarios.append(row)
    data = {"reading": reading or "As told.", "scenarios": scenarios[:MAX_SCENARIOS]}
    return json.dumps(data, ensure_ascii=False)


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
