"""Requested against recovered: closed forms of the numbers, and round trips of SDE paths."""

import math

import pytest
import torch

from parfait.labels import label_windows
from parfait.metrics.functional.control import (
    control_loss,
    growth_error,
    ranks,
    recovery,
    round_trip,
    scenario_mix,
    volatility_control,
    wasserstein,
)
from parfait.metrics.functional.counterfactual import counterfactual, cross_talk
from parfait.metrics.probes import Probe, path_bars
from parfait.regime import Component, Regime, RegimeDistribution
from parfait.sde import Guide, RegimeSDE
from parfait.utils.errors import UserError

DAY = 1 / 252


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def windows_of(regime, steps, seed=0):
    paths = RegimeSDE.from_regime(regime).sample(
        len(regime), steps, steps * DAY, generator=generator(seed), dtype=torch.float64
    )
    bars = path_bars(paths, 100.0, DAY, generator(seed + 1))
    guide = Guide(bars[..., 3].contiguous(), torch.ones(bars.shape[:2], dtype=torch.bool))
    return Probe(bars, bars, guide).windows(100.0)


def test_a_linear_answer_has_its_numbers():
    x = normal(5000)
    noise = 0.3 * normal(5000, seed=1)
    found = recovery(x, 0.5 * x + 0.2 + noise)
    assert found.slope.value == pytest.approx(0.5, abs=4 * 0.3 / math.sqrt(5000))
    assert found.bias.value == pytest.approx(0.2, abs=4 * found.bias.error)
    assert found.rmse.value == pytest.approx(math.sqrt(0.25 + 0.04 + 0.09), abs=0.03)
    # rho_S = (6/pi) asin(r/2) of a normal pair with Pearson r
    r = 0.5 / math.sqrt(0.25 + 0.09)
    wanted = 6 / math.pi * math.asin(r / 2)
    assert found.spearman.value == pytest.approx(wanted, abs=4 * found.spearman.error)


@pytest.mark.parametrize("field", ["bias", "rmse", "spearman", "slope"])
def test_standard_errors_are_those_of_repetition(field):
    found = []
    for seed in range(150):
        x = normal(120, seed=2 * seed)
        found.append(getattr(recovery(x, 0.7 * x + 0.4 * normal(120, seed=2 * seed + 1)), field))
    values = torch.tensor([m.value for m in found])
    told = sum(m.error for m in found) / len(found)
    assert told == pytest.approx(float(values.std()), rel=4 / math.sqrt(300))


def test_what_is_not_told_is_a_reason():
    same = recovery(torch.ones(20).double(), normal(20))
    assert not same.slope.known
    assert "alike" in same.slope.reason
    assert same.bias.known
    assert not recovery(normal(1), normal(1)).bias.known
    assert "interval" in same.coverage.reason


def test_the_loss_of_control_is_paired():
    """The estimator's own error is common to both sides and cancels from the standard error."""
    x, common = normal(400), normal(400, seed=1)
    path = x + common
    lossy = control_loss(x, x + common + 0.3, path)
    rmse = recovery(x, path).rmse
    assert lossy.value == pytest.approx(math.sqrt(1.09) - 1, abs=4 * lossy.error)
    assert lossy.error < 0.5 * rmse.error
    assert control_loss(x, path, path).value == 0


def test_volatility_comes_back_from_sde_paths():
    """sigma from 6 to 60 %: nothing but the estimator's known bias, its coverage holds."""
    n = 300
    sigma = torch.logspace(math.log10(0.06), math.log10(0.6), n, dtype=torch.float64)
    none = {"vol_of_vol": 0.0, "variance_reversion": 0.0}
    regime = Regime(drift=torch.zeros(n).double(), volatility=sigma, **none).resolve()
    window = windows_of(regime, 60)
    trip = round_trip(regime, label_windows(window, 252.0))["volatility"]
    assert abs(trip.bars.bias.value) < 0.06
    assert trip.bars.rmse.value < 0.1
    assert trip.bars.spearman.value > 0.98
    assert trip.bars.slope.value == pytest.approx(1.0, abs=0.03)
    assert not trip.loss.known
    found = volatility_control(sigma, window[..., 3], 252.0)
    assert abs(found["ratio"].value) < 4 * found["ratio"].error
    assert found["rank"].value > 0.97


def test_round_trip_of_the_same_labels_has_no_loss():
    regime = Regime(drift=0.05, volatility=0.2, initial_volatility=0.2).expand(20)
    labels = label_windows(windows_of(regime, 40), 252.0)
    natural = round_trip(regime, labels, labels, natural=True)["volatility"]
    assert natural.loss.value == 0
    assert natural.bars == natural.path
    assert abs(natural.bars.bias.value) < 0.05
    with pytest.raises(UserError, match="initial_volatility"):
        round_trip(Regime(0.0, 0.2).expand(20), labels)
    with pytest.raises(UserError, match="one for each"):
        round_trip(regime[:5], labels)


