"""Every command a reader may copy is one that Parfait understands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES]
PYTHON = [c for c in COMMANDS if c[0] == "python"]


def test_there_are_commands() -> None:
    assert len(PYTHON) >= 8
    assert {c[0] for c in COMMANDS} <= {"python", "make"}


@pytest.mark.parametrize("command", PYTHON, ids=lambda c: " ".join(c)[:60])
def test_settings_compose(command: list[str], tmp_path: Path) -> None:
    """The configuration of each command composes and resolves, without running it."""
    program, rest = [str(ROOT / command[1])], command[2:]
    if command[1] == "-m":  # python -m parfait STAGE
        program, rest = command[1:4], command[4:]
    arguments = [a for a in rest if a not in ("-m", "--help")]
    if "-m" in rest:  # one job of the sweep
        arguments = [re.sub(r"=([^,]+),.*", r"=\1", a) for a in arguments]
    run = [sys.executable, *program, *arguments, "--cfg", "job", "--resolve"]
    path = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=os.environ | path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "make"])
def test_make_targets_exist(command: list[str]) -> None:
    done = subprocess.run(["make", "-n", *command[1:]], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_pictures_and_pages_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link).exists(), link
