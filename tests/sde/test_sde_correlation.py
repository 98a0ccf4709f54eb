"""Correlation matrices: repair, factors, and the sentences for what cannot be one."""

import math

import pytest
import torch
from scipy import special

from parfait.regime import Regime
from parfait.sde import GBM, FractionalGBM, MultiAsset, RegimeSDE, SdeWarning, nearest_correlation
from parfait.sde.correlation import cholesky
from parfait.sde.diffusive import lambert_w
from parfait.utils.errors import UserError

MODELS = {
    "gbm": GBM(mu=0.1, sigma=0.2),
    "fgbm": FractionalGBM(mu=0.0, sigma=0.2, hurst=0.7),
    "regime": RegimeSDE(regime=Regime(drift=0.1, volatility=0.2, hurst=0.7)),
}


def test_valid_matrices_are_left_alone(ref):
    for valid in (
        torch.eye(4),
        ref.matrix(0.9, 0.5, 0.6),
        ref.matrix(1.0, -1.0, -1.0),
        torch.ones(5, 5),
    ):
        repaired, change = nearest_correlation(valid)
        assert torch.equal(repaired, valid.double())
        assert change == 0.0


def test_impossible_matrices_are_repaired(ref):
    """Two assets that move with a third must move with each other."""
    given = ref.matrix(0.9, 0.9, -0.9)
    repaired, change = nearest_correlation(given)
    assert float(torch.linalg.eigvalsh(repaired).min()) > -1e-12
    assert torch.equal(repaired.diagonal(), torch.ones(3).double())
    assert torch.equal(repaired, repaired.mT)
    assert change == pytest.approx(float((repaired - given).abs().max()))
    assert 0.2 < change < 0.6
    batch, most = nearest_correlation(torch.stack([given, torch.eye(3).double()]))
    assert torch.equal(batch[0], repaired)
    assert torch.equal(batch[1], torch.eye(3).double())
    assert most == change
    with pytest.warns(SdeWarning, match=rf"moved by up to {change:.2f}"):
        model = MultiAsset((MODELS["gbm"],) * 3, given)
    paths = model.sample(8000, 20, 0.1, generator=ref.generator())
    r, se = ref.realised(paths[1], paths[2])
    assert abs(r - repaired[1, 2]) < 4 * se


def test_lopsided_matrices_become_symmetric(ref):
    given = torch.tensor([[0.98, 0.5], [0.4, 1.0]])
    repaired, change = nearest_correlation(given)
    torch.testing.assert_close(repaired, ref.matrix(0.45), atol=1e-7, rtol=0)
    assert change == pytest.approx(0.05, abs=1e-6)


def test_cholesky_knows_singular_from_indefinite(ref):
    c = ref.matrix
    good = torch.stack([torch.eye(3).double(), c(1.0, 0.5, 0.5), c(0.3, -0.2, 0.7)])
    bad = torch.stack([c(0.9, 0.9, -0.9), c(1.0, 0.5, 0.4), c(1.0, 0.0, 0.5)])
    lower, valid = cholesky(torch.cat([good, bad]))
    assert valid.tolist() == [True] * 3 + [False] * 3
    lower = lower.permute(2, 0, 1)[:3]
    torch.testing.assert_close(lower @ lower.mT, good)
    torch.testing.assert_close(lower[2], torch.linalg.cholesky(good[2]))


def test_lambert_w_solves_its_equation():
    near = -math.exp(-1) + torch.logspace(-12, -1, 50, dtype=torch.float64)
    far = torch.cat([torch.linspace(-0.3, 0.3, 61), torch.logspace(-3, 8, 200)]).double()
    for x, within in ((near, 1e-6), (far, 1e-9)):
        exact = torch.from_numpy(special.lambertw(x.numpy()).real)
        torch.testing.assert_close(lambert_w(x), exact, atol=within, rtol=within)
    assert float(lambert_w(torch.tensor(-5.0).double())) == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g, c: MultiAsset((), torch.eye(1)), "MultiAsset.processes: give one process per"),
        (lambda g, c: MultiAsset((g, g), torch.eye(3)), "MultiAsset.correlation has shape (3, 3);"),
        (lambda g, c: MultiAsset((g, g), c(1.2)), "correlation[0, 1] = 1.2 is outside [-1, 1]"),
        (lambda g, c: MultiAsset((g, g), c(math.nan)), "correlation[0, 1] = nan is outside"),
        (
            lambda g, c: MultiAsset((g, g), c(0.1), shared_jumps=1.5),
            "MultiAsset.shared_jumps = 1.5 is outside [0, 1]",
        ),
        (
            lambda g, c: MultiAsset((g, g), c(0.1), names=("A",)),
            "MultiAsset.names: 1 names for 2",
        ),
        (lambda g, c: nearest_correlation(torch.ones(2, 3)), "correlation has shape (2, 3); give"),
    ],
)
def test_a_bad_matrix_is_one_sentence(build, message, ref):
    with pytest.raises(UserError) as caught:
        build(MODELS["gbm"], ref.matrix)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("models", "correlation", "steps", "message"),
    [
        (("gbm", "gbm"), torch.eye(2).expand(3, 2, 2), 5, "MultiAsset.correlation has 3 matrices"),
        (("gbm", "fgbm"), torch.eye(2), 5000, "5000 steps are too many for memory (hurst)"),
        (("gbm", "regime"), torch.eye(2), 5000, "RegimeSDE: 5000 steps are too many"),
        (("gbm", "gbm"), torch.eye(2), 0, "sample: steps = 0 must be"),
    ],
)
def test_a_bad_request_is_one_sentence(models, correlation, steps, message, ref):
    model = MultiAsset(tuple(MODELS[name] for name in models), correlation)
    with pytest.raises(UserError) as caught:
        model.sample(2, steps, 1.0, generator=ref.generator())
    assert str(caught.value).startswith(message)
