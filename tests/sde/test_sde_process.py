"""What all processes share: martingale, invariance to batching, checks and messages."""

import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from parfait.regime import Regime
from parfait.sde import (
    GBM,
    OU,
    Bates,
    FractionalGBM,
    Heston,
    Kou,
    Merton,
    RegimeSDE,
    RoughBergomi,
    SdeWarning,
    load_process,
)
from parfait.sde.process import phi
from parfait.sde.streams import BLOCK, Purpose, Streams
from parfait.utils.errors import UserError

PROCESSES = (GBM, Merton, Kou, Heston, Bates, OU, FractionalGBM, RoughBergomi, RegimeSDE)


def from_regime(process, regime, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        return process.from_regime(regime, **options)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(("steps", "years"), [(1, 1 / 252), (20, 20 / 252), (63, 0.25), (32, 1.5)])
def test_discounted_price_is_a_martingale(process, steps, years, ref):
    regime = ref.mixed(60_000)
    paths = from_regime(process, regime).sample(60_000, steps, years, generator=ref.generator(3))
    scores = ref.martingale_z(paths, regime.drift, years)
    assert max(abs(z) for z in scores) < 4, scores


@pytest.mark.parametrize("process", [Merton, Kou, Bates])
def test_without_compensation_jumps_add_to_the_drift(process, ref):
    n, years = 60_000, 0.5
    regime = ref.batch(n, drift=0.1, jump_intensity=6.0, jump_mean=-0.03, jump_std=0.05)
    model = from_regime(process, regime, compensate=False)
    if process is Kou:
        p, up, down = model.p_up, model.eta_up, model.eta_down
        kbar = p * up / (up - 1) + (1 - p) * down / (down + 1) - 1
    else:
        kbar = torch.expm1(model.jump_mean + 0.5 * model.jump_std**2)
    paths = model.sample(n, 16, years, generator=ref.generator(1))
    scores = ref.martingale_z(paths, 0.1 + 6.0 * kbar, years)
    assert max(abs(z) for z in scores) < 4, scores
    assert abs(ref.martingale_z(paths, 0.1, years)[-1]) > 6  # the two laws can be told apart


@pytest.mark.parametrize("process", PROCESSES)
def test_paths_do_not_depend_on_how_many_follow(process, ref):
    n = 33_500  # more than one chunk, last block incomplete
    regime = ref.mixed(n, seed=4)
    whole = from_regime(process, regime).sample(n, 6, 6 / 252, generator=ref.generator(9))
    for part in (1, 7, 100, BLOCK, BLOCK + 1):
        few = from_regime(process, regime[:part]).sample(
            part, 6, 6 / 252, generator=ref.generator(9)
        )
        assert torch.equal(few.log_price, whole.log_price[:part])
        assert few.jumps is None or torch.equal(few.jumps, whole.jumps[:part])
        assert few.variance is None or torch.equal(few.variance, whole.variance[:part])


@pytest.mark.parametrize(
    ("process", "options"),
    [(p, {}) for p in PROCESSES] + [(FractionalGBM, {"vol_anchor": "year"})],
)
def test_nor_do_they_in_double_precision(process, options, ref):
    """Instructions for the last few numbers of a table round differently in the last bit."""
    n = 400
    regime = ref.mixed(n, seed=4)
    exponents = torch.linspace(0.05, 0.45, n, dtype=torch.float64)

    def paths(part):
        fields = dict(options)
        if process is RoughBergomi:
            fields["roughness"] = exponents[:part]
        model = from_regime(process, regime.replace(hurst=exponents)[:part], **fields)
        return model.sample(part, 30, 30 / 252, generator=ref.generator(9), dtype=torch.float64)

    whole = paths(n)
    for part in (*range(1, 60, 3), *range(61, n, 37)):
        few = paths(part)
        assert torch.equal(few.log_price, whole.log_price[:part]), part


@pytest.mark.parametrize("process", PROCESSES)
def test_threads_change_no_bit(process, ref):
    regime = ref.mixed(2000)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            torch.set_num_threads(count)
            paths = from_regime(process, regime).sample(2000, 8, 0.1, generator=ref.generator(2))
            results.append(paths.log_price)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_seed_gives_the_same_paths_and_another_seed_others(process, ref):
    model = from_regime(process, ref.mixed(50))
    first, second, third = (
        model.sample(50, 10, 0.1, generator=ref.generator(s)).log_price for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.isclose(first[:, 1:], third[:, 1:]).any()


def test_sampling_takes_one_integer_from_the_generator(ref):
    """Whoever shares a generator with the simulation is not disturbed by its size."""
    after = []
    for n, steps in ((1, 1), (5000, 30)):
        generator = ref.generator(7)
        GBM(mu=0.0, sigma=0.2).sample(n, steps, 1.0, generator=generator)
        after.append(torch.rand(3, generator=generator))
    assert torch.equal(*after)


@pytest.mark.parametrize(("with_jumps", "without"), [(Merton, GBM), (Kou, GBM), (Bates, Heston)])
def test_no_jumps_is_the_parent_path_by_path(with_jumps, without, ref):
    regime = ref.batch(500, jump_intensity=0.0)
    jumpy, plain = (
        from_regime(p, regime).sample(500, 40, 0.3, generator=ref.generator(5))
        for p in (with_jumps, without)
    )
    assert torch.equal(jumpy.log_price, plain.log_price)
    assert not jumpy.jumps.any()


@pytest.mark.parametrize(("with_jumps", "without"), [(Merton, GBM), (Kou, GBM), (Bates, Heston)])
def test_jumps_leave_the_diffusion_alone(with_jumps, without, ref):
    regime = ref.batch(500, jump_intensity=20.0)
    jumpy = from_regime(with_jumps, regime, compensate=False)
    jumpy, plain = (
        p.sample(500, 40, 0.3, generator=ref.generator(5), dtype=torch.float64)
        for p in (jumpy, from_regime(without, regime))
    )
    diffusion = jumpy.log_price[:, 1:] - jumpy.jumps.cumsum(dim=1)
    torch.testing.assert_close(diffusion, plain.log_price[:, 1:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("process", PROCESSES)
def test_both_precisions_see_the_same_normals(process, ref):
    model = from_regime(process, ref.mixed(400))
    single, double = (
        model.sample(400, 252, 1.0, generator=ref.generator(6), dtype=dtype).log_price.double()
        for dtype in (torch.float32, torch.float64)
    )
    assert (single - double).square().mean().sqrt() < 2e-5


def test_scalars_of_numpy_are_numbers(ref):
    plain, scalars = (
        Merton(mu=kind(0.5), sigma=kind(0.25), lam=kind(2), jump_mean=kind(0), jump_std=kind(0.125))
        for kind in (float, np.float32)
    )
    expected = plain.sample(7, 5, 0.25, generator=ref.generator())
    size = (np.int64(7), np.int32(5), np.float32(0.25))
    assert torch.equal(
        scalars.sample(*size, generator=ref.generator()).log_price, expected.log_price
    )
    regime = Regime(drift=np.float32(0.5), volatility=np.float32(0.25), jump_intensity=np.int64(2))
    assert regime == Regime(drift=0.5, volatility=0.25, jump_intensity=2.0)


@pytest.mark.parametrize("process", [Merton, Kou, Bates, RegimeSDE])
def test_a_switch_is_true_or_false(process, ref):
    with pytest.raises(UserError, match=rf"{process.__name__}\.compensate = 'no' must be true or"):
        from_regime(process, ref.batch(3), compensate="no")


def test_what_is_no_regime_is_named():
    with pytest.raises(UserError, match="dict is not a Regime"):
        RegimeSDE({"drift": 0.1})


def test_layout_and_start(ref):
    paths = Bates.from_regime(ref.batch(7)).sample(7, 5, 0.1, generator=ref.generator())
    assert paths.log_price.shape == paths.variance.shape == (7, 6)
    assert paths.jumps.shape == (7, 5)
    assert paths.log_weight.dtype == torch.float64
    assert not paths.log_price[:, 0].any()
    assert not paths.log_weight.any()
    torch.testing.assert_close(
        paths.variance[:, 0].double(), ref.batch(7).initial_volatility ** 2, rtol=1e-6, atol=0
    )


def test_a_whole_grid_of_extremes_stays_finite(ref):
    grid = list(
        itertools.product(
            (1e-3, 0.2, 10.0),  # sigma
            (0.0, 1e-4, 0.3, 20.0),  # xi
            (-1.0, 0.0, 1.0),  # rho
            (0.0, 0.2, 10.0),  # sqrt v0
            (0.0, 1.0, 1000.0),  # kappa_v
            (0.0, 500.0),  # lambda
            (0.02, 0.5, 0.98),  # H
            (0.0, 1000.0),  # kappa
        )
    )
    sigma, xi, rho, root, kappa, lam, hurst, pull = torch.tensor(grid, dtype=torch.float64).T
    n = len(grid)
    regime = Regime(
        drift=torch.full((n,), 0.1, dtype=torch.float64),
        volatility=sigma,
        vol_of_vol=xi,
        leverage=rho,
        initial_volatility=root,
        variance_reversion=kappa,
        jump_intensity=lam,
        hurst=hurst,
        mean_reversion=pull,
        jump_mean=torch.full((n,), -0.01, dtype=torch.float64),
        jump_std=torch.full((n,), 0.02, dtype=torch.float64),
    )
    for process, dtype, (steps, years) in itertools.product(
        PROCESSES,
        (torch.float32, torch.float64),
        ((1, 1 / (252 * 390)), (12, 12 / 252), (1, 1.0)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SdeWarning)
            model = process.from_regime(regime)
            paths = model.sample(n, steps, years, generator=ref.generator(), dtype=dtype)
        assert torch.isfinite(paths.log_price).all()
        if paths.variance is not None:
            assert torch.isfinite(paths.variance).all()
            assert (paths.variance >= 0).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GBM(mu=0.0, sigma=-0.2), "GBM.sigma = -0.2 is outside [0, 1000]"),
        (lambda: GBM(mu=float("nan"), sigma=0.2), "GBM.mu = nan is outside [-1e+06, 1e+06]"),
        (
            lambda: Merton(mu=0.0, sigma=0.2, lam=-1.0, jump_mean=0.0, jump_std=0.1),
            "Merton.lam = -1 is outside [0, 1e+09]",
        ),
        (
            lambda: Kou(mu=0.0, sigma=0.2, lam=1.0, p_up=0.5, eta_up=1.0, eta_down=9.0),
            "Kou.eta_up = 1 is outside (1, inf)",
        ),
        (
            lambda: Kou(mu=0.0, sigma=0.2, lam=1.0, p_up=1.5, eta_up=9.0, eta_down=9.0),
            "Kou.p_up = 1.5 is outside [0, 1]",
        ),
        (
            lambda: Heston(
                mu=0.0, kappa=1.0, theta=0.04, xi=0.3, rho=torch.tensor([0.0, -1.5]), v0=0.04
            ),
            "Heston.rho = -1.5 is outside [-1, 1]",
        ),
        (
            lambda: Heston(
                mu=0.0, kappa=1.0, theta=0.04, xi=0.3, rho=0.0, v0=0.04, scheme="milstein"
            ),
            "Heston scheme 'milstein' is unknown; use qe_m or euler",
        ),
        (lambda: GBM(mu="a", sigma=0.2), "GBM.mu = 'a' is not a number or a tensor"),
        (
            lambda: Bates.from_regime(Regime(drift=0.0, volatility=0.2), compensated=False),
            "Bates has no option 'compensated'; its options are: compensate, scheme",
        ),
        (
            lambda: OU(mu=0.0, sigma=0.2, kappa=-1.0),
            "OU.kappa = -1 is outside [0, 1e+06]",
        ),
        (
            lambda: OU(mu=0.0, sigma=0.2, kappa=1.0, theta=float("inf")),
            "OU.theta = inf is outside [-1e+06, 1e+06]",
        ),
        (lambda: OU(mu=None, sigma=0.2, kappa=1.0), "OU.mu = None is not a number or a tensor"),
        (
            lambda: FractionalGBM(mu=0.0, sigma=0.2, hurst=1.0),
            "FractionalGBM.hurst = 1 is outside [0.001, 0.999]",
        ),
        (
            lambda: FractionalGBM(mu=0.0, sigma=0.2, hurst=0.6, vol_anchor="day"),
            "FractionalGBM vol_anchor 'day' is unknown; use bar or year",
        ),
        (
            lambda: RoughBergomi(mu=0.0, hurst=0.7, eta=1.0, rho=0.0, xi0=0.04),
            "RoughBergomi.hurst = 0.7 is outside [0.001, 0.5]",
        ),
        (
            lambda: load_process("brownian"),
            "process 'brownian' is unknown; use one of gbm, merton, kou, heston, bates, ou, fgbm, ",
        ),
    ],
)
def test_a_bad_parameter_is_named_with_its_value_and_bound(build, message):
    with pytest.raises(UserError) as caught:
        build()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": 0}, "sample: paths = 0 must be a whole number of at least 1"),
        ({"steps": 2.5}, "sample: steps = 2.5 must be a whole number of at least 1"),
        ({"years": -1.0}, "sample: years = -1.0 must be above 0 and at most 10,000"),
        ({"dtype": torch.int64}, "sample: dtype = torch.int64 must be torch.float32 or"),
        (
            {"paths": 4},
            "GBM.sigma has shape (3,); give a number or a tensor of shape (4,) or (9, 4)",
        ),
    ],
)
def test_a_bad_request_is_one_sentence(changes, message, ref):
    request = {"paths": 3, "steps": 9, "years": 1.0, "generator": ref.generator()} | changes
    with pytest.raises(UserError) as caught:
        GBM(mu=0.0, sigma=torch.full((3,), 0.2)).sample(**request)
    assert str(caught.value).startswith(message)


