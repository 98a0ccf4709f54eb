"""Long facts equal closed forms, see what they should, and say why where they cannot."""

import math

import pytest
import torch

from parfait.metrics.functional import pooling
from parfait.metrics.functional.cont import (
    Reference,
    cont_facts,
    decay,
    fano,
    inside_share,
    standardised,
    volume_surprise,
)
from parfait.metrics.functional.memory import dfa, increments_exponent, memory_facts, variance_ratio
from parfait.metrics.functional.ohlc import ohlc_facts, roll_spread
from parfait.metrics.functional.suite import (
    CONT_FACTS,
    LONG_FACTS,
    SHORT_FACTS,
    Sampling,
    fact_code,
    measure_facts,
)
from parfait.metrics.functional.windows import WindowCode, encode_path
from parfait.utils.errors import UserError

STEPS = 252


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def code_of(r: torch.Tensor) -> WindowCode:
    n = noise(4, *r.shape, seed=9)
    return WindowCode(r, 0.1 * n[0], n[1].relu(), n[2].relu(), n[3])


def one(r: torch.Tensor) -> torch.Tensor:
    return pooling.once(r)


def clustered(paths: int, steps: int = STEPS, seed: int = 0) -> torch.Tensor:
    """GJR-GARCH returns: clusters, and falls that make more of them than rises."""
    e = noise(paths, steps + 100, seed=seed)
    variance = torch.ones(paths, dtype=torch.float64)
    r = torch.empty_like(e)
    for t in range(steps + 100):
        r[:, t] = e[:, t] * variance.sqrt()
        pressure = 0.02 + 0.16 * (e[:, t] < 0)
        variance = 0.05 + pressure * r[:, t].square() + 0.85 * variance
    return r[:, 100:]


def fractional(hurst: float, paths: int, steps: int) -> torch.Tensor:
    """Fractional Gaussian noise by Cholesky."""
    k = torch.arange(steps, dtype=torch.float64)
    gamma = 0.5 * ((k + 1) ** (2 * hurst) - 2 * k ** (2 * hurst) + (k - 1).abs() ** (2 * hurst))
    index = torch.arange(steps)
    root = torch.linalg.cholesky(gamma[(index[:, None] - index).abs()])
    return noise(paths, steps) @ root.T


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7])
def test_memory_of_fractional_noise(hurst: float) -> None:
    r = fractional(hurst, 400, STEPS)
    facts = {name: float(x) for name, x in memory_facts(code_of(r), one(r)).items()}
    assert facts["hurst"] == pytest.approx(hurst, abs=0.02)
    for k in (2, 5, 10, 21):
        assert facts[f"vr_{k}"] == pytest.approx(k ** (2 * hurst - 1), rel=0.05)
    # Boxes of 8 to 63 bars: small ones bias the exponent of rough noise upwards.
    assert float(dfa(r, one(r))) == pytest.approx(hurst, abs=0.06)
    walk = r.cumsum(1)
    assert float(increments_exponent(walk, one(r))) == pytest.approx(hurst, abs=0.02)
    assert float(increments_exponent(noise(400, STEPS), one(r))) == pytest.approx(0, abs=0.01)


def test_variance_ratio_of_an_ar1() -> None:
    phi = 0.4
    x = noise(4000, 120)
    for t in range(1, 120):
        x[:, t] = phi * x[:, t - 1] + math.sqrt(1 - phi**2) * x[:, t]
    k = 5
    expected = 1 + 2 * sum((1 - j / k) * phi**j for j in range(1, k))
    assert float(variance_ratio(x, k, one(x))) == pytest.approx(expected, rel=0.02)


def test_roll_spread_of_a_bounce() -> None:
    side = noise(2000, 61).sign()
    r = noise(2000, 60, seed=1) + 0.5 * side.diff(dim=1)
    # Roll (1984): cov = -(spread/2)^2 with half a spread of 0.5; in units of sd(r).
    assert float(roll_spread(r, one(r))) == pytest.approx(1 / math.sqrt(1.5), abs=0.02)
    assert float(roll_spread(r.cumsum(1), one(r))) < 0


@pytest.mark.parametrize("alpha", [2.5, 4.0])
def test_hill_of_a_pareto(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400, STEPS, generator=generator, dtype=torch.float64) ** (-1 / alpha)
    found = float(pooling.tail_index(x, one(x)))
    assert found == pytest.approx(alpha, abs=4 * alpha / math.sqrt(0.05 * x.numel()))
    rows = torch.tensor([3, 3, 7, 11, 11, 11])
    weights = torch.bincount(rows, minlength=400)[None].double()
    twice = float(pooling.tail_index(x[rows], one(x[rows])))
    small = x[:20]
    assert float(pooling.tail_index(small, weights[:, :20])) == pytest.approx(twice, rel=0.05)


