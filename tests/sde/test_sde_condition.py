"""Laws of conditioned paths: exact points, bridge moments, weights that agree with rejection."""

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch

from parfait.regime import Regime
from parfait.sde import (
    GBM,
    OU,
    PROCESSES,
    Bates,
    FractionalGBM,
    Heston,
    Process,
    RegimeSDE,
    Target,
    conditioned,
    load_process,
    pin,
)
from parfait.sde.accumulate import fill_sums
from parfait.sde.condition import effective_size
from parfait.sde.drawdown import log_drawdown
from parfait.sde.freedom import freedom
from parfait.sde.streams import Purpose
from parfait.utils.errors import UserError

POINTS = Target(waypoints=((3, 0.05), (7, -0.2), (20, -0.3)))


def falls(paths, until=None):
    """Largest fall of the price of every path."""
    x = paths.log_price.double()
    return -torch.expm1(-log_drawdown(x, until or x.shape[1] - 1)[0])


def brute_drawdown(prices):
    peak, worst = prices[0], 0.0
    for price in prices:
        peak = max(peak, price)
        worst = max(worst, 1 - price / peak)
    return worst


pytestmark = pytest.mark.filterwarnings("ignore:.*cannot express")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(PROCESSES))
def test_every_process_passes_its_points_exactly(ref, name, dtype):
    process = load_process(name).from_regime(ref.mixed(64))
    found = conditioned(
        process, POINTS, 64, 20, 20 / 252, generator=ref.generator(), mode="pinned", dtype=dtype
    )
    x = found.paths.log_price
    assert x.dtype == dtype
    assert bool(torch.isfinite(x).all())
    for step, level in POINTS.waypoints:
        assert bool((x[:, step] == torch.tensor(level, dtype=dtype)).all())
    assert found.anchored.sum(dim=1).tolist() == [3] * 64
    assert bool(found.anchored[:, [2, 6, 19]].all())
    assert bool((x[:, 0] == 0).all())
    assert float(found.paths.log_weight.abs().max()) == 0


@pytest.mark.parametrize("extreme", [{"leverage": -1.0}, {"volatility": 0.005}, {"hurst": 0.05}])
def test_points_are_met_where_the_price_has_little_noise_of_its_own(ref, extreme):
    process = RegimeSDE.from_regime(ref.batch(16, **extreme))
    found = conditioned(process, POINTS, 16, 20, 0.1, generator=ref.generator())
    assert bool(torch.isfinite(found.paths.log_price).all())
    steps = found.paths.log_price.diff(dim=1)
    assert float(steps.abs().max()) < 0.5


@dataclass
class Bridge:
    """Law of a Gaussian process at t given its value b at T, both started at 0."""

    mean_t: float
    mean_T: float
    var_t: float
    var_T: float
    cov: float

    def moments(self, b):
        gain = self.cov / self.var_T
        return self.mean_t + gain * (b - self.mean_T), self.var_t - gain * self.cov


def bridge(case, mu, sigma, years):
    """Closed forms, from the textbook covariances."""
    t = years / 2
    if case == "bm":
        var, cov = (lambda s: sigma**2 * s), sigma**2 * t
    elif case == "fbm":
        h2 = 1.4

        def var(s):
            return sigma**2 * s**h2

        cov = 0.5 * sigma**2 * (t**h2 + years**h2 - (years - t) ** h2)
    else:
        kappa = 4.0

        def var(s):
            return sigma**2 / (2 * kappa) * (1 - math.exp(-2 * kappa * s))

        cov = sigma**2 / (2 * kappa) * (math.exp(-kappa * t) - math.exp(-3 * kappa * t))
        assert years == 2 * t

    def mean(s):
        return mu * s - 0.5 * var(s)

    return Bridge(mean(t), mean(years), var(t), var(years), cov)


@pytest.mark.parametrize("years", [0.2, 1.0])
@pytest.mark.parametrize("case", ["bm", "fbm", "ou"])
def test_the_middle_of_a_bridge_has_its_textbook_mean_and_variance(ref, case, years):
    mu, sigma, n, b = 0.1, 0.2, 40_000, -0.25
    process: Process = {
        "bm": GBM(mu=mu, sigma=sigma),
        "fbm": FractionalGBM(mu=mu, sigma=sigma, hurst=0.7, vol_anchor="year"),
        "ou": OU(mu=mu, sigma=sigma, kappa=4.0),
    }[case]
    found = conditioned(
        process, Target(((16, b),)), n, 16, years, generator=ref.generator(3), dtype=torch.float64
    )
    middle = found.paths.log_price[:, 8]
    mean, variance = bridge(case, mu, sigma, years).moments(b)
    assert abs(float(middle.mean()) - mean) < 4 * math.sqrt(variance / n)
    assert abs(float(middle.var()) - variance) < 4 * variance * math.sqrt(2 / n)