def test_a_field_the_process_cannot_express_is_named_once():
    regime = Regime(drift=0.0, volatility=0.2, hurst=0.7, mean_reversion=2.0, jump_intensity=3.0)
    with pytest.warns(SdeWarning) as caught:
        Heston.from_regime(regime)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert "hurst (0.7)" in said
    assert "mean_reversion (2)" in said
    assert "jump_intensity (3)" in said
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bates.from_regime(regime.replace(hurst=0.5, mean_reversion=0.0))


@pytest.mark.parametrize("process", PROCESSES)
def test_a_single_regime_is_a_batch_of_equals(process, ref):
    regime = Regime(drift=0.1, volatility=0.3, jump_intensity=4.0, jump_mean=-0.02, jump_std=0.05)
    one, many = (
        from_regime(process, r).sample(20, 8, 0.1, generator=ref.generator())
        for r in (regime, regime.expand(20))
    )
    assert torch.equal(one.log_price, many.log_price)


def test_unresolved_initial_volatility_starts_at_the_long_run_level(ref):
    regime = Regime(drift=0.0, volatility=0.3)
    paths = Heston.from_regime(regime).sample(4, 2, 0.1, generator=ref.generator())
    torch.testing.assert_close(paths.variance[:, 0], torch.full((4,), 0.09))


