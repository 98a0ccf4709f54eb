"""Several assets: correlation of bar returns, marginal laws, shared jumps, repair."""

import math
import warnings

import pytest
import torch
from scipy import stats

from parfait.regime import Regime
from parfait.sde import (
    GBM,
    OU,
    Bates,
    FractionalGBM,
    Heston,
    Kou,
    Merton,
    MultiAsset,
    RegimeSDE,
    RoughBergomi,
    SdeWarning,
)
from parfait.sde.profile import profile

STEPS, YEARS, PATHS = 20, 20 / 252, 8000


def regime(**fields):
    moving = {"vol_of_vol": 0.4, "leverage": -0.6, "variance_reversion": 4.0}
    jumps = {"jump_intensity": 6.0, "jump_mean": -0.02, "jump_std": 0.02}
    return RegimeSDE(
        regime=Regime(**({"drift": 0.1, "volatility": 0.25} | moving | jumps | fields))
    )


CALM = {"vol_of_vol": 0.0, "jump_intensity": 0.0}
MODELS = {
    "gbm": GBM(mu=0.1, sigma=0.2),
    "wild gbm": GBM(mu=-0.2, sigma=0.6),
    "merton": Merton(mu=0.0, sigma=0.2, lam=20.0, jump_mean=-0.02, jump_std=0.02),
    "merton 2": Merton(mu=0.1, sigma=0.3, lam=8.0, jump_mean=-0.01, jump_std=0.03),
    "kou": Kou(mu=0.0, sigma=0.2, lam=10.0, p_up=0.4, eta_up=50.0, eta_down=40.0),
    "ou": OU(mu=0.0, sigma=0.3, kappa=2.0),
    "fast ou": OU(mu=0.0, sigma=0.2, kappa=50.0),
    "heston": Heston(mu=0.1, kappa=3.0, theta=0.04, xi=0.4, rho=-0.9, v0=0.09),
    "heston 2": Heston(mu=0.0, kappa=5.0, theta=0.06, xi=0.5, rho=0.3, v0=0.04),
    "pure leverage": Heston(mu=0.0, kappa=2.0, theta=0.04, xi=0.3, rho=-1.0, v0=0.04),
    "euler": Heston(mu=0.0, kappa=3.0, theta=0.04, xi=0.4, rho=-0.5, v0=0.04, scheme="euler"),
    "bates": Bates(
        mu=0.1, kappa=3.0, theta=0.04, xi=0.4, rho=-0.7, v0=0.04, lam=6.0, jump_mean=-0.02,
        jump_std=0.02,
    ),
    "fgbm": FractionalGBM(mu=0.0, sigma=0.2, hurst=0.7),
    "fgbm year": FractionalGBM(mu=0.0, sigma=0.3, hurst=0.7, vol_anchor="year"),
    "rough fgbm": FractionalGBM(mu=0.0, sigma=0.2, hurst=0.4),
    "rough": RoughBergomi(mu=0.0, hurst=0.1, eta=1.2, rho=-0.7, xi0=0.04),
    "regime A still": regime(**CALM),
    "regime A": regime(),
    "regime B": regime(mean_reversion=5.0),
    "regime C": regime(hurst=0.65, **CALM),
    "regime D": regime(hurst=0.6),
    "regime D'": regime(hurst=0.6, mean_reversion=5.0),
}  # fmt: skip


def together(names, correlation, ref, paths=PATHS, seed=0, **options):
    models = tuple(MODELS[name] for name in names)
    return MultiAsset(models, correlation, **options).sample(
        paths, STEPS, YEARS, generator=ref.generator(seed)
    )


# Pairs whose equation for D is exact, and pairs whose variances are approximated.
EXACT = [
    ("gbm", "wild gbm"), ("merton", "merton"), ("merton", "gbm"), ("ou", "fast ou"), ("gbm", "ou"),
    ("fgbm", "fgbm"), ("fgbm", "fgbm year"), ("fgbm", "rough fgbm"), ("fgbm", "gbm"),
    ("regime A still", "regime A still"), ("regime C", "regime C"), ("regime C", "fgbm"),
]  # fmt: skip
MOVING = [
    ("kou", "kou"), ("kou", "merton"), ("heston", "heston"), ("heston", "heston 2"),
    ("heston", "gbm"), ("pure leverage", "gbm"), ("pure leverage", "heston"), ("euler", "heston"),
    ("bates", "bates"), ("rough", "rough"), ("rough", "heston"), ("regime A", "regime A"),
    ("regime B", "regime B"), ("regime D", "regime D"), ("regime D'", "regime D'"),
    ("regime A", "regime D'"), ("regime C", "heston 2"),
]  # fmt: skip


