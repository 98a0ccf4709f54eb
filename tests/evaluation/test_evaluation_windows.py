"""Windows of any file: no bar on both sides, and a sentence where there is nothing to judge."""

from pathlib import Path

import polars as pl
import pytest
import torch

from parfait.evaluation.candidates import (
    CANDIDATES,
    Ingredients,
    bates_guide,
    history_regime,
)
from parfait.evaluation.windows import DAY, load_split
from parfait.metrics.functional.validity import guide_error, validity
from parfait.microstructure import Microstructure
from parfait.utils.errors import UserError
from tests.labelling.history import market

SMALL = {"history": 20, "horizon": 8, "train_end": None}


def write(folder: Path, **frames: pl.DataFrame) -> str:
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return str(folder)


def test_the_embedded_split_shares_no_bar() -> None:
    split = load_split()
    assert split.symbols == ("NASDAQ", "SP500")
    assert (len(split.held), split.held.history.shape[1:], split.held.future.shape[1:]) == (
        821,
        (61, 5),
        (32, 5),
    )
    first_bar = split.held.time - split.held.purge
    assert int(first_bar.min()) > int(split.train.time.max()) + split.held.purge // 2
    assert split.held.purge == pytest.approx(92 / 252 * 365.25 * DAY, rel=0.01)
    told = split.describe()
    assert told["held_out"]["windows"] == 821
    assert told["train_end"] == "2014-12-31"
    assert (told["history"], told["horizon"], told["embargo_bars"]) == (60, 32, 93)


def test_own_files_have_windows_of_every_symbol(tmp_path: Path) -> None:
    frames = {name: market(600, seed) for seed, name in enumerate(("AAA", "BBB"))}
    split = load_split(write(tmp_path, **frames), **SMALL, most=60)
    assert split.symbols == ("AAA", "BBB")
    assert set(split.held.symbol.tolist()) == {0, 1}
    assert len(split.held) <= 60
    closes = frames["BBB"]["close"].to_numpy()
    window = split.held.future[split.held.symbol == 1][0, :, 3].numpy()
    at = int((closes == window[0]).argmax())
    assert (closes[at : at + 8] == window).all()
    longer = load_split(str(tmp_path), history=40, horizon=16, train_end="2001-06-30")
    assert longer.held.future.shape[1] == 16
    assert longer.fingerprint == split.fingerprint


def test_windows_that_never_move_are_left_out_and_told(tmp_path: Path) -> None:
    flat = pl.when(pl.int_range(pl.len()).is_between(540, 580)).then(100.0)
    names = ("open", "high", "low", "close")
    frame = market(600).with_columns([flat.otherwise(pl.col(n)).alias(n) for n in names])
    split = load_split(write(tmp_path, AAA=frame), **SMALL)
    assert any("whose close never moves" in sentence for sentence in split.left_out)
    assert bool((split.held.future[..., 3].std(1) > 0).all())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: f.head(100), "windows of 29 bars, at least 8 are needed"),
        (
            lambda f: f.with_columns(
                [pl.lit(5.0).alias(n) for n in ("open", "high", "low", "close")]
            ),
            "moves; give other data",
        ),
    ],
)
def test_data_that_cannot_be_judged_are_refused(tmp_path: Path, change, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        load_split(write(tmp_path, AAA=change(market(400))), **SMALL)


def test_symbols_of_different_bar_sizes_are_refused(tmp_path: Path) -> None:
    frames = {"AAA": market(600), "BBB": market(3000).gather_every(5)}
    with pytest.raises(UserError, match="bars per year"):
        load_split(write(tmp_path, **frames), **SMALL)


def test_every_candidate_is_valid_and_obeys_its_guide() -> None:
    split = load_split(history=60, horizon=12, most=10, most_train=40)
    i = Ingredients(Microstructure.load(None), split, every=5)
    for name in CANDIDATES:
        bars, guide = i.draw(name, 1)
        assert bars.shape == (len(split.held), 12, 5), name
        assert validity(bars)["valid"] == 1, name
        if guide is not None:
            assert guide_error(bars, guide.level, guide.anchored) == 0, name
        assert i.draw(name, 1)[0] is bars
    again = Ingredients(i.model, split, every=5)
    name = "the same, from the last 5 years"
    assert bool((again.draw(name, 1)[0] == i.draw(name, 1)[0]).all())


def test_a_bates_guide_starts_at_the_last_close() -> None:
    split = load_split(history=60, horizon=12, most=10, most_train=40)
    g = torch.Generator().manual_seed(0)
    guide = bates_guide(split.held, history_regime(split.held, g, measured=True), 5, g)
    ratio = guide.level[:, 0] / split.held.history[:, -1, 3]
    assert bool(((ratio - 1).abs() < 0.3).all())
    assert guide.anchored.sum(1).min() >= 3
