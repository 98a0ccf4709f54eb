"""Risk numbers and alignment against closed forms."""

import math

import pytest
import torch

from parfait.checks import (
    Outcomes,
    alignment,
    expected_shortfall,
    horizon_variance,
    max_drawdowns,
    risk_measures,
    terminal_losses,
    value_at_risk,
)
from parfait.regime import Regime


def test_var_and_es_of_the_first_hundred_numbers():
    losses = torch.arange(1, 101, dtype=torch.float64)[torch.randperm(100)]
    assert value_at_risk(losses) == 95
    assert expected_shortfall(losses) == pytest.approx((96 + 97 + 98 + 99 + 100) / 5)


def test_es_counts_the_boundary_loss_in_part():
    losses = torch.tensor([5.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert expected_shortfall(losses, 0.7) == pytest.approx((5 + 0.5 * 4) / 1.5)
    assert value_at_risk(losses, 0.7) == 4


def test_one_path_has_its_own_loss_as_var_and_es():
    losses = torch.tensor([0.3], dtype=torch.float64)
    assert value_at_risk(losses) == expected_shortfall(losses) == 0.3


def test_es_of_a_normal_sample_meets_its_closed_form():
    generator = torch.Generator().manual_seed(0)
    losses = torch.randn(200_000, generator=generator, dtype=torch.float64)
    density = math.exp(-(1.6448536**2) / 2) / math.sqrt(2 * math.pi)
    assert value_at_risk(losses) == pytest.approx(1.6449, abs=0.015)
    assert expected_shortfall(losses) == pytest.approx(density / 0.05, abs=0.02)
    assert expected_shortfall(losses) >= value_at_risk(losses)


def test_drawdown_starts_at_the_spot_and_looks_back_only():
    close = torch.tensor(
        [[90, 120, 60, 80], [101, 102, 103, 104], [80, 70, 100, 150]], dtype=torch.float64
    )
    assert max_drawdowns(close, 100.0).tolist() == pytest.approx([0.5, 0.0, 0.3])
    assert terminal_losses(close, 100.0).tolist() == pytest.approx([0.2, -0.04, -0.5])


def test_losses_are_positive_numbers_in_the_risk_table():
    falling = torch.linspace(99, 80, 20, dtype=torch.float64).expand(10, 20)
    risk = risk_measures(falling, 100.0)
    assert risk["VaR95"] == pytest.approx(0.2)
    assert risk["ES95"] == pytest.approx(0.2)
    assert list(risk["max_drawdown"]) == ["q50", "q90", "q95", "q99"]
    assert all(value == pytest.approx(0.2) for value in risk["max_drawdown"].values())


def test_horizon_variance_limits():
    regime = Regime(0.0, 0.2, 10.0, -0.03, 0.04, variance_reversion=4.0, initial_volatility=0.5)
    one = regime.expand(1)
    jumps = 10 * (0.03**2 + 0.04**2)

    def variance(years: float, with_jumps: bool = False) -> float:
        return horizon_variance(one, years, jumps=with_jumps).item()

    assert variance(1e-9) == pytest.approx(0.25, rel=1e-6)
    assert variance(1e6) == pytest.approx(0.04, rel=1e-4)
    assert variance(1.0, True) - variance(1.0) == pytest.approx(jumps)
    # The mean of the square-root process, integrated numerically.
    grid = torch.linspace(0, 0.7, 20_001, dtype=torch.float64)
    mean = torch.trapezoid(0.04 + 0.21 * (-4 * grid).exp(), grid) / 0.7
    assert variance(0.7) == pytest.approx(mean.item(), rel=1e-7)


def test_alignment_recovers_brownian_bars_by_scenario():
    n, steps, inner, sigma = 200, 30, 400, (0.2, 0.6)
    generator = torch.Generator().manual_seed(1)
    scenario = torch.arange(n) // (n // 2)
    level = torch.tensor(sigma, dtype=torch.float64)[scenario]
    dt = 1 / (252 * inner)
    noise = torch.randn(n, steps * inner, generator=generator, dtype=torch.float64)
    log = ((-0.5 * level**2)[:, None] * dt + level[:, None] * dt**0.5 * noise).cumsum(1)
    log = torch.cat([torch.zeros(n, 1, dtype=torch.float64), log], dim=1).exp() * 50
    windows = log.unfold(1, inner + 1, inner)
    bars = torch.stack(
        [windows[..., 0], windows.amax(-1), windows.amin(-1), windows[..., -1], windows[..., 0]],
        dim=-1,
    )
    regime = Regime(torch.zeros(n, dtype=torch.float64), level)
    outcomes = Outcomes.of(bars, 50.0, regime, level**2, 252.0)
    found = alignment(outcomes, scenario, steps / 252)
    by_key = {(a.field, a.scenario): a for a in found}
    assert set(by_key) == {(f, k) for f in ("drift", "volatility") for k in (0, 1, None)}
    for k, asked in enumerate(sigma):
        item = by_key["volatility", k]
        assert item.requested == pytest.approx(asked)
        assert item.recovered == pytest.approx(asked, rel=0.08)  # coarse ranges read a little low
    assert by_key["volatility", None].requested == pytest.approx(math.hypot(*sigma) / math.sqrt(2))
    drift = by_key["drift", None]
    assert drift.requested == 0
    assert abs(drift.recovered) < 4 * drift.standard_error
    years = steps / 252
    expected = math.sqrt(sum(math.expm1(s**2 * years) for s in sigma) / 2 / n) / years
    assert drift.standard_error == pytest.approx(expected, rel=0.15)