def test_streams_are_independent_across_blocks_and_purposes():
    streams = Streams(5, 0, 2 * BLOCK, torch.float32, torch.device("cpu"))
    price = streams.normal(Purpose.PRICE, 20)
    variance = streams.normal(Purpose.VARIANCE, 20)
    limit = 4 / (20 * BLOCK) ** 0.5
    assert (price[:, :BLOCK] * price[:, BLOCK:]).mean().abs() < limit
    assert (price * variance).mean().abs() < limit
    later = Streams(5, 1, BLOCK, torch.float32, torch.device("cpu"))
    assert torch.equal(later.normal(Purpose.PRICE, 20), price[:, BLOCK:])


def test_a_longer_flat_draw_begins_with_the_shorter_one():
    streams = Streams(5, 0, 10, torch.float32, torch.device("cpu"))
    for draw in (streams.flat_normal, streams.flat_uniform):
        long = draw(Purpose.JUMP_SIZES, 0, 3 * BLOCK + 5)
        for count in (0, 1, 20, BLOCK, BLOCK + 1):
            assert torch.equal(draw(Purpose.JUMP_SIZES, 0, count), long[:count])


def test_phi_is_smooth_through_zero():
    y = torch.tensor([0.0, 1e-9, 9.9e-5, 1.01e-4, 1.0, 50.0], dtype=torch.float64)
    exact = torch.tensor([1.0] + [-math.expm1(-t) / t for t in y.tolist()[1:]]).double()
    torch.testing.assert_close(phi(y), exact, rtol=1e-7, atol=0)
    z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    phi(z).backward()
    assert float(z.grad) == -0.5


def test_importing_the_layer_stays_light():
    code = (
        "import sys, parfait.sde; "
        "print([m for m in ('lightning', 'transformers', 'hydra', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
