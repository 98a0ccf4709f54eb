"""Scores of mixtures: exact forms agree with draws, the true law wins, calibration is seen."""

import math

import pytest
import torch

from parfait.metrics.functional.calibration import crps, ks_uniform
from parfait.metrics.functional.mixtures import (
    FLOOR,
    Mixtures,
    auroc,
    expected_energy,
    inside,
    reliability,
)
from parfait.metrics.functional.reading import Yardstick
from parfait.regime import Component, Regime, RegimeDistribution


def some_mixtures(n: int, seed: int = 0, d: int = 3, k: int = 3) -> Mixtures:
    g = torch.Generator().manual_seed(seed)
    weights = torch.rand(n, k, generator=g, dtype=torch.float64)
    mean = 2 * torch.randn(n, k, d, generator=g, dtype=torch.float64)
    root = 0.4 * torch.randn(n, k, d, d, generator=g, dtype=torch.float64).tril()
    root = (
        root
        + torch.eye(d, dtype=torch.float64)
        * (0.7 + root.diagonal(dim1=-2, dim2=-1).abs())[..., None]
    )
    return Mixtures(weights / weights.sum(1, keepdim=True), mean, root.tril())


def moved(told: Mixtures, by: float = 0.0, wider: float = 1.0) -> Mixtures:
    return Mixtures(told.weights, told.mean + by, told.cholesky * wider)


def test_a_density_is_that_of_torch() -> None:
    told = some_mixtures(5)
    points = told.draw(7, torch.Generator().manual_seed(1))
    for i in range(5):
        law = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(told.weights[i]),
            torch.distributions.MultivariateNormal(told.mean[i], scale_tril=told.cholesky[i]),
        )
        assert torch.allclose(told.nll(points)[i], -law.log_prob(points[i]))


def test_crps_and_transform_have_the_values_of_many_draws() -> None:
    told = some_mixtures(4)
    point = told.draw(1, torch.Generator().manual_seed(2))
    draws = told.draw(20_000, torch.Generator().manual_seed(3))
    for j in range(3):
        by_draws = crps(draws[..., j], point[:, 0, j])
        assert torch.allclose(told.crps(point)[:, 0, j], by_draws, rtol=0.03, atol=0.01)
        below = (draws[..., j] < point[..., j]).double().mean(1)
        assert torch.allclose(told.cdf(point)[:, 0, j], below, atol=0.015)


def test_a_normal_law_has_the_crps_of_gneiting_and_raftery() -> None:
    """At the centre: sigma (sqrt 2 - 1) / sqrt pi."""
    told = Mixtures.normal(torch.zeros(1, 1).double(), 2 * torch.eye(1).double()[None])
    assert float(told.crps(torch.zeros(1, 1, 1).double())) == pytest.approx(
        2 * (math.sqrt(2) - 1) / math.sqrt(math.pi)
    )


def test_marginals_forget_the_other_coordinates() -> None:
    told = some_mixtures(3)
    point = told.draw(4, torch.Generator().manual_seed(1))
    assert torch.allclose(
        told.of_fields((0, 2)).cdf(point[..., [0, 2]]), told.cdf(point)[..., [0, 2]]
    )


@pytest.mark.parametrize(("by", "wider"), [(0.5, 1.0), (-0.5, 1.0), (0.0, 0.6), (0.0, 1.6)])
def test_whoever_says_the_truth_wins(by: float, wider: float) -> None:
    """NLL, energy and CRPS are proper: any other law scores worse."""
    truth = some_mixtures(300)
    points = truth.draw(16, torch.Generator().manual_seed(4))
    other = moved(truth, by, wider)
    g = torch.Generator().manual_seed(5)
    energies = [expected_energy(law.draw(64, g), points).mean() for law in (truth, other)]
    assert energies[0] < energies[1]
    assert truth.nll(points).mean() < other.nll(points).mean()
    assert truth.crps(points).mean() < other.crps(points).mean()


def test_the_truth_is_calibrated_and_the_confident_are_not() -> None:
    truth = some_mixtures(500)
    points = truth.draw(8, torch.Generator().manual_seed(6))
    for level in (0.5, 0.8, 0.95):
        error = 4 * math.sqrt(level * (1 - level) / (500 * 8))
        assert abs(float(inside(truth.cdf(points)[..., 0], level).mean()) - level) < error
        tight = moved(truth, wider=0.1).cdf(points)[..., 0]
        assert float(inside(tight, level).mean()) < level - 0.05
    assert ks_uniform(truth.cdf(points)[..., 0].flatten()) < 1.95 / math.sqrt(500 * 8)
    assert ks_uniform(moved(truth, by=1.0).cdf(points)[..., 0].flatten()) > 0.2


def test_energy_by_draws_has_no_bias() -> None:
    """Of N(0, 1) against 0: E|X| - E|X - X'|/2 = sqrt(2/pi) - 1/sqrt(pi), however few draws."""
    wanted = math.sqrt(2 / math.pi) - 1 / math.sqrt(math.pi)
    g = torch.Generator().manual_seed(7)
    for m in (2, 16):
        draws = torch.randn(40_000, m, 1, generator=g, dtype=torch.float64)
        found = expected_energy(draws, torch.zeros(40_000, 1, 1, dtype=torch.float64))
        assert float(found.mean()) == pytest.approx(wanted, abs=4 * float(found.std()) / 200)


def test_weights_are_reliable_when_they_are_frequencies() -> None:
    g = torch.Generator().manual_seed(8)
    told = torch.rand(20_000, generator=g, dtype=torch.float64)
    happened = (torch.rand(20_000, generator=g, dtype=torch.float64) < told).double()
    error, diagram = reliability(told, happened)
    assert error < 0.02
    assert sum(n for *_, n in diagram) == 20_000
    assert reliability(told, told)[0] == 0
    bold = (told > 0.5).double()
    assert reliability(bold, happened)[0] > 0.2


def test_area_under_the_curve() -> None:
    low, high = torch.tensor([0.1, 0.2]).double(), torch.tensor([0.3, 0.4]).double()
    assert auroc(low, high) == 1
    assert auroc(high, low) == 0
    assert auroc(low, low) == 0.5


def test_a_reading_is_told_in_units_of_the_prior() -> None:
    unit = Yardstick.of("equity")
    regime = Regime(
        drift=float(0.2 * math.sinh(float(unit.centre[0] + unit.sd[0]))), volatility=0.16
    )
    one = RegimeDistribution((Component.around("trend_up", "up", 1.0, regime),))
    told = Mixtures.of([one], [unit])
    assert float(told.centre[0, 0]) == pytest.approx(1.0)
    assert float(told.centre[0, 1]) == pytest.approx(0.0, abs=1e-9)
    assert float(told.sd[0, 0, 0]) == pytest.approx(FLOOR)
