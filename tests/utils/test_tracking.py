"""One job is one run of every logger, known by its settings, its inputs and its end."""

import base64
import json
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from parfait import __version__
from parfait.utils import lineage, run_config, tracking
from parfait.utils.errors import UserError
from parfait.utils.run_guard import run_guard
from tests.utils.wandb_files import CANARY, leaks, offline, runs

WANDB = {
    "_target_": "parfait.utils.wandb_runs.wandb_logger",
    "folder": "${output_dir}",
    "group": "${name}",
    "job_type": None,
    "tags": "${tags}",
}
CSV = {
    "_target_": "lightning.pytorch.loggers.CSVLogger",
    "save_dir": "${output_dir}",
    "name": "csv",
    "version": None,
}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ENDS: dict[int, BaseException | None] = {
    0: None,
    1: ZeroDivisionError("a defect"),
    2: UserError("a mistake"),
    143: SystemExit(0),  # as Lightning answers a SIGTERM
}


def config(folder: Path, **settings: Any) -> DictConfig:
    given = {"name": "trial", "tags": ["a", "b"], "logger": {"csv": CSV, "wandb": WANDB}}
    secret = {"api_key": CANARY, "nested": {"access_token": {"value": [CANARY]}}}
    return OmegaConf.create(given | secret | {"output_dir": str(folder)} | settings)


def job(cfg: DictConfig, data: Path, end: BaseException | None, staged: bool = False) -> None:
    with run_guard(cfg, "label", staged=staged) as folder:
        tracker = tracking.start(cfg, "label", folder, {"data": data, "absent": None})
        if end is not None:
            raise end
        (folder / "result.txt").write_text("made")
        (folder / "chart.png").write_bytes(PIXEL)
        tracker.report(
            {
                "windows": 3,
                "quality": {"kept": 0.5, "unknown": None, "note": "text", "flag": True},
                "limit": math.inf,
            },
            outputs={"result": folder / "result.txt"},
            tables={"candles": [{"close": 1.0, "at": None}, {"at": [1, 2], "close": 2.0}]},
            figures=[folder / "chart.png"],
        )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    offline(monkeypatch, tmp_path)
    argv = [sys.argv[0], f"api_key={CANARY}", f"+nested={{access_token: {CANARY}}}", "seed=1"]
    monkeypatch.setattr(sys, "argv", argv)
    file = tmp_path / "data.csv"
    file.write_text("1,2,3")
    return file


def test_jobs_of_one_process_are_runs_of_their_own_however_they_end(
    data: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "2026-01-01"
    for number, end in enumerate(ENDS.values()):
        with pytest.raises(type(end)) if end else nullcontext():
            job(config(sweep / str(number), seed=number), data, end)
    found = runs(sweep)
    assert [r["exit"] for r in found] == list(ENDS)
    for number, r in enumerate(found):
        assert (r["run"]["run_group"], r["run"]["job_type"]) == ("trial", "label")
        assert (r["name"], r["tags"]) == (f"2026-01-01/{number}", ["a", "b"])
        assert r["config"]["seed"] == number
        assert r["config"]["inputs"]["data"]["sha256"] == lineage.fingerprint(data)["sha256"]
        assert r["config"]["parfait"] == lineage.describe_code()
        assert r["config"]["parfait"]["version"] == __version__
    assert len({r["run_id"] for r in found}) == 4
    assert found[0]["run_id"] == (sweep / "0" / "wandb_id.txt").read_text().strip()
    assert not (sweep / "2").exists()  # a mistake leaves no folder, but its run is known
    assert not leaks(tmp_path)


def test_what_is_reported_arrives_everywhere(data: Path, tmp_path: Path) -> None:
    job(config(tmp_path / "run"), data, None)
    (found,) = runs(tmp_path)
    numbers = {"windows": 3, "quality/kept": 0.5}
    assert {k: found["summary"][k] for k in numbers} == numbers
    assert not {"quality/unknown", "quality/note", "quality/flag", "limit"} & set(found["summary"])
    assert found["summary"]["tables/candles"]["nrows"] == 2
    media = tmp_path / "wandb" / f"{_folder(tmp_path)}" / "files" / "media"
    (table,) = media.rglob("*.table.json")
    told = json.loads(table.read_text())
    assert (told["columns"], told["data"]) == (["close", "at"], [[1.0, None], [2.0, "[1, 2]"]])
    (image,) = media.rglob("*.png")
    assert image.read_bytes() == PIXEL
    header, row = (tmp_path / "run/csv/version_0/metrics.csv").read_text().splitlines()
    csv = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
    assert csv | numbers == csv
    told = lineage.read(tmp_path / "run")
    assert told is not None
    assert told["artifact"] == {"name": "trial-dataset", "type": "dataset"}
    (artifact,) = [a for a in found["artifacts"] if a["type"] == "dataset"]
    assert artifact["name"] == "trial-dataset"
    assert json.loads(artifact["metadata"])["sha256"] == {
        "result": told["outputs"]["result"]["sha256"]
    }


def _folder(home: Path) -> str:
    (folder,) = (home / "wandb").glob("offline-run-*")
    return folder.name


def test_a_staged_job_that_fails_leaves_its_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        job(config(tmp_path / "run"), data, ZeroDivisionError(), staged=True)
    assert not (tmp_path / "run").exists()
    assert [r["exit"] for r in runs(tmp_path)] == [1]
    job(config(tmp_path / "run"), data, None, staged=True)
    assert [r["name"] for r in runs(tmp_path)] == ["run", "run"]
    assert (tmp_path / "run/csv/version_0/metrics.csv").is_file()


def test_a_continued_job_is_the_same_run_and_parts_are_runs_of_their_own(
    data: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        job(config(tmp_path / "run"), data, None)
    first, second = runs(tmp_path)
    assert first["run_id"] == second["run_id"]
    ids = set()
    for part in ("0-of-2", "1-of-2"):
        cfg = config(tmp_path / "run")
        tracking.start(cfg, "label", tmp_path / "run", {}, part)
        tracking.finish(0)
        ids.add(runs(tmp_path)[-1]["run_id"])
        assert runs(tmp_path)[-1]["name"] == f"run {part}"
    assert len(ids | {first["run_id"]}) == 3


def test_w_and_b_keeps_its_files_where_it_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "kept"))
    job(config(tmp_path / "run"), data, None)
    assert len(runs(tmp_path / "kept")) == 1
    assert not (tmp_path / "wandb").exists()


