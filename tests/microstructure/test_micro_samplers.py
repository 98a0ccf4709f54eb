"""Samplers against closed forms: no network, the ideal denoiser of a Gaussian."""

import math

import pytest
import torch

from parfait.microstructure.codec import RETURN
from parfait.microstructure.constraint import Segments
from parfait.microstructure.diffusion import EDM, diffusion_loss, network_target
from parfait.microstructure.samplers import SAMPLERS
from parfait.microstructure.training import regular_anchors


def gain(name: str, steps: int, variance: float, diffusion: EDM | None = None) -> float:
    """Output sd over true sd for x0 ~ N(0, variance): D = c/(c + sigma^2) x makes it a number."""
    diffusion = diffusion or EDM()

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return variance / (variance + sigma**2) * x

    start = torch.tensor([math.sqrt(diffusion.sigma_max**2 + 1)], dtype=torch.float64)
    # The forward marginal at sigma_max has sd sqrt(sigma_max^2 + c), not + 1: divide that out.
    exact = math.sqrt((diffusion.sigma_max**2 + 1) / (diffusion.sigma_max**2 + variance))
    out = SAMPLERS[name](denoise, start, diffusion.grid(steps)).item()
    return out / exact / math.sqrt(variance)


@pytest.mark.parametrize(
    ("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("angle_euler", 1)]
)
def test_convergence_order(name: str, order: int) -> None:
    """Error against steps, down to the residue of stopping at sigma_min (made negligible here)."""
    diffusion = EDM(sigma_min=1e-4)
    errors = [abs(gain(name, n, 0.25, diffusion) - 1) for n in (80, 160, 320)]
    slope = math.log2(errors[1] / errors[2])
    assert slope > order - 0.25, errors


@pytest.mark.parametrize("steps", [1, 3, 6, 10])
def test_angle_euler_is_exact_for_unit_variance(steps: int) -> None:
    assert gain("angle_euler", steps, 1.0) == pytest.approx(1.0, abs=1e-12)


def test_few_step_bias_is_what_the_defaults_were_chosen_on() -> None:
    assert abs(gain("angle_euler", 6, 0.25) - 1) < 0.03
    assert abs(gain("dpmpp_2m", 10, 1.0) - 1) < 0.06
    assert gain("euler", 10, 1.0) < 0.90  # too calm: why Euler is no default
    assert gain("heun", 5, 1.0) > 1.2  # too wild


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_iterates_stay_in_the_null_space(name: str) -> None:
    segments = Segments.from_anchors(regular_anchors(3, 12, 4))
    g = torch.Generator().manual_seed(0)
    weights = torch.randn(12, 12, generator=g, dtype=torch.float64)
    seen: list[torch.Tensor] = []

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.append(x)
        return segments.project(torch.tanh(x @ weights))

    start = segments.project(torch.randn(3, 5, 12, generator=g, dtype=torch.float64)) * 10
    seen.append(SAMPLERS[name](denoise, start, EDM().grid(8)))
    for x in seen:
        assert segments.spread(x[:, RETURN]).abs().max() < 1e-5


def test_grid_falls_to_zero() -> None:
    grid = EDM().grid(10)
    assert grid[0] == pytest.approx(10.0)
    assert grid[-2] == pytest.approx(0.02)
    assert grid[-1] == 0
    assert bool((torch.diff(grid) < 0).all())


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 10.0])
def test_preconditioning_has_unit_variance_input_and_target(sigma: float) -> None:
    g = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(50000, generator=g, dtype=torch.float64) for _ in range(2))
    scaled, target = network_target(x0, noise, torch.tensor(sigma, dtype=torch.float64))
    assert scaled.var().item() == pytest.approx(1, abs=0.02)
    assert target.var().item() == pytest.approx(1, abs=0.02)
    root = math.sqrt(1 + sigma**2)
    denoised = (x0 + sigma * noise) / root**2 + sigma / root * target
    assert torch.allclose(denoised, x0, atol=1e-10)  # D = c_skip x + c_out F inverts the target


def test_loss_of_a_zero_network_is_one_whatever_the_anchors() -> None:
    g = torch.Generator().manual_seed(0)
    for every in (1, 2, 4, 0, -1):
        segments = Segments.from_anchors(regular_anchors(2000, 16, every))
        x0, noise = (segments.project(torch.randn(2000, 5, 16, generator=g)) for _ in range(2))
        sigma = EDM().draw_sigma(2000, g)
        loss = diffusion_loss(lambda x, c: torch.zeros_like(x), x0, noise, sigma, segments)
        assert loss.item() == pytest.approx(1.0, abs=0.02)


def test_training_noise_law() -> None:
    log_sigma = EDM(p_mean=-0.4, p_std=1.3).draw_sigma(4096, torch.Generator().manual_seed(0)).log()
    assert log_sigma.mean().item() == pytest.approx(-0.4, abs=0.01)
    assert log_sigma.std().item() == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize("name", ["dpmpp_2m", "heun", "angle_euler"])
def test_conditional_gaussian_is_sampled_with_its_covariance(name: str) -> None:
    """Ideal denoiser of N(0, C) given the guide: mean and covariance inside null(A) come out."""
    t, n = 8, 60000
    index = torch.arange(t, dtype=torch.float64)
    c = 0.6 ** (index[:, None] - index[None, :]).abs()
    a = torch.zeros(2, t, dtype=torch.float64)
    a[0, :4], a[1, 4:] = 1, 1
    g_obs = torch.tensor([1.0, -2.0], dtype=torch.float64)
    k = c @ a.T @ torch.linalg.inv(a @ c @ a.T)
    p = torch.eye(t, dtype=torch.float64) - torch.linalg.pinv(a) @ a
    mean = p @ (k @ g_obs)
    cov = p @ (c - k @ a @ c) @ p
    segments = Segments.from_anchors(regular_anchors(n, t, 4))

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        inverse = torch.linalg.pinv(cov + sigma**2 * p, rtol=1e-10)
        d = x.clone()
        d[:, RETURN] = mean + (x[:, RETURN] - mean) @ (cov @ inverse).T
        return d

    noise = torch.randn(n, 5, t, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = segments.project(noise) * math.sqrt(EDM(sigma_max=40.0).sigma_max ** 2 + 1)
    out = SAMPLERS[name](denoise, start, EDM(sigma_max=40.0).grid(60))[:, RETURN]
    assert torch.allclose(out.mean(0), mean, atol=0.03)
    assert torch.allclose(torch.cov(out.T), cov, atol=0.04)
