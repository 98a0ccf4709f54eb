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
