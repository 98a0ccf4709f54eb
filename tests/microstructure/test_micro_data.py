"""Training data from files: symbols, frequencies, weights, and a cache that is never stale."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from parfait.microstructure.datamodule import WindowDataModule, moving_share
from parfait.utils.errors import UserError
from tests.labelling.history import market


def module(path: Any, **options: Any) -> WindowDataModule:
    data = WindowDataModule(path, history=20, horizon=10, **options)
    data.setup()
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two daily symbols in one file, an hourly one in another."""
    home = tmp_path / "in"
    home.mkdir()
    days = [market(400, k).with_columns(symbol=pl.lit(f"D{k}")) for k in range(2)]
    pl.concat(days).write_csv(home / "days.csv")
    times = [datetime(2001, 1, 1) + timedelta(hours=i) for i in range(2400)]
    market(2400, 5).with_columns(timestamp=pl.Series(times)).write_csv(home / "H.csv")
    return home


def test_symbols_keep_their_names_and_frequencies(folder: Path) -> None:
    data = module(str(folder), train_end="2001-03-15")
    found = {s.symbol: s.bars_per_year for s in data.train.segments}
    days, hours = 365.25 * 5 / 7, 365.25 * 24  # without holidays
    expected = {"D0": days, "D1": days, "H": hours}
    assert found == {name: pytest.approx(value, rel=0.01) for name, value in expected.items()}
    assert data.provenance()["symbols"] == ["D0", "D1", "H"]
    kept = module(str(folder), train_end="2001-03-15", cache=str(folder.parent / "cache"))
    assert kept.fingerprint == data.fingerprint
    assert torch.equal(kept.train.index, data.train.index)


def test_options_reach_the_loader(folder: Path) -> None:
    plain = module(str(folder / "days.csv"))
    cents = module(str(folder / "days.csv"), options={"price_scale": 0.01})
    ratio = plain.train.gather([0])[..., :4] / cents.train.gather([0])[..., :4]
    assert torch.allclose(ratio, torch.full_like(ratio, 100.0))
    one = module(str(folder / "days.csv"), options={"symbol": "D1"})
    assert {s.symbol for s in one.train.segments} == {"D1"}
    with pytest.raises(UserError, match="prize_scale"):
        module(str(folder / "days.csv"), options={"prize_scale": 2})


def test_bars_that_do_not_move_weigh_nothing(tmp_path: Path) -> None:
    bars = market(400)
    halted = pl.int_range(pl.len()).is_between(100, 149)
    at = float(bars["close"][99])
    still = [
        pl.when(halted).then(at).otherwise(c).alias(c) for c in ("open", "high", "low", "close")
    ]
    bars.with_columns(still).write_csv(tmp_path / "A.csv")
    data = module(str(tmp_path / "A.csv"), options={"drop_suspended": False})
    share = moving_share(data.train)
    length = data.train.length
    for row in (0, 60, 80, 100, 110, 119, 120, 140, 180):
        window = data.train.gather([row])[0]
        moved = (window[1:, 3] != window[:-1, 3]) | (window[1:, 1] != window[1:, 2])
        assert float(share[row]) == pytest.approx(float(moved.sum()) / (length - 1))
    assert share[110] == 0
    assert data.weights[110] == 0
    assert float(data.weights.sum()) == pytest.approx(1.0)
    assert data.effective_windows < len(data.train) / length


def test_alike_windows_weigh_alike() -> None:
    data = WindowDataModule(bar_sizes=[1, 2])
    data.setup()
    assert torch.equal(data.weights, torch.full_like(data.weights, 1 / len(data.train)))
    assert data.effective_windows == pytest.approx(len(data.train) / data.train.length / 2)


def test_a_changed_file_is_never_read_from_the_cache(folder: Path) -> None:
    cache = str(folder.parent / "cache")
    first = module(str(folder / "days.csv"), cache=cache)
    sample = first.train_sample(64)
    made = first.labels(*sample)
    assert torch.equal(first.labels(*sample).loc, made.loc)
    (file,) = (folder.parent / "cache" / "labels").iterdir()
    text = (folder / "days.csv").read_text()
    row = text.splitlines()[40]
    volume = row.split(",")[5]
    (folder / "days.csv").write_text(text.replace(row, row.replace(f",{volume},", ",77.0,")))
    second = module(str(folder / "days.csv"), cache=cache)
    assert second.fingerprint != first.fingerprint
    second.labels(*second.train_sample(64))
    assert len(list(file.parent.iterdir())) == 2
