"""What is refused, with the sentence that says why, and what must stay finite."""

import math
import warnings
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import FIELDS, Regime
from parfait.sde import (
    GBM,
    OU,
    PROCESSES,
    Bates,
    FractionalGBM,
    Heston,
    Kou,
    Merton,
    RegimeSDE,
    RoughBergomi,
    SdeWarning,
)
from parfait.sde.checks import MOST_JUMPS
from parfait.utils.errors import UserError
from tests.fuzzing import examples

VALUES = {
    GBM: {"mu": 0.1, "sigma": 0.2},
    Merton: {"mu": 0.1, "sigma": 0.2, "lam": 3.0, "jump_mean": 0.0, "jump_std": 0.1},
    Kou: {"mu": 0.1, "sigma": 0.2, "lam": 3.0, "p_up": 0.5, "eta_up": 9.0, "eta_down": 9.0},
    OU: {"mu": 0.1, "sigma": 0.2, "kappa": 1.0},
    Heston: {"mu": 0.1, "kappa": 2.0, "theta": 0.04, "xi": 0.4, "rho": -0.5, "v0": 0.04},
    FractionalGBM: {"mu": 0.1, "sigma": 0.2, "hurst": 0.6},
    RoughBergomi: {"mu": 0.1, "hurst": 0.1, "eta": 1.0, "rho": -0.5, "xi0": 0.04},
}
VALUES[Bates] = VALUES[Heston] | {"lam": 3.0, "jump_mean": 0.0, "jump_std": 0.1}
CASES = [(process, name) for process, values in VALUES.items() for name in values]


def name_of(case):
    return case.__name__ if isinstance(case, type) else str(case)


@pytest.mark.parametrize(("process", "name"), CASES, ids=name_of)
def test_every_parameter_is_held_to_its_bounds(process, name):
    bound = process.bounds[name]
    beyond = [bound.high * 1.1 if bound.high > 0 else 1.0, math.nan, math.inf, -math.inf, 10**400]
    if bound.high != math.inf:
        beyond.append(math.nextafter(bound.high, math.inf))
    beyond.append(bound.low if bound.above else math.nextafter(bound.low, -math.inf))
    for value in beyond:
        if value == math.inf == bound.high * 1.1:
            continue
        with pytest.raises(UserError, match=rf"^{process.__name__}\.{name} = .* is outside "):
            process(**VALUES[process] | {name: value})
        if isinstance(value, float):
            column = torch.tensor([VALUES[process][name], value], dtype=torch.float64)
            for table in (column, column.expand(3, 2)):
                with pytest.raises(UserError, match=rf"^{process.__name__}\.{name} = "):
                    process(**VALUES[process] | {name: table})


@pytest.mark.parametrize(("process", "name"), CASES, ids=name_of)
def test_shapes_and_kinds_of_numbers(process, name, ref):
    """Columns, tables and whole numbers give what the number gives; the rest is one sentence."""
    value = VALUES[process][name]

    def paths(given):
        model = process(**VALUES[process] | {name: given})
        return model.sample(3, 4, 0.1, generator=ref.generator()).log_price

    for wrong in (torch.full((4,), value), torch.full((3, 4), value), torch.full((1, 4, 3), value)):
        with pytest.raises(
            UserError, match=rf"^{process.__name__}\.{name} has shape .* of shape \("
        ):
            paths(wrong)
    table = torch.full((4, 3), value)
    if name in process.whole_path:
        with pytest.raises(UserError, match=r"has shape \(4, 3\); .* of shape \(3,\)$"):
            paths(table)
    else:
        assert torch.equal(paths(table), paths(table[0]))
    for odd in (torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.complex64)):
        with pytest.raises(UserError, match=f"holds {odd.dtype}; give a tensor of real numbers"):
            paths(odd)
    for odd in ("high", [0.1, 0.2], True):
        with pytest.raises(UserError, match="is not a number or a tensor"):
            paths(odd)
    for dtype in (torch.float64, torch.bfloat16):
        assert torch.isfinite(paths(torch.full((3,), value, dtype=dtype))).all()


def test_whole_numbers_are_numbers(ref):
    one, two = (
        GBM(mu=m, sigma=s).sample(2, 3, 1.0, generator=ref.generator()).log_price
        for m, s in ((0.0, 1.0), (0, torch.ones(2, dtype=torch.int64)))
    )
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"paths": True}, "sample: paths = True must be a whole number of at least 1"),
        ({"steps": 0}, "sample: steps = 0 must be a whole number of at least 1"),
        ({"years": "1"}, "sample: years = '1' must be a number"),
        ({"years": math.nan}, "sample: years = nan must be above 0 and at most 10,000"),
        ({"years": math.inf}, "sample: years = inf must be above 0 and at most 10,000"),
    ],
)
def test_bad_requests(request_, message, ref):
    with pytest.raises(UserError, match=f"^{message}$"):
        GBM(mu=0.0, sigma=0.2).sample(
            **{"paths": 2, "steps": 3, "years": 1.0} | request_, generator=ref.generator()
        )


