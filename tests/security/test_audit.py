"""An audit that did not look is no audit: whatever pip-audit says, and however it fails."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AUDIT = runpy.run_path(str(ROOT / "scripts" / "audit.py"))
WANTED = {"torch", "wandb"}


def looked_up(name: str, *flaws: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": list(flaws)}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": f"Dependency not found and could not be audited: {name}"}


FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "x"}
CASES = [
    ([looked_up("torch"), looked_up("WandB")], 0, "2 packages audited, none is known"),
    ([looked_up("torch", FLAW), looked_up("wandb")], 1, "torch 1.0 is vulnerable: PYSEC-1, mended"),
    ([looked_up("torch", FLAW | {"fix_versions": []}), looked_up("wandb")], 1, "no version yet"),
    ([skipped("torch"), skipped("wandb")], 2, "2 of 2 packages were not audited (torch, wandb)"),
    ([looked_up("torch"), skipped("wandb")], 2, "1 of 2 packages were not audited (wandb)"),
    ([looked_up("torch")], 2, "1 of 2 packages were not audited (wandb)"),
    ([looked_up("torch", FLAW), skipped("wandb")], 1, "1 of 2 packages were not audited"),
    ([], 2, "2 of 2 packages were not audited"),
]


@pytest.mark.parametrize(("found", "code", "sentence"), CASES)
def test_only_what_was_looked_up_counts(found: list[Any], code: int, sentence: str) -> None:
    report = json.dumps({"dependencies": found, "fixes": []})
    # What pip-audit says for all of these but the vulnerable ones.
    got, sentences = AUDIT["verdict"](report, "No known vulnerabilities found", WANTED)
    assert got == code
    assert any(sentence in told for told in sentences)


@pytest.mark.parametrize("report", ["", "Traceback", "[]", '{"other": 1}'])
def test_a_service_that_cannot_be_reached_is_told(report: str) -> None:
    code, (sentence,) = AUDIT["verdict"](report, "INFO: x\nConnectionError: no route\n", WANTED)
    assert code == 2
    assert sentence.endswith("could not be asked: ConnectionError: no route")
    assert AUDIT["verdict"]("", "", WANTED)[0] == 2


@pytest.mark.parametrize("name", ["torch", "wandb"])
def test_the_command_ends_with_the_code_of_the_verdict(tmp_path: Path, name: str) -> None:
    """With a pip-audit that knows torch alone."""
    report = json.dumps({"dependencies": [looked_up("torch")]})
    (tmp_path / "pip_audit.py").write_text(f"print({report!r})")
    (tmp_path / "pins.txt").write_text(f"# a remark\n{name}==1.0\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "audit.py"), str(tmp_path / "pins.txt")],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, bool(done.stderr)) == ((0, False) if name == "torch" else (2, True))


def test_every_pin_is_wanted() -> None:
    text = (ROOT / ".ci" / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(AUDIT["pinned"](text)) == len(lines) > 100
    assert "torch" in AUDIT["pinned"](text)