@pytest.mark.parametrize(("hurst", "kappa"), list(product([0.3, 0.5, 0.8], [0.0, 5.0])))
def test_the_free_part_is_what_the_price_noise_makes(ref, hurst, kappa):
    """Its covariance against the spread of paths that share everything but that noise."""
    n, steps, years = 20_000, 6, 0.1
    regime = Regime(0.1, 0.3, 0.0, 0.0, 0.05, kappa, hurst, 3.0, 0.8, -0.6, 0.2).expand(n)
    process = RegimeSDE.from_regime(regime)
    request = (n, steps, years, 11, torch.device("cpu"), torch.float64)
    noisy, mean = process.replay(*request), process.replay(*request, still=True)
    assert torch.equal(noisy.variance, mean.variance)
    free = freedom(process, noisy, years)
    at = torch.arange(1, steps + 1).expand(n, -1)
    _, covariance = free.covariance(at)
    gap = noisy.log_price[:, 1:] - mean.log_price[:, 1:]
    root = torch.linalg.cholesky(covariance)
    z = torch.linalg.solve_triangular(root, gap[..., None], upper=False)[..., 0]
    assert float(z.mean(dim=0).abs().max()) < 4 / math.sqrt(n)
    off = (z.T @ z / n - torch.eye(steps, dtype=torch.float64)).abs()
    assert float(off.max()) < 4.5 * math.sqrt(2 / n)


def weighted_moments(found, at):
    w = torch.softmax(found.paths.log_weight, 0)
    y = found.paths.log_price[:, at].double()
    mean = float((w * y).sum())
    se = float(((w * (y - mean)) ** 2).sum().sqrt())
    return mean, se


def parameters_differ(n):
    sigma = torch.linspace(0.1, 0.5, n, dtype=torch.float64)
    return sigma[torch.randperm(n, generator=torch.Generator().manual_seed(0))]


def moving_regime(sigma):
    """Everything at once, in every row but for the level of volatility."""
    fields = {
        "drift": 0.1, "jump_intensity": 3.0, "jump_mean": -0.05, "jump_std": 0.03,
        "mean_reversion": 2.0, "hurst": 0.7, "variance_reversion": 3.0, "vol_of_vol": 0.7,
        "leverage": -0.5,
    }  # fmt: skip
    same = {name: torch.full_like(sigma, value) for name, value in fields.items()}
    return Regime(**same, volatility=sigma, initial_volatility=sigma)


@pytest.mark.parametrize("name", ["gbm", "heston", "bates", "regime"])
def test_weighted_paths_agree_with_rejection(ref, name):
    n, steps, years = 30_000, 10, 0.25
    sigma = parameters_differ(n)
    process = {
        "gbm": GBM(mu=0.1, sigma=sigma),
        "heston": Heston(mu=0.1, kappa=3.0, theta=sigma**2, xi=0.7, rho=-0.7, v0=sigma**2),
        "bates": Bates(
            mu=0.1, kappa=3.0, theta=sigma**2, xi=0.7, rho=-0.5, v0=sigma**2,
            lam=3.0, jump_mean=-0.05, jump_std=0.03,
        ),
        "regime": RegimeSDE.from_regime(moving_regime(sigma)),
    }[name]  # fmt: skip
    target = Target(((steps, -0.15),))
    size = (n, steps, years)
    weighted = conditioned(process, target, *size, generator=ref.generator(1), mode="conditional")
    found = conditioned(
        process, target, *size, generator=ref.generator(2), mode="rejection", tolerance=0.005,
        wanted=4000, pool=20 * n,
    )  # fmt: skip
    assert weighted.ess is not None
    assert found.acceptance is not None
    assert 0.01 * n < weighted.ess < n
    assert len(found.paths.log_price) == 4000
    for at in (2, 5):
        mean, se = weighted_moments(weighted, at)
        y = found.paths.log_price[:, at].double()
        assert abs(mean - float(y.mean())) < 4 * math.hypot(se, float(y.std()) / len(y) ** 0.5)
    # Parameters are reweighted too: a far target speaks for the wilder rows.
    w = torch.softmax(weighted.paths.log_weight, 0)
    level = float((w * sigma).sum())
    spread = float(((w * (sigma - level)) ** 2).sum().sqrt())
    accepted = sigma[found.rows]
    assert abs(level - float(accepted.mean())) < 4 * math.hypot(spread, float(accepted.std()) / 63)
    assert abs(float(sigma.mean()) - level) > 4 * spread


