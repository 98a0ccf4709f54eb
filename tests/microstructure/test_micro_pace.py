"""What guide and past tell of each segment's volatility."""

import itertools

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from parfait.microstructure.constraint import Segments
from parfait.microstructure.pace import (
    FADE,
    HALF_LIFE,
    LARGEST,
    PRIOR,
    PRIOR_TOLD,
    guide_pace,
    recent_variance,
)
from parfait.microstructure.training import told_unit


def _every(spacing: int, windows: int = 1, bars: int = 32) -> Segments:
    anchored = torch.zeros(windows, bars, dtype=torch.bool)
    anchored[:, spacing - 1 :: spacing] = True
    return Segments.from_anchors(anchored)


@hypothesis.given(
    seed=st.integers(0, 10**6),
    bars=st.integers(1, 40),
    share=st.floats(0, 1),
    v=st.floats(0, 30),
    told=st.booleans(),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_smoother_is_its_formula(
    seed: int, bars: int, share: float, v: float, told: bool
) -> None:
    g = torch.Generator().manual_seed(seed)
    anchored = torch.rand(1, bars, generator=g) < share
    segments = Segments.from_anchors(anchored)
    returns = 3 * torch.randn(1, bars, generator=g, dtype=torch.float64)
    moves = segments.spread(returns) * segments.length.sqrt()
    pace = guide_pace(
        moves, segments, torch.tensor([v], dtype=torch.float64), torch.tensor([told])
    )[0]
    a, v = (PRIOR_TOLD, 1.0) if told else (PRIOR, v)
    ends = [-1, *torch.nonzero(anchored[0]).flatten().tolist()]
    looks = []
    for before, end in itertools.pairwise(ends):
        total = float(returns[0, before + 1 : end + 1].sum())
        middle = (before + 1 + end + 1) / 2
        looks.append((middle, min(total**2 / (end - before), LARGEST**2)))
    for bar in range(bars):
        own = [i for i, end in enumerate(ends[1:]) if ends[i] < bar <= end]
        centre = looks[own[0]][0] if own else bar + 0.5
        # A segment of k bars is looked at once, whatever k.
        weights = [2.0 ** (-abs(centre - middle) / HALF_LIFE) for middle, _ in looks]
        prior = 1 + (v - 1) * 2.0 ** (-centre / FADE)
        seen = sum(w * x for w, (_, x) in zip(weights, looks, strict=True))
        expected = ((a * prior + seen) / (a + sum(weights))) ** 0.5
        assert float(pace[bar]) == pytest.approx(expected, rel=1e-6)


def test_one_number_within_a_segment_leaves_sums_to_the_guide() -> None:
    g = torch.Generator().manual_seed(1)
    segments = Segments.from_anchors(torch.rand(64, 32, generator=g) < 0.3)
    returns = torch.randn(64, 32, generator=g, dtype=torch.float64)
    pace = guide_pace(
        segments.spread(returns) * segments.length.sqrt(),
        segments,
        torch.ones(64, dtype=torch.float64),
        torch.arange(64) % 2 == 0,
    )
    mean = segments.averaging.double() @ pace[..., None]
    inside = ~segments.free
    assert torch.allclose(pace[inside], mean[..., 0][inside])


def test_returns_of_a_random_volatility_become_nearly_one_variance() -> None:
    """Persistent log-volatility: the kurtosis that a mixture of variances makes goes away."""
    g = torch.Generator().manual_seed(2)
    n, bars = 4000, 32
    log_sigma = torch.zeros(n, bars, dtype=torch.float64)
    state = 0.6 * torch.randn(n, generator=g, dtype=torch.float64)
    for t in range(bars):
        state = 0.98 * state + 0.12 * torch.randn(n, generator=g, dtype=torch.float64)
        log_sigma[:, t] = state
    returns = log_sigma.exp() * torch.randn(n, bars, generator=g, dtype=torch.float64)
    segments = _every(4, n)
    moves = segments.spread(returns) * segments.length.sqrt()
    pace = guide_pace(
        moves, segments, torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.bool)
    )
    null = returns - segments.spread(returns)

    def kurtosis(x: torch.Tensor) -> float:
        return float((x**4).mean() / (x**2).mean() ** 2)

    assert kurtosis(null / pace) - 3 < 0.4 * (kurtosis(null) - 3)
    # Neither are quiet and wild quarters of the windows of different size any more.
    order = log_sigma.mean(1).argsort().chunk(4)
    size = [float((null / pace)[part].square().mean().sqrt()) for part in (order[0], order[-1])]
    assert size[1] / size[0] < 2 < float(null[order[-1]].std() / null[order[0]].std())


def test_recent_variance_is_one_for_ordinary_days_and_follows_the_last() -> None:
    g = torch.Generator().manual_seed(3)
    returns = 0.01 * torch.randn(20000, 60, generator=g, dtype=torch.float64)
    scale = torch.full((20000,), 0.01, dtype=torch.float64)
    assert float(recent_variance(returns, scale).mean()) == pytest.approx(1, abs=0.01)
    late, early = returns.clone(), returns.clone()
    late[:, -8:] *= 3
    early[:, :8] *= 3
    assert float(recent_variance(late, scale).mean()) > 3
    assert float(recent_variance(early, scale).mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("spacing", [1, 2, 4, 8, 32])
def test_the_told_unit_leaves_null_space_codes_of_mean_square_one(spacing: int) -> None:
    g = torch.Generator().manual_seed(4)
    returns = 0.02 * torch.randn(500, 32, generator=g, dtype=torch.float64)
    returns = returns * torch.exp(0.7 * torch.randn(500, 1, generator=g, dtype=torch.float64))
    segments = _every(spacing, 500)
    unit = told_unit(returns, segments)
    assert torch.allclose(told_unit(3 * returns, segments), 3 * unit)  # a wilder window
    total = returns.square().mean(1).sqrt()
    if spacing == 1:  # nothing is free: the window's own deviation
        assert torch.allclose(unit, total)
        return
    null, told = returns - segments.spread(returns), torch.ones(500, dtype=torch.bool)
    moves = segments.spread(returns) * segments.length.sqrt() / unit[:, None]
    pace = guide_pace(moves, segments, torch.ones_like(unit), told) * unit[:, None]
    freedom = 32 - 32 // spacing
    square = (null / pace).square().sum(1) / freedom
    assert float(square.median()) == pytest.approx(1, abs=0.02)
    assert float(square.quantile(0.05)) > 0.8  # four steps: not quite there under lively guides
    assert float(square.max()) < 1.05
    # Of Brownian windows it is the volatility on average.
    assert float((unit / total).mean()) == pytest.approx(1, abs=0.05)
