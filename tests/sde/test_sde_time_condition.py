"""Conditioned paths whose parameters change on the way: bridges, free part, weights."""

import math
import warnings

import pytest
import torch

from parfait.regime import FIELD_NAMES, Regime
from parfait.sde import (
    GBM,
    OU,
    PROCESSES,
    FractionalGBM,
    Heston,
    RegimeSDE,
    RoughBergomi,
    SdeWarning,
    Target,
    conditioned,
)
from parfait.sde.drawdown import log_drawdown
from parfait.sde.freedom import freedom

STEPS, YEARS = 12, 0.25
BARS = [5, 4, 3]


def by_bar(phases):
    columns = {}
    for name in FIELD_NAMES:
        rows = torch.stack([torch.as_tensor(getattr(p, name)) for p in phases])
        columns[name] = rows.repeat_interleave(torch.tensor(BARS), dim=0)
    return Regime(**columns)


def curve(values, n):
    column = torch.tensor(values, dtype=torch.float64).repeat_interleave(torch.tensor(BARS))
    return column[:, None].expand(STEPS, n)


def models(n):
    """Every kind of free part, each with everything changing that may."""
    mu, sigma = curve([0.5, -0.2, 0.1], n), curve([0.5, 0.1, 0.3], n)
    rho, kappa = curve([-0.9, 0.0, 0.5], n), curve([0.0, 9.0, 3.0], n)
    single = {"drift": 0.1, "jump_std": 0.05, "variance_reversion": 3.0, "initial_volatility": 0.4}

    def regime(**changes):
        phases = []
        for phase in range(3):
            values = {"volatility": (0.5, 0.1, 0.3)[phase], "leverage": (-0.9, 0.0, 0.5)[phase]}
            values |= {name: three[phase] for name, three in changes.items()}
            phases.append(Regime(**single | values).expand(n))
        return RegimeSDE(by_bar(phases))

    moving = {"vol_of_vol": (0.5, 0.9, 0.1)}
    still = {"vol_of_vol": (0.0,) * 3, "volatility": (0.3,) * 3, "initial_volatility": (0.3,) * 3}
    pull, hurst = {"mean_reversion": (0.0, 9.0, 3.0)}, {"hurst": (0.3, 0.5, 0.8)}
    return {
        "gbm": GBM(mu=mu, sigma=sigma),
        "ou": OU(mu=mu, sigma=sigma, kappa=kappa),
        "fgbm": FractionalGBM(mu=mu, sigma=sigma, hurst=0.8),
        "fgbm year": FractionalGBM(mu=mu, sigma=sigma, hurst=0.2, vol_anchor="year"),
        "euler": Heston(mu=mu, kappa=2.0, theta=sigma**2, xi=0.5, rho=rho, v0=0.1, scheme="euler"),
        "heston": Heston(mu=mu, kappa=kappa, theta=sigma**2, xi=0.5, rho=rho, v0=0.1),
        "rough": RoughBergomi(mu=mu, hurst=0.1, eta=0.8, rho=rho, xi0=sigma**2),
        "regime": regime(**moving),
        "regime pull": regime(**moving, **pull),
        "regime memory": regime(**moving, **hurst),
        "regime all": regime(**moving, **pull, **hurst),
        "regime steady memory": regime(**moving, hurst=(0.7,) * 3),
        "regime still": regime(**still, **pull, **hurst),
        "regime still memory": regime(**still, hurst=(0.777,) * 3, mean_reversion=(4.0,) * 3),
    }


@pytest.mark.parametrize("name", list(models(1)))
def test_the_free_part_is_what_the_price_noise_makes(name, ref):
    """Its covariance against the spread of paths that share everything but that noise."""
    n = 6_000
    process = models(n)[name]
    request = (n, STEPS, YEARS, 11, torch.device("cpu"), torch.float64)
    noisy, mean = process.replay(*request), process.replay(*request, still=True)
    free = freedom(process, noisy, YEARS)
    assert free.exact
    at = torch.arange(1, STEPS + 1).expand(n, -1)
    _, covariance = free.covariance(at)
    gap = noisy.log_price[:, 1:] - mean.log_price[:, 1:]
    root = torch.linalg.cholesky(covariance)
    z = torch.linalg.solve_triangular(root, gap[..., None], upper=False)[..., 0]
    assert float(z.mean(dim=0).abs().max()) < 4 / math.sqrt(n)
    off = (z.T @ z / n - torch.eye(STEPS, dtype=torch.float64)).abs()
    assert float(off.max()) < 4.5 * math.sqrt(2 / n)


@pytest.mark.parametrize("name", list(PROCESSES))
def test_points_and_falls_are_met_exactly(name, ref):
    regime = by_bar([ref.mixed(64, seed) for seed in (1, 2, 3)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        process = PROCESSES[name].from_regime(regime)
    size = (64, STEPS, YEARS)
    points = Target(((3, 0.05), (12, -0.2)))
    x = conditioned(process, points, *size, generator=ref.generator()).paths.log_price
    assert x[:, 3].unique().tolist() == [torch.tensor(0.05).item()]
    assert x[:, 12].unique().tolist() == [torch.tensor(-0.2).item()]
    fall = Target(drawdown=0.12)
    found = conditioned(process, fall, *size, generator=ref.generator(), dtype=torch.float64)
    depth, _, _ = log_drawdown(found.paths.log_price, STEPS)
    assert float((1 - torch.exp(-depth) - 0.12).abs().max()) < 1e-12


def test_a_bridge_moves_where_its_phase_is_wild(ref):
    """Brownian: the gap is closed in proportion to the variance that has passed."""
    n, b = 30_000, -0.3
    sigma = curve([0.5, 0.1, 0.3], n)
    found = conditioned(
        GBM(mu=0.0, sigma=sigma), Target(((STEPS, b),)), n, STEPS, YEARS,
        generator=ref.generator(), dtype=torch.float64,
    )  # fmt: skip
    passed = (sigma[:, 0] ** 2 * YEARS / STEPS).cumsum(dim=0)
    total = passed[-1]
    for k in (2, 5, 9):
        x, t = found.paths.log_price[:, k], float(passed[k - 1])
        mean, variance = b * t / float(total), t * (1 - t / float(total))
        assert abs(float(x.mean()) - mean) < 4 * math.sqrt(variance / n)
        assert abs(float(x.var()) - variance) < 4 * variance * math.sqrt(2 / n)


@pytest.mark.parametrize("name", ["gbm", "regime all", "fgbm"])
def test_weighted_paths_agree_with_rejection(name, ref):
    n = 8_000
    process, target = models(n)[name], Target(((STEPS, -0.1),))
    size = (n, STEPS, YEARS)
    weighted = conditioned(process, target, *size, generator=ref.generator(1), mode="conditional")
    found = conditioned(
        process, target, *size, generator=ref.generator(2), mode="rejection", wanted=1500,
        pool=15 * n,
    )  # fmt: skip
    w = torch.softmax(weighted.paths.log_weight, 0)
    for at in (3, 7):
        x, y = weighted.paths.log_price[:, at].double(), found.paths.log_price[:, at].double()
        mean = float((w * x).sum())
        se = float(((w * (x - mean)) ** 2).sum().sqrt())
        assert abs(mean - float(y.mean())) < 4 * math.hypot(se, float(y.std()) / len(y) ** 0.5)
