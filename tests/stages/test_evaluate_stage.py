"""A model and data in, every number beside its null out; interruptions and mistakes."""

import html
import json
import os
import re
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

from parfait.evaluation import cells
from parfait.report.evaluation import render_evaluation, write_report
from parfait.report.scores import by_question, cell_text
from parfait.stages.evaluate import evaluate
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.labelling.history import market
from tests.report.pages import faults

ROOT = Path(__file__).parents[2]
TINY = ["suite=smoke", "windows=40", "steps=2", "rows=[bootstrap projected]", "data.horizon=12"]
TINY += ["workers=1"]
QUICK = "questions=[validity,facts,memorisation,c2st]"


def config(out: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("evaluate", [*TINY, f"output_dir={out}", *overrides])


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def without_times(told: dict[str, Any]) -> dict[str, Any]:
    return json.loads(re.sub(r'"cpu_seconds": [^,}]+', '"cpu_seconds": 0', json.dumps(told)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    evaluate(config(folder, QUICK, "logger=csv"))
    return folder


def test_a_run_leaves_numbers_figures_and_a_page(finished: Path) -> None:
    told = read(finished)
    assert told["suite"] == "smoke"
    assert len(told["model"]["sha256"]) == len(told["data"]["sha256"]) == 64
    assert told["data"]["train_end"] == "2014-12-31"
    questions = {s["question"] for s in told["scores"]}
    assert questions == {"validity", "facts", "facts distance", "memorisation", "c2st"}
    for score in told["scores"]:
        assert set(score) >= {"value", "error", "null", "ceiling", "n", "seeds", "cpu_seconds"}
        assert score["value"] is not None or score["note"], score
    valid = [s for s in told["scores"] if s["column"] == "valid bars"]
    assert [s["value"] for s in valid] == [1.0]
    judged = [s for s in told["scores"] if s["question"] == "c2st" and s["null"] is not None]
    assert judged
    assert {"c2st.png", "facts_distance.png"} <= {f.name for f in finished.iterdir()}
    assert not told["settings"].get("password")


def test_every_cell_of_a_table_is_in_the_document_and_on_the_page(finished: Path) -> None:
    told = read(finished)
    stored = {f.stem for f in (finished / "cells").glob("*.json")}
    assert stored == {cell["key"] for cell in told["cells"]}
    page = (finished / "evaluation.html").read_text()
    for rows in by_question(told["scores"]).values():
        for row in rows.values():
            for score in row.values():
                text = cell_text(score)
                assert text.replace("&", "&amp;").replace("<", "&lt;") in page, score
    assert not re.search(r'(?:src|href)\s*=\s*"(?!#|data:)|https?://|<script', page)


def test_loggers_get_every_number(finished: Path) -> None:
    header, row = (finished / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    known = dict(zip(header.split(","), row.split(","), strict=True))
    name = "validity/block_bootstrap_projected_on_guide/valid_bars"
    assert float(known[name]) == 1.0


def test_resumed_equals_uninterrupted(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(finished)
    made: list[str] = []
    real = cells._computed

    def stopping(cell: cells.Cell, key: str) -> dict[str, Any]:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(cell.name)
        return real(cell, key)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "_computed", stopping)
        with pytest.raises(KeyboardInterrupt):
            evaluate(config(tmp_path / "out", QUICK))
    assert not (tmp_path / "out" / "evaluation.json").exists()
    first = list(made)
    made.clear()

    def noted(cell: cells.Cell, key: str) -> dict[str, Any]:
        made.append(cell.name)
        return real(cell, key)

    monkeypatch.setattr(cells, "_computed", noted)
    evaluate(config(tmp_path / "out", QUICK))
    assert first + made == [cell["name"] for cell in whole["cells"]]
    told = read(tmp_path / "out")
    assert without_times(told) == without_times(whole)


def test_a_repeated_run_leaves_the_same_bytes(finished: Path) -> None:
    def files() -> dict[str, bytes]:
        found = [f for f in finished.iterdir() if f.suffix in (".json", ".png", ".html")]
        return {f.name: f.read_bytes() for f in found}

    before = files()
    evaluate(config(finished, QUICK))
    assert files() == before
    with pytest.raises(UserError, match="steps: 2 -> 3"):
        evaluate(config(finished, QUICK, "steps=3"))


def test_names_from_outside_are_escaped_and_missing_numbers_say_why(
    finished: Path, tmp_path: Path
) -> None:
    told = read(finished)
    nasty = '<script>alert("x")</script>$x_1$'
    told["data"]["symbols"] = [nasty]
    told["model"]["run"] = nasty
    told["settings"]["data"]["path"] = nasty
    lost = {**told["scores"][0], "question": nasty, "row": nasty, "column": "all", "value": None}
    told["scores"] += [lost | {"note": f"because of {nasty}"}]
    told["scores"] = [
        s | {"row": nasty} if s["row"].startswith("block") else s for s in told["scores"]
    ]
    cloud = {"requested": [0.0, 1.0], "bars": [0.1, 0.9], "path": [0.0, 1.0]}
    told["extra"] |= {f"control/{nasty}": cloud, f"calibration/{nasty}": {"pit": [1, 2, 3]}}
    write_report(told, tmp_path)
    page = (tmp_path / "evaluation.html").read_text()
    assert {f.stem for f in tmp_path.glob("*.png")} == {
        "c2st",
        "facts_distance",
        "control",
        "calibration",
    }
    assert faults(page) == []
    assert "because of &lt;script&gt;" in page
    assert render_evaluation(told, {}).count("<svg") == 0


def test_own_files_without_volume(tmp_path: Path) -> None:
    """No volume gives reasons, not numbers."""
    market(700).with_columns(volume=pl.lit(0.0)).write_csv(tmp_path / "dead.csv")
    where = [f"data.path={tmp_path / 'dead.csv'}", f"paths.outputs={tmp_path}"]
    evaluate(config(tmp_path / "out", *where, "data.history=20", "questions=[facts]"))
    scores = read(tmp_path / "out")["scores"]
    facts = {
        s["column"]: s for s in scores if (s["question"], s["row"]) == ("facts", "real, held out")
    }
    assert facts["volume_abs"]["value"] is None
    assert facts["volume_abs"]["note"] == "no bar has volume"
    assert facts["std"]["value"] == pytest.approx(1, abs=0.6)
    assert read(tmp_path / "out")["data"]["symbols"] == ["dead"]


def test_the_command_of_readers_names_the_bars_they_were_judged_on(tmp_path: Path) -> None:
    market(400).write_csv(tmp_path / "walk.csv")
    own = [f"data.path={tmp_path / 'walk.csv'}", "data.asset=gold", "data.bars_per_year=250.0"]
    more = [*own, f"paths.outputs={tmp_path}", "questions=[speed]", "rows=null", "steps=null"]
    with pytest.raises(UserError, match="task=semantic has no windows"):
        evaluate(config(tmp_path / "none", "task=semantic", *more))
    evaluate(config(tmp_path / "run", "task=semantic", *more, "windows=null"))
    page = html.unescape((tmp_path / "run" / "evaluation.html").read_text())
    assert " ".join(own) in page
    assert "questions=[speed]" in page


def test_legacy_suite_of_a_file(tmp_path: Path) -> None:
    market(200).write_csv(tmp_path / "one.csv")
    where = [f"data.path={tmp_path / 'one.csv'}", f"paths.outputs={tmp_path}", "suite=legacy"]
    worst = evaluate(config(tmp_path / "out", *where, "rows=[network]"))
    scores = read(tmp_path / "out")["scores"]
    rows = list(dict.fromkeys(s["row"] for s in scores))
    assert rows[:2] == ["real vs real, random halves", "copy of the training set"]
    assert len(rows) == 3
    mine = next(s for s in scores if s["row"] == rows[2] and s["column"] == "DS")
    assert worst == mine["value"] - mine["null"]


@pytest.mark.slow
def test_the_smoke_suite_answers_every_question(tmp_path: Path) -> None:
    assert 0 < evaluate(config(tmp_path / "out", "rows=null", "data.horizon=32", "windows=300")) < 1
    scores = read(tmp_path / "out")["scores"]
    assert {"calibration", "skill", "control", "growth"} <= {s["question"] for s in scores}
    assert {"calibration.png", "control.png"} <= {f.name for f in (tmp_path / "out").iterdir()}
    assert not [s for s in scores if s["column"] == "all"]  # every cell had an answer


@pytest.mark.slow
def test_workers_change_no_number(finished: Path, tmp_path: Path) -> None:
    evaluate(config(tmp_path / "out", QUICK, "workers=2"))
    assert without_times(read(tmp_path / "out")) == without_times(read(finished))


@pytest.mark.slow
def test_weights_and_biases_gets_numbers_table_and_figures(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    out = tmp_path / "out"
    settings = [*TINY, "questions=[facts]", "logger=wandb", "tags=[trial]", f"output_dir={out}"]
    command = [sys.executable, "-m", "parfait", "evaluate", *settings]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    (log,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    text = subprocess.run(inspect, env=environment, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in text.stdout.splitlines() if line.startswith("{")]
    (run,) = [r["run"] for r in records if "run" in r]
    assert (run["run_group"], run["job_type"], run["tags"]) == ("evaluate", "evaluate", ["trial"])
    told = json.dumps(records)
    for name in ("facts/block_bootstrap_projected_on_guide/std", "evaluation", "figures"):
        assert name in told
    assert read(out)["model"]["sha256"] in told


@pytest.mark.slow
def test_a_sweep_has_a_run_for_every_job(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parfait", "evaluate", "-m", *TINY, "questions=[facts]"]
    command += [f"output_dir={tmp_path / 'sweep'}", "every=4,6"]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path, check=True)
    found = [read(tmp_path / "sweep" / name)["settings"]["every"] for name in ("0", "1")]
    assert found == [4, 6]


@pytest.mark.slow
def test_killed_at_any_moment(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "parfait", "evaluate", *TINY, QUICK, f"output_dir={out}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for delay in (0.0, 0.3, 1.0, 2.0):
        process = subprocess.Popen(command, env=environment, cwd=tmp_path)
        while process.poll() is None and not (out / "cells").exists():
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    whole, told = read(finished), read(out)
    whole["settings"], told["settings"] = {}, {}
    assert without_times(told) == without_times(whole)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["task=semantics"], "task=semantics is unknown; use one of microstructure"),
        (["suite=fool"], "suite=fool is unknown; use one of smoke, full, legacy"),
        (["run=nowhere"], "nowhere holds no trained model"),
        (["run="], "'run' is empty"),
        (["every=0"], "every=0"),
        (["windows=3"], "windows=3"),
        (["questions=[why]"], "no question is called 'why'"),
        (["rows=[nothing]"], "no row holds 'nothing'"),
        (["data.path=nowhere.csv"], "nowhere.csv does not exist"),
        (["data.path=short.csv"], "windows of 93 bars, at least 8 are needed"),
        (["data.path=constant.csv"], "moves; give other data"),
        (["data.path=short.csv", "suite=legacy"], "the series has 60 bars, suite=legacy needs 109"),
        (["data.train_end=soon"], "'soon' is not a date"),
        (["data.asset=cheese"], "asset class 'cheese' is unknown"),
        (["data.options=3"], "data.options=3 names no option"),
        (["data.horizn=3"], "data.horizn"),
        (["logger=wandbb"], "it has: csv"),
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

    market(60).write_csv(tmp_path / "short.csv")
    still = market(800).with_columns(
        [pl.lit(5.0).alias(name) for name in ("open", "high", "low", "close")]
    )
    still.write_csv(tmp_path / "constant.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["parfait", "evaluate", *overrides])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1
