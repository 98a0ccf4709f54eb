"""From text to bars: what instructions ask for comes back from their bars, as far as from their SDE
paths.
"""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.evaluation.instructed import (
    FIELDS,
    INSTRUCTIONS,
    Instructed,
    by_instruction,
    by_path,
    drift_control,
    follow,
    instructed,
)
from parfait.metrics.measured import Measured
from parfait.microstructure import Microstructure
from parfait.regime import FIELD_NAMES, MarketContext
from parfait.semantic import load_reader
from parfait.utils.errors import UserError

SIGMA = FIELD_NAMES.index("volatility")


def labels(loc: torch.Tensor) -> Any:
    """Labels as far as the recovery looks at them."""
    return SimpleNamespace(loc=loc)


def made(n: int, factor: float = 1.0, error: float = 0.01) -> list[Instructed]:
    """n instructions whose bars say ``factor`` times what was asked, their paths all of it."""
    found = []
    for k in range(n):
        asked = torch.randn((16, 11), generator=torch.Generator().manual_seed(k)).double() + k
        drift = 0.1 * k - 0.4
        growth = Measured(factor * drift, error)
        found.append(Instructed(asked, labels(factor * asked), labels(asked), drift, growth))
    return found


def test_what_comes_back_whole_has_no_error_and_what_comes_back_half_has_half_the_slope() -> None:
    found = made(10, 0.5)
    for field in FIELDS:
        for pool in (by_instruction, by_path):
            bars, path = pool(found, field)
            assert path.rmse.value == pytest.approx(0.0, abs=1e-12)
            assert path.slope.value == pytest.approx(1.0)
            assert bars.slope.value == pytest.approx(0.5)
            assert bars.spearman.value == pytest.approx(1.0)


def test_drift_is_weighed_by_its_error_and_ordered_where_it_can_be_told() -> None:
    slope, order = drift_control(made(10, 0.5))
    assert slope.value == pytest.approx(0.5)
    assert order.value == 1.0
    assert "45 pairs" in order.reason
    _, wrong = drift_control(made(10, -1.0))
    assert wrong.value == 0.0
    _, unknown = drift_control(made(10, 1.0, error=10.0))
    assert not unknown.known


def test_phases_and_unknown_markets_are_refused() -> None:
    model, history = Microstructure.load(), bars_to_tensor(embedded_bars()["SP500"].tail(80))
    reader, sizes = load_reader(), {"paths": 2, "steps": 8, "seed": 0}
    context = MarketContext("equity", volatility=0.2, bars_per_year=252.0)
    phases = reader.read("Panic for two weeks, then recovery", context)
    with pytest.raises(UserError, match="phases"):
        instructed(model, phases, history, context, **sizes)
    with pytest.raises(UserError, match="volatility and bars_per_year"):
        instructed(model, reader.read("War"), history, MarketContext("equity"), **sizes)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["ontology", "student"])
def test_what_twenty_instructions_ask_for_arrives(reader: str) -> None:
    found = follow(load_reader(reader), Microstructure.load(), INSTRUCTIONS, paths=32, steps=60)
    assert len(found) == 20
    asked = torch.tensor([float(one.asked[:, SIGMA].mean()) for one in found])
    assert float(asked.max() - asked.min()) > math.log(5)  # they ask for different things
    bars, path = by_instruction(found, "volatility")
    assert bars.spearman.value > path.spearman.value - 0.03
    assert bars.slope.value == pytest.approx(1.0, abs=0.1)
    assert abs(bars.bias.value) < 0.08
    assert bars.rmse.value < path.rmse.value + 0.1
    each, ceiling = by_path(found, "volatility")
    assert each.spearman.value > ceiling.spearman.value - 0.05
    jumps, most = by_instruction(found, "jump_intensity")
    assert jumps.spearman.value > most.spearman.value - 0.15
    memory, _ = by_instruction(found, "hurst")
    assert memory.slope.value > 0.1  # half of the memory is lost between anchors, not all
    slope, order = drift_control(found)
    assert abs(slope.value - 1) < 4 * slope.error
    assert order.value > 0.95
