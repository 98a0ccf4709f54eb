"""Scenario mixtures: allocation, sampling, density, quantiles, JSON."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from parfait.regime import (
    FIELD_NAMES,
    N_FIELDS,
    Component,
    Condition,
    Override,
    Regime,
    RegimeDistribution,
    normalise_weights,
)
from parfait.regime.component import marginal
from parfait.regime.distribution import systematic_counts
from parfait.utils.errors import UserError

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
WEIGHTS = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=8)
SD = dict.fromkeys(FIELD_NAMES, 0.1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixture() -> RegimeDistribution:
    crash = Regime(
        -0.6,
        0.5,
        jump_intensity=10.0,
        jump_mean=-0.05,
        jump_std=0.03,
        mean_reversion=2.0,
        initial_volatility=0.4,
    )
    calm = Regime(
        0.1,
        0.12,
        jump_intensity=1.0,
        jump_mean=0.0,
        jump_std=0.01,
        mean_reversion=1.0,
        initial_volatility=0.15,
    )
    skewed = torch.eye(N_FIELDS, dtype=torch.float64) * 0.1
    skewed[1, 0] = -0.08  # volatility rises as drift falls
    return RegimeDistribution(
        (
            Component(
                "crash",
                "liquidity crisis",
                0.3,
                crash.to_unconstrained(),
                skewed,
                "Because.",
                (Condition("drawdown", -0.3, 14 / 365, quote="30 %"),),
            ),
            Component.around("calm", "calm", 0.7, calm, SD),
        ),
        source="test",
        confidence=0.8,
        overrides=(Override("volatility", 0.2, 0.5, "50 %"),),
        warnings=("one",),
        asset_class="gold",
    )


@QUICK
@given(WEIGHTS, st.integers(1, 500), st.integers(0, 10_000))
def test_systematic_counts_sum_and_stay_within_one(weights: list[float], n: int, seed: int) -> None:
    w = torch.tensor(weights, dtype=torch.float64)
    counts = systematic_counts(w, n, generator(seed))
    assert int(counts.sum()) == n
    assert bool((counts >= 0).all())
    assert bool(((counts - n * w / w.sum()).abs() < 1 + 1e-9).all())
    assert torch.equal(counts, systematic_counts(w, n, generator(seed)))


def test_systematic_counts_are_unbiased() -> None:
    w = torch.tensor([0.07, 0.31, 0.02, 0.6], dtype=torch.float64)
    g = generator(0)
    draws = torch.stack([systematic_counts(w, 7, g) for _ in range(4000)]).to(torch.float64)
    assert bool(((draws.mean(0) - 7 * w).abs() < 4 * 0.5 / math.sqrt(4000)).all())
    with pytest.raises(UserError, match="number of paths is 0"):
        systematic_counts(w, 0, g)


def test_allocation_is_grouped() -> None:
    index = mixture().allocate(10, generator(1))
    assert index.tolist() == [0] * 3 + [1] * 7


def test_samples_have_the_moments_of_their_components() -> None:
    n = 10_000
    law = mixture()
    z = law.sample(n, generator(2)).to_unconstrained()
    index = law.allocate(n, generator(2))
    for k, component in enumerate(law.components):
        mine = z[index == k]
        covariance = component.cholesky @ component.cholesky.T
        error = component.sd / math.sqrt(len(mine))
        assert bool(((mine.mean(0) - component.mean).abs() < 4.5 * error).all())
        spread = 4.5 * 0.01 * math.sqrt(2 / len(mine))
        assert bool(((torch.cov(mine.T) - covariance).abs() < 3 * spread).all())


def test_an_edited_component_leaves_the_other_paths_alone() -> None:
    law = mixture()
    index = law.allocate(50, generator(3))
    before = law.sample(50, generator(4), index).to_unconstrained()
    changed = Component.around("crash", "milder", 0.3, Regime(-0.1, 0.2, initial_volatility=0.2))
    edited = RegimeDistribution((changed, law.components[1]))
    after = edited.sample(50, generator(4), index).to_unconstrained()
    assert torch.equal(before[index == 1], after[index == 1])
    assert not torch.equal(before[index == 0], after[index == 0])


def test_density_of_one_component_is_the_gaussian() -> None:
    component = mixture().components[1]
    one = RegimeDistribution((Component.around("calm", "c", 1.0, component.regime, SD),))
    z = one.sample(20, generator(5)).to_unconstrained()
    expected = Normal(component.mean, 0.1).log_prob(z).sum(-1)
    actual = one.log_prob(Regime.from_unconstrained(z))
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def test_density_of_a_mixture() -> None:
    law = mixture()
    regime = law.sample(20, generator(6))
    parts = []
    for weight, c in zip((0.3, 0.7), law.components, strict=True):
        residual = torch.linalg.solve_triangular(
            c.cholesky, (regime.to_unconstrained() - c.mean).T, upper=False
        )
        log = -0.5 * residual.square().sum(0) - c.cholesky.diag().log().sum()
        parts.append(math.log(weight) + log - 0.5 * N_FIELDS * math.log(2 * math.pi))
    expected = torch.logsumexp(torch.stack(parts), 0)
    torch.testing.assert_close(law.log_prob(regime), expected, rtol=1e-6, atol=1e-6)


def test_density_without_a_resolved_start_is_the_marginal() -> None:
    law = RegimeDistribution((Component.around("calm", "c", 1.0, Regime(0.1, 0.2), SD),))
    regime = Regime(0.12, 0.21)
    z = (regime.to_unconstrained() - law.components[0].mean)[:-1]
    expected = Normal(0.0, 0.1).log_prob(z).sum()
    torch.testing.assert_close(law.log_prob(regime), expected, rtol=1e-6, atol=1e-6)


def test_quantiles_are_those_of_samples() -> None:
    n = 10_000
    law = mixture()
    draws = law.sample(n, generator(7))
    for q in (0.05, 0.3, 0.5, 0.95):
        at = law.quantile(q)
        for name in FIELD_NAMES:
            below = (getattr(draws, name) <= getattr(at, name)).to(torch.float64).mean()
            assert abs(below - q) < 4.5 * math.sqrt(q * (1 - q) / n), (name, q)
    low, high = law.interval(0.9)
    assert (low, high) == (law.quantile(0.05), law.quantile(0.95))
    with pytest.raises(UserError, match=r"quantile 0\.0 must"):
        law.quantile(0.0)


def test_mean_and_marginal() -> None:
    law = mixture()
    centre = 0.3 * law.components[0].mean + 0.7 * law.components[1].mean
    torch.testing.assert_close(law.mean.to_unconstrained(), centre, rtol=1e-9, atol=1e-9)
    calm = law.components[1]
    assert marginal("volatility", calm, 0.0) == pytest.approx(0.12)
    assert marginal("volatility", calm, 2.0) == pytest.approx(0.12 * math.exp(0.2))


def test_a_certain_regime_is_drawn_exactly() -> None:
    regime = Regime(0.1, 0.2, initial_volatility=0.3)
    draws = RegimeDistribution.single(regime).sample(5, generator(8))
    assert draws == Regime.from_unconstrained(regime.expand(5).to_unconstrained())


def test_resolve_starts_only_what_is_open() -> None:
    given_start, open_start = Regime(0.1, 0.2, initial_volatility=0.5), Regime(0.0, 0.2)
    law = RegimeDistribution(
        (
            Component.around("calm", "a", 0.5, given_start, SD),
            Component.around("crash", "b", 0.5, open_start, SD),
        )
    )
    resolved = law.resolve(0.31, sd=0.05)
    starts = [c.regime.initial_volatility for c in resolved.components]
    assert starts == pytest.approx([0.5, 0.31])
    assert resolved.components[0] is law.components[0]
    assert resolved.components[1].sd[-1].item() == pytest.approx(0.05)
    assert math.isnan(law.components[1].mean[-1].item())  # the original is untouched


def test_json_round_trips() -> None:
    law = mixture()
    back = RegimeDistribution.from_json(law.to_json())
    assert back.to_dict() == law.to_dict()
    assert torch.equal(back.components[0].cholesky, law.components[0].cholesky)
    same = back.sample(9, generator(9)), law.sample(9, generator(9))
    assert same[0] == same[1]
    unresolved = RegimeDistribution.single(Regime(0.1, 0.2))
    assert "NaN" not in unresolved.to_json()
    again = RegimeDistribution.from_json(unresolved.to_json())
    assert again.components[0].regime.initial_volatility is None


def test_equality_is_of_values() -> None:
    law = replace(mixture(), reading={"events": [{"kind": "crash", "severity": 0.5}]})
    assert RegimeDistribution.from_json(law.to_json()) == law
    open_start = RegimeDistribution.single(Regime(0.1, 0.2))
    assert math.isnan(open_start.components[0].mean[-1])
    assert RegimeDistribution.from_json(open_start.to_json()) == open_start
    assert open_start != open_start.resolve(0.3)
    assert mixture().components[0] == mixture().components[0]


@pytest.mark.parametrize(
    "change",
    [
        {"source": "x"},
        {"confidence": 0.7},
        {"overrides": ()},
        {"warnings": ()},
        {"asset_class": "oil"},
        {"reading": {"a": 1}},
        {"components": mixture().components[::-1]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_decides_equality(change: dict) -> None:
    assert replace(mixture(), **change) != mixture()


@pytest.mark.parametrize(
    "change",
    [
        {"slot": "calm"},
        {"name": "x"},
        {"weight": 0.4},
        {"mean": mixture().components[0].mean + 1e-12},
        {"cholesky": mixture().components[0].cholesky * 2},
        {"rationale": ""},
        {"conditions": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_scenario_decides_equality(change: dict) -> None:
    assert replace(mixture().components[0], **change) != mixture().components[0]


def test_distributions_have_no_hash_and_equal_nothing_else() -> None:
    for thing in (mixture(), mixture().components[0]):
        assert thing != thing.to_dict()
        with pytest.raises(TypeError, match="unhashable"):
            hash(thing)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("coordinates_version",), 99, "coordinates_version 99"),
        (("components",), [], "1 to 8 scenarios, not 0"),
        (("components", 0, "weight"), 0.9, "sum to 1.6"),
        (("components", 0, "slot"), "boom", "slot 'boom'"),
        (("components", 0, "mean"), [0.0] * 10, "11 entries"),
        (("components", 0, "mean"), ["x"] * 11, "does not fit"),
        (("components", 0, "cholesky"), [[1.0] * 11] * 11, "lower triangular"),
        (("components", 0, "conditions"), [{"kind": "moon", "level": 1}], "moon"),
        (("confidence",), 2.0, "confidence 2"),
        (("overrides",), [{"x": 1}], "does not fit"),
    ],
)
def test_json_that_does_not_fit(path: tuple, value: object, said: str) -> None:
    data = json.loads(mixture().to_json())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UserError, match=said):
        RegimeDistribution.from_json(json.dumps(data))


def test_json_refuses_what_is_no_number() -> None:
    text = mixture().to_json().replace('"confidence": 0.8', '"confidence": NaN')
    with pytest.raises(UserError, match="NaN"):
        RegimeDistribution.from_json(text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "moon", "level": 0.1}, "kind"),
        ({"kind": "terminal", "level": -1.0}, "level"),
        ({"kind": "terminal", "level": 0.0, "absolute": True}, "level"),
        ({"kind": "terminal", "level": math.nan}, "level"),
        ({"kind": "waypoint", "level": 0.1, "years": 0.0}, "years"),
    ],
)
def test_conditions_are_checked(values: dict, said: str) -> None:
    with pytest.raises(UserError, match=f"Condition.{said}"):
        Condition(**values)


def test_weights_normalise() -> None:
    parts = [
        Component.around("calm", str(i), w, Regime(0.0, 0.2)) for i, w in enumerate((0.2, 0.6))
    ]
    assert [c.weight for c in normalise_weights(parts)] == pytest.approx([0.25, 0.75])
    with pytest.raises(UserError, match="every scenario has weight 0"):
        normalise_weights([Component.around("calm", "a", 0.0, Regime(0.0, 0.2))])
