"""Parameters that change from bar to bar: exact means, closed forms, equality with constants."""

import math
import warnings
from dataclasses import replace

import pytest
import torch
from scipy import stats

from parfait.regime import FIELD_NAMES, Regime
from parfait.sde import (
    GBM,
    OU,
    PROCESSES,
    Bates,
    FractionalGBM,
    Heston,
    Kou,
    Merton,
    RegimeSDE,
    RoughBergomi,
    SdeWarning,
)
from parfait.sde.accumulate import fading_compensators
from parfait.sde.fractional import autocovariance, summed_variance
from parfait.sde.memory import factor, memory
from parfait.sde.process import phi

STEPS, YEARS = 16, 16 / 52


def from_regime(process, regime, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        return process.from_regime(regime, **options)


def by_bar(phases, bars):
    """Batches of regimes one after another, (steps, paths)."""
    columns = {}
    for name in FIELD_NAMES:
        rows = torch.stack([torch.as_tensor(getattr(p, name)) for p in phases])
        columns[name] = rows.repeat_interleave(torch.tensor(bars), dim=0)
    return Regime(**columns)


def switching(n, ref):
    """Memory, reversion, jumps and moving variance, each on and off within most paths."""
    return by_bar([ref.mixed(n, seed) for seed in (1, 2, 3)], [5, 4, 7])


def sample(process, n, ref, steps=STEPS, years=YEARS, dtype=torch.float32, seed=3):
    return process.sample(n, steps, years, generator=ref.generator(seed), dtype=dtype)


@pytest.mark.parametrize("compensate", [True, False])
@pytest.mark.parametrize("name", list(PROCESSES))
def test_the_mean_is_exact_bar_by_bar(name, compensate, ref):
    n = 30_000
    regime = switching(n, ref)
    process = PROCESSES[name]
    if not compensate:
        if "compensate" not in process.options or name in ("kou", "regime"):
            pytest.skip("kou has jumps of its own, regime pulls them back")
        model = from_regime(process, regime, compensate=False)
        kbar = torch.expm1(regime.jump_mean + 0.5 * regime.jump_std**2)
        drift = regime.drift + regime.jump_intensity * kbar
    else:
        model, drift = from_regime(process, regime), regime.drift
    x = sample(model, n, ref).log_price.double()
    expected = (drift * YEARS / STEPS).cumsum(dim=0).T
    ratio = torch.exp(x[:, 1:] - expected)
    z = (ratio.mean(dim=0) - 1) / (ratio.std(dim=0) / math.sqrt(n))
    assert z.abs().max() < 4, z


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(PROCESSES))
def test_constant_rows_are_constant_parameters(name, dtype, ref):
    """Bit for bit, and in the company of paths that do change (jumps share their numbers)."""
    n = 300
    constant = ref.mixed(n, 1)
    jumps = {f: getattr(constant, f) for f in FIELD_NAMES if f.startswith("jump")}
    changing = by_bar([ref.mixed(n, seed).replace(**jumps) for seed in (1, 2, 3)], [5, 4, 7])
    mixed = {}
    for field in FIELD_NAMES:
        table = torch.as_tensor(getattr(changing, field)).clone()
        table[:, ::2] = torch.as_tensor(getattr(constant, field))[::2]
        mixed[field] = table
    still = by_bar([constant], [STEPS])
    plain, repeated, among = (
        sample(from_regime(PROCESSES[name], r), n, ref, dtype=dtype)
        for r in (constant, still, Regime(**mixed))
    )
    for key in ("log_price", "variance", "jumps"):
        one, two, three = (getattr(paths, key) for paths in (plain, repeated, among))
        if one is not None:
            assert torch.equal(one, two)
            assert torch.equal(one[::2], three[::2])


def test_summed_variance_is_the_double_sum(ref):
    scale = torch.rand((12, 3), generator=ref.generator(), dtype=torch.float64)
    scale[4:7] = 0
    hurst = torch.tensor([0.2, 0.5, 0.85], dtype=torch.float64)
    got = summed_variance(scale, hurst)
    lag = torch.arange(12)
    for i in range(3):
        gamma = autocovariance(hurst[i], 12)[(lag[:, None] - lag).abs()]
        for k in range(1, 13):
            s = scale[:k, i]
            assert float(got[k - 1, i]) == pytest.approx(float(s @ gamma[:k, :k] @ s), abs=1e-13)


