"""Facts equal closed forms on processes that have them, and react to what should move them."""

import math

import pytest
import torch

from parfait.metrics.functional import pooling
from parfait.metrics.functional.facts import short_facts, stylised_facts
from parfait.metrics.functional.windows import WindowCode, encode_window


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def autocorrelation(x: torch.Tensor, lag: int, *, within: bool = False) -> float:
    return float(pooling.autocorrelation(x, [lag], within=within))


def leverage(r: torch.Tensor, lag: int) -> float:
    return float(pooling.leverage(r, [lag]))


def excess_kurtosis(x: torch.Tensor) -> float:
    return float(pooling.excess_kurtosis(x, pooling.once(x)))


def asymmetric(paths: int, steps: int, b: float) -> torch.Tensor:
    """r_t = e_t h_t with h_t^2 = 1 - b sign(e_{t-1}): leverage at lag 1 and none beyond."""
    e = noise(paths, steps + 1)
    return e[:, 1:] * (1 - b * e[:, :-1].sign()).sqrt()


def code_of(r: torch.Tensor) -> WindowCode:
    n = noise(4, *r.shape, seed=9)
    return WindowCode(r, 0.1 * n[0], n[1].relu(), n[2].relu(), n[3])


@pytest.mark.parametrize("phi", [-0.4, 0.6])
def test_autocorrelation_of_an_ar1_is_phi_to_the_lag(phi: float) -> None:
    e = noise(20_000, 40)
    x = e.clone()
    x[:, 0] /= math.sqrt(1 - phi**2)
    for t in range(1, 40):
        x[:, t] = phi * x[:, t - 1] + e[:, t]
    for lag in (1, 2, 5):
        assert autocorrelation(x, lag) == pytest.approx(phi**lag, abs=0.01)


def test_centring_within_paths_removes_their_levels() -> None:
    x = noise(20_000, 32) + 2 * noise(20_000, 1, seed=1)
    assert autocorrelation(x, 1) == pytest.approx(4 / 5, abs=0.01)
    # White noise about its own mean: each product loses one T-th of the variance.
    assert autocorrelation(x, 1, within=True) == pytest.approx(-1 / 31, abs=0.005)


def test_squares_of_a_garch_cluster_as_bollerslev_says() -> None:
    omega, alpha, beta = 0.1, 0.15, 0.7
    e = noise(4000, 260)
    variance = torch.full((4000,), omega / (1 - alpha - beta), dtype=torch.float64)
    r = torch.empty_like(e)
    for t in range(260):
        r[:, t] = e[:, t] * variance.sqrt()
        variance = omega + alpha * r[:, t].square() + beta * variance
    r = r[:, 60:]  # past the start at the mean variance
    persistence = alpha + beta
    first = alpha * (1 - alpha * beta - beta**2) / (1 - 2 * alpha * beta - beta**2)
    assert autocorrelation(r.square(), 1) == pytest.approx(first, abs=0.02)
    assert autocorrelation(r.square(), 4) == pytest.approx(first * persistence**3, abs=0.02)
    spare = 1 - persistence**2
    assert excess_kurtosis(r) == pytest.approx(6 * alpha**2 / (spare - 2 * alpha**2), abs=0.25)


def test_leverage_of_an_asymmetric_process() -> None:
    b = 0.8
    r = asymmetric(20_000, 32, b)
    mean_h = (math.sqrt(1 + b) + math.sqrt(1 - b)) / 2
    expected = -b * math.sqrt(2 / math.pi) * mean_h / math.sqrt(3 * (1 + b**2) - 1)
    assert leverage(r, 1) == pytest.approx(expected, abs=0.01)
    assert leverage(r, 3) == pytest.approx(0, abs=0.01)


def test_time_reversal_moves_leverage_and_keeps_tails_and_clustering() -> None:
    r = asymmetric(4000, 32, 0.8)
    forward, backward = stylised_facts(code_of(r)), stylised_facts(code_of(r.flip(1)))
    assert forward["leverage_1_5"] < -0.04
    assert abs(backward["leverage_1_5"]) < 0.01
    for name in ("std", "kurtosis", "acf_abs_1", "acf_abs_1_10", "acf_abs_1_within"):
        assert backward[name] == pytest.approx(forward[name], abs=1e-9)


