"""The guide: levels, anchors, jump segments, refusals."""

import pytest
import torch

from parfait.sde import Bates, Guide, Paths, make_guide
from parfait.utils.errors import UserError


def paths_with(jumps, log_price=None):
    n, steps = jumps.shape
    x = torch.zeros((n, steps + 1)) if log_price is None else log_price
    return Paths(x, None, jumps, torch.zeros(n, dtype=torch.float64))


def anchors(guide, path=0):
    return (guide.anchored[path].nonzero().flatten() + 1).tolist()


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), (4, [4, 8, 10]), (5, [5, 10]), (20, [10])],
)
def test_anchors_every_k_steps_and_always_the_last(every, expected):
    guide, notes = make_guide(paths_with(torch.zeros(2, 10)), 100.0, every=every, bar_sd=0.01)
    assert anchors(guide, 0) == anchors(guide, 1) == expected
    assert notes == []


def test_a_jump_bar_is_its_own_segment():
    jumps = torch.zeros(3, 12)
    jumps[0, 5], jumps[1, 0], jumps[2, 9] = -0.05, 0.05, 0.029  # sixth bar; first bar; below 3 sd
    guide, _ = make_guide(paths_with(jumps), 100.0, every=4, jump_sigmas=3.0, bar_sd=0.01)
    assert anchors(guide, 0) == [4, 5, 6, 8, 12]
    assert anchors(guide, 1) == [1, 4, 8, 12]
    assert anchors(guide, 2) == [4, 8, 12]


def test_the_threshold_follows_each_path():
    jumps = torch.full((2, 12), 0.0)
    jumps[:, 5] = 0.05
    sd = torch.tensor([0.01, 0.1], dtype=torch.float64)
    guide, _ = make_guide(paths_with(jumps), 100.0, bar_sd=sd)
    assert anchors(guide, 0) == [4, 5, 6, 8, 12]
    assert anchors(guide, 1) == [4, 8, 12]


def test_jumps_everywhere_are_reported():
    guide, notes = make_guide(paths_with(torch.full((2, 6), 0.2)), 100.0, bar_sd=0.01)
    assert guide.anchored.all()
    assert len(notes) == 1
    assert notes[0].startswith("100% of the bars hold a jump above 3 bar deviations")


def test_levels_are_exact_in_double_precision(ref):
    paths = Bates.from_regime(ref.batch(20)).sample(20, 30, 30 / 252, generator=ref.generator())
    guide, _ = make_guide(paths, 4321.5, bar_sd=0.01)
    assert guide.level.dtype == torch.float64
    assert torch.equal(guide.level, 4321.5 * torch.exp(paths.log_price[:, 1:].double()))


def test_a_process_without_jumps_needs_no_threshold():
    paths = Paths(torch.zeros(2, 6), None, None, torch.zeros(2, dtype=torch.float64))
    guide, notes = make_guide(paths, 1.0, every=2, bar_sd=0.0)
    assert anchors(guide) == [2, 4, 5]
    assert notes == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spot": 0.0}, "make_guide: spot = 0.0 must be finite and above 0"),
        ({"every": 0}, "sde.guide.every = 0 must be a whole number of at least 1"),
        ({"jump_sigmas": -1.0}, "sde.guide.jump_sigmas = -1.0 must be a number of at least 0"),
        ({"jump_sigmas": "x"}, "sde.guide.jump_sigmas = 'x' must be a number of at least 0"),
        ({"jump_sigmas": None}, "sde.guide.jump_sigmas = None must be a number of at least 0"),
        ({"bar_sd": 0.0}, "make_guide: bar_sd must be finite and above 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    request = {"spot": 100.0, "bar_sd": 0.01} | arguments
    with pytest.raises(UserError) as caught:
        make_guide(paths_with(torch.zeros(1, 4)), **request)
    assert str(caught.value) == message


@pytest.mark.parametrize("every", [4, 10**30])
def test_anchors_farther_apart_than_the_path_leave_the_last_one(every):
    guide, _ = make_guide(paths_with(torch.zeros(1, 4)), 100.0, every=every, bar_sd=0.01)
    assert anchors(guide) == [4]


def test_a_price_beyond_the_floats_is_refused():
    log_price = torch.zeros(2, 5)
    log_price[1, 3] = 800.0
    with pytest.raises(UserError, match="price inf of path 1 at step 2 is not finite"):
        make_guide(paths_with(torch.zeros(2, 4), log_price), 100.0, bar_sd=0.01)


def test_a_guide_must_end_anchored_and_have_one_shape():
    level, anchored = torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool)
    Guide(level, anchored)
    loose = anchored.clone()
    loose[1, -1] = False
    with pytest.raises(UserError, match="last step"):
        Guide(level, loose)
    with pytest.raises(UserError, match="one shape"):
        Guide(level, anchored[:, :2])
    with pytest.raises(UserError, match="float64"):
        Guide(level.float(), anchored)
