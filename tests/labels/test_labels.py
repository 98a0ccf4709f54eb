"""Labels on bars whose truth is known: Brownian motion with exact ranges."""

import math

import pytest
import torch
from torch import Tensor

from parfait.labels import Labels, label_windows, yang_zhang
from parfait.labels.volatility import close_to_close
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError

YEAR = 252.0


def brownian_bars(
    windows: int, n: int, sd: Tensor | float, mean: Tensor | float, overnight: float, seed: int
) -> Tensor:
    """n + 1 bars of Brownian log prices per bar N(mean, sd^2), a share of it overnight.

    Highs and lows are those of continuous paths: between the 12 points of a session the extremes
    of the bridge are drawn from their exact law (P(max > m) = exp(-2 (m-a)(m-b) / variance)).
    """
    g = torch.Generator().manual_seed(seed)
    parts = 12
    sd = torch.as_tensor(sd, dtype=torch.float64).expand(windows)[:, None, None]
    mean = torch.as_tensor(mean, dtype=torch.float64).expand(windows)[:, None, None]
    shape = (windows, n + 1, parts)
    step = sd * math.sqrt((1 - overnight) / parts)
    inside = step * torch.randn(shape, generator=g, dtype=torch.float64)
    inside = inside + mean * (1 - overnight) / parts
    gap = (
        sd[..., 0] * math.sqrt(overnight) * torch.randn(shape[:2], generator=g, dtype=torch.float64)
    )
    gap = gap + mean[..., 0] * overnight
    levels = torch.cat([gap[..., None], inside], dim=2).reshape(windows, -1).cumsum(1)
    levels = levels.reshape(windows, n + 1, parts + 1)
    a, b = levels[..., :-1], levels[..., 1:]

    def reach() -> Tensor:
        u = torch.rand(shape, generator=g, dtype=torch.float64).clamp_min(1e-300)
        return ((b - a).square() - 2 * step.square() * u.log()).sqrt()

    high = ((a + b + reach()) / 2).amax(2)
    low = ((a + b - reach()) / 2).amin(2)
    prices = torch.stack([levels[..., 0], high, low, levels[..., -1]], dim=-1).exp()
    return torch.cat([100 * prices, torch.ones(windows, n + 1, 1, dtype=torch.float64)], dim=-1)


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
    labels = label_windows(bars, YEAR)
    truth = {"drift": growth + sigma.square() / 2, "volatility": sigma}
    for name, values in truth.items():
        under, over = (
            (values < getattr(labels.quantile(q), name)).to(torch.float64).mean()
            for q in (0.05, 0.95)
        )
        assert 0.87 < over - under < 0.93, name
        assert abs(over + under - 1) < 0.04, name  # neither tail holds what the other lacks
    z = (truth["drift"] - labels.mean.drift) / labels.sd.drift
    assert abs(z.mean()) < 0.08


def test_coverage_from_closes_when_bars_are_flat() -> None:
    windows, n, sd = 2000, 60, 0.01
    bars = brownian_bars(windows, n, sd, 0.0, 0.0, 5)
    bars = bars[..., 3:4].expand(-1, -1, 4)
    labels = label_windows(torch.cat([bars, torch.ones_like(bars[..., :1])], -1), YEAR)
    assert bool(labels.fallback.all())
    low, high = labels.quantile(0.05).volatility, labels.quantile(0.95).volatility
    truth = sd * math.sqrt(YEAR)
    covered = ((truth > low) & (truth < high)).to(torch.float64).mean()
    assert 0.87 < covered < 0.94
    usual = label_windows(brownian_bars(windows, n, sd, 0.0, 0.0, 5), YEAR)
    assert not bool(usual.fallback.any())
    assert usual.scale[:, 1].mean() < 0.45 * labels.scale[:, 1].mean()


def test_price_units_change_nothing_and_years_scale() -> None:
    bars = brownian_bars(50, 30, 0.01, 0.0, 0.2, 6)
    labels = label_windows(bars, YEAR)
    scaled = bars * torch.tensor([7.3, 7.3, 7.3, 7.3, 1.0], dtype=torch.float64)
    again = label_windows(scaled, YEAR)
    torch.testing.assert_close(again.loc, labels.loc, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.scale, labels.scale, rtol=1e-9, atol=1e-9)
    four = label_windows(bars, 4 * YEAR)
    assert torch.allclose(four.quantile(0.5).volatility, 2 * labels.quantile(0.5).volatility)
    assert torch.allclose(four.scale[:, 1], labels.scale[:, 1])
    each = label_windows(bars, torch.tensor([YEAR, 4 * YEAR], dtype=torch.float64).repeat(25))
    assert torch.equal(each.loc[0::2], labels.loc[0::2])
    assert torch.equal(each.loc[1::2], four.loc[1::2])


