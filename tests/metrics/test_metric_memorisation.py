"""Copies are found, whole or stitched; fresh windows lie at the null."""

import math

import pytest
import torch

from parfait.metrics.baselines import bootstrap_bars
from parfait.metrics.functional.memorisation import Shapes, memorisation
from parfait.metrics.functional.windows import WindowCode, encode_window
from parfait.utils.errors import UserError

N, STEPS = 200, 16
PURGE = 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def code_of(seed: int, windows: int = N) -> WindowCode:
    r, gap, upper, lower, volume = torch.randn(
        5, windows, STEPS, generator=generator(seed), dtype=torch.float64
    )
    return WindowCode(r, 0.3 * gap, upper.relu() / 2, lower.relu() / 2, volume)


TRAIN = Shapes.of(code_of(1), torch.arange(N))
HELD = Shapes.of(code_of(2, 2 * N), torch.arange(2 * N) + 1000)
DATES = HELD.dates[::2]


def fresh(seed: int = 3) -> Shapes:
    return Shapes.of(code_of(seed), DATES)


def test_fresh_windows_lie_at_one_half_and_at_the_null() -> None:
    found = memorisation(fresh(), TRAIN, HELD, purge=PURGE)
    for closeness in (found.generated, found.null):
        assert closeness.share.value == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / N))
        assert closeness.ratio.value == pytest.approx(1.0, abs=0.05)
        assert closeness.share.error == pytest.approx(math.sqrt(0.25 / N), rel=0.4)
    assert found.generated.copies.value == pytest.approx(0.01, abs=0.03)
    assert (found.sets, found.training) == (N, N)


def test_copies_of_training_windows_are_all_found_whatever_their_scale() -> None:
    code = code_of(1)
    louder = WindowCode(*(3 * part for part in code[:4]), code.volume + 5)
    order = torch.randperm(N, generator=generator())
    copied = Shapes.of(WindowCode(*(part[order] for part in louder)), DATES)
    found = memorisation(copied, TRAIN, HELD, purge=PURGE).generated
    assert found.share.value == found.copies.value == 1
    assert found.ratio.value == pytest.approx(0, abs=1e-2)


def test_the_window_that_really_followed_is_nobodys_neighbour() -> None:
    truth = HELD
    found = memorisation(truth, TRAIN, HELD, purge=PURGE)
    assert found.generated == found.null
    misdated = Shapes(HELD.code, HELD.dates + PURGE)
    share = memorisation(misdated, TRAIN, HELD, purge=PURGE).generated.share.value
    assert share is not None
    assert share < 0.3  # its own twin, wherever thinning keeps it


def test_copies_from_anywhere_in_a_larger_training_set_are_counted() -> None:
    large = Shapes.of(code_of(5, 5 * N), torch.arange(5 * N) - 5000)
    made = Shapes(large.code[1 : 5 * N : 5], DATES)
    found = memorisation(made, large, HELD, purge=PURGE)
    assert found.sets == 2 * N - (2 * PURGE - 1)
    assert found.training == 5 * N
    assert found.generated.copies.value == 1
    share = found.generated.share.value  # of those that thinning left out, one half
    assert share == pytest.approx((1 + found.sets / (5 * N)) / 2, abs=0.1)


def test_a_bootstrap_is_found_by_its_pieces() -> None:
    n = torch.randn(4, 3 * N, 61 + STEPS, generator=generator(7), dtype=torch.float64)
    close = 100 * (0.01 * n[0]).cumsum(1).exp()
    high, low = close * (1 + 0.01 * n[1].relu()), close / (1 + 0.01 * n[2].relu())
    bars = torch.stack([close, high, low, close, n[3].exp()], dim=-1)
    bars[:, 1:, 0] = close[:, :-1]
    bars[..., 1], bars[..., 2] = bars[..., :4].amax(-1), bars[..., :4].amin(-1)
    past, future = bars[:N, :61], bars[:N, 61:]
    history, truth = bars[N:, :61], bars[N:, 61:]
    stitched = bootstrap_bars(past, future, history, STEPS, block=8, generator=generator())
    made, held = (Shapes.of(encode_window(history, x), HELD.dates) for x in (stitched, truth))
    train = Shapes.of(encode_window(past, future), TRAIN.dates)
    whole = memorisation(made, train, held, purge=PURGE).generated
    parts = memorisation(made, train, held, purge=PURGE, piece=8).generated
    assert parts.share.value == 1
    assert parts.copies.value == 1
    assert whole.copies.value is not None
    assert whole.copies.value < 0.1


def test_pieces_of_overlapping_windows_are_searched_once() -> None:
    n = torch.randn(5, 100, generator=generator(6), dtype=torch.float64)
    code = WindowCode(*(x.unfold(0, STEPS, 1) for x in n))
    shapes = Shapes.of(code, torch.arange(len(code.r)))
    pieces = shapes.pieces(8, 1)
    distinct = pieces.distinct()
    assert len(pieces) == len(code.r) * (STEPS - 7)
    assert len(distinct) == 100 - 7
    assert bool((distinct.dates.diff() >= 0).all())
    # The first window holds all its pieces, every later one adds its last.
    assert torch.equal(distinct.dates.bincount()[:3], torch.tensor([STEPS - 7, 1, 1]))


def test_order_and_batches_of_rows_are_of_no_matter() -> None:
    made = fresh()
    order = torch.randperm(N, generator=generator(1))
    mixed = Shapes(made.code[order], made.dates[order])
    once, again = (memorisation(x, TRAIN, HELD, purge=PURGE) for x in (made, mixed))
    assert once.generated.share.value == again.generated.share.value
    assert once.generated.ratio.value == pytest.approx(again.generated.ratio.value, rel=1e-6)


def test_what_cannot_be_compared_is_a_sentence() -> None:
    still = code_of(4)._replace(r=torch.zeros(N, STEPS, dtype=torch.float64))
    with pytest.raises(UserError, match="only 0 windows have prices that move"):
        Shapes.of(still, DATES)
    with pytest.raises(UserError, match="199 dates for 200 windows"):
        Shapes.of(code_of(4), DATES[1:])
    shorter = WindowCode(*(part[:, :10] for part in code_of(4)))
    with pytest.raises(UserError, match=r"windows are \[10, 16\] bars long"):
        memorisation(Shapes.of(shorter, DATES), TRAIN, HELD, purge=PURGE)
    with pytest.raises(UserError, match="purge 0 must be at least 1"):
        memorisation(fresh(), TRAIN, HELD, purge=0)
    with pytest.raises(UserError, match="pieces of 17 bars do not fit"):
        memorisation(fresh(), TRAIN, HELD, purge=PURGE, piece=17)
    lonely = memorisation(fresh(), TRAIN, HELD, purge=10_000)
    assert str(lonely.generated.share).startswith("n/a (only 0 held-out windows lie outside")
    silent = code_of(4)._replace(volume=torch.full((N, STEPS), -math.inf, dtype=torch.float64))
    assert bool((Shapes.of(silent, DATES).code[..., 4] == 0).all())
