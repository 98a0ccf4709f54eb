"""The stage: one command, any number of processes, kills at any time, the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.unet1d import UNet1D
from parfait.stages.simulate import simulate
from parfait.streaming.job import ACCOUNTS, PATHS, TABLES
from parfait.utils import lineage
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir

ROOT = Path(__file__).parents[2]
RESULTS = (*TABLES, ACCOUNTS, "manifest.json", "summary.json", "scenarios.json")
Config = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    net = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16)
    DenoiserModel(net).save(folder / "model")
    return folder


def settings(model: Path, out: Path, *more: str) -> list[str]:
    small = ["n_paths=20", "part_paths=8", "horizon=4", "sampler.steps=1", "stream=true"]
    return [f"run={model}", *small, "workers=1", f"output_dir={out}", *more]


@pytest.fixture
def config(model: Path, tmp_path: Path) -> Config:
    def make(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("simulate", settings(model, tmp_path / "out", *overrides))
        cfg.instruction = "War breaks out"
        return cfg

    return make


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parfait.report.write", lambda simulation, folder, **_: [])


def results(folder: Path) -> dict[str, bytes]:
    files = [f for name in RESULTS for f in (folder / name, *(folder / name).glob("*"))]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


def test_the_folder_and_the_page(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(config())
    out = tmp_path / "out"
    figures = {"report.html", "fan.png", "candles.png"}
    log = {".hydra", "simulate.log", "reading.json", "lineage.json"}
    assert {p.name for p in out.iterdir()} == {*RESULTS, *figures, *log}
    assert len(list((out / PATHS).iterdir())) == 3
    page = (out / "report.html").read_text()
    assert "20 paths of 4 bars" in page
    assert "are of the first 8 paths" in page
    assert "n_paths=20 horizon=4 seed=0 stream=true part_paths=8" in page
    shown = " ".join(capsys.readouterr().out.split())
    assert "20 paths x 4 bars in 3 parts:" in shown


@pytest.mark.usefixtures("no_figures")
def test_the_last_shard_writes_the_summary(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(config("shard=1/2"))
    assert "8 of 20 paths are there (shard 1-of-2)" in " ".join(capsys.readouterr().out.split())
    assert not {f.name for f in (tmp_path / "out").iterdir()} & {"summary.json", "lineage.json"}
    simulate(config("shard=0/2"))
    simulate(config(f"output_dir={tmp_path / 'alone'}"))
    told = [lineage.read(tmp_path / name) or {} for name in ("out", "alone")]
    assert told[0]["outputs"] == told[1]["outputs"]
    assert set(told[0]["outputs"]) == {PATHS, "scenarios.json", "manifest.json"}
    assert results(tmp_path / "out") == results(tmp_path / "alone")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["n_paths"] == 20


@pytest.mark.usefixtures("no_figures")
def test_the_first_part_is_the_run_in_memory(config: Config, tmp_path: Path) -> None:
    simulate(config("n_paths=8"))
    simulate(config("n_paths=8", "stream=false", f"output_dir={tmp_path / 'memory'}"))
    for name in ("paths.parquet", "guides.parquet"):
        part = tmp_path / "out" / name / "000000.parquet"
        assert part.read_bytes() == (tmp_path / "memory" / name).read_bytes()
    for name in ("scenarios.json", "summary.json"):
        kept = json.loads((tmp_path / "out" / name).read_text())
        whole = json.loads((tmp_path / "memory" / name).read_text())
        if isinstance(whole, dict):
            whole["seconds"] = {}
        assert kept == whole


@pytest.mark.usefixtures("no_figures")
def test_what_does_not_fit_on_the_disk_is_refused_before_work(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 5 * 10**9))
    with pytest.raises(UserError, match=r"need about 10\.6 GB, and .* has 5\.0 GB free"):
        simulate(config("n_paths=40000000"))
    assert not (tmp_path / "out" / PATHS).exists()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["n_paths=3000000000"], r"n_paths=3000000000 must be within \[1, 2147483647\]"),
        (["n_paths=0"], r"n_paths=0 must be within"),
        (["part_paths=0"], "part_paths=0 must be at least 1"),
        (["part_paths=3000000", "n_paths=5000000"], "above the 10,000,000"),
        (["workers=0"], "workers=0 must be at least 1"),
        (["shard=2/2"], "shard=2/2 must be i/n"),
        (["stream=false", "shard=0/2"], "shard=0/2 divides streamed runs"),
        (["ticks=roll"], "a streamed run writes no ticks"),
        (["executor=dask"], "executor=dask is unknown"),
    ],
)
def test_mistakes_are_sentences(
    config: Config, tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        simulate(config(*overrides))
    assert not (tmp_path / "out" / PATHS).exists()


def command(model: Path, out: Path, *more: str) -> list[str]:
    sentence = "War breaks out"
    return [sys.executable, str(ROOT / "simulate.py"), sentence, *settings(model, out, *more)]


def begin(*arguments: str) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(arguments, text=True, env=env, start_new_session=True, **pipes)


def end(process: subprocess.Popen[str]) -> str:
    shown, _ = process.communicate(timeout=600)
    assert process.returncode == 0, shown
    return " ".join(shown.split())


NOTED = """
import sys, parfait.streaming.parts as parts
from parfait.cli import main
write, noted = parts._write, open(sys.argv.pop(1), "a", buffering=1)
def writing(folder, job, number, made):
    write(folder, job, number, made)
    noted.write(f"{number}\\n")
