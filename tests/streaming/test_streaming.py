"""A run in parts is one table: whoever makes it, however it is cut, whenever it is stopped."""

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest
import torch

import parfait.streaming.parts as parts
from parfait.bars import BAR_FIELDS
from parfait.checks import risk_measures
from parfait.conditions import Imposed
from parfait.correlation import joint_request
from parfait.pipeline import Pipeline
from parfait.plan import Plan
from parfait.sde import load_process
from parfait.simulation import Simulation
from parfait.streaming import Job, finish, part_seed, stream
from parfait.streaming.job import ACCOUNTS, GUIDES, OUTCOMES, PATHS, TABLES
from parfait.streaming.merge import MANIFEST, joint_conditions, joint_warnings
from parfait.tables import check_tables
from parfait.utils.errors import UnwritableError, UserError
from parfait.utils.shards import WHOLE, Shard
from tests.test_pipeline import Scripted, untrained

N, PART, HORIZON = 22, 8, 12
QUIET = {"progress": lambda step, done, total: None}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(
        reader=Scripted(), process=load_process("regime"), microstructure=untrained(0),
        sampler_steps=1,
    )  # fmt: skip


def job_of(pipeline: Pipeline, n_paths: int = N, **other) -> Job:
    sizes = {"horizon": HORIZON, "seed": 3, "guide_every": 4, "jump_sigmas": 3.0, "batch_size": 64}
    asked = dict.fromkeys(("asset", "correlation", "bars_per_year", "history_options"))
    plan = Plan.make(
        pipeline.reader, "x", None, n_paths=PART, **{**asked, **sizes, **other}, **QUIET
    )
    return Job(pipeline, plan, n_paths, PART)


@pytest.fixture(scope="module")
def job(pipeline: Pipeline) -> Job:
    return job_of(pipeline)


