"""Shards are disjoint, together everything, and the same everywhere."""

import itertools

import pytest

from parfait.utils.errors import UserError
from parfait.utils.shards import Shard

NAMES = [f"symbol {i}" for i in range(2000)]


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_every_name_has_one_shard(count: int) -> None:
    shards = [Shard.parse(f"{i}/{count}") for i in range(count)]
    held = [[n for n in NAMES if s.holds(n)] for s in shards]
    assert sorted(itertools.chain(*held)) == sorted(NAMES)
    expected = len(NAMES) / count
    assert all(abs(len(h) - expected) <= 4 * expected**0.5 for h in held)
    assert [s.whole for s in shards] == [count == 1] * count


def test_a_name_keeps_its_shard() -> None:
    """In every process and on every machine: these were written down."""
    for name, shard in (("AAPL", 11), ("黄金", 0), ("", 4)):
        assert [i for i in range(16) if Shard(i, 16).holds(name)] == [shard]


@pytest.mark.parametrize("text", ["", "1", "1/1", "2/2", "-1/2", "1/0", "0/0", "a/b", "0/2/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UserError, match="must be i/n"):
        Shard.parse(text)


def test_every_number_has_one_shard_and_all_have_alike() -> None:
    held = [[k for k in range(50) if Shard(i, 16).holds_number(k)] for i in range(16)]
    assert sorted(itertools.chain(*held)) == list(range(50))
    assert {len(h) for h in held} == {3, 4}


ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "3"}


@pytest.mark.parametrize(
    ("env", "shard"),
    [
        ({}, Shard(0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, Shard(2, 4)),
        ({"RANK": "2"}, Shard(0, 1)),
        (ARRAY | {"SLURM_ARRAY_TASK_STEP": "2"}, Shard(2, 3)),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "4"}, Shard(1, 4)),
    ],
)
def test_launchers_tell_the_shard(
    env: dict[str, str], shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", *ARRAY, "SLURM_ARRAY_TASK_STEP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert Shard.of(None) == shard
    assert Shard.of("1/2") == Shard(1, 2)


def test_an_array_with_gaps_tells_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_STEP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ARRAY.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="give shard=i/n"):
        Shard.of(None)
