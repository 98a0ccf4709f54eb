"""Rivals are valid, hit the guide exactly, and have the law they promise."""

import math

import pytest
import torch

from parfait.labels import total_variance
from parfait.metrics.baselines import bars_between, bridge_bars
from parfait.metrics.functional import pooling
from parfait.metrics.functional.validity import guide_error, validity
from parfait.metrics.functional.windows import encode_window
from parfait.metrics.rivals import Garch, fit_garch, make_rivals, theory_bars
from parfait.metrics.rivals import garch as garch_module
from parfait.sde import Guide
from parfait.utils.errors import UserError

STEPS, BARS = 16, 61


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(count: int, steps: int, seed: int = 0, sd: float = 0.01) -> torch.Tensor:
    """GBM bars with some volume."""
    start = torch.full((count, 3, 5), 100.0, dtype=torch.float64)
    start[:, 1, 3] = 100 * math.exp(sd * math.sqrt(3) / math.sqrt(2))
    start[..., 4] = torch.tensor([1e6, 2e6, 3e6])
    return bridge_bars(start, steps, generator=generator(seed))


def simulated(model: Garch, n: int, seed: int = 0) -> torch.Tensor:
    """Returns of one long path."""
    bars = model.bars(windows(1, BARS), n + 500, generator=generator(seed))
    return bars[0, 500:, 3].log().diff()


TRUE = Garch(0.05, 0.05, 0.03, 0.12, 0.85, 6.0, -0.2, 0.01)


def test_every_rival_is_valid_free_and_guided() -> None:
    train = windows(40, BARS + STEPS, 1)
    history = windows(30, BARS, 2)
    returns = [simulated(TRUE, 1500)]
    rivals = make_rivals(train[:, :BARS], train[:, BARS:], returns, 252)
    anchored = torch.zeros(30, STEPS, dtype=torch.bool)
    anchored[:, 3::4] = True
    moves = 0.02 * torch.randn(30, STEPS, generator=generator(3), dtype=torch.float64)
    guide = Guide(history[:, -1:, 3] * moves.cumsum(1).exp(), anchored)
    for name, rival in rivals.items():
        assert callable(rival), f"{name}: {rival}"
        free = rival(history, STEPS, generator=generator())
        assert validity(free)["valid"] == 1
        assert torch.equal(free, rival(history, STEPS, generator=generator()))
        bound = rival(history, STEPS, guide=guide, generator=generator())
        assert validity(bound)["valid"] == 1
        assert guide_error(bound, guide.level, guide.anchored) == 0
    assert set(rivals) == {"copy", "bootstrap", "bridge", "gbm", "heston", "garch-t", "gjr-skewt"}


def test_copies_are_training_windows() -> None:
    train, history = windows(12, BARS + STEPS, 1), windows(9, BARS, 2)
    pool = train[:, :BARS], train[:, BARS:]
    rival = make_rivals(*pool, [], 252)["copy"]
    assert callable(rival)
    mine = encode_window(history, rival(history, STEPS, generator=generator()))
    theirs = encode_window(*pool)
    gap = (mine.r[:, None] - theirs.r[None]).abs().amax(2).amin(1)
    assert float(gap.max()) < 1e-9


def test_bars_between_keep_the_closes_and_the_range_of_a_bridge() -> None:
    history = windows(1, BARS).expand(3000, -1, -1)
    r = 0.01 * torch.randn(3000, STEPS, generator=generator(1), dtype=torch.float64)
    deviation = torch.full_like(r, 0.02)
    bars = bars_between(history, r, deviation, substeps=64, generator=generator())
    closes = torch.cat([history[:, -1:, 3], bars[..., 3]], dim=1)
    torch.testing.assert_close(closes.log().diff(dim=1), r)
    # E of the largest rise of a bridge from 0 to 0 is sd sqrt(pi/8); sampling 64 times sees less.
    flat = bars_between(history, torch.zeros_like(r), deviation, substeps=64, generator=generator())
    rise = (flat[..., 1] / flat[..., 0]).log().mean()
    expected = 0.02 * (math.sqrt(math.pi / 8) - 0.5826 / math.sqrt(64))
    assert float(rise) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ["garch-t", "gjr-skewt"])
def test_a_fit_finds_the_law_of_its_own_paths(name: str) -> None:
    skew = None if name == "garch-t" else TRUE.skew
    gamma = 0.0 if name == "garch-t" else TRUE.gamma
    truth = Garch(0.05, 0.05, 0.09, gamma, 0.8, 6.0, skew, 0.01)
    found = fit_garch([simulated(truth, 6000, seed=4)], name)  # pyright: ignore[reportArgumentType]
    assert found.persistence == pytest.approx(truth.persistence, abs=0.03)
    assert found.degrees == pytest.approx(6, abs=1.2)
    assert found.gamma == pytest.approx(gamma, abs=0.06)
    if skew is not None:
        assert found.skew == pytest.approx(skew, abs=0.06)
    unconditional = found.omega / (1 - found.persistence)
    assert unconditional == pytest.approx(1, abs=0.3)


def test_shocks_have_unit_variance_and_follow_their_law() -> None:
    for skew in (None, -0.3):
        model = Garch(0, 1.0, 0, 0, 0, 5.0, skew, 0.01)
        r = model.bars(windows(1, BARS).expand(2000, -1, -1), 50, generator=generator())
        z = r[..., 3].log().diff(dim=1) / 0.01
        assert float(z.std()) == pytest.approx(1, abs=0.01)
        lean = float(pooling.skewness(z.clamp(-4, 4), pooling.once(z)))
        assert lean < -0.2 if skew else lean == pytest.approx(0, abs=0.03)


def test_a_wild_history_goes_on_wildly_and_calms_down() -> None:
    model = Garch(0, 0.05, 0.1, 0, 0.85, 8.0, None, 0.01)
    wild = windows(3000, BARS, 5, sd=0.03)
    r = model.bars(wild, 60, generator=generator())[..., 3].log().diff(dim=1)
    assert float(r[:, :5].std()) > 1.5 * float(r[:, -5:].std())


def test_theory_has_the_volatility_of_its_history_and_no_drift() -> None:
    history = windows(1, 400, 6).expand(4000, -1, -1)
    sd = float(total_variance(history[:1]).sqrt())
    for name in ("gbm", "heston"):
        bars = theory_bars(history, STEPS, process=name, bars_per_year=252, generator=generator())
        r = torch.cat([history[:, -1:, 3], bars[..., 3]], dim=1).log().diff(dim=1)
        assert float(r.std()) == pytest.approx(sd, rel=0.02)
        growth = bars[:, -1, 3] / history[:, -1, 3]
        error = float(growth.std()) / math.sqrt(len(growth))
        assert float(growth.mean()) == pytest.approx(1, abs=4 * error)
        square = pooling.autocorrelation(r.square(), [1])
        assert (float(square) > 0.01) == (name == "heston")


def test_what_is_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [torch.randn(100, generator=generator(), dtype=torch.float64)]
    with pytest.raises(UserError, match="needs 250 training returns and has 100"):
        fit_garch(few)
    with pytest.raises(UserError, match="returns that do not move"):
        fit_garch([torch.zeros(300, dtype=torch.float64)])
    monkeypatch.setattr(garch_module, "find_spec", lambda name: None)
    train = windows(5, BARS + STEPS)
    rivals = make_rivals(train[:, :BARS], train[:, BARS:], few, 252)
    assert rivals["gjr-skewt"] == "GARCH needs the package arch: pip install 'parfait[evaluate]'"