@pytest.mark.parametrize("process", [Merton, Kou, Bates, RegimeSDE])
def test_more_jumps_than_memory_is_meant_for_are_refused(process, ref):
    regime = Regime(drift=0.0, volatility=0.2, jump_intensity=1000.0, jump_std=0.01)
    model = process.from_regime(regime)
    message = f"^{process.__name__}: 5,000 expected jumps per path .* above {MOST_JUMPS:,}; lower"
    with pytest.raises(UserError, match=message):
        model.sample(2, 5, 5.0, generator=ref.generator())
    model.sample(2, 5, 3.9, generator=ref.generator())


def test_only_the_time_at_the_rate_counts(ref):
    lam = torch.zeros((10, 2), dtype=torch.float64)
    lam[3] = 10_000.0
    model = Merton(mu=0.0, sigma=0.2, lam=lam, jump_mean=0.0, jump_std=0.01)
    model.sample(2, 10, 3.0, generator=ref.generator())
    with pytest.raises(UserError, match="5,000 expected jumps per path"):
        model.sample(2, 10, 5.0, generator=ref.generator())


def test_euler_must_take_its_steps(ref):
    kappa = torch.tensor([[5.0, 30.0], [300.0, 5.0]])
    model = Heston(**VALUES[Heston] | {"kappa": kappa}, scheme="euler")
    with pytest.raises(
        UserError, match=r"euler needs kappa dt of at most 1, and it is 1\.19; take"
    ):
        model.sample(2, 2, 2 / 252, generator=ref.generator())
    model.sample(2, 2, 1 / 252, generator=ref.generator())
    Heston(**VALUES[Heston] | {"kappa": kappa}).sample(2, 2, 1.0, generator=ref.generator())


def assert_finite(model, n, steps, years, seed, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        paths = model.sample(
            n, steps, years, generator=torch.Generator().manual_seed(seed), dtype=dtype
        )
    for field in fields(paths):
        table = getattr(paths, field.name)
        assert table is None or bool(torch.isfinite(table).all()), field.name
    assert paths.variance is None or bool((paths.variance >= 0).all())


def spread(low, high):
    """Both ends, zero where it is inside, and numbers of every order between."""
    least = 1e-12 if low >= 0 else -1e6
    ends = [low, high] + ([0.0] if low <= 0 <= high else [])
    inside = st.floats(max(low, least), min(high, 1e12), allow_nan=False)
    small = st.floats(-10, 0).map(lambda e: low + (min(high, 1e12) - low) * 10**e)
    return st.one_of(st.sampled_from(ends), inside, small)


@st.composite
def models(draw):
    """A process with every parameter somewhere in its bounds: number, column or table."""
    process = draw(st.sampled_from(sorted(VALUES, key=name_of)))
    n, steps = 3, draw(st.integers(1, 5))
    years = draw(st.sampled_from([1e-9, 1 / (252 * 390), 0.02, 1.0, 30.0, 1000.0]))
    values = {}
    for name, bound in process.bounds.items():
        if name == "theta" and process is OU and draw(st.booleans()):
            continue
        low = math.nextafter(bound.low, math.inf) if bound.above else bound.low
        high = min(bound.high, 1e300, 300 / years if name == "lam" else math.inf)
        shapes = [(), (n,)] if name in process.whole_path else [(), (n,), (steps, n)]
        shape = draw(st.sampled_from(shapes))
        cells = draw(st.lists(spread(low, high), min_size=n, max_size=n))
        table = torch.tensor(cells, dtype=torch.float64).clamp(low, high)
        if len(shape) == 2:
            table = torch.stack([table.roll(k) for k in range(steps)])
        values[name] = table if shape else float(table[0])
    return process(**values), n, steps, years


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(models(), st.integers(0, 99), st.sampled_from([torch.float32, torch.float64]))
def test_all_that_is_allowed_stays_finite(case, seed, dtype):
    assert_finite(*case, seed, dtype)


@st.composite
def regimes(draw):
    n, steps = 4, draw(st.integers(1, 6))
    years = draw(st.sampled_from([1e-6, 0.02, 1.0, 3.0]))
    columns = {}
    for field in FIELDS:
        cells = draw(st.lists(spread(field.low, field.high), min_size=n, max_size=n))
        table = torch.tensor(cells, dtype=torch.float64).clamp(field.low, field.high)
        if draw(st.booleans()):
            columns[field.name] = torch.stack([table.roll(k) for k in range(steps)])
        else:
            columns[field.name] = table.expand(steps, n)
    return Regime(**columns), n, steps, years


@settings(max_examples=examples(40), deadline=None, derandomize=True)
@given(
    regimes(),
    st.sampled_from(sorted(PROCESSES)),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_every_valid_regime_stays_finite(case, name, dtype):
    regime, *request_ = case
    for which in {name, "regime"}:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SdeWarning)
            model = PROCESSES[which].from_regime(regime)
        assert_finite(model, *request_, 0, dtype)
