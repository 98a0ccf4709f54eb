"""What W&B wrote, read back with its own offline viewer."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

CANARY = "c0ffee" * 6 + "abcd"  # as long as a key of W&B


def offline(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """W&B without a network, its caches below ``folder``, and canaries for keys."""
    for name in ("WANDB_DIR", "WANDB_BASE_URL"):
        patch.delenv(name, raising=False)
    patch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        patch.setenv(name, str(folder / "home"))
    patch.setenv("WANDB_API_KEY", CANARY)
    patch.setenv("OPENAI_API_KEY", CANARY)


def inspect(log: Path, *options: str) -> list[dict[str, Any]]:
    """The lines of ``wandb leet inspect --json``, without starting Python again."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", *options]
    place = ["--run-file", str(log), str(log.parents[1])] if log.is_file() else [str(log)]
    done = subprocess.run([*command, *place], capture_output=True, text=True, check=True)
    if options:
        return [json.loads(done.stdout)]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def runs(folder: Path) -> list[dict[str, Any]]:
    """Every run below ``folder/wandb`` in the order of their starts: who it is (``run``), how it
    ended (``exit``), its ``config`` and ``summary``, and ``artifacts`` by name.
    """
    found = []
    for log in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        records = inspect(log)
        (told,) = inspect(log, "--summary")
        (run,) = [r["run"] for r in records if "run" in r]
        artifacts = [r["request"]["log_artifact"]["artifact"] for r in records if _logs(r)]
        artifacts += [r["artifact"] for r in records if "artifact" in r]
        found.append({"run": run, "exit": told["exit_code"], "artifacts": artifacts, **told})
    return sorted(found, key=lambda r: r["start_time"])


def _logs(record: dict[str, Any]) -> bool:
    return "log_artifact" in record.get("request", {})


def leaks(folder: Path, canary: str = CANARY) -> list[Path]:
    """Files that hold the canary."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    return [p for p in files if canary.encode() in p.read_bytes()]