def test_windows_know_nothing_of_each_other_or_of_what_follows() -> None:
    bars = brownian_bars(20, 80, 0.01, 0.0, 0.2, 7)
    labels = label_windows(bars[:, :61], YEAR)
    alone = label_windows(bars[3:4, :61], YEAR)
    torch.testing.assert_close(alone.loc[0], labels.loc[3], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(alone.scale[0], labels.scale[3], rtol=1e-12, atol=1e-12)
    changed = bars.clone()
    changed[:, 61:] *= 3
    assert torch.equal(label_windows(changed[:, :61], YEAR).loc, labels.loc)
    first = bars.clone()
    first[:, 0, :3] = first[:, 0, 3:4]  # of the first bar only the close is used
    assert torch.equal(label_windows(first[:, :61], YEAR).loc, labels.loc)


def test_initial_volatility_comes_from_the_bars_before() -> None:
    j = FIELD_NAMES.index("initial_volatility")
    calm, wild = (brownian_bars(200, 30, sd, 0.0, 0.0, 8) for sd in (0.005, 0.03))
    alone, after = label_windows(calm, YEAR), label_windows(calm, YEAR, before=wild)
    assert torch.equal(after.loc[:, :j], alone.loc[:, :j])
    assert torch.allclose(
        after.quantile(0.5).initial_volatility, label_windows(wild, YEAR).quantile(0.5).volatility
    )
    assert torch.allclose(
        alone.quantile(0.5).initial_volatility, alone.quantile(0.5).volatility, rtol=1e-6
    )


def test_unmeasured_fields_hold_one_prior() -> None:
    labels = label_windows(brownian_bars(10, 30, 0.01, 0.0, 0.2, 9), YEAR)
    measured = [n for n, known in zip(FIELD_NAMES, labels.identified, strict=True) if known]
    assert measured == ["drift", "volatility", "initial_volatility"]
    rest = ~labels.identified
    assert bool((labels.loc[:, rest] == labels.loc[:1, rest]).all())
    assert bool((labels.scale[:, rest] > 0).all())


def constant() -> Tensor:
    return torch.full((1, 20, 5), 10.0, dtype=torch.float64)


def test_degenerate_windows_are_finite_wide_and_marked() -> None:
    crash = constant()
    crash[:, 10:, :4] = 1.0
    crash[:, 10, :2] = 10.0
    for bars in (constant(), crash, brownian_bars(1, 2, 0.01, 0.0, 0.0, 10)):
        labels = label_windows(bars, YEAR)
        for tensor in (labels.loc, labels.scale, labels.mean.to_unconstrained()):
            assert bool(torch.isfinite(tensor).all())
        assert bool((labels.scale > 0).all())
    still = label_windows(constant(), YEAR)
    assert bool(still.fallback.all())
    assert still.scale[0, 1] == 0.8
    assert label_windows(crash, YEAR).mean.volatility > 5


def test_quantiles_moments_and_draws_agree() -> None:
    labels = label_windows(brownian_bars(3, 60, 0.01, 0.0, 0.2, 11), YEAR)
    many = Labels(
        labels.loc[:1].expand(20_000, -1),
        labels.scale[:1].expand(20_000, -1),
        labels.identified,
        labels.fallback[:1].expand(20_000),
    )
    draws = many.draw(torch.Generator().manual_seed(0))
    assert len(draws) == 20_000
    for name in FIELD_NAMES:
        values, mean = getattr(draws, name), getattr(labels.mean, name)[0]
        sd = getattr(labels.sd, name)[0]
        assert abs(values.mean() - mean) < 5 * sd / math.sqrt(20_000)
        assert values.std() == pytest.approx(sd.item(), rel=0.08)
        for q in (0.1, 0.5, 0.9):
            below = (values <= getattr(labels.quantile(q), name)[0]).to(torch.float64).mean()
            assert abs(below - q) < 0.012
    with pytest.raises(UserError, match="quantile 1"):
        labels.quantile(1.0)


def test_mistakes_are_named() -> None:
    bars = brownian_bars(2, 10, 0.01, 0.0, 0.0, 12)
    with pytest.raises(UserError, match=r"shape \(11, 5\)"):
        label_windows(bars[0], YEAR)
    with pytest.raises(UserError, match="at least 3"):
        label_windows(bars[:, :2], YEAR)
    with pytest.raises(UserError, match="bars_per_year"):
        label_windows(bars, 0.0)
    with pytest.raises(UserError, match="prices above 0"):
        label_windows(-bars, YEAR)
    with pytest.raises(UserError, match="before has 2 bars"):
        label_windows(bars, YEAR, before=bars[:, :2])
