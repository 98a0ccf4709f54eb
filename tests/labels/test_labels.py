"""Closed-form labels on bars whose truth is known: Brownian motion with exact ranges."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from parfait.labels import Labels, total_variance, yang_zhang
from parfait.labels.prior import PRIOR, prior_coordinates
from parfait.labels.synthetic import bars_around
from parfait.labels.volatility import close_to_close
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError
from tests.labels.windows import (
    YEAR,
    brownian_bars,
    fractional_noise,
    generator,
    labelled,
    normal,
    reverting_returns,
)


@pytest.mark.parametrize("overnight", [0.0, 0.25])
@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_yang_zhang_is_unbiased_with_drift_and_gaps(overnight: float, drift: float) -> None:
    sd = 0.2 / math.sqrt(YEAR)
    variance = yang_zhang(brownian_bars(3000, 20, sd, drift / YEAR, overnight, 1)) / sd**2
    error = variance.std() / math.sqrt(3000)
    assert abs(variance.mean() - 1) < 4 * error + 2e-3  # 2e-3: extremes of one bridge are dependent


@pytest.mark.parametrize(("n", "bound"), [(20, 0.070), (60, 0.040), (120, 0.030), (250, 0.021)])
def test_volatility_error_is_a_fraction_of_close_to_close(n: int, bound: float) -> None:
    sd = 0.2 / math.sqrt(YEAR)
    bars = brownian_bars(60_000 // n, n, sd, 0.0, 0.2, 2)
    relative = yang_zhang(bars).sqrt() / sd - 1
    closes = close_to_close(bars).sqrt() / sd - 1
    rmse = relative.square().mean().sqrt()
    assert rmse < bound
    assert rmse < 0.45 * closes.square().mean().sqrt()


@pytest.mark.parametrize(("n", "overnight"), [(20, 0.0), (20, 0.3), (60, 0.3)])
def test_intervals_cover_what_they_promise(n: int, overnight: float) -> None:
    windows = 2000
    g = torch.Generator().manual_seed(3)
    sigma = 0.05 * (0.8 / 0.05) ** torch.rand(windows, generator=g, dtype=torch.float64)
    sharpe = torch.randn(windows, generator=g, dtype=torch.float64)
    growth = sharpe * sigma  # of the log price, from the prior
    bars = brownian_bars(windows, n, sigma / math.sqrt(YEAR), growth / YEAR, overnight, 4)
    labels = labelled(bars, YEAR)
    truth = {"drift": growth + sigma.square() / 2, "volatility": sigma}
    for name, values in truth.items():
        under, over = (
            (values < getattr(labels.quantile(q), name)).to(torch.float64).mean()
            for q in (0.05, 0.95)
        )
        assert 0.86 < over - under < (0.97 if name == "drift" else 0.95), name
        assert abs(over + under - 1) < 0.05, name  # neither tail holds what the other lacks
    z = (truth["drift"] - labels.mean.drift) / labels.sd.drift
    assert abs(z.mean()) < 0.15


def test_coverage_from_closes_when_bars_are_flat() -> None:
    windows, n, sd = 2000, 60, 0.01
    bars = brownian_bars(windows, n, sd, 0.0, 0.0, 5)
    bars = bars[..., 3:4].expand(-1, -1, 4)
    labels = labelled(torch.cat([bars, torch.ones_like(bars[..., :1])], -1), YEAR)
    assert bool(labels.flagged("closes").all())
    low, high = labels.quantile(0.05).volatility, labels.quantile(0.95).volatility
    truth = sd * math.sqrt(YEAR)
    covered = ((truth > low) & (truth < high)).to(torch.float64).mean()
    assert 0.87 < covered < 0.94
    usual = labelled(brownian_bars(windows, n, sd, 0.0, 0.0, 5), YEAR)
    assert not bool(usual.flagged("closes").any())
    assert usual.scale[:, 1].mean() < 0.45 * labels.scale[:, 1].mean()


def around(moves: Tensor, sd: float = 0.01) -> Tensor:
    """Bars around returns of unit pace, ``sd`` a bar."""
    return bars_around(sd * moves, torch.full_like(moves, sd**2), generator(99))


def test_price_units_change_nothing_and_rates_scale_with_the_year() -> None:
    bars = brownian_bars(50, 30, 0.01, 0.0, 0.2, 6)
    labels = labelled(bars, YEAR)
    scaled = bars * torch.tensor([7.3, 7.3, 7.3, 7.3, 1.0], dtype=torch.float64)
    again = labelled(scaled, YEAR)
    # The search runs in single precision.
    torch.testing.assert_close(again.loc, labels.loc, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.scale, labels.scale, rtol=1e-4, atol=1e-4)
    four = labelled(bars, 4 * YEAR)
    low, high = labels.quantile(0.5), four.quantile(0.5)
    assert torch.allclose(high.volatility, 2 * low.volatility, rtol=1e-9)
    assert torch.allclose(high.jump_intensity, 4 * low.jump_intensity, rtol=0.05)
    assert torch.equal(high.jump_mean, low.jump_mean)
    assert torch.equal(high.jump_std, low.jump_std)
    assert torch.allclose(high.hurst, low.hurst, atol=0.1)  # by the prior of the mean alone
    assert torch.equal(four.log_bayes[:, 1], labels.log_bayes[:, 1])
    assert torch.equal(four.reversion_probability, labels.reversion_probability)
    each = labelled(bars, torch.tensor([YEAR, 4 * YEAR], dtype=torch.float64).repeat(25))
    assert torch.equal(each.loc[0::2], labels.loc[0::2])
    assert torch.equal(each.loc[1::2], four.loc[1::2])


def test_each_process_is_told_apart_and_the_other_set_to_none() -> None:
    """Random walk: no kappa, H = 1/2. Reversion: kappa and no memory. Memory: H and no kappa."""
    h, kappa = FIELD_NAMES.index("hurst"), FIELD_NAMES.index("mean_reversion")
    walk = labelled(around(normal(20, 300, 251)), YEAR)
    assert walk.flagged("reverting").to(torch.float64).mean() < 0.05
    keeps = ~walk.flagged("reverting")
    assert bool((walk.quantile(0.95).mean_reversion[keeps] < 0.07).all())
    assert abs(walk.mean.hurst[keeps].mean() - 0.5) < 0.02
    pulled = labelled(around(reverting_returns(300, 251, 60.0, 21)), YEAR)
    found = pulled.flagged("reverting")
    assert found.to(torch.float64).mean() > 0.9
    assert bool((pulled.loc[found, h].abs() < 1e-12).all())
    assert 45 < pulled.quantile(0.5).mean_reversion[found].median() < 75
    assert bool((pulled.reversion_probability[found] > 0.95).all())
    for exponent in (0.3, 0.8):
        lasting = labelled(around(fractional_noise(200, 251, exponent, 22)), YEAR)
        assert lasting.flagged("reverting").to(torch.float64).mean() < 0.1
        assert abs(lasting.mean.hurst.mean() - exponent) < 0.03
        none = ~lasting.flagged("reverting")
        assert bool((lasting.loc[none, kappa] == math.log(0.05)).all())


def test_spread_falls_with_length_to_the_prior_at_none() -> None:
    _, prior = prior_coordinates(torch.tensor([YEAR], dtype=torch.float64))
    rows = [labelled(brownian_bars(200, n, 0.01, 0.0, 0.2, 23), YEAR) for n in (2, 20, 60, 250)]
    for name in ("drift", "volatility", "jump_intensity", "jump_std", "jump_mean", "hurst"):
        j = FIELD_NAMES.index(name)
        spreads = [float(labels.scale[:, j].median()) for labels in rows]
        assert spreads == sorted(spreads, reverse=True), name
        if name not in ("drift", "volatility"):
            assert spreads[0] == pytest.approx(float(prior[0, j]), rel=0.15), name


def test_windows_know_nothing_of_each_other_or_of_what_follows() -> None:
    bars = brownian_bars(20, 80, 0.01, 0.0, 0.2, 7)
    labels = labelled(bars[:, :61], YEAR)
    alone = labelled(bars[3:4, :61], YEAR)
    # Sums in single precision depend on the size of a batch, in their last digits.
    torch.testing.assert_close(alone.loc[0], labels.loc[3], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone.scale[0], labels.scale[3], rtol=1e-5, atol=1e-5)
    changed = bars.clone()
    changed[:, 61:] *= 3
    assert torch.equal(labelled(changed[:, :61], YEAR).loc, labels.loc)
    first = bars.clone()
    first[:, 0, :3] = first[:, 0, 3:4]  # of the first bar only the close is used
    assert torch.equal(labelled(first[:, :61], YEAR).loc, labels.loc)


def test_initial_volatility_comes_from_the_bars_before() -> None:
    j = FIELD_NAMES.index("initial_volatility")
    calm, wild = (brownian_bars(200, 30, sd, 0.0, 0.0, 8) for sd in (0.005, 0.03))
    alone, after = labelled(calm, YEAR), labelled(calm, YEAR, before=wild)
    assert torch.equal(after.loc[:, :j], alone.loc[:, :j])
    assert torch.allclose(
        after.quantile(0.5).initial_volatility, labelled(wild, YEAR).quantile(0.5).volatility
    )
    assert torch.allclose(
        alone.quantile(0.5).initial_volatility, alone.quantile(0.5).volatility, rtol=1e-6
    )
    assert bool((alone.scale[:, j] > alone.scale[:, 1]).all())
    longer = labelled(calm, YEAR, before=brownian_bars(200, 250, 0.03, 0.0, 0.0, 8))
    assert longer.scale[:, j].mean() > 1.5 * after.scale[:, j].mean()  # it may have moved since


def test_unmeasured_fields_hold_one_prior() -> None:
    labels = labelled(brownian_bars(10, 30, 0.01, 0.0, 0.2, 9), YEAR)
    rest = [n for n, known in zip(FIELD_NAMES, labels.identified, strict=True) if not known]
    assert rest == ["variance_reversion", "vol_of_vol", "leverage"]
    for name in rest:
        j = FIELD_NAMES.index(name)
        assert bool((labels.scale[:, j] == PRIOR[name][1]).all())
        if name != "vol_of_vol":
            assert bool((labels.loc[:, j] == labels.loc[0, j]).all())
    ratio = labels.quantile(0.5).vol_of_vol / labels.quantile(0.5).volatility
    assert torch.allclose(ratio, torch.full_like(ratio, 2.0), rtol=1e-6)


def constant(n: int = 20) -> Tensor:
    return torch.full((1, n, 5), 10.0, dtype=torch.float64)


def crash() -> Tensor:
    """A price that stands still, but for one bar that loses 90 %."""
    bars = constant()
    bars[:, 10:, :4] = 1.0
    bars[:, 10, :2] = 10.0
    return bars


def half_flat() -> Tensor:
    bars = brownian_bars(1, 20, 0.01, 0.0, 0.0, 30)
    bars[:, ::2, :3] = bars[:, ::2, 3:4]
    return bars


def fallen() -> Tensor:
    """An ordinary window whose tenth bar loses 90 %."""
    bars = brownian_bars(1, 20, 0.01, 0.0, 0.2, 31)
    bars[:, 10, 2:4] *= 0.1
    bars[:, 11:, :4] *= 0.1
    return bars


def line() -> Tensor:
    """Ten percent a bar, without noise."""
    rise = 10 * torch.exp(0.1 * torch.arange(30, dtype=torch.float64))
    return rise[None, :, None].repeat(1, 1, 5)


DEGENERATE = {
    "constant": constant(),
    "shortest": constant(3),
    "crash": crash(),
    "half flat": half_flat(),
    "fallen": fallen(),
    "two returns": brownian_bars(1, 2, 0.01, 0.0, 0.0, 10),
    "four returns": brownian_bars(1, 4, 0.01, 0.0, 0.0, 32),
    "line": 10
    * torch.exp(0.01 * torch.arange(30, dtype=torch.float64))[None, :, None].expand(1, 30, 5),
    "rounding": (brownian_bars(1, 60, 1e-4, 0.0, 0.2, 33) / 0.05).round() * 0.05,
}


@pytest.mark.parametrize("bars", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_windows_are_finite_wide_and_never_certain(bars: Tensor) -> None:
    for frequency in (YEAR, 12.0, 98_280.0):
        labels = labelled(bars, frequency, before=bars)
        for tensor in (labels.loc, labels.scale, labels.mean.to_unconstrained(), labels.log_bayes):
            assert bool(torch.isfinite(tensor).all())
        assert bool((labels.scale > 0.01).all())
        assert bool((labels.total_volatility > 0).all())
        assert bool(torch.isfinite(total_variance(bars)).all())


def test_what_is_not_measured_is_the_prior_and_says_so() -> None:
    centre, spread = prior_coordinates(torch.tensor([YEAR], dtype=torch.float64))
    still = labelled(constant(), YEAR)
    assert bool(still.flagged("still").all())
    assert float(still.n_eff) == 0
    # The variance process follows the prior of the volatility.
    torch.testing.assert_close(still.loc[:, :8], centre[:, :8], rtol=1e-9, atol=1e-9)
    same = [j for j, name in enumerate(FIELD_NAMES) if name != "initial_volatility"]
    torch.testing.assert_close(still.scale[:, same], spread[:, same], rtol=1e-9, atol=1e-9)
    lost = labelled(crash(), YEAR)
    assert bool(lost.flagged("still").all())
    assert float(lost.total_volatility) > 5
    assert float(lost.scale[0, 1]) == PRIOR["volatility"][1]
    one = labelled(fallen(), YEAR)
    assert bool(one.flagged("jumps").all())
    assert float(one.mean.volatility) == pytest.approx(0.01 * math.sqrt(YEAR), rel=0.2)
    assert float(one.total_volatility) > 5
    assert float(one.quantile(0.5).jump_std) > 0.2
    assert bool(labelled(half_flat(), YEAR).flagged("closes").all())
    short = labelled(brownian_bars(1, 4, 0.01, 0.0, 0.0, 32), YEAR)
    assert bool(short.flagged("short").all())
    assert float(short.scale[0, FIELD_NAMES.index("hurst")]) > 1
    with pytest.raises(UserError, match="flag 'odd' is unknown"):
        short.flagged("odd")


def test_quantiles_moments_and_draws_agree() -> None:
    one = labelled(brownian_bars(1, 60, 0.01, 0.0, 0.2, 11), YEAR)
    labels = Labels.concatenate([one] * 3)
    assert len(labels) == 3
    assert torch.equal(labels.loc[2:], one.loc)
    many = Labels.concatenate([one] * 20_000)
    draws = many.draw(torch.Generator().manual_seed(0))
    assert len(draws) == 20_000
    for name in FIELD_NAMES:
        values, mean = getattr(draws, name), getattr(labels.mean, name)[0]
        sd = getattr(labels.sd, name)[0]
        assert abs(values.mean() - mean) < 5 * sd / math.sqrt(20_000)
        assert values.std() == pytest.approx(sd.item(), rel=0.08)
        for q in (0.1, 0.5, 0.9):
            bound = getattr(labels.quantile(q), name)[0]
            below = (values <= bound).to(torch.float64).mean()
            if bound == 0:  # no mean reversion: half of the draws are at this bound
                assert below > q
                continue
            assert abs(below - q) < 0.012
    with pytest.raises(UserError, match="quantile 1"):
        labels.quantile(1.0)


def test_mistakes_are_named() -> None:
    bars = brownian_bars(2, 10, 0.01, 0.0, 0.0, 12)
    with pytest.raises(UserError, match=r"shape \(11, 5\)"):
        labelled(bars[0], YEAR)
    with pytest.raises(UserError, match="at least 3"):
        labelled(bars[:, :2], YEAR)
    with pytest.raises(UserError, match="bars_per_year"):
        labelled(bars, 0.0)
    with pytest.raises(UserError, match="prices above 0"):
        labelled(-bars, YEAR)
    with pytest.raises(UserError, match="before has 2 bars"):
        labelled(bars, YEAR, before=bars[:, :2])
    with pytest.raises(UserError, match="before has 1 windows"):
        labelled(bars, YEAR, before=bars[:1])
    with pytest.raises(UserError, match="range_correction = 0"):
        labelled(bars, YEAR, range_correction=0.0)
    with pytest.raises(UserError, match="method = 'best' is unknown"):
        labelled(bars, YEAR, method="best")
    closed = labelled(bars, YEAR)
    with pytest.raises(UserError, match="cannot be joined"):
        Labels.concatenate([closed, replace(closed, method="other")])
