"""Distances count sampling errors; what has no error has no distance."""

import math

import pytest
import torch

from parfait.metrics.functional.cont import Reference
from parfait.metrics.functional.distance import fact_distances, summarise
from parfait.metrics.functional.suite import Sampling, measure_facts
from parfait.metrics.functional.windows import WindowCode
from parfait.metrics.measured import Measured
from parfait.utils.errors import UserError


def code_of(seed: int, heavy: bool = False, paths: int = 120) -> WindowCode:
    generator = torch.Generator().manual_seed(seed)
    r, *n = torch.randn(5, paths, 252, generator=generator, dtype=torch.float64)
    if heavy:
        r = r * (1 + 1.5 * (n[3] > 1))
    return WindowCode(r, 0.1 * n[0], n[1].relu(), n[2].relu(), n[3])


def test_one_law_lies_within_the_error_and_another_beyond() -> None:
    real = code_of(0)
    reference = Reference.of(real)
    sides = [
        measure_facts(code, Sampling(draws=200), reference=reference)
        for code in (real, code_of(1), code_of(2, heavy=True))
    ]
    same, other = (summarise(fact_distances(sides[0], side)) for side in sides[1:])
    assert same.within.value is not None
    assert same.median.value is not None
    assert same.median.value < 1.2
    assert same.within.value > 0.85
    assert same.count > 30
    assert other.largest.value is not None
    assert other.largest.value > 10
    assert other.each["kurtosis"].value == pytest.approx(other.largest.value, rel=0.9)


def test_distances_equal_hand_counts() -> None:
    real = {"a": Measured(1.0, 0.3), "b": Measured(5.0, 1.0), "zero_gap": Measured(0.0, 0.01)}
    made = {"a": Measured(2.0, 0.4), "b": Measured(5.5, 0.0), "zero_gap": Measured(0.0, 0.01)}
    each = fact_distances(real, made)
    assert each["a"].value == pytest.approx(2.0)
    assert each["b"].value == pytest.approx(0.5)
    assert str(each["zero_gap"]) == "n/a (0 on both sides)"
    found = summarise(each)
    assert (found.worst, found.count) == ("a", 2)
    assert found.median.value == pytest.approx(1.25)
    assert found.largest.value == pytest.approx(2.0)
    assert found.within.value == pytest.approx(0.5)


def test_what_is_unknown_has_a_reason_and_no_part_in_the_summary() -> None:
    real = {"a": Measured(None, None, "no bar has volume"), "b": Measured(1.0)}
    made = {"a": Measured(1.0, 0.1), "b": Measured(1.0, 0.0)}
    each = fact_distances(real, made)
    assert str(each["a"]) == "n/a (real: no bar has volume)"
    assert str(each["b"]) == "n/a (real: no sampling error)"
    found = summarise(each)
    assert found.count == 0
    assert str(found.largest) == "n/a (no fact has a distance)"
    exact = {"b": Measured(1.0, 0.0)}
    assert str(fact_distances(exact, exact)["b"]) == "n/a (no sampling error on either side)"


def test_windows_of_other_lengths_are_a_sentence() -> None:
    code = code_of(0, paths=30)
    short = WindowCode(*(part[:, :32] for part in code))
    with pytest.raises(UserError, match="equal length"):
        fact_distances(measure_facts(code), measure_facts(short))


def test_a_share_never_seen_is_known_to_one_bar() -> None:
    code = code_of(0, paths=30)
    silent = code._replace(gap=torch.where(code.r > 0, 0.0, code.gap))
    sides = [measure_facts(x, Sampling(draws=50)) for x in (code, silent)]
    assert sides[0]["zero_gap"].error == 1 / code.r.numel()
    d = fact_distances(*sides)["zero_gap"].value
    assert d is not None
    assert math.isfinite(d)
    assert d > 10
