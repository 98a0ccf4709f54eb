"""Laws of the guide operator: projector, pseudo-inverse, exact closing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.microstructure.codec import RETURN
from parfait.microstructure.constraint import Segments, close_path, guide_increments
from parfait.microstructure.training import draw_anchors, regular_anchors
from tests.fuzzing import examples

anchor_sets = st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4)


def operator(anchored: torch.Tensor) -> torch.Tensor:
    """A of one window, row by row, straight from its definition."""
    rows, start = [], 0
    for j, is_anchor in enumerate(anchored.tolist()):
        if is_anchor:
            row = torch.zeros(anchored.shape[0], dtype=torch.float64)
            row[start : j + 1] = 1.0
            rows.append(row)
            start = j + 1
    return torch.stack(rows) if rows else torch.zeros(0, anchored.shape[0], dtype=torch.float64)


def as_matrix(segments: Segments) -> torch.Tensor:
    t = segments.anchored.shape[1]
    basis = torch.zeros(t, 5, t, dtype=torch.float64)
    basis[:, RETURN] = torch.eye(t, dtype=torch.float64)
    repeated = Segments.from_anchors(segments.anchored[:1].expand(t, -1))
    return repeated.project(basis)[:, RETURN].T


@settings(max_examples=examples(100), deadline=None)
@given(anchor_sets)
def test_projector_laws(sets: list[list[bool]]) -> None:
    for row in sets:
        anchored = torch.tensor([row])
        p, a = as_matrix(Segments.from_anchors(anchored)), operator(anchored[0])
        pseudo = torch.linalg.pinv(a)
        assert torch.allclose(p, torch.eye(12, dtype=torch.float64) - pseudo @ a, atol=1e-6)
        assert torch.allclose(p @ p, p, atol=1e-6)
        assert torch.equal(p, p.T)
        assert torch.allclose(a @ p, torch.zeros_like(a), atol=1e-6)
        assert torch.allclose(a @ pseudo, torch.eye(a.shape[0], dtype=torch.float64), atol=1e-6)
        dof = Segments.from_anchors(anchored).degrees_of_freedom
        assert dof.item() == pytest.approx(torch.trace(p).item(), abs=1e-5)


def test_projected_noise_has_variance_one_minus_one_over_k() -> None:
    segments = Segments.from_anchors(regular_anchors(20000, 16, 4))
    noise = torch.randn(20000, 5, 16, generator=torch.Generator().manual_seed(0))
    assert segments.project(noise)[:, RETURN].var().item() == pytest.approx(0.75, abs=0.005)
    assert torch.equal(segments.project(noise)[:, 1:], noise[:, 1:])


@settings(max_examples=examples(100), deadline=None)
@given(anchor_sets, st.integers(0, 10_000), st.sampled_from([1e-4, 0.01, 1.0, 50.0]))
def test_close_equals_guide_bit_for_bit(sets: list[list[bool]], seed: int, scale: float) -> None:
    anchored = torch.tensor(sets)
    n, t = anchored.shape
    g = torch.Generator().manual_seed(seed)
    level = 100 * torch.exp(0.1 * torch.randn(n, t, generator=g, dtype=torch.float64))
    start = torch.full((n,), 97.3, dtype=torch.float64)
    unit = torch.full((n,), scale, dtype=torch.float64)
    segments = Segments.from_anchors(anchored)
    noise = torch.randn(n, 5, t, generator=g)
    base = (guide_increments(level, segments, start) / unit[:, None]).float()
    closes = close_path(base + segments.project(noise)[:, RETURN], level, segments, start, unit)
    assert torch.equal(closes[anchored], level[anchored])
    assert bool(torch.isfinite(closes).all())
    assert bool((closes > 0).all())


def test_returns_are_reproduced_inside_segments() -> None:
    g = torch.Generator().manual_seed(3)
    returns = 0.01 * torch.randn(50, 20, generator=g, dtype=torch.float64)
    level = 100 * torch.exp(torch.cumsum(returns, 1))
    start = torch.full((50,), 100.0, dtype=torch.float64)
    unit = torch.full((50,), 0.01, dtype=torch.float64)
    segments = Segments.from_anchors(torch.rand(50, 20, generator=g) < 0.3)
    x = torch.zeros(50, 5, 20)
    x[:, RETURN] = (returns / 0.01).float()
    base = (guide_increments(level, segments, start) / unit[:, None]).float()
    total = base + segments.project(x)[:, RETURN]
    closes = close_path(total, level, segments, start, unit)
    assert torch.allclose(closes, level, rtol=1e-7)


def test_guide_is_read_at_anchors_only() -> None:
    segments = Segments.from_anchors(regular_anchors(1, 8, 4))
    level = torch.linspace(100, 108, 8, dtype=torch.float64)[None]
    start = torch.tensor([99.0], dtype=torch.float64)
    other = torch.where(segments.anchored, level, 1e6)
    a, b = (guide_increments(x, segments, start) for x in (level, other))
    assert torch.equal(a, b)


def test_training_anchor_sets_cover_every_use() -> None:
    g = torch.Generator().manual_seed(0)
    returns = torch.randn(4000, 32, generator=g)
    returns[:, 10] = 6.0
    anchored = draw_anchors(returns, g)
    counts = anchored.sum(1)
    assert (counts == 32).float().mean() > 0.03  # dressing
    assert (counts == 0).float().mean() > 0.01  # no guide
    cut = anchored[:, 10] & anchored[:, 9]
    assert 0.4 < cut.float().mean() < 0.8  # a jump is its own segment in about half
    assert len(torch.unique(anchored, dim=0)) > 1500


def test_regular_anchors() -> None:
    assert regular_anchors(1, 10, 4)[0].nonzero().flatten().tolist() == [3, 7, 9]
    assert regular_anchors(1, 10, 0)[0].nonzero().flatten().tolist() == [9]
    assert not regular_anchors(1, 10, -1).any()
