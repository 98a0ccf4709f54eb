"""Hashes say where results come from, and never vouch for bytes they have not seen."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from parfait import __version__
from parfait.utils import lineage


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_equal_files_have_equal_hashes_wherever_they_lie(tmp_path: Path) -> None:
    a = written(tmp_path / "a", x="1", y="2")
    b = written(tmp_path / "elsewhere" / "b", x="1", y="2")
    (b / ".hidden").write_text("not counted")
    told = lineage.fingerprint(a)
    assert told | {"path": ""} == lineage.fingerprint(str(b)) | {"path": ""}
    assert told["sha256"] == lineage.fingerprint([a / "y", a / "x"])["sha256"]
    assert told["sha256"] == lineage.fingerprint(f"{a}/*")["sha256"]
    assert (told["files"], told["bytes"], told["method"]) == (2, 2, "content")
    for change in ({"x": "1", "y": "3"}, {"x": "1", "z": "2"}, {"x": "1"}):
        other = written(tmp_path / "-".join(change) / str(len(change)), **change)
        assert lineage.fingerprint(other)["sha256"] != told["sha256"]


def test_the_hash_is_that_of_sha256sum(tmp_path: Path) -> None:
    a = written(tmp_path / "a", x="1", y="2")
    one = subprocess.run(["sha256sum", a / "x"], capture_output=True, text=True, check=True)
    assert lineage.fingerprint(a / "x")["sha256"] == one.stdout.split()[0]
    several = subprocess.run(
        "sha256sum * | sort | sha256sum", cwd=a, shell=True, capture_output=True, text=True
    )
    assert lineage.fingerprint(a)["sha256"] == several.stdout.split()[0]


def test_huge_data_are_listed_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "READ_AT_MOST", 3)
    a = written(tmp_path / "a", x="11", y="22")
    monkeypatch.setattr(lineage, "_sha256", lambda *_: pytest.fail("was read"))
    told = lineage.fingerprint(a)
    assert told["method"] == "listing"
    os.utime(a / "x", (1, 1))
    assert lineage.fingerprint(a)["sha256"] != told["sha256"]


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = written(tmp_path / "a", x="1" * 7)
    first = lineage.fingerprint(a)["sha256"]
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("was read again"))
    assert lineage.fingerprint(a)["sha256"] == first
    monkeypatch.undo()
    (a / "x").write_text("2" * 8)
    assert lineage.fingerprint(a)["sha256"] != first


def test_what_is_no_file_has_no_hash(tmp_path: Path) -> None:
    for given in (str(tmp_path / "absent.csv"), "Qwen/Qwen2-0.5B", [], tmp_path):
        assert lineage.fingerprint(given)["sha256"] is None


def test_a_result_names_the_run_that_made_these_bytes_and_no_other(tmp_path: Path) -> None:
    data = written(tmp_path / "data", prices="1,2")
    first = tmp_path / "first"
    model = written(first / "model", weights="w", config="c")
    inputs = {"data": lineage.describe_input(data)}
    lineage.write(first, {"stage": "train", "inputs": inputs}, {"model": model})
    for given in (
        first,
        model,
        str(model),
        [model / "weights", model / "config"],
        model / "config",
    ):
        made_by = lineage.describe_input(given)["made_by"]
        assert made_by["stage"] == "train"
        assert made_by["inputs"]["data"]["sha256"] == lineage.fingerprint(data)["sha256"]
    moved = tmp_path / "moved"
    first.rename(moved)
    assert lineage.describe_input(moved)["made_by"]["folder"] == str(moved)
    (moved / "model" / "weights").write_text("another")
    assert "made_by" not in lineage.describe_input(moved)


def test_of_processes_that_share_a_folder_the_last_tells_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "labels", a="1")
    real, late = lineage.write_files, [True]

    def another_ends(*args: object) -> list[Path]:
        if late.pop() if late else False:
            written(folder, b="2")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(lineage, "write_files", another_ends)
    lineage.write(tmp_path, {}, {"labels": folder})
    told = lineage.read(tmp_path)
    assert told is not None
    assert told["outputs"]["labels"]["files"] == 2


def test_the_code_is_known_by_version_and_commit() -> None:
    told = lineage.describe_code()
    assert told["version"] == __version__
    if lineage.commit() is not None:
        assert len(told["commit"]) == 12
        assert told["dirty"] is (lineage.commit() or "").endswith("+")
