"""Counts of calibration: right where teacher and student are one; they say which way it errs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from parfait.regime.component import SLOTS
from parfait.semantic.lm.calibration import BINS, FIELDS, LEVELS, Calibration, pit
from parfait.semantic.lm.figures import calibration_figure
from parfait.semantic.lm.head import Mixture, MixtureHead
from parfait.semantic.lm.losses import draw
from parfait.semantic.lm.targets import SlotTargets

DRAWS = 400


def students(heads: int = 1, batch: int = 30) -> list[Mixture]:
    torch.manual_seed(0)
    head = MixtureHead(8, 16, heads)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.4)
    with torch.no_grad():
        return head(torch.randn(batch, len(SLOTS), 8))


def teacher_of(told: Mixture) -> SlotTargets:
    is_open = torch.zeros_like(told.open) > 0
    return SlotTargets(told.logits.softmax(-1), told.mean, told.cholesky, is_open)


def counted(told: Mixture, teacher: SlotTargets) -> Calibration:
    found = Calibration()
    for rows in (slice(0, 10), slice(10, 30)):  # sums over batches
        part = Mixture(*(x[rows] for x in (told.logits, told.mean, told.cholesky, told.open)))
        generator = torch.Generator().manual_seed(rows.start)
        found.add([part], draw(teacher[rows], DRAWS, generator), teacher[rows])
    return found


def test_the_transform_is_that_of_torch() -> None:
    told = students(heads=2)
    z = torch.randn(30, 5, 11)
    known = [
        MixtureSameFamily(
            Categorical(logits=m.logits),
            Normal(m.mean[..., 3], (m.cholesky @ m.cholesky.mT)[..., 3, 3].sqrt()),
        )
        .cdf(z[..., 3].T)
        .T
        for m in told
    ]
    assert torch.allclose(pit(told, z)[..., 3], torch.stack(known).mean(0), atol=1e-5)


def test_a_student_that_is_its_teacher_is_calibrated() -> None:
    (told,) = students()
    found = counted(told, teacher_of(told))
    error = 4 * (0.25 / (30 * DRAWS)) ** 0.5
    assert found.histogram.sum(1).tolist() == [30.0 * DRAWS] * len(FIELDS)
    for row, level in zip(found.coverage(), LEVELS, strict=True):
        assert float((row - level).abs().max()) < error
    assert found.uniformity() < error
    assert found.weight_error() == pytest.approx(0.0, abs=1e-6)
    assert found.scores().keys() == {
        *("coverage_50", "coverage_80", "coverage_95", "weight_error", "pit_error")
    }


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_widths_that_are_wrong_show_in_the_coverage(factor: float) -> None:
    (told,) = students()
    told = replace(told, mean=told.mean * 0)  # one Gaussian per field is plain to judge
    found = counted(replace(told, cholesky=told.cholesky * factor), teacher_of(told))
    gap = found.coverage() - torch.tensor(LEVELS)[:, None]
    assert bool((gap < -0.02).all() if factor < 1 else (gap > 0.02).all())
    assert found.uniformity() > 0.05
    edges, middle = found.histogram[:, [0, -1]].mean(), found.histogram[:, BINS // 2].mean()
    assert bool(edges > middle) is (factor < 1)  # a bowl where it is too narrow


def test_weights_that_are_too_sure_show_in_their_error() -> None:
    (told,) = students()
    sure = counted(replace(told, logits=3 * told.logits), teacher_of(told))
    assert sure.weight_error() > 0.03
    flat = counted(replace(told, logits=0 * told.logits), teacher_of(told))
    assert flat.weight_error() < 1e-6  # no opinion is a calibrated one, and useless


def test_the_figure_shows_what_was_counted(tmp_path: Path) -> None:
    (told,) = students()
    figure: Any = calibration_figure(counted(told, teacher_of(told)))
    left, middle, right = figure.axes
    assert len(left.patches) == len(FIELDS)
    assert len([line for line in middle.lines if line.get_linestyle() == "None"]) == len(LEVELS)
    assert len(right.lines) == 2
    figure.savefig(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 10_000
