"""Nothing outside this machine is touched, by the tests or by any stage."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.network import _refuse, is_loopback

ROOT = Path(__file__).parents[2]
OUTSIDE = ("192.0.2.1", 80)  # of a network that documentation alone may use (RFC 5737)
CONNECT = f"import socket; socket.create_connection({OUTSIDE}, timeout=5)"


def test_the_tests_have_no_network_but_loopback() -> None:
    with pytest.raises(OSError, match=r"unreachable|no network"):
        socket.create_connection(OUTSIDE, timeout=5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a network from its children")
def test_children_of_the_tests_have_none_either() -> None:
    done = subprocess.run([sys.executable, "-c", CONNECT], capture_output=True, text=True)
    assert "unreachable" in done.stderr


def test_where_there_is_no_root_connections_are_refused() -> None:
    for event, arguments in (
        ("socket.connect", (None, OUTSIDE)),
        ("socket.sendto", (None, ("2001:db8::1", 53, 0, 0))),
        ("socket.getaddrinfo", ("example.org", 443, 0, 0, 0)),
    ):
        with pytest.raises(OSError, match="no network"):
            _refuse(event, arguments)
    _refuse("socket.connect", (None, ("127.0.0.1", 80)))
    _refuse("socket.connect", (None, "/run/some.socket"))
    _refuse("socket.getaddrinfo", ("localhost", 80, 0, 0, 0))
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")


STAGES = {
    "label": ["labels.n=60", "figures=1"],
    "distill": ["n=60", "workers=1"],
    "train": ["debug=fdr"],
    "simulate": ["A calm market", "n_paths=8"],
    "evaluate": ["suite=smoke"],
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_runs_without_a_network(stage: str, tmp_path: Path) -> None:
    """In a network that has nothing but loopback, whatever this process has."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("unshare -n needs root")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HF_"))}
    run = [sys.executable, "-m", "parfait", stage, *STAGES[stage], "output_dir=out"]
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up 2> /dev/null; exec "$@"', "sh"]
    done = subprocess.run(
        [*alone, *run],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