def test_permuting_paths_changes_nothing_and_permuting_days_does() -> None:
    code = code_of(asymmetric(500, 32, 0.8).abs().cumsum(1).fmod(3))
    facts = stylised_facts(code)
    generator = torch.Generator().manual_seed(3)
    paths, days = torch.randperm(500, generator=generator), torch.randperm(32, generator=generator)
    assert stylised_facts(WindowCode(*(x[paths] for x in code))) == pytest.approx(facts, abs=1e-9)
    shuffled = stylised_facts(WindowCode(*(x[:, days] for x in code)))
    assert abs(shuffled["acf_abs_1"] - facts["acf_abs_1"]) > 0.05


def test_zeros_and_couplings_are_counted() -> None:
    r = noise(300, 20)
    upper = torch.where(noise(300, 20, seed=1) > 0, 0.0, 0.5)
    code = WindowCode(r, torch.zeros_like(r), upper, torch.ones_like(r), 2 * r.abs() - 1)
    facts = stylised_facts(code)
    assert facts["zero_gap"] == 1.0
    assert facts["zero_wick"] == pytest.approx(float((upper == 0).double().mean()) / 2)
    assert facts["volume_abs"] == pytest.approx(1.0)
    assert facts["std"] == pytest.approx(float(r.std()))


def test_what_does_not_move_has_no_correlation() -> None:
    r, ones = noise(300, 20), torch.full((300, 20), 0.1, dtype=torch.float64)
    weights = pooling.once(r)
    assert math.isnan(float(pooling.correlation(r, ones, weights)))
    assert math.isnan(autocorrelation(ones, 1))
    assert math.isnan(autocorrelation(ones, 1, within=True))
    assert math.isnan(leverage(ones, 1))
    assert math.isnan(excess_kurtosis(ones))
    zero = torch.zeros_like(r)
    facts = stylised_facts(WindowCode(zero, zero, zero, zero, zero))
    assert facts == {"std": 0, "zero_wick": 1, "zero_gap": 1, "zero_volume": 0}


def test_weights_are_repeated_paths() -> None:
    code = code_of(asymmetric(12, 32, 0.8))
    weights = torch.tensor([[0, 2, 1, 0, 0, 3, 1, 1, 1, 0, 2, 1]], dtype=torch.float64)
    rows = torch.arange(12).repeat_interleave(weights[0].long())
    repeated = stylised_facts(WindowCode(*(part[rows] for part in code)))
    for name, value in short_facts(code, weights).items():
        assert float(value) == pytest.approx(repeated[name], rel=1e-9, abs=1e-12)


def test_range_ratio_of_bars_without_wicks() -> None:
    r = noise(2000, 20)
    zero = torch.zeros_like(r)
    facts = stylised_facts(WindowCode(r, zero, zero, zero, zero))
    assert facts["range_ratio"] == pytest.approx(1 / math.sqrt(4 * math.log(2)), abs=1e-3)


def test_code_is_in_units_of_history_and_blind_to_price_level() -> None:
    closes = 50 * (0.01 * noise(6, 40)).cumsum(1).exp()
    bars = torch.stack([closes, closes * 1.01, closes * 0.98, closes, closes * 1e4], dim=-1)
    history, future = bars[:, :30], bars[:, 30:]
    code = encode_window(history, future)
    s = history[..., 3].log().diff(dim=1).std(dim=1, keepdim=True)
    expected = closes.log().diff(dim=1)[:, 29:] / s
    torch.testing.assert_close(code.r, expected)
    torch.testing.assert_close(code.range * s, (future[..., 1] / future[..., 2]).log())
    dearer = torch.tensor([7.0, 7.0, 7.0, 7.0, 0.5], dtype=torch.float64)
    for a, b in zip(encode_window(history * dearer, future * dearer), code, strict=True):
        torch.testing.assert_close(a, b)


def test_bars_that_did_not_trade_leave_the_couplings_of_the_others() -> None:
    code = code_of(noise(300, 20))
    code = code._replace(volume=code.r.abs() + 0.1 * code.volume)
    facts = stylised_facts(code)
    volume = code.volume.clone()
    volume[::50, 7] = -math.inf
    holed = stylised_facts(code._replace(volume=volume))
    assert facts["zero_volume"] == 0.0
    assert holed["zero_volume"] == pytest.approx(1 / 1000)
    for name in ("volume_abs", "volume_range", "acf_volume"):
        assert holed[name] == pytest.approx(facts[name], abs=0.01)
    assert holed["volume_abs"] > 0.9
