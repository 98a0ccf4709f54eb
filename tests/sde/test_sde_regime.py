"""RegimeSDE: exact mean at every bar, its limits, its memory, and what reversion does to jumps."""

import math

import pytest
import torch

from parfait.regime import Regime
from parfait.sde import OU, Bates, FractionalGBM, Merton, RegimeSDE
from parfait.sde.memory import factor, memory
from parfait.sde.process import phi
from parfait.utils.errors import UserError


def sample(process, n, ref, steps=40, years=0.4, dtype=torch.float64, seed=3):
    return process.sample(n, steps, years, generator=ref.generator(seed), dtype=dtype)


@pytest.mark.parametrize(
    "changes",
    [
        {"hurst": 0.3, "mean_reversion": 0.0, "leverage": -0.9, "vol_of_vol": 1.0},
        {"hurst": 0.85, "mean_reversion": 10.0, "leverage": 0.5, "vol_of_vol": 0.6},
        {"hurst": 0.6, "mean_reversion": 3.0, "jump_intensity": 10.0, "jump_mean": -0.08},
        {"hurst": 0.5, "mean_reversion": 6.0, "jump_intensity": 20.0, "jump_mean": 0.05},
        {"hurst": 0.4, "mean_reversion": 4.0, "vol_of_vol": 0.0, "initial_volatility": 0.3},
    ],
)
@pytest.mark.parametrize(("steps", "years"), [(15, 15 / 252), (40, 1.0)])
def test_mean_is_exact_bar_by_bar(changes, steps, years, ref):
    values = {"volatility": 0.3, "initial_volatility": 0.2, "jump_std": 0.05} | changes
    regime = Regime(drift=0.4, **values).expand(50_000)
    paths = RegimeSDE(regime=regime).sample(50_000, steps, years, generator=ref.generator(8))
    scores = ref.martingale_z(paths, 0.4, years, points=8)
    assert max(abs(z) for z in scores) < 4, scores


def test_without_memory_and_reversion_it_is_bates(ref):
    regime = ref.batch(300)
    ours, bates = (
        sample(RegimeSDE(regime=regime), 300, ref),
        sample(Bates.from_regime(regime), 300, ref),
    )
    assert torch.equal(ours.log_price, bates.log_price)
    assert torch.equal(ours.variance, bates.variance)


@pytest.mark.parametrize(
    ("parent", "changes"),
    [
        (Merton, {"hurst": 0.5, "mean_reversion": 0.0}),
        (OU, {"hurst": 0.5, "jump_intensity": 0.0}),
        (FractionalGBM, {"mean_reversion": 0.0, "jump_intensity": 0.0}),
    ],
)
def test_constant_variance_limits_path_by_path(parent, changes, ref):
    regime = ref.mixed(300, vol_of_vol=0.0, **changes)
    if parent is OU:
        regime = regime.replace(mean_reversion=torch.full((300,), 4.0, dtype=torch.float64))
    if parent is FractionalGBM:
        regime = regime.replace(hurst=torch.full((300,), 0.7, dtype=torch.float64))
    regime = regime.replace(initial_volatility=regime.volatility)
    ours, other = (
        sample(RegimeSDE(regime=regime), 300, ref),
        sample(parent.from_regime(regime), 300, ref),
    )
    torch.testing.assert_close(ours.log_price, other.log_price, atol=1e-12, rtol=0)


def test_rows_are_independent_of_the_classes_around_them(ref):
    regime = ref.mixed(200)
    together = sample(RegimeSDE(regime=regime), 200, ref).log_price
    for row in range(0, 200, 23):
        # One path alone must sit in its own place: repeat it over the whole batch.
        alone = regime[torch.full((200,), row)].replace(
            jump_intensity=regime.jump_intensity,
            jump_mean=regime.jump_mean,
            jump_std=regime.jump_std,
        )
        assert torch.equal(sample(RegimeSDE(regime=alone), 200, ref).log_price[row], together[row])


def filter_rows(lower, decay, spread):
    """B by its definition."""
    n = lower.shape[0]
    rows, previous = [], torch.zeros(n, dtype=torch.float64)
    for k in range(n):
        previous = decay * previous + math.sqrt(spread) * lower[k]
        rows.append(previous)
    return torch.stack(rows)


