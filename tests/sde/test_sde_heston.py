"""QE-M: moments, its two bodies, its limits, its gradients, and where its correction fails."""

import math
import warnings
from dataclasses import replace

import pytest
import torch

from parfait.sde import GBM, Bates, Heston, SdeWarning

VALUES = {"mu": 0.05, "kappa": 3.0, "theta": 0.05, "xi": 0.6, "rho": -0.6, "v0": 0.09}
# 2 kappa theta / xi^2 of 0.04, 0.4 and 3: from hard violation of Feller's condition to none.
FELLER = [(0.5, 0.04, 1.0), (2.0, 0.04, 0.63), (6.0, 0.09, 0.6)]


@pytest.mark.parametrize(("kappa", "theta", "xi"), FELLER)
@pytest.mark.parametrize(("steps", "years"), [(20, 20 / 252), (16, 1.0), (10, 5.0)])
def test_variance_has_the_moments_of_cir(kappa, theta, xi, steps, years, ref):
    """The scheme matches the conditional mean and variance, hence both exactly at any step."""
    n, v0 = 80_000, 0.06
    paths = Heston(mu=0.0, kappa=kappa, theta=theta, xi=xi, rho=-0.5, v0=v0).sample(
        n, steps, years, generator=ref.generator(2)
    )
    v = paths.variance[:, -1].double()
    e = math.exp(-kappa * years)
    mean = theta + (v0 - theta) * e
    variance = v0 * xi**2 / kappa * (e - e * e) + theta * xi**2 / (2 * kappa) * (1 - e) ** 2
    assert abs(v.mean() - mean) < 4 * v.std() / math.sqrt(n)
    squares = (v - mean) ** 2
    assert abs(squares.mean() - variance) < 4 * squares.std() / math.sqrt(n)


@pytest.mark.parametrize("rho", [-0.95, 0.0, 0.3])
@pytest.mark.parametrize(("steps", "years"), [(60, 60 / 252), (8, 2.0)])
@pytest.mark.parametrize(("kappa", "theta", "xi"), FELLER)
def test_martingale_whatever_feller_says(kappa, theta, xi, steps, years, rho, ref):
    process = Heston(mu=0.2, kappa=kappa, theta=theta, xi=xi, rho=rho, v0=0.04)
    if rho > 0 and years / steps > 0.1:
        return  # the correction may not exist there: see the fallback test
    paths = process.sample(60_000, steps, years, generator=ref.generator(4))
    assert max(abs(z) for z in ref.martingale_z(paths, 0.2, years)) < 4


def track_gradients(process):
    """The same process on the branchless body, which is chosen where a gradient is wanted."""
    return replace(process, xi=torch.as_tensor(process.xi).clone().requires_grad_())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-5), (torch.float64, 1e-10)])
def test_sparse_and_branchless_bodies_agree(dtype, tolerance, ref):
    regime = ref.batch(3000, seed=8)
    process = Bates.from_regime(regime)
    sparse, dense = (
        p.sample(3000, 50, 0.5, generator=ref.generator(), dtype=dtype)
        for p in (process, track_gradients(process))
    )
    assert dense.log_price.requires_grad
    assert not sparse.log_price.requires_grad
    error = (sparse.log_price - dense.log_price.detach()).abs()
    assert error.max() < 100 * tolerance
    assert error.square().mean().sqrt() < tolerance


def test_bodies_agree_where_the_correction_fails(ref):
    """Long steps and positive leverage: some rows never have a correction, some always do."""
    generator = ref.generator(1)
    kappa, xi, rho = torch.rand((3, 400), generator=generator, dtype=torch.float64)
    process = Heston(mu=0.0, kappa=30 * kappa, theta=0.1, xi=20 * xi, rho=rho, v0=1.0)
    with pytest.warns(SdeWarning, match="no martingale correction on"):
        sparse = process.sample(400, 6, 6.0, generator=ref.generator(), dtype=torch.float64)
    with pytest.warns(SdeWarning, match="no martingale correction on"):
        dense = track_gradients(process).sample(
            400, 6, 6.0, generator=ref.generator(), dtype=torch.float64
        )
    assert torch.isfinite(sparse.log_price).all()
    torch.testing.assert_close(sparse.log_price, dense.log_price.detach(), rtol=1e-9, atol=1e-9)


def test_the_correction_exists_wherever_leverage_is_not_positive(ref):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Heston(mu=0.0, kappa=30.0, theta=0.1, xi=20.0, rho=-0.95, v0=1.0).sample(
            400, 6, 6.0, generator=ref.generator()
        )