def test_faded_jumps_are_compensated_by_the_double_sum(ref):
    n, width = 14, 6
    rate, mean, std, kappa = torch.rand((4, n, width), generator=ref.generator()).double()
    mean, std = 4 * mean - 2, 2 * std
    decay = torch.exp(-kappa * 0.3)
    decay[:, 0], decay[:5, 1], rate[:6, 2] = 1.0, 1.0, 0.0
    mean[:, 3], std[:, 4] = 0.0, 0.0
    got = fading_compensators(rate, mean, std, decay, n)
    for k in range(1, n + 1):
        total = torch.zeros(width, dtype=torch.float64)
        for bar in range(k):
            faded = decay[bar + 1 : k].prod(dim=0)
            exponent = mean[bar] * faded + 0.5 * (std[bar] * faded) ** 2
            total += rate[bar] * torch.expm1(exponent)
        torch.testing.assert_close(got[k - 1], total, rtol=1e-11, atol=1e-12)


def test_changing_memory_equals_its_definition(ref):
    n = 10
    u, v = torch.rand((2, n, 2), generator=ref.generator(), dtype=torch.float64)
    hurst = torch.tensor([[0.3] * 4 + [0.5] * 3 + [0.8] * 3, [0.7] * 10]).double().T
    y = torch.tensor([[0.0] * 5 + [0.4] * 5, [0.2] * 3 + [1.5] * 7]).double().T
    decay, spread = torch.exp(-y), phi(2 * y)
    noise, q = memory(u, v, hurst, decay, spread)
    for i in range(2):
        lower = torch.stack([factor(float(hurst[k, i]), n)[k] for k in range(n)])
        row, rows = torch.zeros(n, dtype=torch.float64), []
        for k in range(n):
            row = decay[k, i] * row + spread[k, i].sqrt() * lower[k]
            rows.append(row)
        torch.testing.assert_close(noise[:, i], spread[:, i].sqrt() * (lower @ u[:, i]))
        torch.testing.assert_close(q[:, i], torch.stack(rows) ** 2 @ v[:, i])


def phase_table(first, second, n, switch):
    table = torch.full((STEPS, n), first, dtype=torch.float64)
    table[switch:] = second
    return table


def assert_moments(x, mean, variance):
    n = len(x)
    assert abs(float(x.mean()) - mean) < 4 * math.sqrt(variance / n)
    assert abs(float(x.var()) - variance) < 4 * variance * math.sqrt(2 / n)


def test_two_phases_have_the_variances_of_their_closed_forms(ref):
    n, switch, dt = 40_000, 6, YEARS / STEPS
    sigma, kappa = phase_table(0.6, 0.2, n, switch), phase_table(1.0, 12.0, n, switch)
    first, second = switch * dt, (STEPS - switch) * dt
    flat = 0.36 * first + 0.04 * second
    x = sample(GBM(mu=0.0, sigma=sigma), n, ref).log_price[:, -1].double()
    assert_moments(x, -flat / 2, flat)

    held = 0.36 * -math.expm1(-2 * first) / 2
    total = held * math.exp(-24 * second) + 0.04 * -math.expm1(-24 * second) / 24
    x = sample(OU(mu=0.0, sigma=sigma, kappa=kappa), n, ref).log_price.double()
    assert_moments(x[:, switch], -held / 2, held)
    assert_moments(x[:, -1], -total / 2, total)

    # sigma_1^2 Var(B_s) + sigma_2^2 Var(B_t - B_s) + 2 sigma_1 sigma_2 Cov, from |t|^2H.
    h2 = 1.4
    cross = 0.5 * (STEPS**h2 - switch**h2 - (STEPS - switch) ** h2)
    total = dt * (0.36 * switch**h2 + 0.04 * (STEPS - switch) ** h2 + 2 * 0.12 * cross)
    x = sample(FractionalGBM(mu=0.0, sigma=sigma, hurst=0.7), n, ref).log_price[:, -1].double()
    assert_moments(x, -total / 2, total)