def run(folder: Path, job: Job, shard: Shard = WHOLE) -> Simulation | list[int]:
    return finish(folder, job, stream(folder, job, shard, QUIET["progress"]))


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def alone(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    assert isinstance(run(folder, job), Simulation)
    return folder


def table(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / name)


def test_every_part_is_a_run_of_its_own_seed(alone: Path, pipeline: Pipeline) -> None:
    """So the first part is the run in memory of the same seed."""
    sizes = {"horizon": HORIZON, "guide_every": 4}
    for number, size in enumerate((PART, PART, N - 2 * PART)):
        seed = part_seed(3, number)
        assert (seed == 3) == (number == 0)
        made = pipeline.run("x", n_paths=size, seed=seed, **sizes)
        assert isinstance(made, Simulation)
        for name, expected in ((PATHS, made.bars), (GUIDES, made.guides)):
            first = number * PART
            found = table(alone, name).filter(pl.col("path").is_between(first, first + size - 1))
            assert found.with_columns(pl.col("path") - first).equals(expected)


def test_the_folders_are_tables_of_all_paths(alone: Path) -> None:
    for name, rows in ((PATHS, N * HORIZON), (GUIDES, N * HORIZON), (OUTCOMES, N)):
        found = table(alone, name)
        assert found.height == rows
        assert found["path"].unique().sort().to_list() == list(range(N))
    assert table(alone, PATHS)["path"].is_sorted()


def test_shards_in_any_order_and_any_batch_size_leave_the_same_bytes(
    alone: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    job = job_of(pipeline, batch_size=1)
    assert run(tmp_path, job, Shard(1, 2)) == [0, 2]
    assert not (tmp_path / "summary.json").exists()
    assert isinstance(run(tmp_path, job, Shard(0, 2)), Simulation)
    assert content(tmp_path) == content(alone)


def test_a_run_goes_on_where_it_was(
    alone: Path, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is missing, cut, changed or vouched for by nobody is made again, and no more."""
    shutil.copytree(alone, tmp_path, dirs_exist_ok=True)
    (tmp_path / PATHS / "000000.parquet").unlink()
    cut = tmp_path / GUIDES / "000001.parquet"
    cut.write_bytes(cut.read_bytes()[:-1])
    (tmp_path / MANIFEST).unlink()
    for place in (tmp_path, tmp_path / PATHS):  # of a process that was killed while it wrote
        (place / ".fan.png.4194303.tmp").write_bytes(b"half")
    made = []
    write = parts._write

    def noted(folder: Path, job: Job, number: int, simulation: Simulation) -> None:
        made.append(number)
        write(folder, job, number, simulation)

    monkeypatch.setattr(parts, "_write", noted)
    run(tmp_path, job)
    assert (made, content(tmp_path)) == ([0, 1], content(alone))
    flipped = bytearray(cut.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    cut.write_bytes(flipped)
    (tmp_path / ACCOUNTS / "000002.json").write_text("{")
    run(tmp_path, job)
    assert (made, content(tmp_path)) == ([0, 1, 1, 2], content(alone))
    run(tmp_path, job)
    assert made == [0, 1, 1, 2]


def test_parts_of_another_run_are_no_parts(
    alone: Path, job: Job, pipeline: Pipeline, tmp_path: Path
) -> None:
    run(tmp_path, job_of(pipeline, seed=4))
    assert content(tmp_path) != content(alone)
    assert finish(tmp_path, job) == [0, 1, 2]
    run(tmp_path, job)
    assert content(tmp_path) == content(alone)


def test_more_paths_keep_the_whole_parts(pipeline: Pipeline, tmp_path: Path, alone: Path) -> None:
    more = job_of(pipeline, n_paths=2 * PART)
    run(tmp_path, more)
    for name in TABLES:
        for number in ("000000", "000001"):
            file = f"{name}/{number}.parquet"
            assert (tmp_path / file).read_bytes() == (alone / file).read_bytes()
    assert job_of(pipeline).part_key(1) == more.part_key(1)


def test_the_manifest_tells_every_file(alone: Path) -> None:
    told = json.loads((alone / MANIFEST).read_text())
    assert {f["name"] for f in told["files"]} == {
        str(f.relative_to(alone)) for name in TABLES for f in (alone / name).iterdir()
    }
    for entry in told["files"]:
        data = (alone / entry["name"]).read_bytes()
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["rows"] == pl.read_parquet(alone / entry["name"]).height
    assert told["bytes"] == sum(f["bytes"] for f in told["files"])
    assert (told["n_paths"], told["part_paths"], told["seed"]) == (N, PART, 3)


def test_one_part_has_the_summary_of_the_run_in_memory(pipeline: Pipeline, tmp_path: Path) -> None:
    streamed = run(tmp_path, job_of(pipeline, n_paths=PART))
    made = pipeline.run("x", n_paths=PART, horizon=HORIZON, seed=3)
    assert isinstance(made, Simulation)
    assert isinstance(streamed, Simulation)
    assert streamed.summary() == {**made.summary(), "seconds": {}}
    assert streamed.scenarios_table() == made.scenarios_table()
    assert streamed.alignment == made.alignment


def test_the_summary_is_that_of_all_paths(alone: Path, job: Job) -> None:
    """As if all tables had been in memory at once."""
    summary = json.loads((alone / "summary.json").read_text())
    paths, guides = table(alone, PATHS), table(alone, GUIDES)
    close = torch.from_numpy(paths["close"].to_numpy().reshape(N, -1).copy())
    assert summary["risk"] == risk_measures(close, summary["spot"])
    checks = check_tables(paths, guides)
    assert {k: summary["checks"][k] for k in checks} == checks
    assert summary["n_paths"] == N
    made = [job.draw(k) for k in range(job.parts)]
    asked = torch.cat([one.outcomes.variance for one in made]).mean().sqrt()
    assert summary["checks"]["alignment"]["volatility"]["requested"] == pytest.approx(float(asked))
    scenarios = json.loads((alone / "scenarios.json").read_text())
    first = paths.filter(pl.col("step") == 0)["scenario"].to_list()
    assert [s["n_paths"] for s in scenarios] == [first.count(k) for k in range(len(scenarios))]


def test_a_broken_bar_of_any_part_is_counted(alone: Path, job: Job, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path, dirs_exist_ok=True)
    file = tmp_path / ACCOUNTS / "000002.json"
    account = json.loads(file.read_text())
    account["checks"] = {"valid_bars": 0.5, "max_guide_error": 1e-9}
    file.write_text(json.dumps(account))
    found = finish(tmp_path, job)
    assert isinstance(found, Simulation)
    broken = 0.5 * (N - 2 * PART) / N
    assert found.checks == {"valid_bars": pytest.approx(1 - broken), "max_guide_error": 1e-9}


def test_bars_on_disk_are_the_sample_of_the_report(alone: Path, job: Job) -> None:
    made = finish(alone, job)
    assert isinstance(made, Simulation)
    shown = table(alone, PATHS).filter(pl.col("path") < PART)
    assert made.bars.equals(shown)
    assert made.column("close").shape == (PART, HORIZON)
    assert (made.n_paths, made.total_paths) == (PART, N)
    assert set(BAR_FIELDS) <= set(made.bars.columns)


def test_a_full_disk_keeps_what_is_finished(
    alone: Path, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = parts.write_files

    def full(folder: Path, files: dict[str, bytes]) -> list[Path]:
        if "000001.parquet" in files and folder.name == GUIDES:
            raise UnwritableError("the output folder cannot be written (No space left on device)")
        return write(folder, files)

    monkeypatch.setattr(parts, "write_files", full)
    with pytest.raises(UserError, match=r"No space left.*8 of 22 paths are finished and stay"):
        run(tmp_path, job)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.claim"))
    run(tmp_path, job)
    assert content(tmp_path) == content(alone)


def test_a_part_that_another_process_has_in_work_is_left_to_it(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise AssertionError("made twice")

    (tmp_path / ACCOUNTS).mkdir()
    claim = tmp_path / ACCOUNTS / "000000.claim"
    claim.write_text("another-machine 1")
    monkeypatch.setattr(parts, "_write", taken)
    assert parts.make(tmp_path, job, 0) is False
    assert claim.exists()


def test_several_assets_are_refused(pipeline: Pipeline, job: Job) -> None:
    joint = joint_request(0.5, [replace(job.plan.pasts[0], symbol=s) for s in "AB"])
    with pytest.raises(UserError, match="one asset"):
        Job(pipeline, replace(job.plan, joint=joint), N, PART)


def test_warnings_that_differ_in_numbers_are_said_once() -> None:
    said = joint_warnings([["a", "crash: 5 of 80 strange"], ["a", "crash: 11 of 90 strange", "b"]])
    assert said == [
        "a",
        "crash: 5 of 80 strange (So or alike in 2 of 2 parts.)",
        "b (So or alike in 1 of 2 parts.)",
    ]


def test_conditions_add_up() -> None:
    one = Imposed(0, "crash", "price", -0.3, 10, "conditional", 12.0, None, 1000, "falls 30 %")
    rare = Imposed(1, "calm", "price", 0.1, 10, "rejection", None, 0.1, 100, "")
    both = joint_conditions(
        [
            [asdict(one), asdict(rare)],
            [asdict(replace(one, ess=8.0)), asdict(replace(rare, acceptance=0.4, drawn=200))],
        ]
    )
    assert both == [
        replace(one, ess=20.0, drawn=2000),
        replace(rare, acceptance=pytest.approx(0.3), drawn=300),
    ]