@pytest.mark.parametrize("kappa_dt", [0.0, 0.03, 2.0])
def test_memory_equals_its_definition(kappa_dt, ref):
    n, width = 20, 5
    u, v = torch.rand((2, n, width), generator=ref.generator(), dtype=torch.float64)
    hurst = torch.tensor([0.3, 0.7, 0.3, 0.98, 0.02], dtype=torch.float64)
    y = torch.full((width,), kappa_dt, dtype=torch.float64)
    noise, q = memory(u, v, hurst, torch.exp(-y), phi(2 * y))
    for i, h in enumerate(hurst.tolist()):
        lower = factor(h, n)
        b = filter_rows(lower, math.exp(-kappa_dt), float(phi(2 * y)[i]))
        torch.testing.assert_close(q[:, i], b**2 @ v[:, i])
        total, summed = torch.zeros(()), []
        for k in range(n):
            total = math.exp(-kappa_dt) * total + noise[k, i]
            summed.append(total)
        torch.testing.assert_close(torch.stack(summed), b @ u[:, i])


@pytest.mark.parametrize("hurst", [0.2, 0.8])
def test_moving_memory_has_the_covariance_of_its_noise(hurst, ref):
    """Variance barely moving: the increments must be fractional noise with the bar's own sd."""
    n, steps, sigma = 40_000, 12, 0.3
    regime = Regime(
        drift=0.0, volatility=sigma, hurst=hurst, vol_of_vol=0.01, initial_volatility=sigma
    ).expand(n)
    x = sample(RegimeSDE(regime=regime), n, ref, steps, steps / 252).log_price.diff(dim=1)
    lower = factor(hurst, steps)
    got = torch.cov(x.T) / (sigma**2 / 252)
    assert (got - lower @ lower.T).abs().max() < 4.5 * math.sqrt(2 / n) + 0.01


def test_slow_reversion_approaches_none(ref):
    def paths(kappa):
        regime = ref.batch(200, hurst=0.6, mean_reversion=kappa)
        return sample(RegimeSDE(regime=regime), 200, ref).log_price

    gaps = [float((paths(k) - paths(0.0)).abs().max()) for k in (0.3, 0.03, 0.003)]
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]
    assert gaps[2] < 1e-3


def test_reversion_pulls_jumps_back(ref):
    """With next to no diffusion the path is the decaying sum of its jumps."""
    regime = Regime(
        drift=0.0,
        volatility=1e-3,
        jump_intensity=6.0,
        jump_mean=-0.2,
        mean_reversion=20.0,
        vol_of_vol=0.0,
    ).expand(100)
    steps, years = 50, 0.5
    paths = sample(RegimeSDE(regime=regime, compensate=False), 100, ref, steps, years)
    expected = torch.zeros(100, dtype=torch.float64)
    for k in range(steps):
        expected = math.exp(-20.0 * years / steps) * expected + paths.jumps[:, k]
        assert (paths.log_price[:, k + 1] - expected).abs().max() < 1e-3
    assert paths.jumps.min() < -0.19  # some did jump


def test_without_compensation_jumps_add_to_the_drift(ref):
    n, years = 60_000, 0.5
    regime = ref.batch(n, drift=0.1, jump_intensity=6.0, hurst=0.6, jump_mean=-0.03, jump_std=0.05)
    paths = RegimeSDE(regime=regime, compensate=False).sample(
        n, 16, years, generator=ref.generator(1)
    )
    kbar = math.expm1(-0.03 + 0.5 * 0.05**2)
    assert max(abs(z) for z in ref.martingale_z(paths, 0.1 + 6.0 * kbar, years)) < 4


def test_too_many_steps_with_memory_are_refused(ref):
    regime = Regime(drift=0.0, volatility=0.2, hurst=0.7).expand(2)
    with pytest.raises(UserError, match="4097 steps are too many for memory"):
        RegimeSDE(regime=regime).sample(2, 4097, 16.0, generator=ref.generator())


def test_a_batch_of_another_size_is_refused(ref):
    with pytest.raises(UserError, match=r"RegimeSDE.regime has shape \(3,\); give one regime"):
        RegimeSDE(regime=ref.batch(3)).sample(4, 5, 0.1, generator=ref.generator())