def test_path_bars_are_bars_with_the_variance_of_the_path():
    """Rogers-Satchell's u(u - c) + d(d - c) has mean sigma^2 dt, and bars are valid."""
    n, sigma = 20_000, 0.2
    regime = Regime(0.0, sigma, vol_of_vol=0.0, initial_volatility=sigma).expand(n)
    paths = RegimeSDE.from_regime(regime).sample(
        n, 2, 2 * DAY, generator=generator(), dtype=torch.float64
    )
    o, h, low, c, _ = path_bars(paths, 50.0, DAY, generator(1)).unbind(-1)
    assert bool((low <= torch.minimum(o, c)).all() and (h >= torch.maximum(o, c)).all())
    assert torch.equal(o[:, 1], c[:, 0])
    u, d, r = (h / o).log(), (low / o).log(), (c / o).log()
    ranged = (u * (u - r) + d * (d - r)).flatten() / (sigma**2 * DAY)
    assert abs(float(ranged.mean()) - 1) < 4 * float(ranged.std()) / math.sqrt(2 * n)


def test_drift_is_a_martingale_law():
    n, years = 4000, 20 * DAY
    regime = Regime(
        drift=torch.linspace(-1, 1, n, dtype=torch.float64),
        volatility=0.2 + 0.1 * normal(n).tanh(),
        jump_intensity=20.0,
        jump_mean=-0.05,
        jump_std=0.02,
    )
    paths = RegimeSDE.from_regime(regime).sample(n, 20, years, generator=generator())
    last = 100 * paths.log_price[:, -1].double().exp()
    found = growth_error(last, 100.0, regime.drift, years)
    assert abs(found.value) < 4 * found.error
    wrong = growth_error(last * 1.02, 100.0, regime.drift, years)
    assert wrong.value > 4 * wrong.error


def two_scenarios():
    parts = [
        Component.around("baseline", name, weight, Regime(0.0, sigma), {"volatility": 0.1})
        for name, weight, sigma in (("calm", 0.7, 0.1), ("wild", 0.3, 0.5))
    ]
    return RegimeDistribution(tuple(parts)).resolve(0.2)


def test_scenarios_are_dealt_and_recognised():
    scenarios, n = two_scenarios(), 101
    index = scenarios.allocate(n, generator())
    regime = scenarios.sample(n, generator(1), index)
    regime = regime.replace(initial_volatility=regime.volatility)
    mix = scenario_mix(scenarios, index, label_windows(windows_of(regime, 60), 252.0))
    assert mix.excess < 1
    assert float(mix.dealt.sum()) == pytest.approx(1)
    assert torch.allclose(mix.recognised, mix.requested, atol=0.05)
    assert bool((mix.confusion.diagonal() > 0.95).all())
    with pytest.raises(UserError, match="no field"):
        scenario_mix(scenarios, index, label_windows(windows_of(regime, 20), 252.0), ("sigma",))


def test_ranks_and_distances():
    x = torch.tensor([3.0, 1.0, 3.0, 2.0], dtype=torch.float64)
    assert ranks(x).tolist() == [2.5, 0.0, 2.5, 1.0]
    y = normal(500)
    assert wasserstein(y, y + 0.5) == pytest.approx(0.5)
    assert wasserstein(y, y) == 0
    assert wasserstein(torch.zeros(2).double(), torch.tensor([0.0, 1.0, 1.0]).double()) == (
        pytest.approx(2 / 3)
    )


def test_counterfactual_counts_and_pairs():
    seeds = 200
    level = normal(seeds) * 10
    grid = torch.arange(5).double()[:, None] + level
    found = counterfactual(grid)
    assert found.monotone.value == 1
    assert found.effect.value == pytest.approx(4)
    assert found.effect.error < 1e-9  # the seed's own level cancels
    assert counterfactual(grid, falls=True).monotone.value == 0
    grid[2, :50] = grid[1, :50]
    assert counterfactual(grid).monotone.value == 0.75


def test_cross_talk_of_a_perfect_generator_is_diagonal():
    grids = torch.stack([torch.linspace(-1, 1, 5), torch.linspace(0, 4, 5)]).double()
    base = normal(30, 2)
    recovered = base.expand(2, 5, 30, 2).clone()
    for i in range(2):
        recovered[i, :, :, i] = grids[i][:, None]
    slope, error = cross_talk(grids, recovered, torch.tensor([0.5, 2.0]).double())
    assert torch.allclose(slope, torch.eye(2).double())
    assert float(error.max()) < 1e-12
    recovered[0, :, :, 1] += 0.2 * grids[0][:, None]
    leaking, _ = cross_talk(grids, recovered, torch.tensor([1.0, 1.0]).double())
    assert float(leaking[0, 1]) == pytest.approx(0.2)


def test_more_volatility_is_more_volatility_on_every_seed():
    """sigma on a grid with one noise: realised volatility of every SDE path rises."""
    found = []
    for sigma in (0.1, 0.15, 0.2, 0.3, 0.5):
        regime = Regime(0.0, sigma, vol_of_vol=2 * sigma, initial_volatility=sigma).expand(50)
        closes = windows_of(regime, 20)[..., 3]
        found.append(closes.log().diff(dim=1).square().mean(1).sqrt())
    assert counterfactual(torch.stack(found)).monotone.value > 0.97


def test_mistakes_are_sentences():
    with pytest.raises(UserError, match="one value a path"):
        recovery(normal(3), normal(4))
    with pytest.raises(UserError, match="finite"):
        recovery(normal(3), normal(3) * math.nan)
    with pytest.raises(UserError, match="two points"):
        counterfactual(normal(1, 5))
    with pytest.raises(UserError, match="must move"):
        cross_talk(torch.ones(1, 3).double(), normal(1, 3, 4, 1), torch.ones(1).double())
    with pytest.raises(UserError, match="above 0"):
        growth_error(torch.zeros(3).double(), 1.0, torch.zeros(3).double(), 1.0)
