"""A Metric equals its pure function, however the windows are batched or ordered."""

import pytest
import torch

from parfait.metrics import FactDistances, Memorisation, StylisedFacts, TwoSample, Validity
from parfait.metrics.baselines import bridge_bars, jitter_bars
from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.distance import fact_distances, summarise
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.memorisation import Shapes, memorisation
from parfait.metrics.functional.suite import Sampling, fact_code, measure_facts
from parfait.metrics.functional.validity import guide_error, validity
from parfait.metrics.functional.windows import encode_window, judge_channels

N, BARS, STEPS = 60, 30, 12


def walk(steps: int, seed: int) -> torch.Tensor:
    start = torch.full((N, 3, 5), 100.0, dtype=torch.float64)
    start[:, 1, 3] = 101.0
    start[..., 4] = torch.tensor([1e6, 2e6, 3e6])
    return bridge_bars(start, steps, generator=torch.Generator().manual_seed(seed))


HISTORY = walk(BARS, 0)
GENERATOR = torch.Generator().manual_seed(1)
REAL = bridge_bars(HISTORY, STEPS, generator=GENERATOR)
GENERATED = jitter_bars(REAL, 0.02, GENERATOR)
DATES = torch.arange(N) * 5
SPLITS = ([N], [1, 7, 52], [20, 20, 20])


def batches(split: list[int]) -> list[torch.Tensor]:
    """Window ids in a shuffled order, cut at ``split``."""
    order = torch.randperm(N, generator=torch.Generator().manual_seed(sum(split[:1])))
    return list(order.split(split))


@pytest.mark.parametrize("split", SPLITS)
def test_validity_equals_its_function(split: list[int]) -> None:
    metric = Validity()
    anchored = torch.rand(N, STEPS, generator=torch.Generator().manual_seed(2)) < 0.5
    for ids in batches(split):
        metric.update(GENERATED[ids], REAL[ids][..., 3], anchored[ids])
    result = {name: float(value) for name, value in metric.compute().items()}
    expected = validity(GENERATED)
    assert result.pop("guide_error") == guide_error(GENERATED, REAL[..., 3], anchored) > 0
    assert result == pytest.approx(expected)
    assert expected["valid"] < 1


@pytest.mark.parametrize("split", SPLITS)
def test_facts_equal_their_function(split: list[int]) -> None:
    metric = StylisedFacts()
    for ids in batches(split):
        metric.update(ids, HISTORY[ids], REAL[ids], GENERATED[ids])
    result = {name: float(value) for name, value in metric.compute().items()}
    for name, bars in (("real", REAL), ("generated", GENERATED)):
        for fact, value in stylised_facts(encode_window(HISTORY, bars)).items():
            assert result[f"{name}/{fact}"] == value


@pytest.mark.parametrize("split", SPLITS)
def test_two_sample_test_equals_its_function(split: list[int]) -> None:
    metric = TwoSample(purge=10, steps=10, seed=3)
    for ids in batches(split):
        metric.update(ids, HISTORY[ids], REAL[ids], GENERATED[ids], DATES[ids])
    real, generated = (judge_channels(encode_window(HISTORY, x)) for x in (REAL, GENERATED))
    verdict = c2st(real, [generated], DATES, purge=10, steps=10, seed=3)
    result = metric.compute()
    assert float(result["score"]) == verdict.mean
    assert float(result["score_sd"]) == verdict.sd
    assert float(result["auc"]) == float(verdict.auc.mean())


@pytest.mark.parametrize("split", SPLITS)
def test_distances_equal_their_function(split: list[int]) -> None:
    metric = FactDistances(block=40, draws=50, seed=2)
    for ids in batches(split):
        metric.update(ids, HISTORY[ids], REAL[ids], GENERATED[ids], DATES[ids])
    sampling = Sampling(DATES, 40, 50, 2)
    real, made = (measure_facts(fact_code(HISTORY, x), sampling) for x in (REAL, GENERATED))
    expected = summarise(fact_distances(real, made))
    result = {name: float(value) for name, value in metric.compute().items()}
    assert result["median"] == expected.median.value
    assert result["largest"] == expected.largest.value == result[f"distance/{expected.worst}"]
    assert result["within"] == expected.within.value
    assert result["count"] == expected.count > 8
    # Neither side has a bar without volume: no distance, and no free success.
    assert "distance/zero_volume" not in result


@pytest.mark.parametrize("split", SPLITS)
def test_memorisation_equals_its_function(split: list[int]) -> None:
    train = walk(BARS + STEPS, 5)
    past, future = train[:, :BARS], train[:, BARS:]
    dates = DATES - 1000
    metric = Memorisation(past, future, dates, purge=10)
    for ids in batches(split):
        metric.update(ids, HISTORY[ids], REAL[ids], GENERATED[ids], DATES[ids])
    shapes = [Shapes.of(encode_window(HISTORY, x), DATES) for x in (GENERATED, REAL)]
    learnt = Shapes.of(encode_window(past, future), dates)
    expected = memorisation(shapes[0], learnt, shapes[1], purge=10)
    result = {name: float(value) for name, value in metric.compute().items()}
    assert result["share"] == expected.generated.share.value
    assert result["null/ratio"] == expected.null.ratio.value
    assert len(result) == 6


def test_reset_forgets() -> None:
    metric = Validity()
    metric.update(jitter_bars(REAL, 0.1, torch.Generator().manual_seed(0)))
    metric.reset()
    metric.update(REAL)
    assert float(metric.compute()["valid"]) == 1.0