def test_the_mean_weight_is_the_density_of_the_target(ref):
    process = Heston(mu=0.1, kappa=3.0, theta=0.06, xi=0.7, rho=-0.7, v0=0.05)
    b, n, years = -0.1, 40_000, 0.5
    weighted = conditioned(
        process, Target(((20, b),)), n, 20, years, generator=ref.generator(4), mode="conditional"
    )
    w = weighted.paths.log_weight.exp()
    # Gil-Pelaez: the density is the Fourier transform of the characteristic function.
    u = torch.arange(0.05, 120, 0.1, dtype=torch.float64).to(torch.complex128)
    cf = ref.heston_cf(years, 3.0, 0.06, 0.7, -0.7, 0.05)(u)
    density = float((torch.exp(-1j * u * (b - 0.1 * years)) * cf).real.sum()) * 0.1 / math.pi
    assert abs(float(w.mean()) - density) < 4 * float(w.std()) / n**0.5


def test_effective_size():
    assert effective_size(torch.zeros(7, dtype=torch.float64) - 900) == pytest.approx(7)
    lone = torch.tensor([0.0, -800.0, -900.0], dtype=torch.float64)
    assert effective_size(lone) == pytest.approx(1)


def test_uneven_weights_and_short_pools_are_said(ref):
    process = GBM(mu=0.0, sigma=torch.linspace(0.05, 0.4, 500, dtype=torch.float64))
    far = Target(((10, -0.9),))
    size = (500, 10, 10 / 252)
    weighted = conditioned(process, far, *size, generator=ref.generator(), mode="conditional")
    assert weighted.ess is not None
    assert weighted.ess < 50
    assert "worth" in weighted.notes[0]
    near = Target(((10, 0.0),))
    easy = conditioned(process, near, *size, generator=ref.generator(), mode="conditional")
    assert not easy.notes
    short = conditioned(process, far, *size, generator=ref.generator(), mode="rejection", pool=2000)
    assert short.acceptance == 0
    assert short.drawn == 2000
    assert "0 of 2,000" in short.notes[0]


@pytest.mark.parametrize(("depth", "share"), [(0.2, 0.068), (0.3, 0.068), (0.5, 0.013)])
def test_drawdowns_are_accepted_about_as_often_as_they_should(ref, depth, share):
    """Reference shares: one year of mu = -0.1, sigma = 0.25, a point either side."""
    found = conditioned(
        GBM(mu=-0.1, sigma=0.25), Target(drawdown=depth), 20_000, 252, 1.0,
        generator=ref.generator(), mode="rejection", pool=20_000, wanted=10**6,
    )  # fmt: skip
    assert found.acceptance is not None
    assert found.acceptance == pytest.approx(share, rel=0.25)
    assert float((falls(found.paths) - depth).abs().max()) < 0.01


@pytest.mark.parametrize("until", [None, 25])
@pytest.mark.parametrize("name", ["gbm", "ou", "fgbm", "regime"])
def test_pinned_drawdowns_are_exact(ref, name, until):
    process = load_process(name).from_regime(ref.mixed(200))
    found = conditioned(
        process, Target(drawdown=0.12, until=until), 200, 40, 40 / 252,
        generator=ref.generator(), dtype=torch.float64,
    )  # fmt: skip
    assert float((falls(found.paths, until) - 0.12).abs().max()) < 1e-12
    window = found.paths.log_price[:, : (until or 40) + 1].exp()
    worst = [brute_drawdown(path.tolist()) for path in window[:10]]
    assert worst == pytest.approx([0.12] * 10)
    # The turning points alone already show the fall.
    for path, marks in zip(found.paths.log_price, found.anchored, strict=True):
        turns = [0.0, *path[1:][marks].tolist()]
        assert brute_drawdown([math.exp(t) for t in turns]) == pytest.approx(0.12)


