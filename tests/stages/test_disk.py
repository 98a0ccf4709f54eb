"""A disk that fills up, or cannot be written: one sentence, and nothing half written.

On a small file system of its own where one can be mounted; the same laws with a write that fails
hold for ``label`` in its own tests, for checkpoints and for every file below.
"""

import ctypes
import errno
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from parfait.distill import ontology
from parfait.microstructure import module
from parfait.utils import files
from parfait.utils.errors import UnwritableError, UserError
from parfait.utils.paths import conf_dir
from tests.labelling.history import market

STAGES = {
    "label": [
        *("data.path={in}", "data.bars_per_year=252", "labels.n=20", "labels.before=0"),
        "figures=1",
    ],
    "distill": ["n=60", "workers=1", "cache={out}/cache"],
    "train": [
        *("model=unet1d_tiny", "trainer=cpu", "trainer.max_epochs=2", "ckpt_path=auto"),
        *("data.steps_per_epoch=3", "data.batch_size=8", "data.validation_windows=16"),
        *("data.bar_sizes=[1]", "trainer.log_every_n_steps=1"),
    ],
    "simulate": ["instruction=A calm market", "n_paths=4", "horizon=8"],
}
VOLATILE = (".log", ".hydra", ".parts", "summary.json", "report.html", "csv", "checkpoints")
_LIBC = ctypes.CDLL(None, use_errno=True)


def _mount(place: Path, kilobytes: int, flags: int = 0) -> None:
    options = f"size={kilobytes}k".encode()
    if _LIBC.mount(b"tmpfs", bytes(place), b"tmpfs", flags, options):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[..., None]]]:
    """A small file system, and what changes its size or makes it read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        _mount(place, 64)
    except (OSError, AttributeError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    remount, read_only, lazily = 32, 1, 2

    def change(kilobytes: int, readable_only: bool = False) -> None:
        _mount(place, kilobytes, remount | (read_only if readable_only else 0))

    yield place, change
    _LIBC.umount2(bytes(place), lazily)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONSTANT_WINDOWS", 64)
    monkeypatch.setattr(ontology, "PART", 20)


def run(stage: str, data: Path, out: Path) -> None:
    told = [o.replace("{in}", str(data)).replace("{out}", str(out)) for o in STAGES[stage]]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(stage, [*told, f"output_dir={out / 'run'}"])
    getattr(importlib.import_module(f"parfait.stages.{stage}"), stage)(cfg)


def results(out: Path) -> dict[str, bytes]:
    found = {str(f.relative_to(out)): f for f in out.rglob("*") if f.is_file()}
    return {
        name: file.read_bytes()
        for name, file in found.items()
        if name.endswith(".tmp") or not any(part in name for part in VOLATILE)
    }


def used(out: Path) -> int:
    """Kilobytes, in pages as a file system of memory counts them."""
    return sum(4 * -(-f.stat().st_size // 4096) for f in out.rglob("*") if f.is_file())


def few_bars(folder: Path) -> Path:
    folder.mkdir()
    for seed, name in enumerate("AB"):
        market(150, seed).write_csv(folder / f"{name}.csv")
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fills_up_costs_nothing_but_what_did_not_fit(
    stage: str, disk: tuple[Path, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place, change = disk
    data, whole = few_bars(tmp_path / "in"), tmp_path / "whole"
    run(stage, data, whole)
    expected, size = results(whole), used(whole)
    capfd.readouterr()
    for share in (0.1, 0.5, 0.9):
        change(max(int(share * size), 8))
        with pytest.raises(UserError, match="No space left on device"):
            run(stage, data, place)
        assert "Traceback" not in capfd.readouterr().err
        found = results(place)
        assert found.items() <= expected.items()
        assert not [f for f in place.rglob("*") if f.name.endswith((".tmp", ".partial"))]
    change(4 * size)
    run(stage, data, place)
    assert results(place) == expected


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_that_cannot_be_written_is_one_sentence(
    stage: str, disk: tuple[Path, Any], tmp_path: Path
) -> None:
    place, change = disk
    change(64, readable_only=True)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system"):
        run(stage, few_bars(tmp_path / "in"), place)
    assert not list(place.iterdir())


@pytest.mark.parametrize("where", ["open", "write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    files.write_files(tmp_path, {"a": b"old"})

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: Any) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            fail()

    opened = Path.open
    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", fail)
        elif where == "write":
            patch.setattr(Path, "open", lambda path, mode: Full(opened(path, mode)))
        else:
            patch.setattr(Path, where, fail)
        with pytest.raises(UnwritableError, match="cannot be written"):
            files.write_files(tmp_path, {"a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["a"]
    files.write_files(tmp_path, {"a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"
