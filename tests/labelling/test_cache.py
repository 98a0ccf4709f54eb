"""What is kept is never stale: one bit of the data or one setting makes it anew."""

from pathlib import Path

import pytest
import torch

import parfait.labelling.cache as module
from parfait.data import embedded_bars, make_segments
from parfait.labelling import cached_labels, read_series
from parfait.labelling.rolling import Rolling
from parfait.labelling.store import label_key
from parfait.labels import label_windows
from parfait.utils.errors import UserError


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    segment = make_segments(embedded_bars())[0]
    return segment.bars.unfold(0, 21, 50).transpose(1, 2).contiguous()


def test_labels_are_made_once_and_again_after_any_change(
    windows: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def count(*args, **kwargs):
        calls.append(1)
        return label_windows(*args, **kwargs)

    monkeypatch.setattr(module, "label_windows", count)
    frequency = torch.full((len(windows),), 252.0, dtype=torch.float64)
    first = cached_labels(windows, frequency, tmp_path)
    again = cached_labels(windows, frequency, tmp_path)
    assert len(calls) == 1
    for name, value in vars(first).items():
        kept = getattr(again, name)
        assert torch.equal(value, kept) if isinstance(value, torch.Tensor) else value == kept
    other = windows.clone()
    other[3, 5, 3] = torch.nextafter(other[3, 5, 3], other[3, 5, 1] + 1)  # one bit of one close
    cached_labels(other, frequency, tmp_path)
    cached_labels(windows, frequency + 1, tmp_path)
    cached_labels(windows, frequency, tmp_path, range_correction=1.1)
    cached_labels(windows[:-1], frequency[:-1], tmp_path)
    monkeypatch.setattr(module, "code_key", lambda: "other code")
    cached_labels(windows, frequency, tmp_path)
    assert len(calls) == 6


def test_a_broken_file_counts_as_none(windows: torch.Tensor, tmp_path: Path) -> None:
    frequency = torch.full((len(windows),), 252.0, dtype=torch.float64)
    first = cached_labels(windows, frequency, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no tensor at all"):
        file.write_bytes(content)
        assert torch.equal(cached_labels(windows, frequency, tmp_path).loc, first.loc)
    assert file.stat().st_size == len(whole)


def test_every_setting_and_every_byte_has_a_key_of_its_own() -> None:
    other = [
        Rolling(lengths=(61,)),
        Rolling(stride=21),
        Rolling(before=21),
        Rolling(max_gap=6),
        Rolling(bars_per_year=252.0),
        Rolling(range_correction=1.0),
        Rolling(train_end="2014-12-31"),
    ]
    keys = [label_key("content", "A", s) for s in (Rolling(), *other)]
    keys += [label_key("other", "A", Rolling()), label_key("content", "B", Rolling())]
    assert len(set(keys)) == len(keys)


def test_bars_are_read_again_when_a_byte_changes(tmp_path: Path) -> None:
    frames = embedded_bars()
    for name, frame in frames.items():
        frame.tail(100).write_csv(tmp_path / f"{name}.csv")
    cache = tmp_path / "cache"
    plain, _ = read_series(str(tmp_path), {})
    kept, _ = read_series(str(tmp_path), {}, cache=cache)
    assert list(plain) == list(kept) == ["NASDAQ", "SP500"]
    assert all(plain[name].equals(kept[name]) for name in plain)
    file = tmp_path / "SP500.csv"
    text = file.read_text()
    at = text.rindex(",") + 1
    file.write_text(text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :])
    changed, _ = read_series(str(tmp_path), {}, cache=cache)
    assert not changed["SP500"].equals(kept["SP500"])
    assert changed["NASDAQ"].equals(kept["NASDAQ"])
    scaled, _ = read_series(str(tmp_path), {"price_scale": 0.5}, cache=cache)
    assert scaled["SP500"]["close"][0] == pytest.approx(changed["SP500"]["close"][0] / 2)


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    embedded_bars()["SP500"].tail(50).write_csv(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("nothing\n1\n")
    for cache in (None, tmp_path / "cache"):
        frames, failed = read_series(str(tmp_path), {}, cache=cache)
        assert list(frames) == ["a"]
        assert len(failed) == 1
        assert "b.csv" in failed[0]
        with pytest.raises(UserError, match=r"b\.csv"):
            read_series(str(tmp_path / "b.csv"), {}, cache=cache)
    with pytest.raises(UserError, match="called 'a'"):
        read_series([str(tmp_path / "a.csv")] * 2, {})
