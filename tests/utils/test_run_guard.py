"""A run folder is new or continued, whole or absent, and tells how the run ended."""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from parfait.utils import run_config
from parfait.utils.errors import UserError
from parfait.utils.run_guard import run_guard

CANARY = "c0ffee-canary"
DEAD = 999_999_999  # above every process number


def config(folder: Path, **settings: Any) -> DictConfig:
    return OmegaConf.create(
        {"seed": 0, "text": "costs \\${5}", "output_dir": str(folder)} | settings
    )


def test_results_log_and_configuration_end_up_in_the_folder(tmp_path: Path) -> None:
    with run_guard(config(tmp_path / "run"), "trial") as folder:
        assert folder == tmp_path / "run"
        (folder / "result").touch()
        logging.getLogger("anything").info("a line")
    assert {p.name for p in folder.iterdir()} == {"result", "trial.log", ".hydra"}
    assert "a line" in (folder / "trial.log").read_text()
    stored = run_config.read(folder)
    assert stored is not None
    assert OmegaConf.create(stored).text == "costs ${5}"  # interpolation marks are kept as text


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    cfg = config(tmp_path / "run")
    with run_guard(cfg, "trial") as folder:
        (folder / "result").touch()
    for pid in (DEAD, os.getpid()):
        (folder / f".lineage.json.{pid}.tmp").touch()
    with run_guard(cfg, "trial"):
        left = {file.name for file in folder.glob("*.tmp")}
    assert left == {f".lineage.json.{os.getpid()}.tmp"}  # of this one, which is alive


def fail_after_writing(
    cfg: DictConfig, name: str, error: BaseException, staged: bool = False
) -> None:
    with run_guard(cfg, "t", staged=staged) as folder:
        (folder / name).touch()
        raise error


