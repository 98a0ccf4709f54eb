"""Rough Bergomi: log variance at any step, exact forward variance, roughness, leverage."""

import math
import warnings

import pytest
import torch

from parfait.regime import Regime
from parfait.sde import RoughBergomi, SdeWarning
from parfait.utils.errors import UserError

N = 40_000


@pytest.mark.parametrize(("steps", "years"), [(10, 10 / 252), (64, 0.25), (50, 2.0)])
@pytest.mark.parametrize("hurst", [0.07, 0.3, 0.5])
def test_log_variance_and_forward_variance(hurst, steps, years, ref):
    """The kernel scales with dt: a test at one year alone would not see a wrong scale."""
    eta = 0.5 / max(years, 0.25) ** hurst
    process = RoughBergomi(mu=0.0, hurst=hurst, eta=eta, rho=-0.7, xi0=0.04)
    v = process.sample(N, steps, years, generator=ref.generator()).variance.double()
    for k in (1, steps // 2, steps):
        t = years * k / steps
        exact = eta**2 * t ** (2 * hurst)
        # The average kernel of the older cells loses a little variance, most where H is small.
        assert v[:, k].log().var() / exact == pytest.approx(1, abs=0.02 + 4 * math.sqrt(2 / N))
        se = v[:, k].std() / math.sqrt(N)
        assert abs(v[:, k].mean() - 0.04) < 4 * se
    assert torch.equal(v[:, 0], torch.full_like(v[:, 0], 0.04).float().double())


def test_no_vol_of_vol_has_constant_variance(ref):
    process = RoughBergomi(mu=0.1, hurst=0.1, eta=0.0, rho=-0.7, xi0=0.04)
    paths = process.sample(N, 16, 0.5, generator=ref.generator())
    assert torch.allclose(paths.variance, torch.tensor(0.04))
    x = paths.log_price[:, -1].double()
    assert x.std() == pytest.approx(0.2 * math.sqrt(0.5), rel=4 * math.sqrt(0.5 / N))


def test_small_exponents_are_rougher(ref):
    """Mean absolute moves of log variance grow as lag^H."""
    for hurst in (0.1, 0.4):
        process = RoughBergomi(mu=0.0, hurst=hurst, eta=1.0, rho=0.0, xi0=0.04)
        log_v = process.sample(4000, 256, 1.0, generator=ref.generator()).variance.double().log()
        moves = [
            float((log_v[:, 64 + lag :: 8] - log_v[:, 64:-lag:8]).abs().mean()) for lag in (2, 32)
        ]
        assert math.log(moves[1] / moves[0]) / math.log(16) == pytest.approx(hurst, abs=0.05)


def test_leverage_has_its_sign(ref):
    for rho in (-0.8, 0.8):
        process = RoughBergomi(mu=0.0, hurst=0.4, eta=0.5, rho=rho, xi0=0.04)
        paths = process.sample(20_000, 8, 0.1, generator=ref.generator())
        pair = torch.stack([paths.log_price.diff(dim=1), paths.variance.log().diff(dim=1)])
        assert math.copysign(1, float(torch.corrcoef(pair.flatten(1))[0, 1])) == math.copysign(
            1, rho
        )


def test_eta_is_derived_from_the_regime_unless_given():
    regime = Regime(drift=0.0, volatility=0.2, vol_of_vol=0.4, leverage=-0.5)
    month = 1 / 12
    derived = RoughBergomi.from_regime(regime, roughness=0.15)
    assert derived.eta * month**0.15 == pytest.approx(0.4 / 0.2 * math.sqrt(month))
    assert RoughBergomi.from_regime(regime, eta=1.9).eta == 1.9
    assert RoughBergomi.from_regime(regime).hurst == 0.1
    with pytest.warns(SdeWarning, match="hurst"):
        RoughBergomi.from_regime(regime.replace(hurst=0.6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RoughBergomi.from_regime(regime.replace(hurst=0.51))


@pytest.mark.parametrize("roughness", ["abc", None, 0.9])
def test_a_roughness_that_cannot_be_is_named(roughness):
    with pytest.raises(UserError, match=r"RoughBergomi\.roughness = ('abc'|None|0\.9) is "):
        RoughBergomi.from_regime(Regime(drift=0.0, volatility=0.2), roughness=roughness)