parts._write = writing
main("simulate")
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_no_byte(model: Path, tmp_path: Path, workers: int) -> None:
    for name, count in (("one", 1), ("several", workers)):
        end(begin(*command(model, tmp_path / name, f"workers={count}", f"batch_size={count}")))
    assert results(tmp_path / "one") == results(tmp_path / "several")


@pytest.mark.slow
def test_the_same_command_twice_shares_the_work(model: Path, tmp_path: Path) -> None:
    _, _, *rest = command(model, tmp_path / "both", "n_paths=160")
    noted = [tmp_path / "first", tmp_path / "second"]
    twins = [begin(sys.executable, "-c", NOTED, str(file), *rest) for file in noted]
    for process in twins:
        end(process)
    written = [file.read_text().split() for file in noted]
    assert all(written)
    assert sorted(map(int, written[0] + written[1])) == list(range(20))
    end(begin(*command(model, tmp_path / "alone", "n_paths=160")))
    assert results(tmp_path / "both") == results(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_kills_lose_one_part_at_most(model: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    run = command(model, out, "n_paths=240", f"workers={workers}")
    whole: dict[Path, int] = {}
    for parts in (2, 7, 12):
        process = begin(*run)
        while len(list((out / ACCOUNTS).glob("*.json"))) < parts:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for file, written in whole.items():
            assert file.stat().st_mtime_ns == written
        whole = {f: f.stat().st_mtime_ns for f in (out / ACCOUNTS).glob("*.json")}
    end(begin(*run))
    for file, written in whole.items():
        assert file.stat().st_mtime_ns == written
    end(begin(*command(model, tmp_path / "alone", "n_paths=240")))
    assert results(out) == results(tmp_path / "alone")
    assert not [f for f in out.rglob("*") if f.suffix in (".tmp", ".claim")]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_paths(model: Path, tmp_path: Path) -> None:
    """Four times the paths cost their rows of ``outcomes.parquet`` and nothing else."""
    peaks = []
    for n_paths in (2048, 8192):
        out = tmp_path / str(n_paths)
        process = begin(*command(model, out, f"n_paths={n_paths}", "part_paths=512", "horizon=20"))
        assert process.stdout is not None
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(used.ru_maxrss / 1024 * (1 if sys.platform == "linux" else 1 / 1024))
    table = pl.scan_parquet(tmp_path / "8192" / PATHS / "*.parquet")
    assert table.select(pl.len()).collect().item() == 8192 * 20
    assert peaks[1] - peaks[0] < 60  # MB; the tables of 6,144 paths more are 7 MB each, and copied