@pytest.mark.parametrize("pair", EXACT + MOVING, ids="-".join)
@pytest.mark.parametrize("wanted", [-0.5, 0.0, 0.6])
def test_bar_returns_have_the_correlation_asked_for(pair, wanted, ref):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SdeWarning)  # reachable, so nothing to be told
        r, se = ref.realised(*together(pair, ref.matrix(wanted), ref))
    assert abs(r - wanted) < 4 * se + (0.0 if pair in EXACT else 0.015)
    assert abs(r - wanted) < 0.05


@pytest.mark.parametrize(
    "pair", [(n, n) for n in MODELS if n not in ("wild gbm", "merton 2", "fast ou")], ids="-".join
)
def test_equal_assets_can_move_almost_as_one(pair, ref):
    r, se = ref.realised(*together(pair, ref.matrix(0.95), ref))
    assert abs(r - 0.95) < 4 * se + 0.015


def test_many_assets_of_every_kind(ref):
    names = ("bates", "gbm", "regime D", "kou", "heston 2")
    wanted = ref.matrix(0.5, 0.4, 0.3, 0.2, 0.1, 0.3, -0.3, 0.6, 0.0, 0.25)
    paths = together(names, wanted, ref)
    for i in range(5):
        for j in range(i):
            r, se = ref.realised(paths[i], paths[j])
            assert abs(r - wanted[i, j]) < 4 * se + 0.015, (names[i], names[j])


def test_every_path_may_have_its_matrix(ref):
    wanted = torch.linspace(-0.9, 0.9, 4, dtype=torch.float64)
    matrices = torch.stack([ref.matrix(float(c)) for c in wanted]).repeat_interleave(4000, dim=0)
    model = MultiAsset((MODELS["gbm"], MODELS["merton"]), matrices, shared_jumps=0.0)
    with pytest.warns(SdeWarning, match="is missed by"):
        model.sample(16_000, STEPS, YEARS, generator=ref.generator())
    found = model.correlations(16_000, STEPS, YEARS)
    model = MultiAsset((MODELS["gbm"], MODELS["ou"]), matrices)
    first, second = model.sample(16_000, STEPS, YEARS, generator=ref.generator())
    for number, c in enumerate(wanted.tolist()):
        rows = slice(4000 * number, 4000 * (number + 1))
        x, y = (p.log_price[rows].double().diff(dim=1).flatten() for p in (first, second))
        assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1]) - c) < 4 / math.sqrt(80_000)
        assert abs(found.attainable[rows, 0, 1].mean()) <= abs(c) + 1e-12


