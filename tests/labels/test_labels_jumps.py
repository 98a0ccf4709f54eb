"""What is diffusion and what are jumps, on windows whose truth is known."""

import math

import pytest
import torch
from torch import Tensor

from parfait.labels import total_variance, yang_zhang
from parfait.labels.jumps import split_jumps
from parfait.labels.volatility import close_to_close, truncated_variance, window_parts
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import to_coordinate
from tests.labels.windows import (
    YEAR,
    brownian_bars,
    coverage,
    labelled,
    merton_bars,
    normal,
    per_window,
    uniform,
)

PLAIN = {"sigma": 0.2, "intensity": 20.0, "mean": 0.0, "spread": 0.05}


def plain_bars(windows: int, n: int, seed: int) -> Tensor:
    values = {name: per_window(value, windows) for name, value in PLAIN.items()}
    growth = 0.3 * normal(seed + 1, windows)
    return merton_bars(n, **values, growth=growth, seed=seed)


def test_truncation_is_unbiased_without_jumps_and_robust_with_them() -> None:
    noise = normal(1, 4000, 60)
    v = truncated_variance(noise)
    assert abs(v.mean() - 1) < 4 * v.std() / math.sqrt(4000) + 0.02  # the median is estimated, too
    noise[:, [10, 30, 50]] += torch.tensor([8.0, -8.0, 8.0], dtype=torch.float64)
    assert 0.95 < truncated_variance(noise).mean() < 1.1
    assert noise.var(dim=1).mean() > 3
    few = truncated_variance(torch.tensor([[0.0, 3.0]], dtype=torch.float64))
    assert bool(torch.isfinite(few).all())


@pytest.mark.parametrize(("n", "bound"), [(20, 0.11), (60, 0.07), (250, 0.04)])
def test_diffusion_is_measured_beside_jumps(n: int, bound: float) -> None:
    bars = plain_bars(60_000 // n, n, 2)
    variance = split_jumps(window_parts(bars)).variance
    error = 0.5 * (variance * YEAR / PLAIN["sigma"] ** 2).log()
    assert error.square().mean().sqrt() < bound
    assert abs(error.mean()) < 0.03
    closes = 0.5 * (close_to_close(bars) * YEAR / PLAIN["sigma"] ** 2).log()
    assert closes.square().mean().sqrt() > 4 * bound


def test_total_variance_adds_up_and_ranges_alone_miss_jumps() -> None:
    """E total = sigma^2 + lambda (m^2 + s^2); Yang-Zhang sees part of a jump inside a bar."""
    bars = plain_bars(2000, 60, 3)
    truth = (PLAIN["sigma"] ** 2 + PLAIN["intensity"] * PLAIN["spread"] ** 2) / YEAR
    total = total_variance(bars) / truth
    assert abs(total.mean() - 1) < 4 * total.std() / math.sqrt(2000) + 0.02
    assert yang_zhang(bars).mean() / truth < 0.8
    calm = brownian_bars(3000, 60, 0.01, 0.0, 0.2, 4)
    assert 0.99 < total_variance(calm).mean() / 1e-4 < 1.03


def test_range_correction_scales_what_ranges_say() -> None:
    bars = brownian_bars(100, 60, 0.01, 0.0, 0.2, 5)
    plain, larger = (split_jumps(window_parts(bars, b)).variance for b in (1.0, 1.1))
    assert (larger / plain).median() == pytest.approx(1.21, rel=0.02)


@pytest.mark.parametrize("n", [20, 60, 250])
def test_intervals_cover_on_the_prior_of_the_jumps(n: int) -> None:
    windows = 2000 if n < 100 else 800
    sigma = 0.05 * 16 ** uniform(6, windows)
    intensity = (8 * torch.exp(1.2 * normal(7, windows))).clamp_max(100)
    spread = (0.05 * torch.exp(0.5 * normal(8, windows)) - 0.01).clamp_min(1e-3)
    mean = 0.03 * normal(9, windows)
    growth = sigma * normal(10, windows)
    bars = merton_bars(n, sigma, intensity, mean, spread, growth, 11)
    labels = labelled(bars, YEAR)
    truth = {
        "volatility": sigma,
        "jump_intensity": intensity,
        "jump_mean": mean,
        "jump_std": spread,
        "drift": growth
        + sigma.square() / 2
        + intensity * (torch.exp(mean + spread**2 / 2) - 1 - mean),
    }
    for name, value in truth.items():
        j = FIELD_NAMES.index(name)
        share = coverage(to_coordinate(name, value), labels.loc[:, j], labels.scale[:, j])
        assert 0.87 < share < (0.97 if name == "drift" else 0.95), name


@pytest.mark.parametrize("n", [20, 60, 250])
def test_intervals_cover_on_one_plain_market(n: int) -> None:
    windows = 1500 if n < 100 else 800
    bars = plain_bars(windows, n, 12)
    labels = labelled(bars, YEAR)
    growth = 0.3 * normal(13, windows)
    drift = growth + 0.02 + 20 * math.expm1(0.05**2 / 2)
    for name, value in (("volatility", per_window(0.2, windows)), ("drift", drift)):
        j = FIELD_NAMES.index(name)
        share = coverage(to_coordinate(name, value), labels.loc[:, j], labels.scale[:, j])
        assert 0.82 < share < 0.97, name


def test_many_jumps_do_not_mask_each_other() -> None:
    """Three moves of 10 % in 20 returns stay within three of their own standard deviations."""
    bars = brownian_bars(200, 20, 0.01, 0.0, 0.2, 14)
    for t, size in ((5, 0.1), (10, -0.1), (15, 0.1)):
        bars[:, t, 1:4] *= math.exp(size) if size > 0 else 1.0
        bars[:, t, 2:4] *= math.exp(size) if size < 0 else 1.0
        bars[:, t + 1 :, :4] *= math.exp(size)
        bars[:, t, 2] = bars[:, t, [0, 2, 3]].amin(dim=1)
        bars[:, t, 1] = bars[:, t, [0, 1, 3]].amax(dim=1)
    split = split_jumps(window_parts(bars))
    assert bool((split.probability[:, [4, 9, 14]] > 0.99).all())
    assert 2.8 < split.probability.sum(dim=1).mean() < 3.6
    labels = labelled(bars, YEAR)
    assert labels.mean.volatility.mean() == pytest.approx(0.01 * math.sqrt(YEAR), rel=0.05)
    assert bool(labels.flagged("jumps").all())
    assert bool((labels.quantile(0.05).jump_intensity > 5).all())


def test_where_most_bars_jump_they_are_the_diffusion() -> None:
    sigma = per_window(0.05, 300)
    intensity, spread = per_window(400.0, 300), per_window(0.06, 300)
    bars = merton_bars(60, sigma, intensity, 0 * sigma, spread, 0 * sigma, 15)
    labels = labelled(bars, YEAR)
    assert bool(torch.isfinite(labels.loc).all())
    total = labels.total_volatility / math.sqrt(0.05**2 + 400 * 0.06**2)
    assert 0.85 < total.mean() < 1.1
