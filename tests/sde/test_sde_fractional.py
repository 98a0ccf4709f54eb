"""Fractional noise: its covariance, its anchor, its limits."""

import math

import pytest
import torch

from parfait.sde import GBM, FractionalGBM
from parfait.sde.fractional import autocovariance, fractional_noise, reverting_variance


def gamma_matrix(hurst, n):
    lag = torch.arange(n)
    gamma = autocovariance(torch.tensor(hurst, dtype=torch.float64), n)
    return gamma[(lag[:, None] - lag).abs()]


@pytest.mark.parametrize("n", [1, 2, 7, 24])
def test_noise_has_its_whole_covariance_for_every_hurst(n, ref):
    paths = 40_000
    exponents = torch.tensor([0.02, 0.2, 0.5, 0.75, 0.98], dtype=torch.float64)
    hurst = exponents.repeat_interleave(paths)
    white = torch.randn((2 * n, hurst.numel()), generator=ref.generator(n))
    noise = fractional_noise(white, hurst).double()
    for i, h in enumerate(exponents.tolist()):
        g = noise[:, i * paths : (i + 1) * paths]
        exact = gamma_matrix(h, n)
        # Var of a sample covariance of Gaussians: (c_ii c_jj + c_ij^2) / paths <= 2 / paths.
        assert ((g @ g.T) / paths - exact).abs().max() < 4.5 * math.sqrt(2 / paths)
        assert g.mean(dim=1).abs().max() < 4.5 / math.sqrt(paths)


def test_the_spectrum_is_positive_for_every_hurst():
    """What makes the method exact: no eigenvalue is clipped away."""
    hurst = torch.arange(1, 1000, dtype=torch.float64) / 1000
    for n in (2, 3, 64, 252, 1000):
        gamma = autocovariance(hurst, n + 1)
        row = torch.cat([gamma, gamma[:, 1:n].flip(1)], dim=1)
        assert torch.fft.rfft(row).real.min() > 0


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_bar_anchor_keeps_the_bar_and_grows_with_k_to_the_h(hurst, ref):
    n, sigma, steps, years = 40_000, 0.2, 64, 64 / 252
    process = FractionalGBM(mu=0.0, sigma=sigma, hurst=hurst)
    x = process.sample(n, steps, years, generator=ref.generator()).log_price.double()
    bar = sigma / math.sqrt(252)
    for k in (1, 4, 16, 64):
        assert x[:, k].std() / (bar * k**hurst) == pytest.approx(1, abs=4 * math.sqrt(0.5 / n))


def test_year_anchor_is_the_textbook_one(ref):
    n, hurst = 40_000, 0.7
    process = FractionalGBM(mu=0.0, sigma=0.2, hurst=hurst, vol_anchor="year")
    x = process.sample(n, 32, 2.0, generator=ref.generator()).log_price.double()
    for k, t in ((1, 1 / 16), (16, 1.0), (32, 2.0)):
        assert x[:, k].std() / (0.2 * t**hurst) == pytest.approx(1, abs=4 * math.sqrt(0.5 / n))
    paths = process.sample(n, 32, 2.0, generator=ref.generator(5))
    assert max(abs(z) for z in ref.martingale_z(paths, 0.0, 2.0)) < 4


def test_no_memory_is_gbm_in_law(ref):
    n = 40_000
    x, y = (
        p.sample(n, 8, 0.5, generator=ref.generator(s)).log_price.diff(dim=1).double()
        for p, s in ((FractionalGBM(mu=0.1, sigma=0.3, hurst=0.5), 1), (GBM(mu=0.1, sigma=0.3), 2))
    )
    sd = 0.3 * math.sqrt(0.5 / 8)
    assert (x.mean(0) - y.mean(0)).abs().max() < 4.5 * sd * math.sqrt(2 / n)
    off = torch.corrcoef(x.T) - torch.eye(8, dtype=torch.float64)
    assert off.abs().max() < 4.5 / math.sqrt(n)


@pytest.mark.parametrize("hurst", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("decay", [1.0, 0.97, 0.2])
def test_reverting_variance_equals_the_double_sum(hurst, decay):
    n = 30
    rows = reverting_variance(
        torch.tensor([hurst], dtype=torch.float64), torch.tensor([decay], dtype=torch.float64), n
    )
    got = torch.cat(list(rows))
    covariance = gamma_matrix(hurst, n)
    for k in range(1, n + 1):
        weight = decay ** torch.arange(k - 1, -1, -1, dtype=torch.float64)
        exact = weight @ covariance[:k, :k] @ weight
        assert float(got[k - 1]) == pytest.approx(float(exact), rel=1e-10)
        if decay == 1.0:
            assert float(got[k - 1]) == pytest.approx(k ** (2 * hurst), rel=1e-10)
