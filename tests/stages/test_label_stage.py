"""Files in, labels out: shards, interruptions, repetitions and mistakes."""

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import parfait.labelling.store as store
from parfait.data import conversion
from parfait.labelling import Rolling, label_symbol
from parfait.stages.label import label
from parfait.utils import files
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.labelling.history import market

ROOT = Path(__file__).parents[2]
SMALL = ["labels.n=20", "labels.before=0", "figures=0", "data.bars_per_year=252"]
NAMES = ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three files of one symbol each, one of three symbols, one that is broken, one too short."""
    folder = tmp_path / "in"
    folder.mkdir()
    frames = {name: market(150, seed, gap_after=70) for seed, name in enumerate(NAMES)}
    frames["AAA"].write_csv(folder / "AAA.csv")
    frames["BBB"].write_parquet(folder / "BBB.parquet")
    with gzip.open(folder / "CCC.csv.gz", "wb") as file:
        frames["CCC"].write_csv(file)
    long = [frames[name].with_columns(symbol=pl.lit(name)) for name in NAMES[3:]]
    pl.concat(long).write_csv(folder / "long.csv")
    (folder / "broken.csv").write_text("a,b\n1,2\n")
    market(12).write_csv(folder / "short.csv")
    return folder


def config(data: Path | str, out: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("label", [f"data.path={data}", f"output_dir={out}", *SMALL, *overrides])


def results(folder: Path) -> dict[str, bytes]:
    """Everything but the log, the configuration and the bookkeeping of the conversion."""
    found = {f.relative_to(folder): f for f in folder.rglob("*") if f.is_file()}
    return {
        str(name): file.read_bytes()
        for name, file in found.items()
        if file.suffix != ".log" and name.parts[0] != ".hydra" and ".parts" not in str(name)
    }


def test_a_run_leaves_labels_accounts_and_a_list_of_problems(data: Path, tmp_path: Path) -> None:
    label(config(data, tmp_path / "out", "figures=1"))
    out = tmp_path / "out"
    assert sorted(f.stem for f in (out / "labels").glob("*.parquet")) == NAMES
    frame = pl.read_parquet(out / "labels" / "AAA.parquet")
    assert frame["segment"].unique().to_list() == [0, 1]
    settings = Rolling((20,), before=0, bars_per_year=252.0)
    assert frame.equals(label_symbol(market(150, gap_after=70), "AAA", settings).frame)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["symbols"] == 6
    assert summary["windows"] == 6 * frame.height
    assert summary["symbols_without_window"] == ["short"]
    assert list(summary["failed"]) == [str(data / "broken.csv")]
    quality = (out / "quality.txt").read_text()
    assert "broken" in quality
    assert "gaps of over 5 sessions" in quality
    assert "NO WINDOW" in quality
    assert [f.name for f in (out / "figures").iterdir()] == ["AAA.png"]


@pytest.mark.parametrize("count", [2, 4])
def test_shards_of_one_folder_leave_what_one_run_leaves(
    data: Path, tmp_path: Path, count: int
) -> None:
    label(config(data, tmp_path / "whole"))
    for i in reversed(range(count)):
        label(config(data, tmp_path / "parts", f"shard={i}/{count}"))
    whole, parts = results(tmp_path / "whole"), results(tmp_path / "parts")
    whole.pop("bars/summary.txt")  # of a single process
    assert parts == whole


def test_a_shard_reads_no_file_that_is_not_its_own(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    clean = conversion.clean_series

    def noted(path: Path, *arguments: Any):
        read.append(path.name)
        return clean(path, *arguments)

    monkeypatch.setattr(conversion, "clean_series", noted)
    for i in range(3):
        label(config(data, tmp_path / str(i), f"shard={i}/3"))
    alone = ["AAA.csv", "BBB.parquet", "CCC.csv.gz", "broken.csv", "short.csv"]
    assert sorted(name for name in read if name != "long.csv") == alone
    assert read.count("long.csv") == 3


def test_what_a_killed_process_was_writing_is_swept_everywhere(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    label(config(data, out, "figures=1"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    places = {file.parent for file in out.rglob("*.*") if ".hydra" not in str(file.parent)}
    assert {p.name for p in places} >= {"out", "bars", "labels", "failed", "figures"}
    assert any(p.parent.name == ".parts" for p in places)
    for place in places:
        (place / f".x.json.{gone.pid}.tmp").write_text("{")
        (place / f".x.json.{os.getpid()}.tmp").write_text("{")  # of a shard that is at work
    label(config(data, out, "figures=1"))
    assert not list(out.rglob(f"*.{gone.pid}.tmp"))
    assert {file.parent for file in out.rglob(f"*.{os.getpid()}.tmp")} == places


@pytest.mark.parametrize("writes", [0, 3, 4, 9, 14, 17])
def test_a_full_disk_is_told_in_a_sentence_and_blamed_on_no_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    label(config(data, tmp_path / "whole"))
    write, left = files._write_file, [writes]

    def until_full(path: Path, content: bytes) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_file", until_full)
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
            label(config(data, out))
    assert left[0] == -1  # nothing was tried after it
    earlier, whole = results(out), results(tmp_path / "whole")
    assert earlier.items() <= whole.items()
    label(config(data, out))
    assert results(out) == whole


def test_a_repeated_run_makes_nothing_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(config(data, tmp_path / "out"))
    before = results(tmp_path / "out")
    made = []

    def count(frame: pl.DataFrame, symbol: str, settings: Rolling):
        made.append(symbol)
        return label_symbol(frame, symbol, settings)

    monkeypatch.setattr(store, "label_symbol", count)
    label(config(data, tmp_path / "out"))
    assert not made
    assert results(tmp_path / "out") == before
    text = (data / "AAA.csv").read_text()
    (data / "AAA.csv").write_text(text[:-4] + ("1" if text[-4] != "1" else "2") + text[-3:])
    (data / "CCC.csv.gz").unlink()
    (tmp_path / "out" / "labels" / "EEE.parquet").write_bytes(b"torn")
    label(config(data, tmp_path / "out"))
    assert made == ["AAA", "EEE"]
    after = results(tmp_path / "out")
    assert after["labels/AAA.json"] != before["labels/AAA.json"]
    assert after["labels/EEE.parquet"] == before["labels/EEE.parquet"]
    assert not any("CCC" in name for name in after if name.startswith("labels"))
    with pytest.raises(UserError, match=r"labels\.stride: 20 -> 10"):
        label(config(data, tmp_path / "out", "labels.stride=10"))
    made.clear()
    monkeypatch.setattr(store, "code_key", lambda: "other code")
    label(config(data, tmp_path / "out"))
    assert made == ["AAA", "BBB", "DDD", "EEE", "FFF", "short"]


@pytest.mark.parametrize("writes", [1, 9, 15, 16, 19, 24])
def test_an_interrupted_run_continues_to_the_same_bytes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Torn inside the nth write of a file, as a kill does: the temporary file stays behind."""
    label(config(data, tmp_path / "whole"))
    seen = 0
    real = files._write_file

    def torn(path: Path, content: bytes) -> Path:
        nonlocal seen
        seen += 1
        if seen == writes:
            path.with_name(f".{path.name}.999999999.tmp").write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        return real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_file", torn)
        with pytest.raises(KeyboardInterrupt):
            label(config(data, tmp_path / "out"))
    label(config(data, tmp_path / "out"))
    assert results(tmp_path / "out") == results(tmp_path / "whole")