@pytest.mark.parametrize("error", [RuntimeError("x"), UserError("x"), KeyboardInterrupt()])
def test_a_staged_run_that_fails_leaves_no_folder(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fail_after_writing(config(tmp_path / "run"), "half", error, staged=True)
    assert not list(tmp_path.iterdir())


def test_a_staged_run_replaces_leftovers_and_the_same_run(tmp_path: Path) -> None:
    for content in ("first", "second"):
        leftover = tmp_path / f".run.{DEAD}.partial" / ".hydra"
        leftover.mkdir(parents=True)
        with run_guard(config(tmp_path / "run"), "t", staged=True) as folder:
            assert not leftover.exists()
            (folder / "result").write_text(content)
        assert (tmp_path / "run" / "result").read_text() == content
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_leftovers_of_other_runs_go_after_a_day_unless_they_run(tmp_path: Path) -> None:
    ages = {f".a.{DEAD}.partial": 2, f".b.{DEAD}.partial": 0, f".c.{os.getppid()}.partial": 2}
    for name, days in ages.items():
        (tmp_path / name / ".hydra").mkdir(parents=True)
        then = time.time() - days * 86_400
        os.utime(tmp_path / name, (then, then))
    (tmp_path / f".mine.{DEAD}.partial").mkdir()
    os.utime(tmp_path / f".mine.{DEAD}.partial", (0, 0))
    with run_guard(config(tmp_path / "run"), "t", staged=True):
        pass
    left = {p.name for p in tmp_path.iterdir()} - {"run"}
    assert left == {*list(ages)[1:], f".mine.{DEAD}.partial"}


@pytest.mark.parametrize("text", ["${", "a ${b", "x: ${y:", "1e-4", "恐慌"])
def test_any_text_is_stored_and_read_back(tmp_path: Path, text: str) -> None:
    cfg = OmegaConf.create({"texts": [text.replace("${", "\\${")]})
    run_config.save(cfg, tmp_path)
    stored = run_config.read(tmp_path)
    assert stored is not None
    assert run_config.differences(stored, cfg) == []


def test_another_configuration_is_refused_with_what_differs(tmp_path: Path) -> None:
    with run_guard(config(tmp_path / "run", net={"width": 8}), "t") as folder:
        (folder / "result").touch()
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with (
        pytest.raises(UserError, match=r"\(net\.width: 8 -> 16; seed: 0 -> 1\)"),
        run_guard(config(folder, net={"width": 16}, seed=1), "t"),
    ):
        pytest.fail("the stage ran")
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_what_may_differ_when_a_run_is_continued(tmp_path: Path) -> None:
    old = config(tmp_path / "run", ckpt_path=None, trainer={"max_epochs": 1, "precision": 32})
    new = config(tmp_path, ckpt_path="last", trainer={"max_epochs": 9, "precision": 32})
    assert run_config.differences(OmegaConf.to_container(old), new) == []  # type: ignore[arg-type]
    new.trainer.precision = 16
    assert run_config.differences(OmegaConf.to_container(old), new) == [  # type: ignore[arg-type]
        "trainer.precision: 32 -> 16"
    ]


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").touch()
    for folder, message in [
        ("file", "is a file"),
        ("file/below", "cannot be written"),
        ("other", "is not empty and holds no run"),
    ]:
        for staged in (False, True):
            with (
                pytest.raises(UserError, match=message),
                run_guard(config(tmp_path / folder), "t", staged=staged),
            ):
                pytest.fail("the stage ran")
    assert {p.name for p in tmp_path.rglob("*")} == {"file", "other", "diary.txt"}


def test_jobs_of_a_sweep_may_share_a_folder_beside_the_note_of_hydra(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").touch()
    with run_guard(config(tmp_path), "t", shared=True) as folder:
        assert folder == tmp_path


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No space left"), run_guard(config(tmp_path / "r"), "t"):
        raise OSError(28, os.strerror(28))
    with pytest.raises(FileNotFoundError), run_guard(config(tmp_path / "r"), "t"):
        raise FileNotFoundError(2, "a defect")


def test_a_mistake_keeps_what_a_continued_run_has(tmp_path: Path) -> None:
    with pytest.raises(UserError), run_guard(config(tmp_path / "fresh"), "t"):
        raise UserError("no")
    assert not (tmp_path / "fresh").exists()
    folder = tmp_path / "run"
    with pytest.raises(UserError):
        fail_after_writing(config(folder), "checkpoint", UserError("the loss is gone"))
    assert (folder / "checkpoint").exists()
    assert "the loss is gone" in (folder / "t.log").read_text()


def test_a_failure_is_in_the_log_and_a_signal_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_guard(config(tmp_path / "a"), "t"):
        raise ZeroDivisionError("a defect")
    assert "ZeroDivisionError: a defect" in (tmp_path / "a" / "t.log").read_text()
    with pytest.raises(SystemExit) as end, run_guard(config(tmp_path / "b"), "t"):
        raise SystemExit
    assert end.value.code == 143


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_ends_a_stage_cleanly(
    tmp_path: Path, signum: signal.Signals, code: int, staged: bool
) -> None:
    """Once: what is cleaned up then is not cut short by a second one."""
    before = signal.getsignal(signum)
    cleaned = []
    with (  # noqa: PT012
        pytest.raises(SystemExit) as end,
        run_guard(config(tmp_path / "run"), "t", staged=staged) as folder,
    ):
        (folder / "result").touch()
        try:
            signal.raise_signal(signum)
        finally:
            signal.raise_signal(signum)
            cleaned.append(True)
    assert end.value.code == code
    assert cleaned
    assert signal.getsignal(signum) is before
    assert (tmp_path / "run" / "result").exists() is not staged
    if not staged:
        assert "stopped by a signal" in (tmp_path / "run" / "t.log").read_text()


def test_a_signal_that_somebody_handles_is_left_to_them(tmp_path: Path) -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda signum, frame: noted.append(signum))
    try:
        with run_guard(config(tmp_path / "run"), "t"):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert noted == [signal.SIGUSR1]


def test_logging_is_as_it_was_afterwards(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with run_guard(config(tmp_path / "run"), "t"):
        assert root.level == logging.INFO
    assert (root.level, list(root.handlers)) == before


def test_only_the_main_process_takes_care_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with run_guard(config(tmp_path / "run"), "t") as folder:
        assert not folder.exists()


def test_secrets_stay_out_of_the_folder(tmp_path: Path) -> None:
    cfg = config(tmp_path / "run", service={"api_key": CANARY, "Token": CANARY, "n_tokens": 5})
    with run_guard(cfg, "t") as folder:
        pass
    assert not [p for p in folder.rglob("*") if p.is_file() and CANARY in p.read_text()]
    stored = run_config.read(folder)
    assert stored is not None
    assert stored["service"]["n_tokens"] == 5
    with run_guard(cfg, "t"):
        pass  # the same configuration, although the stored one is redacted
