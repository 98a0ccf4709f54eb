"""The command: what it refuses before it serves, and how it ends."""

import builtins
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from parfait.stages.play import is_loopback, known_names, listening, play
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir

ROOT = Path(__file__).parents[2]


def called(folder: Path, *overrides: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("play", [f"output_dir={folder / 'out'}", "open_browser=false", *overrides])
    play(cfg)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("port=70000", "port=70000 must be within"),
        ("n_paths=2000", "n_paths=2000 must be within"),
        ("asset=tulips", "asset class 'tulips' is unknown"),
        ("waiting=-1", "waiting=-1 must be"),
        ("host=256.0.0.1", "cannot be listened on"),
    ],
)
def test_a_setting_out_of_bounds_is_one_sentence(
    override: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        called(tmp_path, override)
    assert not (tmp_path / "out").exists()


def test_histories_are_read_before_the_page_opens(tmp_path: Path) -> None:
    file = tmp_path / "short.csv"
    file.write_text("date,open,high,low,close,volume\n2024-01-02,1,1,1,1,1\n")
    with pytest.raises(UserError, match="at least 2 are needed"):
        called(tmp_path, f"history={file}", "port=0")
    assert not (tmp_path / "out").exists()


def test_a_taken_port_names_the_next_free_one(tmp_path: Path) -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken; port=(\\d+) is free") as told:
            called(tmp_path, f"port={port}")
        free = int(str(told.value).split("port=")[1].split()[0])
        listening("127.0.0.1", free).close()


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "fastapi":
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'pip install "parfait\[app\]"'):
        called(tmp_path)


def test_names_and_loopback() -> None:
    assert known_names("127.0.0.1", []) == {"127.0.0.1", "localhost", "::1"}
    assert "0.0.0.0" not in known_names("0.0.0.0", ["box.local"])
    assert "box.local" in known_names("0.0.0.0", ["box.local"])
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "0.0.0.0")] == [True, True, False]


@pytest.mark.slow
def test_ctrl_c_ends_it_with_a_calm_line(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["play", f"port={port}", "open_browser=false", "output_dir=out"]
    page = subprocess.Popen(
        [sys.executable, "-u", "-m", "parfait", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert page.stdout is not None
    lines = [page.stdout.readline()]
    while "Playground" not in lines[-1] and lines[-1]:
        lines.append(page.stdout.readline())
    assert f"http://127.0.0.1:{port}/" in lines[-1]
    page.send_signal(signal.SIGINT)
    out, err = page.communicate(timeout=120)
    assert (page.returncode, err) == (0, "")
    assert out.strip().endswith("Closed after 0 runs.")