def test_level_of_the_textbook_form_may_change(ref):
    n, switch, dt = 20_000, 6, YEARS / STEPS
    theta = phase_table(-0.5, 0.5, n, switch)
    x = sample(OU(mu=9.0, sigma=0.1, kappa=8.0, theta=theta), n, ref).log_price.double()
    low = -0.5 * -math.expm1(-8 * switch * dt)
    fade = math.exp(-8 * (STEPS - switch) * dt)
    for k, mean in ((switch, low), (STEPS, low * fade + 0.5 * (1 - fade))):
        assert abs(float(x[:, k].mean()) - mean) < 4 * float(x[:, k].std()) / math.sqrt(n)


@pytest.mark.parametrize("scheme", ["qe_m", "euler"])
def test_two_phase_variance_has_the_moments_of_cir(scheme, ref):
    """The mean and variance of v, phase by phase, and E of the integrated variance."""
    n, years = 60_000, 1.0
    steps = 64 if scheme == "qe_m" else 500
    first, second = (2.0, 0.09, 0.5), (6.0, 0.03, 0.9)
    columns = [[a] * (steps // 2) + [b] * (steps // 2) for a, b in zip(first, second, strict=True)]
    kappa, theta, xi = (torch.tensor(c)[:, None].expand(steps, n) for c in columns)
    process = Heston(mu=0.0, kappa=kappa, theta=theta, xi=xi, rho=-0.6, v0=0.04, scheme=scheme)
    n_used = n if scheme == "qe_m" else n // 6
    process = process._rows(slice(0, n_used))
    v = sample(process, n_used, ref, steps, years).variance.double()
    mean, variance, integral = 0.04, 0.0, 0.0
    for k, t, e in ((first, 0.5, math.exp(-1)), (second, 0.5, math.exp(-3))):
        kappa, theta, xi = k
        integral += theta * t + (mean - theta) * (1 - e) / kappa
        variance = (
            variance * e * e
            + mean * xi**2 / kappa * (e - e * e)
            + theta * xi**2 / (2 * kappa) * (1 - e) ** 2
        )
        mean = theta + (mean - theta) * e
    bias = 0.0 if scheme == "qe_m" else 0.03
    se = float(v[:, -1].std()) / math.sqrt(n_used)
    assert abs(float(v[:, -1].mean()) - mean) < 4 * se + bias * mean
    squares = (v[:, -1] - mean) ** 2
    assert abs(float(squares.mean()) - variance) < (
        4 * float(squares.std()) / math.sqrt(n_used) + 2 * bias * variance
    )
    sums = (0.5 * (v[:, 1:] + v[:, :-1]) * years / steps).sum(dim=1)
    allowed = 4 * float(sums.std()) / math.sqrt(n_used) + (1e-4 + bias * integral)
    assert abs(float(sums.mean()) - integral) < allowed


def test_two_phase_merton_is_a_mixture_over_both_counts(ref):
    n, switch, r = 100_000, 4, 0.03
    sigma, lam = (0.1, 0.3), (0.5, 6.0)
    m, s = (-0.2, 0.05), (0.05, 0.1)
    tables = [phase_table(*pair, n, switch) for pair in (sigma, lam, m, s)]
    times = (YEARS * switch / STEPS, YEARS * (STEPS - switch) / STEPS)
    process = Merton(mu=r, sigma=tables[0], lam=tables[1], jump_mean=tables[2], jump_std=tables[3])
    spot = sample(process, n, ref).log_price[:, -1].double().exp()
    kbar = [math.expm1(a + 0.5 * b * b) for a, b in zip(m, s, strict=True)]
    drift = r * YEARS - sum(rate * k * t for rate, k, t in zip(lam, kbar, times, strict=True))
    diffusive = sum(v * v * t for v, t in zip(sigma, times, strict=True))
    for strike in (0.85, 1.0, 1.15):
        price = 0.0
        for i in range(8):
            for j in range(20):
                weight = stats.poisson.pmf(i, lam[0] * times[0])
                weight *= stats.poisson.pmf(j, lam[1] * times[1])
                variance = diffusive + i * s[0] ** 2 + j * s[1] ** 2
                forward = math.exp(drift + i * (m[0] + s[0] ** 2 / 2) + j * (m[1] + s[1] ** 2 / 2))
                d1 = (math.log(forward / strike) + variance / 2) / math.sqrt(variance)
                tail = stats.norm.cdf(d1 - math.sqrt(variance))
                price += weight * (forward * stats.norm.cdf(d1) - strike * tail)
        payoff = (spot - strike).clamp(min=0)
        assert abs(float(payoff.mean()) - price) < 4 * float(payoff.std()) / math.sqrt(n)


@pytest.mark.parametrize("process", [Merton, Kou, Bates, RegimeSDE])
def test_jumps_stay_in_the_phase_that_has_them(process, ref):
    n = 2000
    calm, wild = ref.batch(n, 1, jump_intensity=0.0), ref.batch(n, 1, jump_intensity=30.0)
    jumps = sample(from_regime(process, by_bar([calm, wild, calm], [5, 4, 7])), n, ref).jumps
    bars = (jumps != 0).double().mean(dim=0)
    assert bars[[0, 1, 2, 3, 4, *range(9, 16)]].abs().max() == 0
    hit = -math.expm1(-30.0 * YEARS / STEPS)
    assert (bars[5:9] - hit).abs().max() < 4 * math.sqrt(hit * (1 - hit) / n)


def test_forward_variance_follows_its_curve(ref):
    n = 40_000
    xi0 = torch.linspace(0.02, 0.2, STEPS, dtype=torch.float64)[:, None].expand(STEPS, n)
    process = RoughBergomi(mu=0.0, hurst=0.1, eta=0.6, rho=-0.7, xi0=xi0)
    v = sample(process, n, ref).variance.double()
    curve = torch.cat([xi0[:, 0], xi0[-1:, 0]])
    se = v.std(dim=0) / math.sqrt(n)
    assert ((v.mean(dim=0) - curve).abs() < 4 * se + 1e-8).all()


def test_forward_variance_of_a_regime_moves_with_its_level():
    calm, wild = Regime(drift=0.0, volatility=0.2), Regime(drift=0.0, volatility=0.4)
    regime = by_bar([calm.expand(3).resolve(0.3), wild.expand(3).resolve(0.3)], [2, 2])
    curve = from_regime(RoughBergomi, regime).xi0
    expected = torch.tensor([0.09, 0.09, 0.36, 0.36], dtype=torch.float64)
    torch.testing.assert_close(curve[:, 1], expected)


def test_hurst_of_fractional_motion_is_that_of_the_first_bar(ref):
    one, two = (ref.batch(4, hurst=h, jump_intensity=0.0) for h in (0.7, 0.3))
    with pytest.warns(SdeWarning, match="hurst cannot change inside a path"):
        process = FractionalGBM.from_regime(by_bar([one, two], [3, 3]))
    assert process.hurst.tolist() == [0.7] * 4


@pytest.mark.parametrize("name", ["gbm", "merton", "heston", "bates"])
def test_a_second_phase_is_a_fresh_start(name, ref):
    """Markov processes: the second phase from S_0 and v at the switch, in law."""
    n, steps = 30_000, 8
    regime = by_bar([ref.batch(n, 1), ref.batch(n, 2)], [steps, steps])
    process = from_regime(PROCESSES[name], regime)
    whole = sample(process, n, ref, 2 * steps)
    second = by_bar([ref.batch(n, 2)], [steps])
    fresh = from_regime(PROCESSES[name], second)
    if whole.variance is not None:
        fresh = replace(fresh, v0=whole.variance[:, steps].double())
    again = sample(fresh, n, ref, steps, YEARS / 2, seed=11)
    moves = (whole.log_price[:, -1] - whole.log_price[:, steps]).double().numpy()
    assert stats.ks_2samp(moves, again.log_price[:, -1].double().numpy()).pvalue > 1e-3
    if whole.variance is not None:
        ends = (paths.variance[:, -1].double().numpy() for paths in (whole, again))
        assert stats.ks_2samp(*ends).pvalue > 1e-3
