"""Two draws of one law stay inside the null of the judges, other laws leave it."""

import math
from typing import Any

import pytest
import torch

from parfait.metrics import trees
from parfait.metrics.functional.c2st import (
    FOLDS,
    area_under_roc,
    balanced_accuracy,
    c2st,
    c2st_null,
    control_rows,
    judge_sets,
    purged_folds,
)
from parfait.metrics.judges import JudgeName, train_judges
from parfait.metrics.trees import window_features
from parfait.utils.errors import UserError

WINDOWS, STEPS = 320, 16
DATES = torch.arange(WINDOWS)


def student(seed: int, degrees: int | None = 3) -> torch.Tensor:
    """Unit-variance t windows (normal for ``None``), as the channels r and |r| in a code of six."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(WINDOWS, STEPS, generator=generator)
    if degrees is not None:
        chi = torch.randn(WINDOWS, STEPS, degrees, generator=generator).square().sum(-1)
        x = x / chi.sqrt()  # t(3) has variance 3 and t = z sqrt(3 / chi): the two cancel
    x = x.clamp(-8, 8)
    code = torch.zeros(WINDOWS, STEPS, 6)
    code[..., 0], code[..., 1] = x, x.abs()
    return code


@pytest.mark.parametrize("judge", ["cnn", "gru", "trees"])
def test_one_law_is_inside_the_null_and_another_leaves_it(judge: JudgeName) -> None:
    if judge == "trees":
        pytest.importorskip("sklearn")
    options: dict[str, Any] = {"purge": 4, "view": "close", "judge": judge, "steps": 50}
    real = student(0)
    null = c2st_null(real, DATES, block=20, repeats=2, **options)
    verdict = c2st(real, [student(1), student(2, degrees=None)], DATES, **options)
    same, other = verdict[:4], verdict[4:]
    assert abs(null.mean) < 0.05
    assert abs(same.mean) < 0.07
    assert other.mean > 0.2
    assert float(other.auc.mean()) > 0.75


def test_judges_separate_reversed_time_and_jitter() -> None:
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(WINDOWS, 4 * STEPS, generator=generator)
    ramp = torch.zeros(WINDOWS, STEPS, 6)
    # Jumps up and slow decays: symmetric in shuffles' marginals, not in time.
    level = torch.zeros(WINDOWS)
    for t in range(STEPS):
        level = 0.6 * level + (steps[:, t] > 1) * 2.0
        ramp[:, t, 0] = level + 0.1 * steps[:, STEPS + t]
    rows = control_rows(ramp, ramp + 0.5 * torch.randn(ramp.shape, generator=generator), generator)
    verdict = c2st(ramp, list(rows.values()), DATES, purge=4, steps=60)
    means = verdict.score.view(len(rows), 4).mean(1)
    assert bool((means > 0.2).all()), dict(zip(rows, means.tolist(), strict=True))
    for name in ("days shuffled", "time reversed"):
        torch.testing.assert_close(rows[name].sort(1).values, ramp.sort(1).values)


def test_a_judge_does_not_feel_its_neighbours_data() -> None:
    windows = student(0)
    generated = torch.rand(2, WINDOWS, generator=torch.Generator().manual_seed(1)) < 0.5
    train = torch.ones(2, WINDOWS, dtype=torch.bool)
    one = train_judges(windows, generated, train, steps=5)
    again = train_judges(windows, generated, train, steps=5)
    flipped = torch.stack([generated[0], ~generated[1]])
    other = train_judges(windows, flipped, train, steps=5)
    assert torch.equal(one, again)
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize("judge", ["cnn", "gru"])
def test_training_leaves_the_global_generator_alone(judge: JudgeName) -> None:
    state = torch.random.get_rng_state()
    everyone = torch.ones(1, WINDOWS, dtype=torch.bool)
    odd = (torch.arange(WINDOWS) % 2 == 1)[None]
    train_judges(student(0), odd, everyone, judge=judge, steps=2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_folds_test_every_window_once_and_keep_the_purge() -> None:
    dates = torch.arange(100).repeat(2) * 3
    train, test = purged_folds(dates, FOLDS, purge=30)
    assert bool((test.sum(0) == 1).all())
    for learnt, held in zip(train, test, strict=True):
        distance = (dates[learnt][:, None] - dates[held][None]).abs()
        assert int(distance.min()) >= 30
        assert int(learnt.sum()) > 60
    again, _ = purged_folds(dates, FOLDS + 1, purge=30)
    assert torch.equal(again[0], again[FOLDS])


def test_balanced_accuracy_and_auc_equal_hand_counts() -> None:
    logits = torch.tensor([-2.0, -1.0, 0.5, 0.0, 1.0, 2.0], dtype=torch.float64)
    generated = torch.tensor([False, False, False, True, True, True])
    accuracy, error = balanced_accuracy(logits, generated)
    assert accuracy == pytest.approx((2 / 3 + 2.5 / 3) / 2)
    assert error == pytest.approx(0.5 * ((2 / 9 + 2.5 / 3 * 0.5 / 3) / 3) ** 0.5)
    assert area_under_roc(logits, generated) == pytest.approx(8 / 9)
    assert area_under_roc(-logits, generated) == pytest.approx(1 / 9)
    assert area_under_roc(torch.zeros(6, dtype=torch.float64), generated) == 0.5


def test_features_of_a_window_are_counted_by_hand() -> None:
    r = torch.tensor([1.0, -1.0, 2.0, -2.0, 3.0, -3.0])
    window = torch.stack([r, r.abs()], dim=-1)[None]
    features = window_features(window)[0]
    assert features.shape == (23,)
    sd = math.sqrt(28 / 6)
    expected = torch.tensor([0.0, 2.0, sd, math.sqrt(4 / 6), 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(features[:6], expected)
    assert features[6:10].tolist() == [-3, 1, 3, 3]
    z = r.double() / sd
    assert float(features[10]) == pytest.approx(float((z[1:] * z[:-1]).mean()))
    assert window_features(student(0)).shape == (WINDOWS, 43)
    still = torch.zeros(1, 6, 2)
    assert bool((window_features(still) == 0).all())


def test_trees_that_are_not_installed_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package scikit-learn: .*parfait\[evaluate\]"):
        c2st(student(0), [student(1)], DATES, purge=4, judge="trees")


def test_mistakes_are_sentences() -> None:
    odd = (DATES % 2 == 1)[None]
    everyone = torch.ones(1, WINDOWS, dtype=torch.bool)
    with pytest.raises(UserError, match="view 'open' is unknown"):
        judge_sets(student(0), odd, everyone, everyone, view="open")
    with pytest.raises(UserError, match="no test windows"):
        judge_sets(student(0), odd, everyone, odd)
    with pytest.raises(UserError, match="training windows of a class"):
        judge_sets(student(0), odd, odd, everyone)
    with pytest.raises(UserError, match="judge 'svm' is unknown"):
        judge_sets(student(0), odd, everyone, everyone, judge="svm")  # pyright: ignore
