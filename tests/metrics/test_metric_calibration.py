"""Scores of forecasts: closed forms, the true forecaster, and what a wrong width does."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parfait.metrics.functional.calibration import (
    covered,
    crps,
    energy_score,
    ks_uniform,
    mean_interval,
    pit,
    skill,
)
from parfait.metrics.functional.targets import path_targets
from parfait.utils.errors import UserError

N, M = 2000, 400


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def closed_crps(y):
    """Of N(0, 1): y (2 Phi(y) - 1) + 2 phi(y) - 1/sqrt(pi) (Gneiting & Raftery 2007)."""
    density = torch.exp(-y.square() / 2) / math.sqrt(2 * math.pi)
    return y * torch.erf(y / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)


def test_crps_of_a_normal_is_its_closed_form():
    y = torch.linspace(-3, 3, 61, dtype=torch.float64)
    m = 100_000
    quantiles = torch.special.ndtri((torch.arange(m, dtype=torch.float64) + 0.5) / m)
    found = crps(quantiles.expand(len(y), m), y)
    assert torch.allclose(found, closed_crps(y), atol=1e-4)


def test_crps_is_the_mean_over_pairs():
    x, y = normal(5, 40), normal(5, seed=1)
    pairs = (x[:, :, None] - x[:, None]).abs().mean((1, 2)) / 2
    assert torch.allclose(crps(x, y), (x - y[:, None]).abs().mean(1) - pairs)


def test_one_sample_is_scored_by_its_distance():
    assert crps(torch.tensor([[2.0]]).double(), torch.tensor([5.0]).double()).item() == 3.0


def test_energy_score_of_one_step_is_the_crps():
    x, y = normal(7, 30), normal(7, seed=1)
    assert torch.allclose(energy_score(x[..., None], y[:, None]), crps(x, y))


def test_energy_score_sees_the_order_of_steps():
    """The margins are right in both; only the dependence between the steps differs."""
    common = normal(200, 200)
    truth = normal(200, seed=1)[:, None].expand(-1, 4)
    right = energy_score(common[..., None].expand(-1, -1, 4), truth)
    wrong = energy_score(normal(200, 200, 4), truth)
    gap = wrong - right
    assert float(gap.mean()) > 4 * float(gap.std()) / math.sqrt(len(gap))


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_crps_scales_and_shifts(scale, shift):
    x, y = normal(3, 50), normal(3, seed=1)
    assert torch.allclose(crps(scale * x + shift, scale * y + shift), scale * crps(x, y), rtol=1e-6)


def test_the_true_forecaster_is_uniform_and_covers():
    x, y = normal(N, M), normal(N, seed=1)
    u = pit(x, y, generator())
    assert ks_uniform(u) < 1.95 / math.sqrt(N)  # a thousandth of uniform samples lie above
    for level in (0.5, 0.8, 0.9):
        share = float(covered(x, y, level).mean())
        assert abs(share - level) < 4 * math.sqrt(level * (1 - level) / N)


def test_ties_are_uniform_too():
    """Counts with many ties, of which a plain rank would be a staircase."""
    x = (normal(N, M) * 1.5).round()
    y = (normal(N, seed=1) * 1.5).round()
    assert ks_uniform(pit(x, y, generator())) < 1.95 / math.sqrt(N)


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_a_wrong_width_moves_coverage_and_costs_score(width):
    x, y = normal(N, M), normal(N, seed=1)
    wrong, right = crps(width * x, y), crps(x, y)
    gap = wrong - right
    assert float(gap.mean()) > 4 * float(gap.std()) / math.sqrt(N)
    share = float(covered(width * x, y, 0.9).mean())
    assert share < 0.65 if width < 1 else share > 0.98


def test_ks_of_known_values():
    assert ks_uniform(torch.tensor([0.5], dtype=torch.float64)) == 0.5
    assert ks_uniform(torch.tensor([0.9, 1.0], dtype=torch.float64)) == 0.9


def test_skill_interval_covers_and_is_paired():
    """Common shocks of one date and stretch move both scores: the paired interval ignores them."""
    dates = torch.arange(600).repeat_interleave(2)
    shock = normal(30).exp().repeat_interleave(40)
    rival = shock * (1 + 0.1 * normal(1200, seed=1).abs())
    found = skill(0.9 * rival, rival, dates, 60, generator=generator())
    assert found.value == pytest.approx(0.1)
    assert found.high - found.low < 1e-9
    noisy = skill(rival + 0.05 * normal(1200, seed=2), rival, dates, 60, generator=generator())
    assert noisy.low < 0 < noisy.high


def test_the_interval_grows_with_dependence():
    dates = torch.arange(1200)
    independent = normal(1200)
    clustered = normal(30).repeat_interleave(40)
    narrow, wide = (
        mean_interval(v, dates, 60, generator=generator()) for v in (independent, clustered)
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_order_of_forecasts_does_not_matter():
    score, rival = normal(300).abs(), normal(300, seed=1).abs()
    dates = torch.arange(300)
    turn = torch.randperm(300, generator=generator())
    straight = skill(score, rival, dates, 20, generator=generator())
    turned = skill(score[turn], rival[turn], dates[turn], 20, generator=generator())
    assert straight.low == pytest.approx(turned.low)
    assert straight.value == pytest.approx(turned.value)


def test_mistakes_are_sentences():
    x, y = normal(3, 5), normal(3)
    with pytest.raises(UserError, match="do not fit"):
        crps(x, y[:2])
    with pytest.raises(UserError, match="finite"):
        crps(x, y * math.nan)
    with pytest.raises(UserError, match="level"):
        covered(x, y, 1.0)
    with pytest.raises(UserError, match="same forecasts"):
        skill(y, y, torch.arange(2), 1, generator=generator())
    with pytest.raises(UserError, match="nothing to beat"):
        skill(y, 0 * y, torch.arange(3), 1, generator=generator())


def test_targets_of_a_known_path():
    found = path_targets(torch.tensor([0.1, -0.3, 0.05], dtype=torch.float64))
    assert found["return"].item() == pytest.approx(-0.15)
    assert found["volatility"].item() == pytest.approx(math.sqrt((0.01 + 0.09 + 0.0025) / 3))
    assert found["range"].item() == pytest.approx(0.3)
    assert found["fall"].item() == pytest.approx(0.3)
    rising = path_targets(torch.full((2, 3, 4), 0.01, dtype=torch.float64))
    assert rising["fall"].abs().max() == 0
    assert rising["range"].shape == (2, 3)
