"""The volatility to come: units, misprints, missing ranges; and the neutral reading it makes."""

import math

import pytest
import torch

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.history import History
from parfait.metrics.functional.calibration import covered, ks_uniform, pit
from parfait.metrics.neutral import neutral_paths
from parfait.metrics.probes import path_bars
from parfait.outlook import HALF_LIVES, LEVEL, PRESENT, outlook
from parfait.regime import MarketContext, Outlook, Regime, mean_volatility
from parfait.sde import RegimeSDE
from parfait.semantic import load_reader
from parfait.utils.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def market(bars, sigma=0.2, seed=0, **fields):
    regime = Regime(0.0, sigma, **{"vol_of_vol": 0.0, "initial_volatility": sigma} | fields)
    paths = RegimeSDE.from_regime(regime.expand(1)).sample(
        1, bars, bars / 252, generator=generator(seed), dtype=torch.float64
    )
    return path_bars(paths, 100.0, 1 / 252, generator(seed + 1))[0]


def test_weights_are_means():
    assert sum(PRESENT) == pytest.approx(1)
    assert sum(LEVEL) == pytest.approx(1)
    assert len(PRESENT) == len(LEVEL) == len(HALF_LIVES)


def test_a_steady_market_is_read_right():
    found = [outlook(market(400, sigma, seed), 252.0) for seed, sigma in enumerate([0.2] * 30)]
    for name in ("present", "level"):
        ratios = torch.tensor([math.log(getattr(o, name) / 0.2) for o in found])
        # A mean of logarithms lies a little below the logarithm of the mean.
        assert -0.12 < float(ratios.mean()) < 4 * float(ratios.std()) / math.sqrt(30)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_it_scales_with_returns_and_with_time(factor):
    bars = market(300)
    larger = torch.cat([100 * (bars[:, :4] / 100) ** factor, bars[:, 4:]], dim=1)
    one, other = outlook(bars, 252.0), outlook(larger, 252.0)
    assert other.present == pytest.approx(factor * one.present)
    assert other.level == pytest.approx(factor * one.level)
    assert other.falls == pytest.approx(one.falls)
    assert outlook(bars, 1008.0).level == pytest.approx(2 * one.level)


def test_the_present_moves_more_than_the_level():
    calm, wild = market(300, 0.1), market(10, 0.4, seed=5)
    wild = torch.cat([wild[:, :4] * calm[-1, 3] / 100, wild[:, 4:]], dim=1)
    after = outlook(torch.cat([calm, wild]), 252.0)
    before = outlook(calm, 252.0)
    assert after.present > after.level > before.level
    assert after.present > 1.7 * before.present


def test_a_misprinted_high_is_no_news():
    bars = market(300)
    odd = bars.clone()
    odd[-3, 1] *= 7
    assert outlook(odd, 252.0).present < 1.6 * outlook(bars, 252.0).present


def test_small_ranges_are_corrected_and_missing_ones_left_out():
    bars = market(1200)
    o, c = bars[:, :1], bars[:, 3:4]
    top, bottom = torch.maximum(o, c), torch.minimum(o, c)
    small = torch.cat([o, top * (bars[:, 1:2] / top) ** 0.6, bottom, c, bars[:, 4:]], dim=1)
    level = outlook(bars, 252.0).level
    assert outlook(small, 252.0).level == pytest.approx(level, rel=0.2)
    closes = torch.cat([c, c, c, c, bars[:, 4:]], dim=1)
    assert outlook(closes, 252.0).level == pytest.approx(level, rel=0.3)
    bodies = torch.cat([o, top, bottom, c, bars[:, 4:]], dim=1)  # ranges that tell nothing
    assert outlook(bodies, 252.0).level == pytest.approx(level, rel=0.3)


def test_losses_are_told_from_gains():
    assert outlook(market(300, seed=3), 252.0).falls == pytest.approx(0, abs=0.5)
    bars = market(100)
    down = bars * torch.linspace(1, 0.3, 100, dtype=torch.float64)[:, None]
    assert outlook(down, 252.0).falls > 0.2


def test_nothing_is_told_where_nothing_moves():
    assert outlook(torch.full((50, 5), 3.0, dtype=torch.float64), 252.0) is None
    assert outlook(market(2), 252.0) is None
    assert outlook(market(3), 252.0).doubt == pytest.approx(0.5)
    with pytest.raises(UserError, match=r"Outlook\.level"):
        Outlook(0.2, 0.0)