@pytest.mark.parametrize("rho", [-0.7, 0.0, 1.0])
def test_no_vol_of_vol_is_gbm_in_its_own_noise(rho, ref):
    """xi = 0 and v0 = theta: a GBM driven by rho Z1 + sqrt(1 - rho^2) Z2."""
    flat = Heston(mu=0.1, kappa=2.0, theta=0.04, xi=0.0, rho=rho, v0=0.04)
    paths = flat.sample(30_000, 12, 0.5, generator=ref.generator())
    assert torch.allclose(paths.variance, torch.tensor(0.04))
    gbm = GBM(mu=0.1, sigma=0.2).sample(30_000, 12, 0.5, generator=ref.generator())
    if rho == 0.0:
        torch.testing.assert_close(paths.log_price, gbm.log_price, atol=1e-6, rtol=0)
    increments = paths.log_price.diff(dim=1).double()
    assert abs(increments.var() / (0.04 * 0.5 / 12) - 1) < 4 * math.sqrt(2 / increments.numel())
    assert max(abs(z) for z in ref.martingale_z(paths, 0.1, 0.5)) < 4


def test_small_vol_of_vol_approaches_the_limit(ref):
    def sample(xi):
        process = Heston(mu=0.1, kappa=2.0, theta=0.04, xi=xi, rho=-0.7, v0=0.09)
        return process.sample(500, 60, 0.25, generator=ref.generator(), dtype=torch.float64)

    limit = sample(0.0)
    gaps = [
        float((sample(xi).log_price - limit.log_price).square().mean().sqrt())
        for xi in (0.1, 0.01, 0.001)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[1] < 0.2 * gaps[0]
    assert gaps[2] < 1e-3


def test_deterministic_and_random_variance_share_a_batch(ref):
    """Each row of a mixed batch is what it would be alone."""
    xi = torch.tensor([0.0, 0.5, 1e-5, 0.3])
    values = VALUES | {"xi": xi}
    mixed = Heston(**values).sample(4, 30, 0.2, generator=ref.generator())
    for row in range(4):
        alone = Heston(**(VALUES | {"xi": xi[row]})).sample(4, 30, 0.2, generator=ref.generator())
        assert torch.equal(mixed.log_price[row], alone.log_price[row])


@pytest.mark.parametrize(("xi", "limit"), [(1.0, 5e-5), (0.1, 2e-5), (1e-2, 5e-4), (1e-4, 4e-3)])
def test_single_precision_error(xi, limit, ref):
    process = Heston(**(VALUES | {"xi": xi}))
    single, double = (
        process.sample(2000, 252, 1.0, generator=ref.generator(), dtype=d).log_price.double()
        for d in (torch.float32, torch.float64)
    )
    assert (single - double).square().mean().sqrt() < limit


def test_leverage_has_its_sign(ref):
    for rho in (-0.8, 0.0, 0.8):
        paths = Heston(**(VALUES | {"rho": rho, "xi": 0.3})).sample(
            20_000, 21, 21 / 252, generator=ref.generator()
        )
        pair = torch.stack([paths.log_price.diff(dim=1), paths.variance.diff(dim=1)])
        assert torch.corrcoef(pair.flatten(1))[0, 1] == pytest.approx(rho, abs=0.03)


def parameters(**changes):
    values = VALUES | {"lam": 5.0, "jump_mean": -0.02, "jump_std": 0.03} | changes
    return {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in values.items()}


def total(values, ref, paths=40):
    sample = Bates(**values).sample(
        paths, 6, 6 / 52, generator=ref.generator(3), dtype=torch.float64
    )
    return (sample.log_price[:, -1] ** 2).sum() + sample.variance[:, -1].sum()


@pytest.mark.parametrize(
    "changes",
    [{}, {"kappa": 0.0}, {"v0": 0.0}, {"v0": 0.0, "theta": 0.0}, {"xi": 0.0}, {"xi": 5.0}],
)
def test_gradients_are_finite_in_every_parameter(changes, ref):
    values = parameters(**changes)
    total(values, ref).backward()
    for name, value in values.items():
        if name != "lam":  # counts do not move with their rate, only the compensator does
            assert value.grad is not None, name
        assert value.grad is None or torch.isfinite(value.grad), name


@pytest.mark.parametrize(
    "name", ["mu", "kappa", "theta", "xi", "rho", "v0", "jump_mean", "jump_std"]
)
def test_gradients_equal_differences(name, ref):
    values = parameters()
    total(values, ref).backward()
    step = 1e-6
    sides = []
    for sign in (1, -1):
        moved = {n: v.detach().clone() for n, v in values.items()}
        moved[name] += sign * step
        sides.append(float(total(moved, ref)))
    difference = (sides[0] - sides[1]) / (2 * step)
    assert float(values[name].grad) == pytest.approx(difference, rel=1e-4, abs=1e-6)
