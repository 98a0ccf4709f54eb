"""Phases of a scenario: their data, what is drawn of them, and what they amount to."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import (
    FIELD_NAMES,
    Component,
    Phase,
    Regime,
    RegimeDistribution,
    collapse,
    mean_volatility,
    normalise_weights,
    volatility_course,
)
from parfait.utils.errors import UserError

DT = 1 / 252
PANIC = Regime(-1.0, 0.6, 8.0, -0.02, 0.03, variance_reversion=20.0, initial_volatility=0.3)
CALM = Regime(0.2, 0.1, variance_reversion=40.0, initial_volatility=0.3)
WIDTHS = dict.fromkeys(FIELD_NAMES[:-1], 0.2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def panic(*times: float, sd: dict[str, float] = WIDTHS) -> Component:
    phases = tuple(Phase.around(t, f"calm {k}", CALM, sd) for k, t in enumerate(times))
    return Component.around("crash", "panic", 1.0, PANIC, sd, phases=phases)


def one(component: Component) -> RegimeDistribution:
    return RegimeDistribution((component,))


@given(st.lists(st.floats(1e-6, 50), min_size=1, max_size=5, unique=True), st.data())
@settings(max_examples=50, deadline=None)
def test_any_ascending_times_make_whole_ordered_bars(times: list[float], data: st.DataObject):
    component = panic(*sorted(times))
    again = Component.from_dict(component.to_dict())
    assert again == component
    assert one(component) == RegimeDistribution.from_json(one(component).to_json())
    steps = data.draw(st.integers(1, 60))
    starts = component.starts(DT)
    assert all(b > a for a, b in zip([0, *starts], starts, strict=False))
    drawn = one(component).sample_course(2, steps, DT, seeded())
    assert drawn.shape == (steps, 2)
    changes = (torch.diff(drawn.drift[:, 0]) != 0).nonzero().squeeze(1) + 1
    # Phases of equal parameters are told apart by nothing but the first change.
    assert changes.tolist() == [s for s in starts[:1] if s < steps]
    if len(times) > 1:
        unsorted = data.draw(st.permutations(sorted(times)))
        if unsorted != sorted(times):
            with pytest.raises(UserError, match="put them in order"):
                panic(*unsorted)


def test_beginnings_are_the_nearest_bars():
    exact = [k * DT for k in (4, 11, 30)]
    assert panic(*exact).starts(DT) == [4, 11, 30]
    assert panic(*(t + 0.4 * DT for t in exact)).starts(DT) == [4, 11, 30]
    assert panic(1e-9, 2e-9, 3e-9).starts(DT) == [1, 2, 3]  # one bar at least


@pytest.mark.parametrize("after", [0.0, -1.0, math.nan, math.inf])
def test_a_phase_begins_later(after: float):
    with pytest.raises(UserError, match="phase 'calm': after"):
        Phase.around(after, "calm", CALM)


def test_misshapen_phases_are_named():
    phase = Phase.around(0.1, "calm", CALM)
    with pytest.raises(UserError, match="phase 'calm': mean must be finite"):
        replace(phase, mean=phase.mean * math.nan)
    with pytest.raises(UserError, match="phase 'calm': cholesky must be finite"):
        replace(phase, cholesky=torch.ones(11, 11, dtype=torch.float64))
    with pytest.raises(UserError, match="phase 'calm': mean must have 11"):
        replace(phase, mean=phase.mean[:3])
    with pytest.raises(UserError, match="scenario JSON does not fit"):
        Component.from_dict(panic(0.1).to_dict() | {"phases": [{"after": 1}]})
    open_start = Phase.around(0.1, "calm", CALM.replace(initial_volatility=None))
    assert Phase.from_dict(open_start.to_dict()) == open_start


def test_phases_tell_scenarios_apart_and_old_files_have_none():
    assert panic(0.1) != panic(0.2)
    assert panic(0.1) != panic()
    plain = panic().to_dict()
    assert "phases" not in plain
    assert Component.from_dict(plain).phases == ()


def test_without_phases_the_course_is_the_sample():
    scenarios = one(panic())
    assert scenarios.sample_course(7, 30, DT, seeded()) == scenarios.sample(7, seeded())


def test_the_first_phase_is_what_sample_draws_and_the_normals_are_shared():
    scenarios = one(panic(10 * DT))
    n, steps = 500, 30
    drawn, first = scenarios.sample_course(n, steps, DT, seeded()), scenarios.sample(n, seeded())
    for name in FIELD_NAMES:
        for bar in (0, 9):
            assert torch.equal(getattr(drawn, name)[bar], getattr(first, name))
    centres = (PANIC.to_unconstrained(), CALM.to_unconstrained())
    z = [
        (drawn[bar].to_unconstrained() - m)[:, :2] for bar, m in zip((9, 10), centres, strict=True)
    ]
    torch.testing.assert_close(z[0], z[1])
    assert float(z[0].std()) == pytest.approx(0.2, rel=0.1)
    assert torch.equal(drawn.initial_volatility, first.initial_volatility.expand(steps, n))


def test_scenarios_with_fewer_phases_stay_in_their_last():
    none, two = panic(sd={}), panic(5 * DT, 9 * DT, sd={})
    last = replace(two.phases[1], mean=PANIC.replace(drift=3.0).to_unconstrained())
    two = replace(two, phases=(two.phases[0], last))
    scenarios = RegimeDistribution(tuple(replace(c, weight=0.5) for c in (none, two)))
    drawn = scenarios.sample_course(2, 12, DT, seeded(), torch.tensor([0, 1]))
    torch.testing.assert_close(drawn.drift[:, 0], torch.full((12,), -1.0, dtype=torch.float64))
    wanted = [-1.0] * 5 + [0.2] * 4 + [3.0] * 3
    torch.testing.assert_close(drawn.drift[:, 1], torch.tensor(wanted, dtype=torch.float64))


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_collapse_has_the_moments_of_the_mixture(seed: int):
    g = seeded(seed)
    weights = torch.rand(3, generator=g, dtype=torch.float64)
    parts = []
    for k in range(3):
        mean = torch.randn(11, generator=g, dtype=torch.float64)
        root = torch.randn(11, 11, generator=g, dtype=torch.float64).tril()
        root[4] = 0.0  # a field that is known exactly
        mean[4] = 0.5
        parts.append(Component("calm", f"c{k}", float(weights[k]) / 3, mean, root))
    whole = collapse(parts)
    w = weights / weights.sum()
    mean = sum(w[k] * parts[k].mean for k in range(3))
    second = sum(
        w[k] * (parts[k].cholesky @ parts[k].cholesky.T + torch.outer(parts[k].mean, parts[k].mean))
        for k in range(3)
    )
    torch.testing.assert_close(whole.mean, mean)
    torch.testing.assert_close(
        whole.cholesky @ whole.cholesky.T, second - torch.outer(mean, mean), atol=1e-9, rtol=1e-9
    )
    assert whole.name == f"c{int(w.argmax())}"
    assert float(whole.sd[4]) < 1e-12


def test_collapse_of_one_is_that_one_and_open_starts_stay_open():
    shut = panic()
    open_start = Component.around("calm", "open", 0.4, CALM.replace(initial_volatility=None))
    torch.testing.assert_close(collapse([shut]).cholesky, shut.cholesky)
    whole = collapse([replace(shut, weight=0.6), open_start])
    assert math.isnan(float(whole.mean[-1]))
    assert not whole.cholesky[-1].any()
    assert whole.regime.initial_volatility is None
    with pytest.raises(UserError, match="phases"):
        collapse([panic(0.1)])
    with pytest.raises(UserError, match="positive weight"):
        collapse([])
    assert sum(c.weight for c in normalise_weights([whole])) == 1


def test_the_average_over_bars():
    drawn = one(panic(10 * DT, sd={})).sample_course(3, 40, DT, seeded())
    mean = drawn.over(0, 40)
    assert mean.shape == (3,)
    close = {"abs": 0, "rel": 1e-9}
    assert float(mean.drift[0]) == pytest.approx((10 * -1.0 + 30 * 0.2) / 40, **close)
    assert float(mean.volatility[0]) == pytest.approx(math.sqrt(0.25 * 0.36 + 0.75 * 0.01), **close)
    assert float(mean.jump_intensity[0]) == pytest.approx(2.0, **close)
    kappa = math.exp(0.25 * math.log(20.05) + 0.75 * math.log(40.05)) - 0.05
    assert float(mean.variance_reversion[0]) == pytest.approx(kappa, **close)
    assert drawn.over(2, 9) == drawn[2]  # constant there: the very numbers
    assert PANIC.over(3, 5) is PANIC
    with pytest.raises(UserError, match="not within"):
        drawn.over(0, 41)


def test_expected_variance_of_a_changing_regime():
    drawn = one(panic(10 * DT, sd={})).sample_course(2, 40, DT, seeded())
    fine = 200
    theta = torch.tensor([0.36] * 10 + [0.01] * 30, dtype=torch.float64).repeat_interleave(fine)
    kappa = torch.tensor([20.0] * 10 + [40.0] * 30, dtype=torch.float64).repeat_interleave(fine)
    v, path = 0.09, []
    for a, b in zip(theta.tolist(), kappa.tolist(), strict=True):
        middle = v + 0.5 * b * (a - v) * DT / fine
        path.append(middle)
        v = v + b * (a - middle) * DT / fine
    path = torch.tensor(path, dtype=torch.float64)
    for begin, end in ((0, 40), (5, 15), (10, 20), (39, 40)):
        wanted = path[begin * fine : end * fine].mean().sqrt()
        found = mean_volatility(drawn, begin * DT, end * DT, DT)
        torch.testing.assert_close(found, wanted.expand(2), rtol=1e-5, atol=0)
    course = volatility_course(drawn, 5, 15, DT)
    bars = path.reshape(40, fine).mean(1)[5:15]
    torch.testing.assert_close(course[:, 0], (bars / bars.mean()).sqrt(), rtol=1e-5, atol=0)


def test_steady_paths_keep_their_bytes_beside_changing_ones():
    mixed = RegimeDistribution(tuple(replace(c, weight=0.5) for c in (panic(), panic(9 * DT))))
    index = torch.tensor([0, 0, 1])
    drawn, alone = (
        mixed.sample_course(3, 20, DT, seeded(), index),
        mixed.sample(3, seeded(), index),
    )
    whole = mean_volatility(drawn, 4 * DT, 12 * DT, DT)
    assert torch.equal(whole[:2], mean_volatility(alone, 4 * DT, 12 * DT)[:2])
    assert torch.equal(
        volatility_course(drawn, 4, 12, DT)[:, :2], torch.ones(8, 2, dtype=torch.float64)
    )
    assert drawn.over(0, 20)[:2] == alone[:2]