def context(**outlook):
    return MarketContext("equity", 0.2, bars_per_year=252.0, outlook=Outlook(**outlook))


def neutral(**outlook):
    return load_reader().read("", context(**outlook)).components[0]


def test_the_neutral_reading_is_the_outlook():
    """Diffusion and jumps together have the outlook's variance, within its fitted constants."""
    r = neutral(present=0.3, level=0.2).regime
    jumps = r.jump_intensity * (r.jump_mean**2 + r.jump_std**2)
    assert math.sqrt(r.volatility**2 + jumps) == pytest.approx(0.2, rel=0.07)
    assert r.initial_volatility / r.volatility == pytest.approx(1.5, rel=0.07)
    near, far = (float(mean_volatility(r.expand(1), 0.0, t)) for t in (0.02, 1.0))
    assert near > far > r.volatility


def test_losses_raise_the_present_of_a_market_with_leverage():
    calm, after = neutral(present=0.2, level=0.2), neutral(present=0.2, level=0.2, falls=0.4)
    assert after.regime.initial_volatility > 1.1 * calm.regime.initial_volatility
    assert after.regime.volatility == calm.regime.volatility
    told = MarketContext("currency", 0.1, bars_per_year=252.0, outlook=Outlook(0.1, 0.1, falls=0.4))
    even = MarketContext("currency", 0.1, bars_per_year=252.0, outlook=Outlook(0.1, 0.1))
    first, second = (load_reader().read("", c).components[0] for c in (told, even))
    assert first == second  # a currency has two sides


def test_short_histories_are_less_sure():
    short, long = neutral(present=0.2, level=0.2, doubt=0.3), neutral(present=0.2, level=0.2)
    assert float(short.sd[1]) > 2 * float(long.sd[1])


def test_instructions_do_not_see_the_outlook():
    """Only silence is a forecast; a sentence stays relative to the present volatility, and one that
    was not understood wide.
    """
    plain = MarketContext("equity", 0.2, bars_per_year=252.0)
    for text in ("The central bank unexpectedly raises rates", "florble grumpf"):
        assert load_reader().read(text, context(present=0.5, level=0.4)) == load_reader().read(
            text, plain
        )
    assert load_reader().read("", plain).components[0].slot == "prior"


def test_a_history_knows_its_outlook():
    """The context of a history holds what ``neutral_paths`` uses at that origin."""
    frame = embedded_bars()["NASDAQ"].head(2000)
    past = History(frame, "nasdaq").context(252.0, "equity")
    assert past.outlook == outlook(bars_to_tensor(frame), 252.0)
    short = History(frame.head(2), "two bars").context(252.0, "equity")
    assert short.outlook is None


def test_forecasts_read_nothing_after_their_origin():
    bars = market(400)
    changed = bars.clone()
    changed[301:, :4] *= 2
    how = {"steps": 5, "paths": 8, "bars_per_year": 252.0, "asset": "stock"}
    found = [
        neutral_paths(b, torch.tensor([200, 300]), **how, generator=generator())
        for b in (bars, changed)
    ]
    assert torch.equal(*found)
    assert found[0].shape == (2, 8, 5)
    with pytest.raises(UserError, match="origins run from"):
        neutral_paths(bars, torch.tensor([400]), **how, generator=generator())
    with pytest.raises(UserError, match="too few bars"):
        neutral_paths(bars, torch.tensor([1]), **how, generator=generator())


def test_it_is_calibrated_on_a_market_of_its_own_kind():
    """Bars of a Heston market with jumps: coverage and PIT of 10-bar returns."""
    bars = market(
        9000,
        0.2,
        7,
        vol_of_vol=0.5,
        variance_reversion=5.0,
        leverage=-0.6,
        jump_intensity=2.0,
        jump_std=0.03,
    )
    origins = torch.arange(500, 8980, 10)
    returns = neutral_paths(
        bars, origins, 10, 200, bars_per_year=252.0, asset="equity", generator=generator()
    ).sum(-1)
    truth = (bars[origins + 10, 3] / bars[origins, 3]).log()
    n = len(origins)
    for level in (0.5, 0.9):
        share = float(covered(returns, truth, level).mean())
        assert abs(share - level) < 4 * math.sqrt(level * (1 - level) / n)
    assert ks_uniform(pit(returns, truth, generator())) < 1.95 / math.sqrt(n)
