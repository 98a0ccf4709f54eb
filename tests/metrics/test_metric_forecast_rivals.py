"""Classical forecasts: their laws, and that none of them looks ahead."""

import math
import sys

import pytest
import torch

from parfait.metrics.rivals import forecasts
from parfait.metrics.rivals.forecasts import FORECASTS, Garch, fit_garch, garch_t, histvol_normal
from parfait.utils.errors import UserError

TRAIN = 1500
TRUE = Garch(mu=2e-4, omega=2e-6, alpha=0.1, beta=0.88, nu=6.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def returns():
    """2000 returns of a GARCH market."""
    z = torch.randn(1, 1, 2000, generator=generator(), dtype=torch.float64)
    chi = forecasts._chi_square(6.0, (1, 1, 2000), generator(1))
    start = torch.tensor([1e-4], dtype=torch.float64)
    return forecasts._run(TRUE, start, z / (chi / 4).sqrt())[0, 0]


@pytest.mark.parametrize("name", FORECASTS)
def test_nothing_after_the_origin_is_read(name, returns):
    origins = torch.tensor([1600, 1700])
    how = {"steps": 5, "paths": 20, "train": TRAIN}
    changed = torch.cat([returns[:1701], returns[1701:] * 50])
    found = [FORECASTS[name](r, origins, **how, generator=generator()) for r in (returns, changed)]
    assert found[0].shape == (2, 20, 5)
    assert torch.equal(*found)


@pytest.mark.parametrize("name", FORECASTS)
def test_parameters_come_from_the_training_part(name, returns):
    """All forecasts are equal in law when what came between training and the window differs."""
    how = {"steps": 3, "paths": 10, "train": TRAIN}
    if name in ("GARCH-t", "FHS"):
        changed = torch.cat([returns[:TRAIN], returns[TRAIN:] * 3])
        assert fit_garch(changed[:TRAIN]) == fit_garch(returns[:TRAIN])
    else:
        changed = torch.cat([returns[:TRAIN], returns[TRAIN:1580] * 3, returns[1580:]])
        a, b = (
            FORECASTS[name](r, torch.tensor([1600]), **how, generator=generator())
            for r in (returns, changed)
        )
        assert torch.equal(a, b)


def test_histvol_has_the_deviation_of_the_window(returns):
    paths = histvol_normal(
        returns, torch.tensor([100]), 2, 20_000, train=TRAIN, generator=generator()
    )
    wanted = float(returns[81:101].std())
    assert float(paths.std()) == pytest.approx(wanted, rel=4 / math.sqrt(2 * 40_000))
    assert abs(float(paths.mean())) < 4 * wanted / math.sqrt(40_000)


def test_garch_is_found_again(returns):
    found = fit_garch(returns[:TRAIN])
    assert found.alpha + found.beta == pytest.approx(0.98, abs=0.03)
    assert found.nu == pytest.approx(6, abs=2.5)


def test_garch_variance_of_the_next_bars_is_its_closed_form(returns):
    """E v_k = v_inf + (alpha + beta)^k (v_0 - v_inf); the first bar has the filtered variance."""
    model = fit_garch(returns[:TRAIN])
    filtered = model.variance(returns, float(returns[:TRAIN].var()))
    origin = torch.tensor([1700])
    paths = garch_t(returns, origin, 8, 40_000, train=TRAIN, generator=generator()) - model.mu
    long_run = model.omega / (1 - model.alpha - model.beta)
    for k in (0, 7):
        decay = (model.alpha + model.beta) ** k
        wanted = long_run + decay * (float(filtered[1701]) - long_run)
        square = paths[0, :, k].square()
        assert abs(float(square.mean()) - wanted) < 4 * float(square.std()) / math.sqrt(40_000)


def test_chi_square_has_its_moments():
    for nu in (2.1, 5.0, 60.0):
        x = forecasts._chi_square(nu, (200_000,), generator())
        assert abs(float(x.mean()) - nu) < 4 * math.sqrt(2 * nu / 200_000)
        assert float(x.var()) == pytest.approx(2 * nu, rel=0.1)


def test_mistakes_are_sentences(returns, monkeypatch):
    with pytest.raises(UserError, match="origins run from 5"):
        histvol_normal(returns, torch.tensor([5]), 2, 2, train=TRAIN, generator=generator())
    with pytest.raises(UserError, match="train"):
        histvol_normal(returns, torch.tensor([50]), 2, 2, train=9999, generator=generator())
    with pytest.raises(UserError, match="at least 250"):
        fit_garch(returns[:100])
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(UserError, match="pip install arch"):
        fit_garch(returns[:300])
