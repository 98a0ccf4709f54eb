"""Train on synthetic, and the joint score of VaR and ES."""

import math

import pytest
import torch

from parfait.metrics.functional.utility import (
    fz0,
    tail_forecast,
    tail_risk,
    train_on_synthetic,
    volatility_rows,
)
from parfait.metrics.probes import path_bars
from parfait.regime import Regime
from parfait.sde import RegimeSDE
from parfait.utils.errors import UserError

Z95, DENSITY = 1.6448536269514722, 0.10313564037537139  # of the standard normal at 5 %


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def market(paths, seed, vol_of_vol=1.0):
    """60 bars of a market whose volatility moves, and differs between paths."""
    spread = torch.randn(paths, generator=generator(seed), dtype=torch.float64)
    sigma = 0.2 * (0.4 * spread).exp()
    regime = Regime(torch.zeros(paths).double(), sigma, vol_of_vol=vol_of_vol).resolve()
    sampled = RegimeSDE.from_regime(regime).sample(
        paths, 60, 60 / 252, generator=generator(seed + 1), dtype=torch.float64
    )
    return path_bars(sampled, 100.0, 1 / 252, generator(seed + 2))


def test_features_and_targets_are_those_of_their_bars():
    bars = market(2, 0)[:, :30]
    x, y = volatility_rows(bars)
    r2 = bars[..., 3].log().diff(dim=1).square()
    ranged = (bars[..., 1] / bars[..., 2]).log().square()[:, 1:]
    assert x.shape == (2 * 3, 6)
    assert float(x[0, 2]) == pytest.approx(math.log(float(r2[0, :22].mean())), abs=1e-9)
    assert float(x[1, 0]) == pytest.approx(math.log(float(r2[0, 22])), abs=1e-6)
    assert float(x[5, 4]) == pytest.approx(math.log(float(ranged[1, 19:24].mean())), abs=1e-9)
    assert float(y[2]) == pytest.approx(math.log(float(r2[0, 24:29].mean())), abs=1e-9)


def test_the_law_itself_is_as_good_as_real_and_another_is_not():
    train, test = market(150, 10), market(150, 20)
    dates = torch.arange(150)
    how = {"block": 10, "generator": generator()}
    same = train_on_synthetic(market(150, 30), train, test, dates, **how)
    assert abs(same["ratio"].value - 1) < max(4 * same["ratio"].error, 0.03)
    wild = market(150, 40)
    wild[..., :4] = 100 * (wild[..., :4] / 100) ** 2  # twice the volatility: a shift alone
    noise = torch.randn(wild.shape[:2], generator=generator(), dtype=torch.float64)
    wild[..., 3] = wild[..., 3] * (0.1 * noise).exp()  # closes that forget what came before
    other = train_on_synthetic(wild, train, test, dates, **how)
    assert other["ratio"].value > 1 + 4 * other["ratio"].error


def test_fz0_is_least_at_the_true_pair():
    y = torch.randn(400_000, generator=generator(), dtype=torch.float64)
    v, e = -Z95, -DENSITY / 0.05

    def mean(v, e):
        full = torch.full_like(y, v), torch.full_like(y, e)
        return float(fz0(y, *full, 0.95).mean())

    best = mean(v, e)
    for dv, de in ((0.8, 1), (1.2, 1), (1, 0.85), (1, 1.2), (0.9, 0.9), (1.1, 1.1)):
        assert mean(min(v * dv, 0), min(e * de, v * dv)) > best


def test_tail_of_samples_is_the_closed_form():
    m = 100_000
    samples = torch.special.ndtri((torch.arange(m, dtype=torch.float64) + 0.5) / m)[None]
    v, e = tail_forecast(samples, 0.95)
    assert float(v) == pytest.approx(-Z95, abs=1e-3)
    assert float(e) == pytest.approx(-DENSITY / 0.05, abs=1e-3)


def test_the_true_forecaster_is_breached_as_often_as_it_says():
    n = 1500
    samples = torch.randn(n, 400, generator=generator(), dtype=torch.float64)
    returns = torch.randn(n, generator=generator(1), dtype=torch.float64)
    dates = torch.arange(n)
    found = tail_risk(samples, returns, dates, 20, generator=generator())
    assert abs(found["breaches"].value - 0.05) < 4 * found["breaches"].error
    assert abs(found["shortfall"].value - 1) < 4 * found["shortfall"].error
    calm = tail_risk(0.5 * samples, returns, dates, 20, generator=generator())
    assert calm["breaches"].value > 0.15
    assert calm["fz0"].value > found["fz0"].value
    safe = tail_risk(10 * samples, returns, dates, 20, generator=generator())
    assert str(safe["shortfall"]) == "n/a (no return fell below VaR)"


def test_mistakes_are_sentences():
    bars = market(2, 0)
    with pytest.raises(UserError, match="at least 28"):
        volatility_rows(bars[:, :20])
    with pytest.raises(UserError, match="move"):
        volatility_rows(torch.ones(2, 40, 5).double())
    with pytest.raises(UserError, match="at least 100 samples"):
        tail_forecast(torch.zeros(1, 20).double(), 0.99)
    with pytest.raises(UserError, match="e <= v < 0"):
        fz0(*(torch.ones(2).double(),) * 3, 0.95)
