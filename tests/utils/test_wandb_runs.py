"""W&B is offline unless it can be online, and never asks."""

import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parfait.utils.errors import UserError
from parfait.utils.wandb_runs import answers, has_key, resolve_mode
from tests.utils.wandb_files import CANARY, leaks


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
    if wanted == "online" and not (key and reachable):
        with pytest.raises(UserError, match="does not answer" if key else "WANDB_API_KEY"):
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


# What is set, exit code, what is said, runs that lie there afterwards.
TABLE = {
    "online without a key": ({"WANDB_MODE": "online"}, 2, "WANDB_API_KEY", 0),
    "online without a network": ({"WANDB_MODE": "online", "WANDB_API_KEY": CANARY}, 2, "answer", 0),
    "offline": ({"WANDB_MODE": "offline"}, 0, "", 1),
    "disabled": ({"WANDB_MODE": "disabled"}, 0, "", 0),
    "unset": ({}, 0, "", 1),
    "unset, key without a network": ({"WANDB_API_KEY": CANARY}, 0, "", 1),
}
JOB = """
import sys, time
import lightning.pytorch.loggers, wandb
from omegaconf import OmegaConf
from parfait.utils import tracking
from parfait.utils.errors import UserError
from parfait.utils.run_guard import run_guard

cfg = OmegaConf.create({"output_dir": "run", "name": "trial", "tags": []})
cfg.logger = {"wandb": {"_target_": "parfait.utils.wandb_runs.wandb_logger", "job_type": None}}
cfg.logger.wandb.folder = "${output_dir}"
start = time.monotonic()
try:
    with run_guard(cfg, "label") as folder:
        (folder / "result.txt").touch()
        tracker = tracking.start(cfg, "label", folder, {})
        tracker.report({"windows": 1}, outputs={"result": folder / "result.txt"})
except UserError as error:
    print("error:", error)
    sys.exit(2)
finally:
    print(f"took {time.monotonic() - start:.1f} s")
"""


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("case", TABLE)
def test_no_mode_asks_or_hangs(case: str, terminal: bool, tmp_path: Path) -> None:
    given, code, said, count = TABLE[case]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= {"WANDB_BASE_URL": "http://127.0.0.1:9", **given}  # nobody listens there
    keyboard, screen = pty.openpty()
    shown = screen if terminal else subprocess.PIPE
    job = subprocess.Popen(
        [sys.executable, "-c", JOB],
        cwd=tmp_path,
        env=environment,
        stdin=screen if terminal else subprocess.DEVNULL,
        stdout=shown,
        stderr=subprocess.STDOUT,
    )
    os.close(screen)
    try:
        text = _read(keyboard if terminal else job.stdout.fileno())  # type: ignore[union-attr]
        assert job.wait(timeout=10) == code, text
    finally:
        job.kill()
        os.close(keyboard)
    assert said in text
    stretch = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others use the machine, too
    assert float(text.split("took ")[1].split()[0]) < 30 * stretch, text
    assert not re.search(r"(?i)enter your choice|paste an api key|\(y/n\)|^wandb: \(1\)", text)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == count
    assert CANARY not in text
    assert not leaks(tmp_path)


def _read(source: int, seconds: float = 240.0) -> str:
    """All that is written until the end; a process that waits for an answer fails the test."""
    said, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([source], [], [], 1.0)[0]:
            try:
                more = os.read(source, 65536)
            except OSError:  # a terminal whose other side is closed
                more = b""
            if not more:
                return said.decode()
            said += more
    pytest.fail(f"it waits: {said.decode()[-500:]}")
