"""Mean reversion of the log price."""

import math

import pytest
import torch

from parfait.sde import GBM, OU


@pytest.mark.parametrize(("steps", "years"), [(5, 0.1), (40, 2.0)])
def test_moments(steps, years, ref):
    n, kappa, sigma = 60_000, 3.0, 0.3
    x = OU(mu=0.1, sigma=sigma, kappa=kappa).sample(n, steps, years, generator=ref.generator())
    x = x.log_price.double()
    for k in (1, steps // 2, steps):
        t = years * k / steps
        variance = sigma**2 * -math.expm1(-2 * kappa * t) / (2 * kappa)
        assert abs(x[:, k].var() / variance - 1) < 4 * math.sqrt(2 / n)
        assert abs(x[:, k].mean() - (0.1 * t - variance / 2)) < 4 * math.sqrt(variance / n)
    lag = years * (steps - steps // 2) / steps
    pair = torch.cov(x[:, [steps // 2, steps]].T)
    assert pair[0, 1] / pair[0, 0] == pytest.approx(math.exp(-kappa * lag), abs=0.02)


def test_no_reversion_is_gbm_path_by_path(ref):
    ou, gbm = (
        p.sample(200, 60, 1.0, generator=ref.generator(), dtype=torch.float64).log_price
        for p in (OU(mu=0.1, sigma=0.3, kappa=0.0), GBM(mu=0.1, sigma=0.3))
    )
    torch.testing.assert_close(ou, gbm, atol=1e-12, rtol=0)


def test_textbook_form_goes_to_its_level(ref):
    n, theta = 40_000, torch.tensor([-0.2, 0.5]).repeat(20_000)
    process = OU(mu=5.0, sigma=0.2, kappa=2.0, theta=theta)
    x = process.sample(n, 10, 1.0, generator=ref.generator()).log_price[:, -1]
    for level in (-0.2, 0.5):
        some = x[theta == level].double()
        se = float(some.std()) / math.sqrt(n / 2)
        assert abs(float(some.mean()) - level * -math.expm1(-2.0)) < 4 * se


def test_a_huge_pull_stays_finite(ref):
    x = OU(mu=0.1, sigma=0.2, kappa=1e4).sample(50, 252, 5.0, generator=ref.generator()).log_price
    assert torch.isfinite(x).all()
    assert x.diff(dim=1).abs().max() < 0.05
