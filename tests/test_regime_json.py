"""Regimes and mixtures from outside: whatever the JSON holds, a usable object or one sentence."""

import copy
import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import Component, Condition, Override, Phase, Regime, RegimeDistribution
from parfait.regime.fields import FIELDS
from parfait.utils.errors import UserError
from tests.fuzzing import examples

REGIME = Regime(0.1, 0.2, 3.0, -0.02, 0.05, 1.0, 0.6, initial_volatility=0.3)
WHOLE = RegimeDistribution(
    (
        Component.around(
            "crash",
            "panic",
            0.25,
            REGIME,
            {"drift": 0.3, "volatility": 0.2},
            rationale="Because.",
            conditions=(Condition("terminal", -0.3, 0.1, quote="falls 30 %"),),
            phases=(Phase.around(0.2, "rebound", Regime(0.3, 0.3), {"drift": 0.1}),),
        ),
        Component.around("calm", "calm", 0.75, Regime(0.05, 0.1), {"drift": 0.1}),
    ),
    source="test",
    confidence=0.7,
    overrides=(Override("volatility", None, 0.5, "50 %"),),
    warnings=("Take care.",),
    reading={"events": [{"quote": "panic", "name": "panic", "magnitude": 2.5}]},
).to_dict()

HUGE = 10**400
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(),
    st.sampled_from([HUGE, -HUGE, 1e308, -1e308, 1e-320, math.nan, math.inf, 10**18, 0.999999]),
    st.sampled_from(["", "x", "0.1", "NaN", "\ud800", "\x00", "crash", "drift", "x" * 5000]),
    st.sampled_from([[], {}, [[]], [0.1], {"a": 1}, [None] * 11, [0.0] * 11, [[0.0] * 11] * 11]),
    st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=6),
).map(copy.deepcopy)


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested dictionaries, and the first ones of lists."""
    items = data.items() if isinstance(data, dict) else list(enumerate(data))[:2]
    found = [here] if here else []
    for key, value in items:
        inner = (*here, key)
        found += places(value, inner) if isinstance(value, dict | list) else [inner]
    return found


@st.composite
def mangled(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """``whole`` with some of its parts replaced, left out, doubled or renamed."""
    data = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(data) or [("none",)]))
        node: Any = data
        for key in above:
            node = node[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "double", "add"]))
        if action == "replace":
            node[last] = draw(ODD)
        elif action == "remove" and node:
            del node[last]
        elif action == "double" and isinstance(node, list) and node:
            node.append(copy.deepcopy(node[last]))
        elif isinstance(node, dict):
            node[draw(st.sampled_from(["name", "weight", "extra", "volatility", ""]))] = draw(ODD)
    return data


def check(told: RegimeDistribution) -> None:
    """All that a run does with a mixture."""
    text = told.to_json()
    text.encode()
    assert RegimeDistribution.from_json(text).to_json() == text
    assert abs(sum(c.weight for c in told.components) - 1) <= 1e-6
    drawn = told.resolve(0.2).sample_course(5, 4, 0.1, torch.Generator().manual_seed(0))
    told.interval()
    for field in FIELDS:
        value = torch.as_tensor(getattr(drawn, field.name))
        assert bool(((value >= field.low) & (value <= field.high)).all()), field.name


@settings(max_examples=examples(300), deadline=None, derandomize=True)
@given(mangled(WHOLE), st.booleans())
def test_any_mixture_is_usable_or_one_sentence(data: dict[str, Any], as_text: bool) -> None:
    try:
        if as_text:
            told = RegimeDistribution.from_json(json.dumps(data))
        else:
            told = RegimeDistribution.from_dict(data)
    except UserError:
        return
    check(told)


@settings(max_examples=examples(300), deadline=None, derandomize=True)
@given(mangled(REGIME.to_dict()), st.booleans())
def test_any_regime_is_within_its_bounds_or_one_sentence(
    data: dict[str, Any], as_text: bool
) -> None:
    try:
        regime = Regime.from_json(json.dumps(data)) if as_text else Regime.from_dict(data)
    except UserError:
        return
    for field in FIELDS:
        if (value := getattr(regime, field.name)) is None:
            assert field.name == "initial_volatility"
            continue
        inside = torch.as_tensor(value, dtype=torch.float64)
        assert bool(((inside >= field.low) & (inside <= field.high)).all()), field.name
    assert Regime.from_json(regime.to_json()) == regime


@settings(max_examples=examples(100), deadline=None, derandomize=True)
@given(st.text() | st.text(alphabet='[]{}":,0123456789eE+-. ntfINa', max_size=40))
def test_any_text_is_a_mixture_or_one_sentence(text: str) -> None:
    for kind in (Regime, RegimeDistribution):
        with pytest.raises(UserError):
            kind.from_json(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, '{"drift": 1e400}'])
def test_json_that_is_too_deep_or_too_long_is_one_sentence(text: str) -> None:
    for kind in (Regime, RegimeDistribution):
        with pytest.raises(UserError):
            kind.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"drift": "", "volatility": []},
        {"drift": HUGE, "volatility": []},
        {"drift": [None] * 11},
        {"volatility": None, "vol_of_vol": None},
        {"jump_intensity": None},
    ],
)
def test_numbers_that_are_none_are_one_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Regime"):
        Regime.from_dict(REGIME.to_dict() | change)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("components", 0, "mean", 0), HUGE),
        (("components", 0, "mean", 1), 1e308),
        (("components", 0, "cholesky", 0, 0), 1e308),
        (("components", 0, "name"), "\ud800"),
        (("components", 0, "conditions", 0, "quote"), "\ud800"),
        (("overrides", 0, "new"), math.inf),
        (("reading", "events", 0, "magnitude"), math.inf),
    ],
)
def test_what_could_not_be_drawn_or_saved_is_one_sentence(where: Any, value: Any) -> None:
    data = copy.deepcopy(WHOLE)
    node: Any = data
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = value
    with pytest.raises(UserError):
        RegimeDistribution.from_dict(data)


def test_the_untouched_mixture_is_read() -> None:
    check(RegimeDistribution.from_dict(WHOLE))
