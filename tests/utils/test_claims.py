"""A claim is one process's; that of a dead one is nobody's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import parfait.utils.claims as claims
from parfait.utils.claims import LEASE, claim
from parfait.utils.files import HOST


def test_one_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "a.claim"
    with claim(file) as mine:
        assert mine
        with claim(file) as second:
            assert not second
        assert file.exists()
    assert not file.exists()
    with claim(file) as again:
        assert again


def test_a_failure_gives_the_claim_up(tmp_path: Path) -> None:
    file = tmp_path / "a.claim"
    with pytest.raises(KeyError), claim(file):
        raise KeyError
    assert not file.exists()


def test_claims_of_the_dead_are_taken_over(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    file = tmp_path / "a.claim"
    for holder, silent, free in (
        (f"{HOST} {gone.pid}", 0.0, True),
        (f"{HOST} {os.getppid()}", 0.0, False),
        (f"{HOST} {os.getppid()}", 2 * LEASE, True),
        ("elsewhere 1", 0.0, False),
        ("elsewhere 1", 2 * LEASE, True),
        ("", 0.0, False),  # taken this moment, not yet signed
    ):
        file.write_text(holder)
        past = file.stat().st_mtime - silent
        os.utime(file, (past, past))
        with claim(file) as mine:
            assert mine == free
        file.unlink(missing_ok=True)


def test_a_claim_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.01)
    file = tmp_path / "a.claim"
    with claim(file):
        os.utime(file, (0, 0))
        deadline = 500
        while file.stat().st_mtime == 0 and deadline:
            claims.time.sleep(0.01)
            deadline -= 1
        assert file.stat().st_mtime > 0
