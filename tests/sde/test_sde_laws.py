"""Closed forms of the log price: against each other, and against sampled paths."""

import math

import pytest
import torch

from parfait.sde import (
    GBM,
    OU,
    Bates,
    FractionalGBM,
    Heston,
    Kou,
    Merton,
    RegimeSDE,
    characteristic_function,
    log_moments,
    quantile,
)

JUMPS = {"lam": 4.0, "jump_mean": -0.06, "jump_std": 0.08}
VARIANCE = {"kappa": 3.0, "theta": 0.05, "xi": 0.7, "rho": -0.7, "v0": 0.02}
LAWS = {
    "gbm": GBM(mu=0.1, sigma=0.3),
    "merton": Merton(mu=0.1, sigma=0.2, **JUMPS),
    "merton, uncompensated": Merton(mu=0.1, sigma=0.2, compensate=False, **JUMPS),
    "kou": Kou(mu=0.1, sigma=0.2, lam=6.0, p_up=0.3, eta_up=25.0, eta_down=12.0),
    "ou": OU(mu=0.1, sigma=0.3, kappa=4.0),
    "ou, level": OU(mu=0.0, sigma=0.3, kappa=4.0, theta=0.2),
    "fgbm": FractionalGBM(mu=0.1, sigma=0.2, hurst=0.7),
    "fgbm, year": FractionalGBM(mu=0.1, sigma=0.2, hurst=0.3, vol_anchor="year"),
    "heston": Heston(mu=0.1, **VARIANCE),
    "heston, no pull": Heston(mu=0.1, **VARIANCE | {"kappa": 0.0}),
    "heston, calm": Heston(mu=0.1, **VARIANCE | {"xi": 0.0}),
    "bates": Bates(mu=0.1, **VARIANCE, **JUMPS),
}
N, STEPS, YEARS = 60_000, 60, 0.7


@pytest.fixture(params=LAWS)
def process(request):
    return LAWS[request.param]


def test_sampled_paths_have_the_moments_and_quantiles(process, ref):
    x = process.sample(N, STEPS, YEARS, generator=ref.generator()).log_price[:, -1].double()
    mean, variance = log_moments(process, STEPS, YEARS)
    centred = x - mean
    assert abs(float(centred.mean())) < 4 * float(x.std()) / math.sqrt(N)
    squares = centred.square()
    assert abs(float(squares.mean() - variance)) < 4 * float(squares.std()) / math.sqrt(N)
    for q in (0.02, 0.5, 0.9):
        below = float((x <= quantile(process, q, STEPS, YEARS)).double().mean())
        assert abs(below - q) < 4 * math.sqrt(q * (1 - q) / N) + 1e-5


def test_moments_are_derivatives_of_the_transform(process):
    h = 1e-3
    u = torch.tensor([-h, 0.0, h], dtype=torch.float64)
    minus, middle, plus = characteristic_function(process, u, STEPS, YEARS).log()
    mean, variance = log_moments(process, STEPS, YEARS)
    assert abs(middle) < 1e-12
    assert float((plus - minus).imag / (2 * h)) == pytest.approx(float(mean), abs=1e-6)
    assert float(-(plus + minus).real / h**2) == pytest.approx(float(variance), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LAWS if name != "ou, level"])
def test_the_transform_at_minus_i_is_the_expected_price(name):
    """A point where moments say nothing; only an OU with a level has a drift that is not mu."""
    at = torch.tensor([-1j], dtype=torch.complex128)
    unpaid = 4.0 * math.expm1(-0.06 + 0.5 * 0.08**2) if name == "merton, uncompensated" else 0.0
    price = complex(characteristic_function(LAWS[name], at, STEPS, YEARS)[0])
    assert price.real == pytest.approx(math.exp((0.1 + unpaid) * YEARS), rel=1e-9)
    assert abs(price.imag) < 1e-9


@pytest.mark.parametrize("strike", [0.8, 1.1])
def test_heston_transform_gives_the_reference_price(strike, ref):
    """A second form of the transform, written without branch cuts, in the tests."""
    process = Heston(mu=0.03, **VARIANCE)

    def mine(u):
        drift = torch.exp(-1j * u * 0.03 * YEARS)
        return characteristic_function(process, u, STEPS, YEARS) * drift

    theirs = ref.heston_cf(YEARS, **VARIANCE)
    prices = [ref.call_price(cf, strike, 0.03, YEARS) for cf in (mine, theirs)]
    assert prices[0] == pytest.approx(prices[1], abs=1e-10)


def test_paths_have_laws_of_their_own():
    sigma = torch.tensor([0.1, 0.4], dtype=torch.float64)
    both = Merton(mu=0.1, sigma=sigma, **JUMPS)
    for i, one in enumerate(sigma.tolist()):
        alone = Merton(mu=0.1, sigma=one, **JUMPS)
        for mine, whole in zip(
            log_moments(alone, STEPS, YEARS), log_moments(both, STEPS, YEARS), strict=True
        ):
            assert float(mine) == pytest.approx(float(whole[i]), rel=1e-12)
        assert float(quantile(alone, 0.1, STEPS, YEARS)) == pytest.approx(
            float(quantile(both, 0.1, STEPS, YEARS)[i]), abs=1e-9
        )


def test_what_has_no_closed_form_is_said(ref):
    with pytest.raises(ValueError, match="RegimeSDE"):
        log_moments(RegimeSDE(regime=ref.batch(3)), STEPS, YEARS)
    with pytest.raises(ValueError, match=r"GBM.sigma changes over time"):
        log_moments(GBM(mu=0.0, sigma=torch.full((STEPS, 2), 0.2)), STEPS, YEARS)
    with pytest.raises(ValueError, match=r"q = 1 must be inside \(0, 1\)"):
        quantile(LAWS["gbm"], 1.0, STEPS, YEARS)