def test_a_drawdown_takes_its_time(ref):
    calm = GBM(mu=0.0, sigma=0.05)
    found = conditioned(
        calm,
        Target(drawdown=0.3),
        300,
        40,
        40 / 252,
        generator=ref.generator(),
        dtype=torch.float64,
    )
    assert float((-found.paths.log_price.diff(dim=1)).max()) < 0.12  # of 0.36 in all
    assert float((falls(found.paths) - 0.3).abs().max()) < 1e-12


def test_unmoved_paths_keep_their_bytes(ref):
    process = GBM(mu=0.1, sigma=0.2)
    plain = process.sample(8, 10, 0.1, generator=ref.generator(), dtype=torch.float64)
    there = float(plain.log_price[0, 10])
    moved, _ = pin(process, replace(plain), 0.1, Target(((10, there),)))
    assert torch.equal(moved.log_price[0], plain.log_price[0])
    assert not torch.equal(moved.log_price[1], plain.log_price[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk(Process):
    """Uniform steps: a process whose price has no Gaussian part."""

    @classmethod
    def _parameters(cls, regime, **options):
        return {}

    def _fill(self, chunk):
        steps = chunk.streams.normal(Purpose.PRICE, chunk.steps)
        fill_sums(chunk, torch.erf(steps * 0.5**0.5))


def test_a_process_of_the_users_own_is_pinned_but_not_weighed(ref):
    size = (50, 20, 0.5)
    found = conditioned(Walk(), POINTS, *size, generator=ref.generator(), dtype=torch.float64)
    plain = Walk().sample(*size, generator=ref.generator(), dtype=torch.float64)
    gap = found.paths.log_price - plain.log_price
    line = gap[:, 7:8] + (gap[:, 20:] - gap[:, 7:8]) * torch.linspace(0, 1, 14)  # even in time
    assert torch.allclose(gap[:, 7:], line.double(), atol=1e-6)
    with pytest.raises(UserError, match="Walk has no density"):
        conditioned(Walk(), POINTS, *size, generator=ref.generator(), mode="conditional")


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Target(), "waypoints"),
        (lambda: Target(((0, 0.1),)), "distinct"),
        (lambda: Target(((2, 0.1), (2, 0.2))), "distinct"),
        (lambda: Target(((2, math.nan),)), "finite"),
        (lambda: Target(drawdown=1.0), "drawdown"),
        (lambda: Target(drawdown=0.1, until=0), "until"),
    ],
)
def test_targets_that_mean_nothing_are_refused(call, word):
    with pytest.raises(UserError, match=word):
        call()


@pytest.mark.parametrize(
    ("target", "mode", "word"),
    [
        (Target(((9, 0.1),)), "pinned", "beyond"),
        (Target(drawdown=0.1, until=9), "pinned", "beyond"),
        (Target(((4, 0.1),)), "nailed", "nailed"),
        (Target(drawdown=0.1), "conditional", "rejection"),
        (Target(((4, 0.1),), drawdown=0.1), "pinned", "rejection"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(ref, target, mode, word):
    with pytest.raises(UserError, match=word):
        conditioned(GBM(mu=0.0, sigma=0.2), target, 4, 8, 0.1, generator=ref.generator(), mode=mode)


@pytest.mark.parametrize("process", [GBM, OU, Heston, FractionalGBM, RegimeSDE])
@pytest.mark.parametrize("target", [POINTS, Target(drawdown=0.1)])
def test_pinned_paths_do_not_depend_on_how_many_follow(ref, process, target):
    # A constant variance: the noise of RegimeSDE with memory and a moving one is tested elsewhere.
    regime = ref.mixed(300, vol_of_vol=0.0, jump_intensity=0.0, initial_volatility=0.2)
    regime = regime.replace(volatility=torch.full((300,), 0.2, dtype=torch.float64))

    def pinned(part):
        how = {"generator": ref.generator(5), "dtype": torch.float64}
        return conditioned(process.from_regime(regime[:part]), target, part, 20, 20 / 252, **how)

    whole = pinned(300)
    for part in (1, 2, 5, 63, 100, 299):
        assert torch.equal(pinned(part).paths.log_price, whole.paths.log_price[:part]), part
