"""The legacy scores behave as their weaknesses say: copies pass, level and marginals count."""

import math

import polars as pl
import pytest
import torch
from torch import Tensor

from parfait.bars import bars_to_tensor
from parfait.data import make_segments
from parfait.evaluation.legacy import COPY, LENGTH, NULL, ROWS, Protocol, legacy_cells, series
from parfait.metrics.functional.legacy import (
    BANDWIDTHS,
    correlational_score,
    dependency_shift,
    discriminative_scores,
    predictive_scores,
    value_shift,
)
from parfait.metrics.functional.validity import validity
from parfait.microstructure import Microstructure
from parfait.utils.errors import UserError
from tests.labelling.history import market


def normal(n: int, seed: int, mean: float = 0.5) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return mean + 0.1 * torch.randn((n, 12, 4), generator=g, dtype=torch.float64)


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    bars = bars_to_tensor(market(700))
    return Protocol(Microstructure.load(None), bars, 252.0, judges=3, steps=(100, 5))


def test_two_draws_of_one_law_cannot_be_told_apart_and_others_can() -> None:
    real = normal(600, 0)
    same = discriminative_scores(real, normal(600, 1), judges=4, steps=200)
    null = math.sqrt(2 / math.pi) / (2 * math.sqrt(240))  # 120 + 120 test windows
    assert float(same.mean()) < 3 * null
    other = discriminative_scores(real, normal(600, 1, mean=1.5), judges=4, steps=400)
    assert float(other.mean()) > 0.3


def test_scores_are_those_of_their_seed_alone() -> None:
    torch.manual_seed(1)
    first = discriminative_scores(normal(50, 0), normal(50, 1), judges=2, steps=5, seed=3)
    torch.manual_seed(2)
    second = discriminative_scores(normal(50, 0), normal(50, 1), judges=2, steps=5, seed=3)
    assert bool((first == second).all())


def test_what_predicts_volume_on_one_law_predicts_it_on_the_same() -> None:
    """Volume that repeats a feature of the bar before can be learnt; noise can only be guessed."""
    windows = normal(400, 0)
    learnt = torch.cat([windows[..., :3], windows[..., :1].roll(1, dims=1)], dim=2)
    known = predictive_scores(learnt, learnt, judges=2, steps=700)
    guess = predictive_scores(windows, windows, judges=1, steps=400)
    spread = 0.1 * math.sqrt(2 / math.pi)  # E|x - mean|
    assert float(guess.mean()) == pytest.approx(spread, rel=0.15)
    assert float(known.min()) < 0.85 * spread


def test_shifts_equal_the_definition_of_the_kernel_distance() -> None:
    x, y = normal(30, 0), normal(25, 1, mean=0.7)

    def mmd(a: Tensor, b: Tensor) -> float:
        def k(p: Tensor, q: Tensor) -> Tensor:
            square = (p[:, None] - q[None]).square()
            return sum(torch.exp(-square / (2 * h)) for h in BANDWIDTHS).mean()

        return float(k(a, a) + k(b, b) - 2 * k(a, b))

    expected = sum(mmd(x[..., j].flatten(), y[..., j].flatten()) for j in range(4)) / 4
    assert value_shift(x, y) == pytest.approx(expected, rel=2e-3)
    rows = [torch.stack([torch.corrcoef(w.T) for w in v]) for v in (x, y)]
    i, j = torch.tril_indices(4, 4, offset=-1)
    pairs = [mmd(rows[0][:, a, b], rows[1][:, a, b]) for a, b in zip(i, j, strict=True)]
    assert dependency_shift(x, y) == pytest.approx(sum(pairs) / 6, rel=2e-3)


def test_a_far_value_is_no_burden() -> None:
    x = normal(30, 0)
    far = x.clone()
    far[0, 0, 0] = 1e9
    assert 0 < value_shift(x, far) < 0.01


def test_order_within_a_window_is_invisible_to_the_pooled_scores() -> None:
    x = normal(40, 0)
    assert correlational_score(x, x.flip(1)) == pytest.approx(0, abs=1e-12)
    assert value_shift(x, x.flip(1)) == pytest.approx(0, abs=1e-12)
    assert dependency_shift(x, x.flip(1)) == pytest.approx(0, abs=1e-12)
    z = x.clone()
    z[..., 1] = z[..., 0]
    assert correlational_score(x, z) > 0.05


def test_copies_pass_and_a_constant_volatility_does_not(protocol: Protocol) -> None:
    kept = ("days shuffled inside each window", "windows time-reversed")
    wanted = ("copy + N(0, .01) jitter", *kept)
    found = {}
    for cell in legacy_cells(protocol, wanted):
        found[cell.row] = {s.column: s.value for s in cell.compute().scores}
    assert list(found) == [NULL, COPY, *wanted]
    for row in (COPY, *kept):
        assert found[row]["Corr"] == pytest.approx(0, abs=1e-9)
        assert found[row]["VDS"] == pytest.approx(0, abs=1e-9)
        assert found[row]["DS"] < 0.08, row
    assert found["copy + N(0, .01) jitter"]["invalid bars"] > 0.5
    assert found["copy + N(0, .01) jitter"]["DS"] < 0.08
    assert found[NULL]["invalid bars"] == found[COPY]["invalid bars"] == 0


def test_every_row_has_windows_of_six_columns_and_valid_bars(protocol: Protocol) -> None:
    for name, make in ROWS.items():
        windows = make(protocol, torch.Generator().manual_seed(0))
        assert windows.shape[1:] == (LENGTH, 6), name
        assert bool((windows[..., 3] == windows[..., 4]).all()) or "jitter" in name
        if "jitter" not in name:
            assert validity(windows[..., [0, 1, 2, 3, 5]])["valid"] == 1, name
    real = protocol.scaled(ROWS[COPY](protocol, torch.Generator()))
    assert float(real.min()) == 0
    assert float(real.max()) == pytest.approx(1, abs=1e-6)


def test_other_series_are_taken_and_useless_ones_refused() -> None:
    model = Microstructure.load(None)
    dead = market(300).with_columns(volume=pl.lit(0.0))
    quiet = Protocol(model, bars_to_tensor(dead), 252.0, judges=2, steps=(3, 3))
    for row in ("block bootstrap, local, 4 days", "GBM of constant volatility, lognormal volume"):
        made = ROWS[row](quiet, torch.Generator().manual_seed(0))
        assert bool(torch.isfinite(made).all())
    with pytest.raises(UserError, match="the series has 50 bars"):
        Protocol(model, bars_to_tensor(market(50)), 252.0)
    with pytest.raises(UserError, match="takes one series"):
        series(make_segments({"A": market(90), "B": market(90)}))
    with pytest.raises(UserError, match="cut both to one length"):
        value_shift(normal(20, 0), normal(20, 0)[:, :5])
    with pytest.raises(UserError, match="too few"):
        discriminative_scores(normal(5, 0), normal(20, 0))