def test_noise_has_none_of_the_facts() -> None:
    r = noise(1000, STEPS)
    code = code_of(r)
    facts = {n: float(x) for n, x in cont_facts(code, one(r), Reference.of(code)).items()}
    zeros = ("kurtosis", "skewness", "kurtosis_5", "kurtosis_10", "leverage_1_10", "volume_abs")
    for name in (*zeros, "time_asymmetry"):
        assert facts[name] == pytest.approx(0, abs=0.05), name
    assert facts["acf_abs_1_10"] == pytest.approx(-1 / STEPS, abs=0.003)
    assert facts["acf_r_inside"] == pytest.approx(0.95, abs=0.01)
    assert facts["fano_21"] == pytest.approx(0.99, abs=0.05)  # of a binomial
    assert math.isnan(facts["acf_abs_decay"])
    assert set(facts) == set(CONT_FACTS)


def test_clusters_and_leverage_are_seen() -> None:
    r = clustered(400)
    code = code_of(r)
    facts = {n: float(x) for n, x in cont_facts(code, one(r), Reference.of(code)).items()}
    assert facts["kurtosis"] > 1
    assert facts["hill"] < 6
    assert facts["fano_21"] > 1.5
    assert facts["acf_abs_1_10"] > 0.05
    assert facts["kurtosis_conditional"] < facts["kurtosis"]
    assert facts["leverage_1_10"] < -0.02
    assert facts["acf_r_inside"] < 0.94


def test_time_reversal_moves_facts_9_and_11_and_keeps_2_and_6() -> None:
    r = clustered(300, 255)  # whole blocks of 5, so that reversal mirrors fact 11
    codes = code_of(r), code_of(r.flip(1))
    there, back = (cont_facts(code, one(r), Reference.of(code)) for code in codes)
    kept = ("kurtosis", "hill", "hill_left", "skewness", "acf_abs_1_10", "acf_abs_20_60")
    for name in (*kept, "acf_sq_1_10", "acf_r_rms", "acf_abs_decay"):
        assert float(back[name]) == pytest.approx(float(there[name]), rel=1e-9)
    assert float(back["leverage_1_10"]) == pytest.approx(0, abs=0.01)
    assert float(there["leverage_1_10"]) < -0.02
    assert float(there["time_asymmetry"]) > 0.01
    assert float(back["time_asymmetry"]) == pytest.approx(-float(there["time_asymmetry"]))


def test_order_of_paths_is_of_no_matter_and_order_of_days_is() -> None:
    code = code_of(clustered(60))
    generator = torch.Generator().manual_seed(3)
    paths, days = torch.randperm(60, generator=generator), torch.randperm(252, generator=generator)
    facts = measure_facts(code)
    mixed = measure_facts(WindowCode(*(x[paths] for x in code)))
    shuffled = measure_facts(WindowCode(*(x[:, days] for x in code)))
    for name in LONG_FACTS:
        assert mixed[name].value == pytest.approx(facts[name].value, rel=1e-9, abs=1e-12), name
    for name in ("acf_abs_1_10", "fano_21", "kurtosis_21", "vr_21", "dfa_abs"):
        assert abs((shuffled[name].value or 0) - (facts[name].value or 0)) > 0.02, name
    assert shuffled["kurtosis"].value == pytest.approx(facts["kurtosis"].value)


def test_sums_of_independent_heavy_tails_become_normal_as_one_over_their_number() -> None:
    r = noise(2000, STEPS) * (1 + 2 * (noise(2000, STEPS, seed=1) > 1.5))
    code = code_of(r)
    facts = cont_facts(code, one(r), Reference.of(code))
    for bars in (5, 10):
        expected = float(facts["kurtosis"]) / bars
        assert float(facts[f"kurtosis_{bars}"]) == pytest.approx(expected, rel=0.1)


def test_skewed_walks_gain_and_lose_in_other_times() -> None:
    fall = noise(200, STEPS)
    fall = torch.where(fall < -1.5, fall - 2, fall + 0.2)
    fall = fall - fall.mean()
    code = code_of(fall)
    facts = cont_facts(code, one(fall), Reference.of(code))
    mirrored = cont_facts(code_of(-fall), one(fall), Reference.of(code))
    assert float(facts["skewness"]) < -0.2
    assert abs(float(facts["gain_loss"])) > 0.5
    assert float(mirrored["gain_loss"]) == pytest.approx(-float(facts["gain_loss"]))


