"""Episodes: what training sees ends where it is said to, and what is held out begins there."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from parfait.agents import Episodes
from parfait.data import embedded_bars
from parfait.utils.errors import UserError

SENTENCES = [{"weight": 3, "text": "calm"}, {"weight": 1, "text": "crash"}]
SOME: dict[str, Any] = {
    "arms": ["history", "bootstrap"],
    "starts": 8,
    "paths": 4,
    "sentences": SENTENCES,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded data with everything after 2014 changed."""
    folder = tmp_path_factory.mktemp("bars")
    later = pl.col("timestamp") >= pl.datetime(2015, 1, 1)
    for symbol, frame in embedded_bars().items():
        prices = [
            pl.when(later).then(pl.col(c) * 2).otherwise(pl.col(c)).alias(c)
            for c in ("open", "high", "low", "close")
        ]
        frame.with_columns(prices).write_parquet(folder / f"{symbol}.parquet")
    return folder


def test_nothing_after_training_reaches_it(files: Path) -> None:
    real, changed = Episodes(**SOME), Episodes(path=str(files), **SOME)
    np.testing.assert_array_equal(real.history, changed.history)
    np.testing.assert_array_equal(real.bootstrap(), changed.bootstrap())
    for a, b in zip(real.starting, changed.starting, strict=True):
        assert a.bars.equals(b.bars)
        assert a.bars["timestamp"].to_numpy().max() < np.datetime64("2015-01-01")
    assert not np.array_equal(real.test().bars, changed.test().bars)


def test_what_is_held_out_follows_bar_by_bar() -> None:
    episodes = Episodes(test_end="2017-12-31", **SOME)
    test = episodes.test()
    frame = embedded_bars()["SP500"].filter(pl.col("timestamp") >= pl.datetime(2015, 1, 1))
    first = [k for k, symbol in enumerate(test.symbol) if symbol == "SP500"]
    times = test.times[first].ravel()
    np.testing.assert_array_equal(times, frame["timestamp"][: len(times)].to_numpy())
    assert test.times.max() < np.datetime64("2018-01-01")
    closes = test.bars[first][:, 64:, 3].ravel()
    np.testing.assert_array_equal(closes, frame["close"][: len(times)].to_numpy())
    assert len(times) > 752 - len(first)  # of the bars of three years
    # The bars before an episode are those of the one before it.
    length = test.times.shape[1]
    np.testing.assert_array_equal(test.bars[1][64 - length : 64], test.bars[0][64:])


def test_bootstrap_and_scenarios_go_on_from_the_same_days() -> None:
    episodes = Episodes(**SOME)
    starts, made = episodes.starting, episodes.bootstrap()
    assert made.shape == (32, 64 + 63, 5)
    assert sorted(s.sentence for s in starts) == ["calm"] * 6 + ["crash"] * 2
    for k, start in enumerate(starts):
        last = start.bars["close"].tail(64).to_numpy()
        for path in made[4 * k : 4 * k + 4]:
            np.testing.assert_array_equal(path[:64, 3], last)
    assert not np.array_equal(made[0, 64:], made[1, 64:])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"arms": ["history", "dreams"]}, "data.arms"),
        ({"arms": ["history", "history"]}, "data.arms"),
        ({"arms": ["scenarios"], "sentences": []}, "data.sentences is empty"),
        ({"sentences": [{"weight": 0, "text": "calm"}]}, "weight above 0"),
        ({"sentences": [{"text": "calm"}]}, "weight above 0"),
        ({"test_end": "2010-01-01"}, "data.test_end=2010-01-01 is not after"),
        ({"train_end": "yesterday"}, "not a date"),
        ({"share": 1.5}, "data.share"),
        ({"past": 10}, "data.past"),
        ({"block": 64}, "data.block"),
    ],
)
def test_a_mistake_is_a_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Episodes(**SOME | settings)


def test_years_without_enough_bars_are_named() -> None:
    with pytest.raises(UserError, match="63 after"):
        Episodes(train_end="2018-12-01", **SOME).test()
    with pytest.raises(UserError, match=r"shorter data\.horizon"):
        _ = Episodes(train_end="1999-06-01", **SOME).history
    with pytest.raises(UserError, match="65 are needed"):
        _ = Episodes(train_end="1999-02-01", **SOME).starting


def test_symbols_of_other_days_are_refused(files: Path, tmp_path: Path) -> None:
    for symbol, left_out in (("NASDAQ", 0), ("SP500", 1)):
        frame = pl.read_parquet(files / f"{symbol}.parquet")
        kept = pl.concat([frame.head(4500), frame.slice(4500 + left_out)])
        kept.write_parquet(tmp_path / f"{symbol}.parquet")
    with pytest.raises(UserError, match="one calendar"):
        Episodes(path=str(tmp_path), **SOME).test()
