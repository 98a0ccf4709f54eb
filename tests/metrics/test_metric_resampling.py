"""Blocks cover every row once on average, and find the error of the mean of dependent series."""

import math

import pytest
import torch

from parfait.metrics.measured import Measured
from parfait.metrics.resampling import block_indices, block_sd, block_weights, known_sd
from parfait.utils.errors import UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_row_is_expected_once_and_dates_go_together() -> None:
    dates = torch.tensor([5, 5, 0, 9, 9, 14, 21, 21]).repeat_interleave(3) * 3
    weights = block_weights(dates, 10, 8000, generator())
    error = weights.std(0) / math.sqrt(8000)
    assert bool(((weights.mean(0) - 1).abs() < 4 * error).all())
    for day in dates.unique():
        same = weights[:, dates == day]
        assert torch.equal(same, same[:, :1].expand_as(same))


def test_rows_of_a_draw_are_runs_of_a_block() -> None:
    dates = torch.arange(100) * 2
    for rows in block_indices(dates, 20, 50, generator(1)):
        assert len(rows) == 100
        for run in rows.split(10):
            assert torch.equal((run - run[0]) % 100, torch.arange(10))


def test_order_of_rows_is_of_no_matter() -> None:
    dates = torch.arange(60)
    order = torch.randperm(60, generator=generator(2))
    straight = block_weights(dates, 6, 20, generator(3))
    mixed = block_weights(dates[order], 6, 20, generator(3))
    assert torch.equal(mixed, straight[:, order])


@pytest.mark.parametrize(("block", "factor"), [(1, 1.0), (80, 3.0)])
def test_error_of_the_mean_of_an_ar1(block: int, factor: float) -> None:
    phi, n = 0.8, 10_000
    e = torch.randn(n, generator=generator(4), dtype=torch.float64)
    x = e.clone()
    for t in range(1, n):
        x[t] += phi * x[t - 1]
    x = x * math.sqrt(1 - phi**2)
    sd = block_sd(lambda rows: x[rows].mean(), torch.arange(n), block, 600, generator(5))
    # sqrt((1 + phi)/(1 - phi)) = 3 times the error of independent draws; blocks of 80 miss 4 %.
    assert float(sd) * math.sqrt(n) == pytest.approx(factor, rel=0.13)


def test_long_holes_in_time_do_not_empty_a_draw() -> None:
    dates = torch.cat([torch.arange(50), 10_000 + torch.arange(50)])
    weights = block_weights(dates, 10, 200, generator())
    assert float(weights.sum(1).min()) > 30


def test_deviation_needs_half_of_the_draws() -> None:
    values = torch.tensor([[1.0, 1.0], [3.0, math.nan], [math.nan, math.nan]], dtype=torch.float64)
    sd = known_sd(values)
    assert float(sd[0]) == pytest.approx(math.sqrt(2))
    assert math.isnan(float(sd[1]))


def test_mistakes_are_sentences() -> None:
    with pytest.raises(UserError, match="cover 20 units of time"):
        block_indices(torch.arange(20), 10, 5, generator())
    with pytest.raises(UserError, match="must be at least 1"):
        block_indices(torch.arange(20), 0, 5, generator())


def test_what_is_not_finite_is_no_value() -> None:
    assert str(Measured.of(math.nan, reason="no volume")) == "n/a (no volume)"
    assert Measured.of(1.0, math.inf) == Measured(1.0, None, "no sampling error on this sample")
    assert str(Measured.of(0.25, 0.01)) == "0.25 ± 0.01"
    assert Measured(0.0).known
    assert not Measured(None, reason="x").known