def test_parts_of_facts_equal_hand_counts() -> None:
    power = torch.arange(1.0, 101.0, dtype=torch.float64)[None] ** -0.3
    assert float(decay(2 * power)) == pytest.approx(0.3)
    a = torch.zeros(2, 42, dtype=torch.float64)
    a[0, :4] = 9.0  # counts per 21 bars: 4, 0, 0, 0
    assert float(fano(a, one(a), 1.0)) == pytest.approx((12 / 4) / 1)
    volume = torch.zeros(1, 62, dtype=torch.float64)
    volume[0, 60:] = torch.tensor([61.0, -math.inf])
    assert volume_surprise(volume).tolist() == [[60.0, 0.0]]
    r = torch.full((1, 40), 2.0, dtype=torch.float64)
    assert torch.equal(standardised(r), torch.ones(1, 20, dtype=torch.float64))
    assert math.isnan(float(inside_share(r, [1], one(r))))
    half = torch.full_like(r, 0.5)
    bar = WindowCode(r, torch.zeros_like(r), half, half, half)  # close at 2.5 of a range of 3
    facts = ohlc_facts(bar, one(r))
    assert float(facts["close_mean"]) == pytest.approx(2.5 / 3)
    assert float(facts["close_sd"]) == pytest.approx(0, abs=1e-6)
    assert float(facts["gap_ratio"]) == 0


def test_errors_of_independent_paths_are_the_classic_ones() -> None:
    code = code_of(noise(80, STEPS))
    facts = measure_facts(code, Sampling(draws=400))
    n = code.r.numel()
    assert facts["kurtosis"].error == pytest.approx(math.sqrt(24 / n), rel=0.3)
    assert facts["skewness"].error == pytest.approx(math.sqrt(6 / n), rel=0.3)
    assert facts["std"].error == pytest.approx(math.sqrt(0.5 / n), rel=0.3)


def test_what_cannot_be_had_says_why() -> None:
    r = noise(30, STEPS)
    short = measure_facts(code_of(r[:, :32]), length="long")
    assert str(short["hill"]) == "n/a (needs paths of 252 bars, these have 32)"
    assert short["range_ratio"].known
    still = measure_facts(code_of(torch.zeros(30, STEPS, dtype=torch.float64)))
    assert str(still["vr_5"]) == "n/a (prices move by a constant, if at all)"
    assert str(still["kurtosis"]) == "n/a (prices move by a constant, if at all)"
    assert str(still["hurst"]) == "n/a (prices move by a constant, if at all)"
    code = code_of(r)
    silent = measure_facts(code._replace(volume=torch.full_like(r, -math.inf)))
    for name in ("volume_abs", "volume_range", "acf_volume"):
        assert silent[name].reason == "no bar has volume"
    assert silent["zero_volume"].value == 1
    even = measure_facts(code._replace(volume=torch.zeros_like(r)))
    assert even["volume_abs"].reason == "volume is constant"
    assert str(measure_facts(code)["acf_abs_decay"]).startswith("n/a (|r| has no memory")
    wild = code.r.clone()
    wild[3, 4] = math.nan
    broken = measure_facts(code._replace(r=wild))
    assert {fact.reason for fact in broken.values()} == {"some bars have impossible prices"}
    few = measure_facts(code, Sampling(torch.zeros(30, dtype=torch.int64), 365))
    assert few["kurtosis"].known
    assert few["kurtosis"].error is None
    assert "a block bootstrap needs 3 blocks" in few["kurtosis"].reason
    with pytest.raises(UserError, match="give at least one window of 3"):
        measure_facts(code_of(r[:, :2]))
    with pytest.raises(UserError, match="29 dates for 30 windows"):
        measure_facts(code, Sampling(torch.arange(29), 3))


def test_length_decides_the_facts_and_the_units() -> None:
    close = 100 * (0.01 * noise(40, STEPS + 61)).cumsum(1).exp()
    bars = torch.stack([close, close * 1.01, close * 0.99, close, close], dim=-1)
    past = bars[:, :61]
    assert set(measure_facts(fact_code(past, bars[:, 61:93]))) == set(SHORT_FACTS)
    long = fact_code(past, bars[:, 61:])
    assert set(measure_facts(long)) == set(LONG_FACTS)
    assert float(long.r.std()) == pytest.approx(0.01, rel=0.03)
    assert float(long.volume.mean(1).abs().max()) < 1e-9
    torch.testing.assert_close(long.r, close.log().diff(dim=1)[:, 60:])
    shares = bars.clone()
    shares[0, 70, 4] = 0
    assert float(encode_path(past, shares[:, 61:]).volume[0, 9]) == -math.inf
