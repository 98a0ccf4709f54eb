"""The posterior of mean reversion against its definition and known processes."""

import math

import pytest
import torch
from torch import Tensor

from parfait.labels.reversion import HIGH, LOW, reversion_posterior
from tests.labels.windows import (
    YEAR,
    coverage,
    fractional_noise,
    normal,
    per_window,
    reverting_returns,
    uniform,
)


def direct(returns: Tensor, speed: float) -> float:
    """The marginal likelihood as it is written, row by row."""
    y = torch.cat([torch.zeros(1, dtype=torch.float64), returns.cumsum(0)])
    n = len(returns)
    phi = math.exp(-speed)
    q = 1 - phi**2
    line = torch.stack([torch.ones(n + 1), torch.arange(n + 1)], dim=1).to(torch.float64)
    z = torch.cat([line[:1], line[1:] - phi * line[:-1]])
    moved = torch.cat([y[:1], y[1:] - phi * y[:-1]])
    w = torch.full((n + 1,), 1 / q, dtype=torch.float64)
    w[0] = 1.0
    a = z.T @ (w[:, None] * z)
    g = z.T @ (w * moved)
    rest = (w * moved.square()).sum() - g @ torch.linalg.solve(a, g)
    value = -(n - 1) / 2 * rest.log() - n / 2 * math.log(q) - 0.5 * torch.logdet(a)
    return float(value)


@pytest.mark.parametrize("n", [2, 9, 60])
def test_five_numbers_carry_the_likelihood(n: int) -> None:
    returns = 0.01 * normal(1, 3, n) + 0.002
    found = reversion_posterior(returns)
    for i in range(3):
        log_l = torch.tensor(
            [direct(returns[i], float(k)) for k in found.values], dtype=torch.float64
        )
        torch.testing.assert_close(
            found.weights[i], torch.softmax(log_l, dim=0), rtol=1e-4, atol=1e-9
        )
        walk = direct(returns[i], 1e-6)
        evidence = float(torch.logsumexp(log_l, 0)) - math.log(len(log_l)) - walk
        assert float(found.log_bayes[i]) == pytest.approx(evidence, abs=1e-4)


@pytest.mark.parametrize(("n", "bound"), [(60, 1.55), (120, 1.25), (250, 1.0)])
def test_error_and_coverage_under_the_prior_whatever_the_trend(n: int, bound: float) -> None:
    windows = 3000
    speed = LOW * (HIGH / LOW) ** uniform(2, windows)
    returns = reverting_returns(windows, n, speed * YEAR, 3)
    flat, steep = reversion_posterior(returns), reversion_posterior(returns + 7.0)
    torch.testing.assert_close(flat.weights, steep.weights, rtol=1e-5, atol=1e-8)
    centre, spread = flat.moments(flat.values.log())
    assert (centre - speed.log()).square().mean().sqrt() < bound
    assert 0.87 < coverage(speed.log(), centre, spread) < 0.95
    assert abs(((centre - speed.log()) / spread).mean()) < 0.1


def test_scale_and_reversal_change_nothing() -> None:
    returns = normal(4, 30, 25)
    base = reversion_posterior(returns).weights
    for same in (1e-4 * returns, -returns, returns.flip(1)):
        torch.testing.assert_close(reversion_posterior(same).weights, base, rtol=1e-6, atol=1e-9)


def test_evidence_has_mean_one_on_random_walks_and_finds_reversion() -> None:
    ratio = reversion_posterior(normal(5, 20_000, 20)).log_bayes.exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(20_000)
    found = reversion_posterior(reverting_returns(300, 250, 60.0, 6)).log_bayes
    assert (found > math.log(3)).to(torch.float64).mean() > 0.97
    memory = reversion_posterior(fractional_noise(300, 250, 0.8, 7)).log_bayes
    assert (memory < 0).to(torch.float64).mean() > 0.95


def test_nothing_but_a_line_keeps_the_prior() -> None:
    found = reversion_posterior(torch.full((1, 30), 0.01, dtype=torch.float64))
    torch.testing.assert_close(found.weights, per_window(1 / 80, 80)[None], rtol=1e-9, atol=0)
    assert float(found.log_bayes) == pytest.approx(0, abs=1e-12)