def test_without_loggers_the_lineage_is_told_all_the_same(data: Path, tmp_path: Path) -> None:
    job(config(tmp_path / "run", logger=None), data, None)
    told = lineage.read(tmp_path / "run")
    assert told is not None
    assert told["inputs"]["data"]["sha256"] == lineage.fingerprint(data)["sha256"]
    assert not (tmp_path / "wandb").exists()


class Online:
    """A W&B run that a server would answer."""

    disabled = offline = False

    def __init__(self) -> None:
        self.used: list[Any] = []
        self.logged: list[Any] = []

    def use_artifact(self, artifact: Any) -> None:
        self.used.append(artifact)

    def log_artifact(self, artifact: Any) -> None:
        self.logged.append(artifact)


def test_online_the_artifact_that_is_used_is_the_one_that_was_logged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Online(), Online()
    for run, made, given in ((first, "a", data), (second, "b", tmp_path / "a")):
        monkeypatch.setattr(tracking.Tracker, "_runs", lambda _, run=run: [run])
        job(config(tmp_path / made, logger=None), given, None)
    (raw,), (used,), (logged,) = first.used, second.used, first.logged
    assert (used.name, used.type, used.digest) == (logged.name, logged.type, logged.digest)
    assert raw.name == "parfait-data"
    assert list(raw.manifest.entries) == ["hashes.json"]  # of a user's data only hashes
    assert list(logged.manifest.entries) == ["hashes.json", "result"]
    monkeypatch.setattr(tracking, "UPLOAD_AT_MOST", 1)
    job(config(tmp_path / "c", logger=None), data, None)
    assert list(second.logged[-1].manifest.entries) == ["hashes.json"]


def test_what_w_and_b_refuses_costs_no_result(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Online()
    monkeypatch.setattr(run, "log_artifact", lambda _: (tmp_path / "absent").stat())
    monkeypatch.setattr(tracking.Tracker, "_runs", lambda _: [run])
    job(config(tmp_path / "run", logger=None), data, None)
    assert "took no artifact" in (tmp_path / "run" / "label.log").read_text()
    assert (tmp_path / "run" / "lineage.json").is_file()


def test_what_hydra_keeps_of_a_sweep_holds_no_secret(tmp_path: Path) -> None:
    task = [f"data.options={{access_token: {CANARY}}}", f"api_key={CANARY}", "seed=1,2"]
    hydra = {"overrides": {"task": task}, "job": {"override_dirname": ",".join(task)}}
    told = {"hydra": hydra, "seed": 1, "nested": {"secrets": [CANARY]}}
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump(told))
    run_config.redact_sweep(tmp_path)
    kept = yaml.safe_load((tmp_path / "multirun.yaml").read_text())
    assert not leaks(tmp_path)
    assert (kept["hydra"]["overrides"]["task"][2], kept["seed"]) == ("seed=1,2", 1)
    (tmp_path / "multirun.yaml").write_text("no: [yaml")
    run_config.redact_sweep(tmp_path)  # not ours: left as it is