def test_paths_under_regimes_of_their_own(ref):
    """Every kind of path at once; products of returns in units of each path's own deviations."""
    n = 20_000
    models = tuple(RegimeSDE(regime=ref.mixed(n, seed=s)) for s in (1, 2))
    model = MultiAsset(models, ref.matrix(0.4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        a, b = model.sample(n, STEPS, YEARS, generator=ref.generator())
    attainable = float(model.correlations(n, STEPS, YEARS).attainable[:, 0, 1].mean())
    assert attainable == pytest.approx(0.4, abs=0.005)
    scaled = []
    for paths, process in ((a, models[0]), (b, models[1])):
        returns = paths.log_price.double().diff(dim=1)
        trend = (process.regime.drift * YEARS / STEPS)[:, None]
        p = profile(process, n, STEPS, YEARS, torch.device("cpu"))
        variance = (p.variance + p.jump_variance).mean(dim=0) * YEARS / STEPS
        scaled.append((returns - trend) / variance.sqrt()[:, None])
    product = (scaled[0] * scaled[1]).mean(dim=1)
    assert abs(float(product.mean()) - 0.4) < 4 * float(product.std()) / math.sqrt(n) + 0.015


def test_parameters_may_change_from_bar_to_bar(ref):
    """Pooled over the bars, whatever the phases: rates, leverages and variances of each bar."""
    n = 12_000

    def phases(first, second):
        table = torch.full((STEPS, n), first, dtype=torch.float64)
        table[STEPS // 2 :] = second
        return table

    fields = {
        "volatility": phases(0.1, 0.4),
        "jump_intensity": phases(0.0, 10.0),
        "leverage": phases(-0.8, 0.3),
        "mean_reversion": phases(0.0, 6.0),
    }
    models = (
        regime(**fields),
        Heston(mu=0.0, kappa=3.0, theta=0.04, xi=0.4, rho=phases(0.2, -0.9), v0=0.04),
        GBM(mu=phases(0.5, -0.5), sigma=phases(0.3, 0.1)),
    )
    wanted = ref.matrix(0.5, 0.3, 0.2)
    paths = MultiAsset(models, wanted).sample(n, STEPS, YEARS, generator=ref.generator())
    for i in range(3):
        for j in range(i):
            r, se = ref.realised(paths[i], paths[j])
            assert abs(r - wanted[i, j]) < 4 * se + 0.015


def test_every_shape_of_parameter_is_taken(ref):
    """Numbers next to parameters by path, and exponents at the end of their range."""
    n = 40
    some = torch.linspace(0.02, 0.06, n, dtype=torch.float64)
    models = (
        RoughBergomi(mu=0.0, hurst=0.1, eta=1.0, rho=-0.5, xi0=some),
        RoughBergomi(mu=0.0, hurst=some, eta=0.0, rho=1.0, xi0=0.0),
        Heston(mu=0.0, kappa=0.0, theta=0.04, xi=some, rho=-1.0, v0=0.0),
        OU(mu=0.0, sigma=0.0, kappa=some),
        FractionalGBM(mu=0.0, sigma=some, hurst=0.001),
        FractionalGBM(mu=0.0, sigma=0.2, hurst=1 - some / 20),
        Kou(mu=0.0, sigma=0.1, lam=some, p_up=0.0, eta_up=50.0, eta_down=40.0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        model = MultiAsset(models, 0.4 + 0.6 * torch.eye(7))
        found = model.correlations(n, 3, 0.1)
        for paths in model.sample(n, 3, 0.1, generator=ref.generator()):
            assert torch.isfinite(paths.log_price).all()
    for table in (found.diffusive, found.attainable):
        assert (table.abs() <= 1).all()
        assert torch.isfinite(table).all()


def test_different_memories_share_what_their_filters_share(ref):
    """The same innovations through two filters: mean over k of sum_j L_kj L'_kj."""
    model = MultiAsset((FractionalGBM(mu=0.0, sigma=0.2, hurst=0.85),) * 2, ref.matrix(1.0))
    one, two = model.sample(50, STEPS, YEARS, generator=ref.generator(), dtype=torch.float64)
    torch.testing.assert_close(one.log_price, two.log_price)
    lag = (torch.arange(STEPS)[:, None] - torch.arange(STEPS)).abs().double()
    lowers = []
    for h in (0.85, 0.3):
        gamma = (lag + 1) ** (2 * h) - 2 * lag ** (2 * h) + (lag - 1).abs() ** (2 * h)
        lowers.append(torch.linalg.cholesky(0.5 * gamma))
    most = float((lowers[0] * lowers[1]).sum() / STEPS)
    models = tuple(FractionalGBM(mu=0.0, sigma=0.2, hurst=h) for h in (0.85, 0.3))
    model = MultiAsset(models, ref.matrix(0.95), names=("A", "B"))
    with pytest.warns(SdeWarning) as caught:
        r, se = ref.realised(*model.sample(PATHS, STEPS, YEARS, generator=ref.generator()))
    assert str(caught[0].message) == (
        "MultiAsset: correlation 0.95 of A and B cannot be reached with their memories: "
        f"{most:.2f} is the most"
    )
    assert abs(r - most) < 4 * se
    found = model.correlations(3, STEPS, YEARS)
    assert found.attainable[:, 0, 1] == pytest.approx(most, abs=1e-12)
    assert found.diffusive[:, 0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", MODELS)
def test_the_law_of_each_asset_is_that_of_its_process(name, ref):
    """As a third asset, which mixes the noise of two others and takes common jumps of both."""
    n = 20_000
    wanted = ref.matrix(0.4, -0.3, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        joint = together(("bates", "merton 2", name), wanted, ref, paths=n, seed=5)[2]
    alone = MODELS[name].sample(n, STEPS, YEARS, generator=ref.generator(99))
    for k in (1, 7, STEPS):
        pair = (p.log_price[:, k].double().numpy() for p in (joint, alone))
        assert stats.ks_2samp(*pair).pvalue > 1e-3
    if alone.variance is not None and float(alone.variance[:, -1].std()) > 1e-6:
        pair = (p.variance[:, -1].double().numpy() for p in (joint, alone))
        assert stats.ks_2samp(*pair).pvalue > 1e-3
    assert max(abs(z) for z in ref.martingale_z(joint, _drift(MODELS[name]), YEARS)) < 4


def _drift(model):
    return model.regime.drift if isinstance(model, RegimeSDE) else model.mu


def test_prices_of_options_on_the_second_asset(ref):
    kou = Kou(mu=0.03, sigma=0.2, lam=8.0, p_up=0.4, eta_up=25.0, eta_down=15.0)
    other = Merton(mu=0.0, sigma=0.3, lam=20.0, jump_mean=-0.05, jump_std=0.1)
    years = 0.5
    model = MultiAsset((other, kou), ref.matrix(0.5), shared_jumps=0.7)
    x = model.sample(60_000, 4, years, generator=ref.generator(2))[1].log_price[:, -1].double()
    diffusion, jumps = ref.diffusion_cf(years, 0.2), ref.kou_jumps_cf(years, 8.0, 0.4, 25.0, 15.0)
    for strike in (0.8, 1.0, 1.25):
        pay = (x.exp() - strike).clamp(min=0) * math.exp(-0.03 * years)
        exact = ref.call_price(lambda u: diffusion(u) * jumps(u), strike, 0.03, years)
        assert abs(float(pay.mean()) - exact) < 4 * float(pay.std()) / math.sqrt(len(pay))


@pytest.mark.parametrize("name", [n for n in MODELS if "fgbm" not in n and n != "regime C"])
def test_the_first_asset_moves_as_it_does_alone(name, ref):
    """Bit for bit where no jump is common."""
    model = MODELS[name]
    joint = together((name, "heston", "gbm"), ref.matrix(0.5, 0.3, 0.2), ref, 300, shared_jumps=0.0)
    alone = model.sample(300, STEPS, YEARS, generator=ref.generator())
    assert torch.equal(joint[0].log_price, alone.log_price)
    assert alone.variance is None or torch.equal(joint[0].variance, alone.variance)
    assert alone.jumps is None or torch.equal(joint[0].jumps, alone.jumps)


def test_paths_do_not_depend_on_how_many_follow(ref):
    n = 9000
    generator = torch.Generator().manual_seed(3)
    loadings = torch.rand((n, 4, 1), generator=generator, dtype=torch.float64) * 1.8 - 0.9
    matrices = loadings * loadings.mT
    matrices.diagonal(dim1=1, dim2=2).fill_(1.0)
    regimes = [ref.mixed(n, seed=s) for s in range(4)]
    kinds = (RegimeSDE, Kou, FractionalGBM, RegimeSDE)

    def sample(count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SdeWarning)
            models = tuple(k.from_regime(r[:count]) for k, r in zip(kinds, regimes, strict=True))
            model = MultiAsset(models, matrices[:count])
            return model.sample(count, 6, 6 / 252, generator=ref.generator(4))

    whole = sample(n)
    for part in (1, 7, 100, 4097):
        for few, all_of_them in zip(sample(part), whole, strict=True):
            assert torch.equal(few.log_price, all_of_them.log_price[:part])
            assert few.jumps is None or torch.equal(few.jumps, all_of_them.jumps[:part])


def test_assets_of_correlation_one_are_one(ref):
    paths = together(("gbm", "gbm", "gbm"), ref.matrix(1.0, -1.0, -1.0), ref, 100)
    drift = (0.1 - 0.5 * 0.2**2) * YEARS * torch.arange(STEPS + 1) / STEPS
    up, same, down = (p.log_price.double() - drift for p in paths)
    assert torch.equal(up, same)
    torch.testing.assert_close(up, -down, atol=1e-6, rtol=0)
