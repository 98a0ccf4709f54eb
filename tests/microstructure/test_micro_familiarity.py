"""How far a guide lies from training: uniform on familiar guides, near 1 on strange ones."""

import torch

from parfait.microstructure.constraint import Segments
from parfait.microstructure.familiarity import Familiarity
from parfait.microstructure.training import draw_anchors, regular_anchors


def drawn(n: int, seed: int, size: float = 1.0) -> tuple[torch.Tensor, Segments]:
    """A^+ g sqrt(k) of white noise under anchors as in training."""
    g = torch.Generator().manual_seed(seed)
    returns = size * torch.randn(n, 32, generator=g)
    segments = Segments.from_anchors(draw_anchors(returns, g))
    return segments.spread(returns) * segments.length.sqrt(), segments


def test_guides_like_those_of_training_are_uniform() -> None:
    known = Familiarity.fit([drawn(4000, 0)])
    moves, segments = drawn(4000, 1)
    found = known.quantile(moves, segments)[segments.anchored.any(1)]
    for level in (0.5, 0.9, 0.99):
        error = (level * (1 - level) / 4000) ** 0.5
        assert abs(float((found <= level).double().mean()) - level) < 6 * error


def test_wild_trending_and_jumping_guides_are_strange() -> None:
    known = Familiarity.fit([drawn(4000, 0)])
    segments = Segments.from_anchors(regular_anchors(1, 32, 4))
    calm = segments.spread(torch.randn(1, 32, generator=torch.Generator().manual_seed(3))) * 2
    assert float(known.quantile(calm, segments)) < 0.9
    wild, trend, jump = calm * 8, torch.full((1, 32), 4.0), calm.clone()
    jump[:, 12:16] = 15.0
    for moves in (wild, trend, jump):
        assert float(known.quantile(moves, segments)) > 0.99


def test_without_a_guide_or_a_fit_nothing_is_strange() -> None:
    moves, nothing = torch.full((2, 32), 50.0), torch.zeros(2, dtype=torch.float64)
    free, guided = (Segments.from_anchors(regular_anchors(2, 32, every)) for every in (-1, 4))
    assert torch.equal(Familiarity.fit([drawn(500, 0)]).quantile(moves, free), nothing)
    assert torch.equal(Familiarity().quantile(moves, guided), nothing)
