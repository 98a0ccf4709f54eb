"""Jumps that several assets share: counts, times, sizes, and what they do to correlation."""

import math
import warnings

import pytest
import torch
from scipy import stats

from parfait.sde import Kou, Merton, MultiAsset, SdeWarning

STEPS, YEARS, PATHS = 20, 20 / 252, 8000


def _counting(lam, size=1.0):
    return Merton(mu=0.0, sigma=0.2, lam=lam, jump_mean=size, jump_std=0.0)


def _counts(lams, share, ref, n=20_000, steps=5):
    model = MultiAsset(tuple(_counting(lam) for lam in lams), ref.matrix(0.0), shared_jumps=share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        found = model.sample(n, steps, 1.0, generator=ref.generator(8))
    return [p.jumps.double().round() for p in found]


def test_assets_of_equal_rates_share_all_jumps(ref):
    first, second = _counts((4.0, 4.0), 1.0, ref)
    assert first.any()
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("lams", "share"), [((2.0, 6.0), 1.0), ((6.0, 3.0), 0.4), ((5.0, 5.0), 0.0), ((0.0, 5.0), 1.0)]
)
def test_common_jumps_come_at_the_smaller_rate(lams, share, ref):
    """Cov of the counts is the rate of the common jumps; each count stays Poisson."""
    a, b = _counts(lams, share, ref)
    n, dt = a.numel(), 1 / a.shape[1]
    common = share * min(lams) * dt
    product = (a - lams[0] * dt) * (b - lams[1] * dt)
    assert abs(float(product.mean()) - common) <= 4 * float(product.std()) / math.sqrt(n)
    if min(lams) > 0 and share == 1.0:
        fewer, more = (a, b) if lams[0] < lams[1] else (b, a)
        assert (more >= fewer).all()
    for counts, lam in zip((a, b), lams, strict=True):
        observed = torch.bincount(counts.flatten().long(), minlength=6)[:6]
        law = torch.from_numpy(stats.poisson(lam * dt).pmf(range(6))) * n
        assert ((observed - law).abs() <= 4 * law.sqrt() + 1e-9).all()


def test_rates_that_change_are_shared_bar_by_bar(ref):
    n, steps = 20_000, 2
    changing = torch.tensor([[8.0], [1.0]]).expand(steps, n)
    model = MultiAsset((_counting(changing), _counting(3.0)), ref.matrix(0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)
        a, b = (p.jumps.double() for p in model.sample(n, steps, 1.0, generator=ref.generator(8)))
    for k, (mean, common) in enumerate(((4.0, 1.5), (0.5, 0.5))):
        assert abs(float(a[:, k].mean()) - mean) < 4 * math.sqrt(mean / n)
        product = (a[:, k] - mean) * (b[:, k] - 1.5)
        assert abs(float(product.mean()) - common) < 4 * float(product.std()) / math.sqrt(n)


@pytest.mark.parametrize("kind", ["normal", "double exponential"])
@pytest.mark.parametrize("wanted", [0.8, -0.7])
def test_sizes_of_common_jumps_are_correlated(kind, wanted, ref):
    """Normals in the precision of the law; ranks where the sizes are not normal."""
    if kind == "normal":
        models = (Merton(mu=0.0, sigma=0.2, lam=0.5, jump_mean=0.0, jump_std=0.02),) * 2
    else:
        models = (Kou(mu=0.0, sigma=0.2, lam=0.5, p_up=0.5, eta_up=50.0, eta_down=50.0),) * 2
    model = MultiAsset(models, ref.matrix(wanted))
    a, b = (p.jumps.double() for p in model.sample(20_000, 50, 1.0, generator=ref.generator()))
    a, b = a[a != 0], b[b != 0]
    normal_rank = 6 / math.pi * math.asin(wanted / 2)  # Spearman's of a Gaussian copula
    assert abs(stats.spearmanr(a.numpy(), b.numpy()).statistic - normal_rank) < 0.03
    if kind == "normal":
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1]) - wanted) < 0.02


def test_systemic_crashes_leave_no_opposite_correlation(ref):
    crash = Merton(mu=0.0, sigma=0.05, lam=20.0, jump_mean=-0.05, jump_std=0.01)
    model = MultiAsset((crash, crash), ref.matrix(-0.8), names=("A", "B"))
    jump_part = 20 * (0.05**2 - 0.8 * 0.01**2)
    least = (jump_part - 0.05**2) / (20 * (0.05**2 + 0.01**2) + 0.05**2)
    with pytest.warns(SdeWarning) as caught:
        r, se = ref.realised(*model.sample(PATHS, STEPS, YEARS, generator=ref.generator()))
    assert str(caught[0].message) == (
        "MultiAsset: correlation -0.80 of A and B cannot be reached with their jumps: "
        f"{least:.2f} is the least"
    )
    assert abs(r - least) < 4 * se
    found = model.correlations(5, STEPS, YEARS)
    assert found.attainable.shape == (5, 2, 2)
    torch.testing.assert_close(found.attainable[:, 0, 1], torch.full((5,), least).double())
    assert found.notes == (str(caught[0].message).removeprefix("MultiAsset: "),)
