"""Call prices against closed forms, at several maturities and step sizes."""

import math

import pytest
import torch
from scipy import stats

from parfait.sde import Bates, Heston, Kou, Merton

R = 0.03
N = 100_000


def black_scholes(strike, r, variance, years):
    sd = math.sqrt(variance * years)
    d1 = (-math.log(strike) + r * years) / sd + sd / 2
    norm = stats.norm.cdf
    return float(norm(d1) - strike * math.exp(-r * years) * norm(d1 - sd))


def assert_prices(process, years, steps, exact, ref, seed=0, bias=0.0):
    paths = process.sample(N, steps, years, generator=ref.generator(seed))
    spot = torch.exp(paths.log_price[:, -1].double())
    for strike in (0.8, 1.0, 1.2):
        payoff = (spot - strike).clamp(min=0) * math.exp(-R * years)
        error = float(payoff.mean()) - exact(strike)
        se = float(payoff.std()) / math.sqrt(N)
        assert abs(error) < 4 * se + bias, (strike, error, se)


def test_the_reference_itself_is_black_scholes(ref):
    """The integral must be right before anything is measured against it."""
    for years, sigma, strike in ((0.1, 0.2, 0.9), (1.0, 0.4, 1.1), (2.0, 0.1, 1.0)):
        integral = ref.call_price(ref.diffusion_cf(years, sigma), strike, R, years)
        assert integral == pytest.approx(black_scholes(strike, R, sigma**2, years), abs=1e-7)


@pytest.mark.parametrize(("years", "steps"), [(0.08, 20), (0.5, 3), (2.0, 40)])
def test_merton_series(years, steps, ref):
    sigma, lam, m, s = 0.15, 3.0, -0.08, 0.1
    kbar = math.exp(m + s * s / 2) - 1

    def exact(strike):
        mean = lam * (1 + kbar) * years
        return sum(
            stats.poisson.pmf(n, mean)
            * black_scholes(
                strike,
                R - lam * kbar + n * (m + s * s / 2) / years,
                sigma**2 + n * s * s / years,
                years,
            )
            for n in range(60)
        )

    transform = ref.diffusion_cf(years, sigma), ref.merton_jumps_cf(years, lam, m, s)
    integral = ref.call_price(lambda u: transform[0](u) * transform[1](u), 1.0, R, years)
    assert integral == pytest.approx(exact(1.0), abs=1e-6)  # two independent references agree
    process = Merton(mu=R, sigma=sigma, lam=lam, jump_mean=m, jump_std=s)
    assert_prices(process, years, steps, exact, ref)


@pytest.mark.parametrize(("years", "steps"), [(0.1, 5), (1.5, 30)])
def test_kou(years, steps, ref):
    sigma, lam, p, up, down = 0.2, 4.0, 0.4, 20.0, 10.0
    parts = ref.diffusion_cf(years, sigma), ref.kou_jumps_cf(years, lam, p, up, down)
    process = Kou(mu=R, sigma=sigma, lam=lam, p_up=p, eta_up=up, eta_down=down)
    assert_prices(
        process,
        years,
        steps,
        lambda k: ref.call_price(lambda u: parts[0](u) * parts[1](u), k, R, years),
        ref,
    )


HESTON_SETS = {
    "equity": {"kappa": 5.0, "theta": 0.04, "xi": 0.5, "rho": -0.7, "v0": 0.06},
    "feller_violated": {"kappa": 0.5, "theta": 0.04, "xi": 1.0, "rho": -0.9, "v0": 0.04},
    "positive_leverage": {"kappa": 3.0, "theta": 0.06, "xi": 0.4, "rho": 0.4, "v0": 0.02},
}


@pytest.mark.parametrize("name", HESTON_SETS)
@pytest.mark.parametrize(("years", "steps"), [(0.1, 25), (1.0, 63), (2.0, 64)])
def test_heston(name, years, steps, ref):
    values = HESTON_SETS[name]
    cf = ref.heston_cf(years, **values)
    exact = lambda k: ref.call_price(cf, k, R, years)  # noqa: E731
    assert_prices(Heston(mu=R, **values), years, steps, exact, ref, bias=2e-4)


def test_heston_euler_is_biased_where_qe_is_not(ref):
    """Andersen's long-dated case at 8 steps a year: the reason why qe_m is the default."""
    values, years, steps = HESTON_SETS["feller_violated"], 5.0, 40
    exact = ref.call_price(ref.heston_cf(years, **values), 1.0, R, years)
    errors = {}
    for scheme in ("qe_m", "euler"):
        paths = Heston(mu=R, scheme=scheme, **values).sample(
            N, steps, years, generator=ref.generator(1)
        )
        payoff = (torch.exp(paths.log_price[:, -1].double()) - 1).clamp(min=0)
        errors[scheme] = float(payoff.mean()) * math.exp(-R * years) - exact
    assert abs(errors["qe_m"]) < 3e-3
    assert errors["euler"] > 5 * abs(errors["qe_m"])


def test_heston_euler_converges(ref):
    values, years = HESTON_SETS["equity"], 0.25
    cf = ref.heston_cf(years, **values)
    process = Heston(mu=R, scheme="euler", **values)
    exact = lambda k: ref.call_price(cf, k, R, years)  # noqa: E731
    assert_prices(process, years, 100, exact, ref, bias=5e-4)


@pytest.mark.parametrize(("years", "steps"), [(0.1, 25), (1.0, 50)])
def test_bates(years, steps, ref):
    values, jumps = HESTON_SETS["equity"], (3.0, -0.05, 0.08)
    parts = ref.heston_cf(years, **values), ref.merton_jumps_cf(years, *jumps)
    process = Bates(mu=R, **values, lam=jumps[0], jump_mean=jumps[1], jump_std=jumps[2])
    assert_prices(
        process,
        years,
        steps,
        lambda k: ref.call_price(lambda u: parts[0](u) * parts[1](u), k, R, years),
        ref,
        bias=2e-4,
    )
