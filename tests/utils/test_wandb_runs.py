"""W&B is offline unless it can be online, and never asks."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parfait.utils.errors import UserError
from parfait.utils.tracking import answers, has_key, resolve_mode

CANARY = "c0ffee" * 6 + "abcd"


@pytest.fixture
def server() -> Iterator[str]:
    """A port of this machine that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts no more connections: whoever connects waits."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("explicit", [None, "online", "offline", "disabled"])
@pytest.mark.parametrize("variable", [None, "online", "offline", "disabled", "dryrun"])
@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize("reachable", [True, False])
def test_the_mode(
    server: str, tmp_path: Path, explicit: str, variable: str, key: bool, reachable: bool
) -> None:
    environment = {
        "HOME": str(tmp_path),
        "WANDB_BASE_URL": server if reachable else "http://[::]:1",
    }
    environment |= {"WANDB_API_KEY": CANARY} if key else {}
    environment |= {"WANDB_MODE": variable} if variable else {}
    wanted = explicit or variable
    if wanted == "online" and not key:
        with pytest.raises(UserError, match="WANDB_API_KEY"):
            resolve_mode(explicit, environment)
        return
    expected = {"dryrun": "offline", None: "online" if key and reachable else "offline"}
    assert resolve_mode(explicit, environment) == expected.get(wanted, wanted)


def test_an_unknown_mode_is_a_mistake() -> None:
    with pytest.raises(UserError, match="online, offline, disabled"):
        resolve_mode("sometimes", {})


def test_a_key_may_be_in_the_netrc_file(tmp_path: Path) -> None:
    file = tmp_path / ".netrc"
    file.write_text("machine api.wandb.ai login user password secret\n")
    file.chmod(0o600)
    assert has_key("https://api.wandb.ai", {"HOME": str(tmp_path)})
    assert not has_key("https://elsewhere.example", {"HOME": str(tmp_path)})
    file.write_text("no netrc at all")
    assert not has_key("https://api.wandb.ai", {"HOME": str(tmp_path)})


def test_a_server_that_does_not_answer_costs_two_seconds_at_most(silent: str) -> None:
    start = time.monotonic()
    assert not answers(silent)
    assert time.monotonic() - start < 3


JOBS = """
import sys
from pathlib import Path
from omegaconf import OmegaConf
from parfait.utils.run_guard import run_guard
from parfait.utils.tracking import wandb_logger

for job in range(2):
    cfg = OmegaConf.create({{"output_dir": f"{folder}/{{job}}", "api_key": "{canary}"}})
    try:
        with run_guard(cfg, "train") as place:
            logger = wandb_logger(str(place), group="trial", job_type="train", tags=["a", "b"])
            logger.log_hyperparams({{"model": {{"width": 8 + job}}}})
            logger.log_metrics({{"val/loss": 1.0 + job}}, step=1)
            if job == 1:
                raise ZeroDivisionError("a defect")
    except ZeroDivisionError:
        pass
"""


def test_two_jobs_of_one_process_are_two_offline_runs(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path), "WANDB_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    code = JOBS.format(folder=tmp_path, canary=CANARY)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for job in range(2):
        (log,) = (tmp_path / str(job) / "wandb").glob("offline-run-*/run-*.wandb")
        records = _inspect(log, environment)
        (run,) = [r["run"] for r in records if "run" in r]
        assert (run["run_group"], run["job_type"]) == ("trial", "train")
        assert run["tags"] == ["a", "b"]
        assert run["run_id"] == (tmp_path / str(job) / "wandb_id.txt").read_text().strip()
        text = json.dumps(records)
        assert str(8 + job) in text
        assert "val/loss" in text
        (end,) = [r["exit"] for r in records if "exit" in r]
        assert end.get("exit_code", 0) == job  # the second job failed
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not [p for p in written if CANARY.encode() in p.read_bytes()]


def _inspect(log: Path, environment: dict[str, str]) -> list[dict]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
