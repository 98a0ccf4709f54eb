"""Jump laws: counts, times, sizes, and what a regime becomes in Merton's and Kou's terms."""

import math
import warnings

import pytest
import torch
from scipy import stats

from parfait.regime import Regime
from parfait.sde import GBM, Kou, Merton, SdeWarning

LAM, M, S = 12.0, -0.02, 0.05


def jumps_of(process, n, steps, years, ref, seed=0):
    return process.sample(n, steps, years, generator=ref.generator(seed), dtype=torch.float64).jumps


def test_counts_are_poisson_and_times_uniform(ref):
    """With equal jump sizes every sum of jumps is a count."""
    n, steps, years = 30_000, 8, 0.25
    model = Merton(mu=0.0, sigma=0.1, lam=LAM, jump_mean=0.5, jump_std=0.0)
    counts = (jumps_of(model, n, steps, years, ref) / 0.5).round()
    for per_unit, rate in (
        (counts.sum(dim=1), LAM * years),
        (counts.flatten(), LAM * years / steps),
    ):
        observed = torch.bincount(per_unit.long(), minlength=30)[:30].numpy()
        law = stats.poisson(rate).pmf(range(30)) * observed.sum()
        keep = law > 10
        tail = (observed[~keep].sum(), observed.sum() - law[keep].sum())
        assert stats.chisquare([*observed[keep], tail[0]], [*law[keep], tail[1]]).pvalue > 1e-4
    per_bar = counts.sum(dim=0)
    assert stats.chisquare(per_bar.numpy()).pvalue > 1e-4


def test_merton_cumulants(ref):
    n, years = 200_000, 0.5
    total = jumps_of(
        Merton(mu=0.0, sigma=0.1, lam=LAM, jump_mean=M, jump_std=S), n, 2, years, ref
    ).sum(dim=1)
    rate = LAM * years
    fourth = 3 * S**4 + 6 * S**2 * M**2 + M**4
    variance = rate * (M**2 + S**2)
    assert abs(total.mean() - rate * M) < 4 * math.sqrt(variance / n)
    se = math.sqrt((rate * fourth + 2 * variance**2) / n)
    assert abs(total.var() - variance) < 4 * se


def test_kou_sizes_follow_their_law(ref):
    """Bars so short that two jumps hardly ever share one."""
    p, up, down = 0.3, 25.0, 12.0
    model = Kou(mu=0.0, sigma=0.1, lam=1.0, p_up=p, eta_up=up, eta_down=down)
    sums = jumps_of(model, 4500, 1000, 1.0, ref).flatten()
    sizes = sums[sums != 0][:4000].numpy()

    def distribution(x):
        rising, falling = 1 - p * stats.expon.sf(x * up), (1 - p) * stats.expon.sf(-x * down)
        return (x >= 0) * rising + (x < 0) * falling

    assert len(sizes) == 4000
    assert stats.kstest(sizes, distribution).pvalue > 1e-3


@pytest.mark.parametrize(("m", "s"), [(0.0, 0.05), (-0.03, 0.05), (0.04, 0.06)])
def test_kou_from_regime_matches_mean_and_sd(m, s):
    kou = Kou.from_regime(
        Regime(drift=0.0, volatility=0.2, jump_intensity=1.0, jump_mean=m, jump_std=s)
    )
    p, up, down = kou.p_up, kou.eta_up, kou.eta_down
    mean = p / up - (1 - p) / down
    second = 2 * p / up**2 + 2 * (1 - p) / down**2
    assert mean == pytest.approx(m, abs=1e-12)
    assert math.sqrt(second - mean**2) == pytest.approx(s, rel=1e-9)


def test_kou_from_regime_says_what_it_cannot_match():
    regime = Regime(drift=0.0, volatility=0.2, jump_intensity=1.0, jump_mean=-0.1, jump_std=0.01)
    with pytest.warns(SdeWarning, match="jump_std below"):
        kou = Kou.from_regime(regime)
    assert (kou.p_up, kou.eta_down) == (0.0, pytest.approx(10.0))
    with pytest.warns(SdeWarning, match="shortened"):
        assert Kou.from_regime(regime.replace(jump_mean=0.5, jump_std=2.0)).eta_up > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Kou.from_regime(Regime(drift=0.0, volatility=0.2))


def test_gbm_is_exact_and_switches_inside_a_path(ref):
    """(steps, paths) parameters: two regimes in one path, checked in law bar by bar."""
    n, steps, dt = 20_000, 6, 1 / 252
    sigma = torch.full((steps, n), 0.1)
    sigma[3:] = 0.8
    paths = GBM(mu=0.3, sigma=sigma).sample(n, steps, steps * dt, generator=ref.generator())
    z = paths.log_price.diff(dim=1).double()
    z = (z - (0.3 - 0.5 * sigma.T.double() ** 2) * dt) / (sigma.T.double() * math.sqrt(dt))
    assert stats.kstest(z.flatten()[:50_000].numpy(), "norm").pvalue > 1e-3
    correlation = torch.corrcoef(z.T) - torch.eye(steps, dtype=torch.float64)
    assert correlation.abs().max() < 4.5 / math.sqrt(n)
