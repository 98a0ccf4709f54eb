"""The Hurst posterior against its definition, its targets and its limits."""

import math

import pytest
import torch
from torch import Tensor

from parfait.labels.grid import chebyshev_interpolation, chebyshev_nodes
from parfait.labels.hurst import autocovariance, hurst_posterior
from parfait.regime.fields import to_coordinate
from tests.labels.windows import YEAR, coverage, fractional_noise, normal, per_window

EXPONENTS = (0.1, 0.3, 0.5, 0.7, 0.9)


def mean_variance(windows: int) -> Tensor:
    return per_window(1 / YEAR, windows)


def test_polynomials_are_interpolated_exactly() -> None:
    nodes = chebyshev_nodes(-1.0, 2.0, 6)
    points = torch.linspace(-1, 2, 13, dtype=torch.float64)
    values = (nodes**5 - 3 * nodes**2) @ chebyshev_interpolation(nodes, points)
    torch.testing.assert_close(values, points**5 - 3 * points**2, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n", [7, 30])
def test_weights_are_the_normal_density_with_its_scale_integrated_out(n: int) -> None:
    returns, a = normal(1, 2, n), torch.tensor([0.004, 0.3], dtype=torch.float64)
    found = hurst_posterior(returns, a)
    lag = torch.arange(n)
    for i in range(2):
        log_l = []
        for h in found.values:
            r = autocovariance(h[None], n)[0][(lag[:, None] - lag).abs()] + a[i]
            q = returns[i] @ torch.linalg.solve(r, returns[i])
            log_l.append(-0.5 * torch.logdet(r) - n / 2 * q.log())
        expected = torch.softmax(torch.stack(log_l), dim=0)
        torch.testing.assert_close(found.weights[i], expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "bound", "whittle"), [(20, 0.159, 0.172), (60, 0.085, 0.09), (250, 0.04, 0.042)]
)
def test_error_and_coverage_on_fractional_noise(n: int, bound: float, whittle: float) -> None:
    windows = 1500 if n < 100 else 500
    squares: dict[str, list[Tensor]] = {"exact": [], "whittle": []}
    covered = []
    drift = normal(2, windows)[:, None] / math.sqrt(YEAR)  # Sharpe ratios of sd 1
    for k, h in enumerate(EXPONENTS):
        returns = fractional_noise(windows, n, h, 10 + k) + drift
        for kind, found in squares.items():
            posterior = hurst_posterior(returns, mean_variance(windows), kind)
            found.append((posterior.moments()[0] - h).square().mean())
            if kind == "exact":
                coordinate = to_coordinate("hurst", posterior.values)
                truth = to_coordinate("hurst", per_window(h, windows))
                covered.append(coverage(truth, *posterior.moments(coordinate)))
    exact, approximate = (torch.stack(squares[kind]).mean().sqrt() for kind in squares)
    assert exact < bound
    assert exact < approximate < whittle
    assert 0.87 < sum(covered) / len(covered) < 0.97
    assert min(covered) > 0.85


def test_whittle_agrees_with_the_exact_likelihood_on_long_windows() -> None:
    returns = fractional_noise(300, 250, 0.7, 3)
    exact, whittle = (
        hurst_posterior(returns, mean_variance(300), kind).moments()
        for kind in ("exact", "whittle")
    )
    assert (exact[0] - whittle[0]).square().mean().sqrt() < 0.6 * exact[1].mean()
    assert (exact[1] / whittle[1]).mean() == pytest.approx(1, abs=0.1)


def test_reversal_and_scale_change_nothing_and_a_flat_mean_forgets_the_drift() -> None:
    returns = fractional_noise(40, 41, 0.3, 4)
    flat = per_window(1e9, 40)
    base = hurst_posterior(returns, mean_variance(40)).weights
    for same in (returns.flip(1), 1e-3 * returns, -returns):
        torch.testing.assert_close(
            hurst_posterior(same, mean_variance(40)).weights, base, rtol=1e-8, atol=1e-10
        )
    torch.testing.assert_close(
        hurst_posterior(returns + 5.0, flat).weights,
        hurst_posterior(returns, flat).weights,
        rtol=1e-4,
        atol=1e-6,
    )


def test_spread_falls_with_length_from_the_prior() -> None:
    spreads = [
        hurst_posterior(fractional_noise(200, n, 0.5, 5), mean_variance(200)).moments()[1].mean()
        for n in (2, 5, 20, 60, 250)
    ]
    assert spreads == sorted(spreads, reverse=True)
    silent = hurst_posterior(torch.zeros(1, 9, dtype=torch.float64), mean_variance(1))
    assert float(silent.moments()[0]) == pytest.approx(0.5)
    assert float(silent.moments()[1]) == pytest.approx(0.96 / math.sqrt(12), rel=0.03)
    assert float(silent.log_bayes) == pytest.approx(0, abs=1e-12)
    assert spreads[0] == pytest.approx(float(silent.moments()[1]), rel=0.15)


def test_evidence_is_a_ratio_of_likelihoods() -> None:
    """Under H = 1/2 its mean is 1 (Ville); memory raises it."""
    white = hurst_posterior(normal(6, 20_000, 12), per_window(1e-9, 20_000)).log_bayes.exp()
    assert abs(white.mean() - 1) < 4 * white.std() / math.sqrt(20_000)
    strong = hurst_posterior(fractional_noise(200, 120, 0.8, 7), mean_variance(200))
    assert (strong.log_bayes > math.log(3)).to(torch.float64).mean() > 0.9
