"""Files of several machines in one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parfait.utils import files
from parfait.utils.files import HOST, sweep_temporaries, write_files, write_once


def test_only_files_of_dead_processes_of_this_machine_are_swept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = {f".{HOST}~a.parquet.{gone.pid}.tmp", f".a.parquet.{gone.pid}.tmp"}
    others = {f".{HOST}~a.parquet.{os.getpid()}.tmp", f".elsewhere~a.parquet.{gone.pid}.tmp"}
    for name in (*dead, *others, "a.parquet"):
        (tmp_path / name).touch()
    sweep_temporaries(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {*others, "a.parquet"}


def test_a_file_in_the_making_is_one_that_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(Path, "replace", kill)
    monkeypatch.setattr(Path, "unlink", kill)
    with pytest.raises(Killed):
        write_files(tmp_path, {"a.parquet": b"1"})
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"1"
    sweep_temporaries(tmp_path)
    assert left.exists()  # its process, this one, is alive
    monkeypatch.setattr(files, "is_alive", lambda pid: False)
    sweep_temporaries(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize("links", [True, False])
def test_what_is_written_once_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refuse)
    assert write_once(tmp_path, "a", b"first") == b"first"
    assert write_once(tmp_path, "a", b"second") == b"first"
    assert [f.name for f in tmp_path.iterdir()] == ["a"]