@pytest.mark.slow
def test_killed_at_any_moment(data: Path, tmp_path: Path) -> None:
    label(config(data, tmp_path / "whole"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "parfait", "label", f"data.path={data}", f"output_dir={out}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for delay in (0.0, 0.02, 0.05, 0.1, 0.15):
        process = subprocess.Popen([*command, *SMALL], env=environment, cwd=tmp_path)
        while process.poll() is None and not (out / "bars").exists():
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, *SMALL], env=environment, cwd=tmp_path, check=True)
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data.path=nowhere.csv"], "nowhere.csv does not exist"),
        (["shard=3/3"], "shard=3/3 must be i/n"),
        (["shard=half"], "shard=half must be i/n"),
        (["labels.n=many"], "labels.n=many must be a whole number"),
        (["labels.n=[20,20]"], "labels.n="),
        (["labels.stride=0"], "labels.stride=0"),
        (["labels.method=magic"], "labels.method='magic'"),
        (["data.bars_per_year=-1"], "bars_per_year=-1"),
        (["data.options.prize_scale=2"], "load_bars has no option 'prize_scale'"),
        (["data.options.max_gap=2"], "data.options.max_gap is data.max_gap here"),
        (["data.options=3"], "data.options=3 names no option"),
        (["data.path=true"], "data.path=True names no file"),
        (["data.train_end=soon"], "'soon' is not a date"),
        (["figures=-1"], "figures=-1"),
        (["labels.lenght=3"], "labels.lenght"),
        (["data.path=short.csv", "labels.n=60"], "no symbol has 81 bars in a row"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    expected: str,
) -> None:
    from parfait import cli

    market(12).write_csv(tmp_path / "short.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["parfait", "label", *overrides])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1
