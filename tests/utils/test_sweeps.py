"""A job of a sweep runs once; a search survives failing trials and goes on where it was."""

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from parfait import cli
from parfait.utils import run_config
from parfait.utils.errors import UserError
from parfait.utils.sweeps import run_once, summarise

Seen = list[DictConfig]
Sweep = Callable[..., tuple[int, Seen]]


def value_of(cfg: DictConfig) -> float:
    """A stage: the seed decides, and leaves its configuration."""
    if cfg.seed == 1:
        raise UserError("seed 1 is out of the question")
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    run_config.save(cfg, folder)
    return math.nan if cfg.seed == 2 else cfg.seed / 2


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sweep:
    """``train.py -m`` in an empty folder, the stage replaced: exit code, configurations seen."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, Seen]:
        seen: Seen = []

        def train(cfg: DictConfig) -> float:
            seen.append(cfg)
            return value_of(cfg)

        monkeypatch.setitem(sys.modules, "parfait.stages.train", SimpleNamespace(train=train))
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main("train")
        return int(end.value.code or 0), seen

    return call


def table(folder: Path) -> list[list[str]]:
    return list(csv.reader((folder / "sweep.csv").read_text().splitlines()))


def test_a_sweep_tells_what_came_out_best_first(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, seen = sweep("seed=4,3,1", "data.horizon=16", "output_dir=x")
    assert (code, [c.seed for c in seen]) == (2, [4, 3, 1])  # a failing job lets the others run
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "error: job 2: seed 1 is out of the question"
    assert err.count("out of the question") == 1
    assert table(tmp_path / "x") == [["job", "value", "seed"], ["1", "1.5", "3"], ["0", "2.0", "4"]]
    assert out.endswith("job  value  seed\n1    1.5    3\n0    2.0    4\nSweep: x/sweep.csv\n")


def test_what_is_done_is_skipped_and_what_is_not_runs(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["hydra.sweep.dir=x", "seed=3,4"]
    assert [c.seed for c in sweep(*again)[1]] == [3, 4]
    # From where a job goes on is no part of its result.
    assert [c.seed for c in sweep("hydra.sweep.dir=x", "seed=3,4,5", "ckpt_path=last")[1]] == [5]
    assert capsys.readouterr().out.count("is done already: skipped") == 2
    # How long a run lasts may change when it is continued, but then it is not done.
    longer = sweep(*again, "trainer.max_epochs=7")[1]
    assert [c.trainer.max_epochs for c in longer] == [7, 7]


def config(folder: Path, **settings: Any) -> DictConfig:
    return OmegaConf.create({"seed": 4, "shard": "0/2", "output_dir": str(folder), **settings})


def fail(cfg: DictConfig) -> float:
    raise UserError("no")


@pytest.mark.parametrize(("changed", "stays"), [({"shard": "1/2"}, False), ({"seed": 5}, True)])
def test_a_job_that_fails_is_no_longer_done_unless_it_is_another(
    tmp_path: Path, changed: dict[str, Any], stays: bool
) -> None:
    """A run may be continued with another shard; another seed is refused and touches nothing."""
    cfg = config(tmp_path / "0")
    assert run_once(value_of, cfg) == 2.0
    with pytest.raises(UserError):
        run_once(fail, config(tmp_path / "0", **changed))
    calls: list[int] = []
    run_once(lambda c: calls.append(c.seed), cfg)
    assert calls == ([] if stays else [4])


@pytest.mark.parametrize("content", ["", "value: 1", "{", "text", "key: 3\nvalue: 1"])
def test_a_broken_mark_is_no_mark(tmp_path: Path, content: str) -> None:
    cfg = config(tmp_path / "0")
    run_once(value_of, cfg)
    (tmp_path / "0" / ".hydra" / "done.yaml").write_text(content)
    summarise(tmp_path)
    calls: list[int] = []
    run_once(lambda c: calls.append(c.seed), cfg)
    assert calls == [4]


def test_nan_is_the_worst_value(tmp_path: Path) -> None:
    for _ in ("run", "stored"):
        assert run_once(value_of, config(tmp_path / "0", seed=2)) == math.inf


def test_no_table_without_jobs(tmp_path: Path) -> None:
    assert summarise(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_search_survives_trials_that_fail_or_are_not_finite(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    code, seen = sweep(
        "hparams_search=default",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=28",  # proposes 1, 4, 2, 3
        "hydra.sweeper.n_trials=4",
        "seed=choice(1,2,3,4)",
        f"hydra.sweeper.storage={storage}",
        "output_dir=x",
    )
    assert (code, sorted(c.seed for c in seen)) == (0, [1, 2, 3, 4])
    results = yaml.safe_load((tmp_path / "x" / "optimization_results.yaml").read_text())
    assert results == {"name": "optuna", "best_params": {"seed": 3}, "best_value": 1.5}
    out, err = capsys.readouterr()
    assert "Best value: 1.5" in out
    assert "seed 1 is out of the question" in err
    assert [row[1] for row in table(tmp_path / "x")] == ["value", "1.5", "2.0", "inf"]
    trials = optuna.load_study(study_name="search", storage=storage).trials
    assert sorted(t.state.name for t in trials) == ["COMPLETE"] * 3 + ["FAIL"]


def test_a_search_in_a_file_goes_on(sweep: Sweep, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    search = ["hparams_search=unet1d_optuna", f"hydra.sweeper.storage={storage}", "seed=3"]
    folders = set()
    for _ in range(2):
        code, seen = sweep(*search, "hydra.sweeper.n_trials=2")
        assert code == 0
        folders |= {Path(c.output_dir).parent for c in seen}
    assert len(folders) == 2  # job numbers start again, so each search has a folder of its own
    trials = optuna.load_study(study_name="search_unet1d", storage=storage).trials
    assert len({tuple(t.params.values()) for t in trials}) == 4


def test_a_search_of_which_nothing_came(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    lost = ["hparams_search=unet1d_optuna", "hydra.sweeper.n_trials=2", "seed=1"]
    assert sweep(*lost)[0] == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: no trial of the search succeeded"
