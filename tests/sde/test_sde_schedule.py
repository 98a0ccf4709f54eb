"""Regimes one after another: when they switch, what carries over, what is refused."""

import math
import warnings
from dataclasses import replace

import pytest
import torch

from parfait.regime import FIELD_NAMES, Regime
from parfait.sde import PROCESSES, Heston, RegimeSDE, Schedule, SdeWarning, make_guide
from parfait.utils.errors import UserError

DAY = 1 / 365
PANIC = Regime(drift=-1.0, volatility=0.6, jump_intensity=40.0, jump_mean=-0.03, leverage=-0.9)
CALM = Regime(drift=0.1, volatility=0.15, mean_reversion=3.0, hurst=0.6)


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ((14 * DAY, None), [0, 14]),
        ((14 * DAY, 3 * DAY), [0, 14]),  # the last one stays
        ((0.1 * DAY, 0.1 * DAY, None), [0, 1, 2]),  # a bar at least
        ((2.4 * DAY, 2.4 * DAY, None), [0, 2, 5]),  # ends are rounded, not durations
    ],
)
def test_phases_are_whole_bars(durations, expected):
    schedule = Schedule(tuple((PANIC, d) for d in durations))
    assert schedule.starts(30, 30 * DAY) == expected


def test_every_bar_has_the_regime_of_its_phase():
    regime = Schedule(((PANIC, 14 * DAY), (CALM, None))).regime(3, 30, 30 * DAY)
    assert regime.shape == (30, 3)
    assert regime.initial_volatility is None
    for name in FIELD_NAMES[:-1]:
        rows = getattr(regime, name)[:, 1]
        assert rows.tolist() == [getattr(PANIC, name)] * 14 + [getattr(CALM, name)] * 16
    same = Schedule(((PANIC, DAY), (PANIC.replace(drift=0.0), None))).regime(3, 30, 30 * DAY)
    assert same.volatility.stride()[0] == 0  # a view


def test_batches_and_single_regimes_mix(ref):
    batch = ref.batch(5)
    regime = Schedule(((batch, 2 * DAY), (CALM, None))).regime(5, 4, 4 * DAY)
    assert torch.equal(regime.volatility[1], batch.volatility)
    assert regime.volatility[2].tolist() == [0.15] * 5
    assert torch.equal(regime.initial_volatility[3], batch.initial_volatility)


@pytest.mark.parametrize("name", list(PROCESSES))
def test_one_phase_is_its_regime(name, ref):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        one, two = (
            PROCESSES[name].from_regime(r).sample(9, 6, 0.1, generator=ref.generator())
            for r in (CALM, Schedule(((CALM, None),)).regime(9, 6, 0.1))
        )
    assert torch.equal(one.log_price, two.log_price)


def test_the_variance_goes_on_where_the_regime_switches(ref):
    """The first bar of the recovery starts at the variance of the panic, and then relaxes."""
    calm = CALM.replace(hurst=0.5, mean_reversion=0.0)
    panic = PANIC.replace(initial_volatility=0.5)
    regime = Schedule(((panic, 10 * DAY), (calm, None))).regime(2000, 40, 40 * DAY)
    v = RegimeSDE(regime).sample(2000, 40, 40 * DAY, generator=ref.generator()).variance.double()
    alone = Schedule(((panic, None),)).regime(2000, 40, 40 * DAY)
    same = RegimeSDE(alone).sample(2000, 40, 40 * DAY, generator=ref.generator()).variance.double()
    assert torch.equal(v[:, :11], same[:, :11])
    level, pull = 0.15**2, math.exp(-calm.variance_reversion * DAY)
    expected = float(v[:, 10].mean())
    for k in range(11, 41):
        expected = level + (expected - level) * pull
        assert abs(float(v[:, k].mean()) - expected) < 4 * float(v[:, k].std()) / math.sqrt(2000)


def test_a_phase_beyond_the_horizon_is_said():
    schedule = Schedule(((PANIC, 14 * DAY), (CALM, None)))
    with pytest.warns(SdeWarning, match="phases from number 2 on begin after the horizon"):
        regime = schedule.regime(3, 10, 10 * DAY)
    assert regime.volatility.unique().tolist() == [0.6]


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ((), "Schedule.phases: give at least one"),
        (((PANIC, -1.0), (CALM, None)), "Schedule.phases[0]: duration = -1.0 must be a number of"),
        (((PANIC, 1.0), (CALM, 0.0)), "Schedule.phases[1]: duration = 0.0 must be a number of"),
        (((PANIC, math.nan), (CALM, None)), "Schedule.phases[0]: duration = nan must be"),
        (
            ((PANIC, None), (CALM, None)),
            "Schedule.phases[0]: duration = None must be a number of years above 0; only the last",
        ),
        (((0.2, 1.0),), "Schedule.phases[0]: float is not a Regime"),
        ((PANIC,), "Schedule.phases[0] must be a pair (regime, duration in years)"),
        (
            ((PANIC.expand(2), 1.0), (CALM.expand(3), None)),
            "Schedule.phases: regimes have shapes (2,), (3,); give all the same",
        ),
    ],
)
def test_bad_schedules_are_one_sentence(phases, message):
    with pytest.raises(UserError) as caught:
        Schedule(phases)
    assert str(caught.value).startswith(message)


def test_a_batch_of_another_size_is_named():
    with pytest.raises(UserError, match=r"phases\[0\]: regime has shape \(2,\); give one regime"):
        Schedule(((PANIC.expand(2), None),)).regime(3, 10, 1.0)


def test_jump_anchors_follow_the_phase(ref):
    """A jump of four calm deviations is nothing in a panic."""
    regime = Schedule(((PANIC, 10 * DAY), (CALM, None))).regime(2, 20, 20 * DAY)
    paths = RegimeSDE(regime).sample(2, 20, 20 * DAY, generator=ref.generator())
    jumps = torch.zeros(2, 20)
    jumps[:, [4, 14]] = 0.15 * math.sqrt(DAY) * 4
    bar_sd = regime.volatility * math.sqrt(DAY)
    guide, _ = make_guide(replace(paths, jumps=jumps), 1.0, every=20, bar_sd=bar_sd)
    assert (guide.anchored[0].nonzero().flatten() + 1).tolist() == [14, 15, 20]
    with pytest.raises(UserError, match=r"bar_sd has shape \(2, 20\); give a number or a tensor"):
        make_guide(paths, 1.0, bar_sd=bar_sd.T)


def test_the_regime_may_be_given_by_position(ref):
    one, two = (
        p.sample(3, 4, 0.1, generator=ref.generator())
        for p in (RegimeSDE(CALM), RegimeSDE(regime=CALM))
    )
    assert torch.equal(one.log_price, two.log_price)
    with pytest.raises(TypeError):
        RegimeSDE(CALM, False)
    with pytest.raises(TypeError):
        Heston(0.0, 1.0, 0.04, 0.3, 0.0, 0.04)
