"""Jump rates and sizes that change from bar to bar."""

import math

import pytest
import torch
from scipy import stats

from parfait.sde.jumps import double_exponential_sizes, normal_sizes, scatter_jumps
from parfait.sde.process import Chunk
from parfait.sde.streams import Streams

YEARS = 0.5


def jumps_of(lam, law, *parameters, width, steps, root=5):
    """(steps, width) jump sums."""
    streams = Streams(root, 0, width, torch.float64, torch.device("cpu"))
    x = torch.zeros((steps + 1, width), dtype=torch.float64)
    chunk = Chunk(x, None, torch.empty_like(x[1:]), YEARS, streams)
    scatter_jumps(chunk, chunk.exact(lam), law(chunk, *parameters))
    return chunk.jumps


@pytest.mark.parametrize("steps", [1, 7, 20])
def test_a_rate_that_never_changes_gives_the_jumps_of_a_constant(steps):
    width = 5000
    lam = torch.linspace(0, 40, width, dtype=torch.float64)
    mean, std = torch.linspace(-0.1, 0.1, width), torch.linspace(0.0, 0.1, width)
    one = jumps_of(lam, normal_sizes, mean, std, width=width, steps=steps)
    tables = (value.expand(steps, width) for value in (lam, mean, std))
    lam, mean, std = tables
    assert one.any()
    assert torch.equal(jumps_of(lam, normal_sizes, mean, std, width=width, steps=steps), one)
    same = jumps_of(3.0, double_exponential_sizes, 0.3, 20.0, 10.0, width=width, steps=steps)
    rate = torch.full((steps, width), 3.0, dtype=torch.float64)
    p, up, down = (torch.full((steps, 1), v, dtype=torch.float64) for v in (0.3, 20.0, 10.0))
    table = jumps_of(rate, double_exponential_sizes, p, up, down, width=width, steps=steps)
    assert torch.equal(table, same)


def test_a_path_keeps_its_jumps_when_the_rates_of_others_change():
    lam = torch.full((9, 300), 6.0, dtype=torch.float64)
    alone = jumps_of(lam, normal_sizes, 0.0, 1.0, width=300, steps=9)
    lam[4:, 100:] = 0.5
    mixed = jumps_of(lam, normal_sizes, 0.0, 1.0, width=300, steps=9)
    # Jumps of a block share their size draws, so only the times of the first paths are compared.
    assert torch.equal((alone != 0)[:, :100], (mixed != 0)[:, :100])


def test_counts_of_every_bar_are_poisson_and_independent():
    width, steps = 40_000, 5
    rate = torch.tensor([0.0, 3.0, 40.0, 0.5, 0.0], dtype=torch.float64)
    lam = rate[:, None].expand(steps, width)
    counts = jumps_of(lam, normal_sizes, 1.0, 0.0, width=width, steps=steps).round()
    assert not counts[[0, 4]].any()
    expected = rate * YEARS / steps
    for k in (1, 2, 3):
        observed = torch.bincount(counts[k].long(), minlength=30)[:30].numpy()
        law = stats.poisson(float(expected[k])).pmf(range(30)) * width
        keep = law > 10
        tail = (observed[~keep].sum(), width - law[keep].sum())
        if tail[1] < 5:
            observed, law = observed[keep], law[keep] * observed[keep].sum() / law[keep].sum()
        else:
            observed, law = [*observed[keep], tail[0]], [*law[keep], tail[1]]
        assert stats.chisquare(observed, law).pvalue > 1e-4
    correlation = torch.corrcoef(counts[1:4]) - torch.eye(3)
    assert correlation.abs().max() < 4 / math.sqrt(width)


def test_rates_of_path_and_bar_meet():
    """Path i jumps in bar k at its own rate."""
    width, steps, groups = 40_000, 4, 4
    rates = torch.tensor(
        [[0.0, 8.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], [9.0, 0.0, 0.0, 9.0], [0.0, 0.0, 0.0, 5.0]]
    ).double()
    lam = rates.T.repeat_interleave(width // groups, dim=1)
    counts = jumps_of(lam, normal_sizes, 1.0, 0.0, width=width, steps=steps)
    means = counts.view(steps, groups, -1).mean(dim=2).T
    expected = rates * YEARS / steps
    assert ((means - expected).abs() <= 4 * (expected / (width / groups)).sqrt()).all()


def test_sizes_follow_the_law_of_their_bar():
    width, steps = 60_000, 3
    m, s = torch.tensor([-0.5, 0.0, 0.3]).double(), torch.tensor([0.1, 0.2, 0.0]).double()
    lam = torch.tensor([4.0, 1.0, 9.0]).double()
    table = [v[:, None].expand(steps, width) for v in (lam, m, s)]
    sums = jumps_of(table[0], normal_sizes, *table[1:], width=width, steps=steps)
    rate = lam * YEARS / steps
    variance = rate * (m**2 + s**2)
    assert ((sums.mean(dim=1) - rate * m).abs() < 4 * (variance / width).sqrt()).all()
    fourth = rate * (m**4 + 6 * m**2 * s**2 + 3 * s**4) + 2 * variance**2
    assert ((sums.var(dim=1) - variance).abs() < 4 * (fourth / width).sqrt()).all()


def test_double_exponential_sizes_follow_the_law_of_their_bar():
    width, steps = 60_000, 2
    p, up, down = torch.tensor([[1.0, 0.0], [10.0, 10.0], [4.0, 5.0]]).double()
    table = [v[:, None].expand(steps, width) for v in (p, up, down)]
    sums = jumps_of(2.0, double_exponential_sizes, *table, width=width, steps=steps)
    assert (sums[0] >= 0).all()
    assert (sums[1] <= 0).all()
    rate = 2.0 * YEARS / steps
    for total, mean in ((sums[0], 0.1), (sums[1], -0.2)):
        se = math.sqrt(2 * rate * mean**2 / width)
        assert abs(float(total.mean()) - rate * mean) < 4 * se
