"""Which batches are left of an epoch, whatever was accumulated, limited or interrupted."""

import math
from types import SimpleNamespace

import pytest

from parfait.utils.epochs import epoch_left


@pytest.mark.parametrize("batches", [1, 5, 6])
@pytest.mark.parametrize("together", [1, 2, 4])
@pytest.mark.parametrize("limit", [math.inf, 3])
def test_every_batch_of_an_epoch_is_left_until_its_step_is_taken(
    batches: int, together: int, limit: float
) -> None:
    seen: list[tuple[int, int]] = []
    steps = 0
    length = int(min(batches, limit))
    while len(seen) < 3 * length:
        trainer = SimpleNamespace(
            global_step=steps, accumulate_grad_batches=together, num_training_batches=limit
        )
        epoch, left = epoch_left(trainer, batches)
        assert list(left)[-1] == length - 1
        seen += [(epoch, position) for position in left[:together]]  # one step, then a kill
        steps += 1
    assert seen == [(e, k) for e in range(3) for k in range(length)]


def test_before_a_trainer_there_is_a_whole_epoch() -> None:
    assert epoch_left(None, 4) == (0, range(4))
