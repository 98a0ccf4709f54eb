"""Entry points: start-up, dispatch, exit codes, messages."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from parfait import cli
from parfait.utils.errors import UserError

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "transformers", "wandb", "polars", "matplotlib", "scipy", "rich")
START = """
import sys, time
from parfait.cli import main
sys.argv = ["{stage}.py", {arguments}]
try:
    main("{stage}")
except SystemExit as end:
    code = end.code
loaded = [name for name in {heavy} if name in sys.modules]
print("RESULT", code, round(time.process_time(), 2), ",".join(loaded), file=sys.stderr)
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call an entry point in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(stage: str | None, *arguments: str) -> tuple[int, str, str]:
        program = f"{stage}.py" if stage else "parfait"
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main(stage)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> list[DictConfig]:
    """Replace ``simulate`` by a recorder of its configurations."""
    import parfait.stages.simulate as module

    seen: list[DictConfig] = []
    monkeypatch.setattr(module, "simulate", seen.append)
    return seen


@pytest.mark.parametrize("stage", sorted(cli.STAGES))
@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]], ids=["help", "cfg"])
def test_help_and_configuration_answer_at_once(stage: str, arguments: list[str]) -> None:
    code = START.format(stage=stage, arguments=str(arguments)[1:-1], heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    _, exit_code, seconds, loaded = done.stderr.splitlines()[-1].split(" ")
    assert (exit_code, loaded) == ("0", "")
    assert float(seconds) <= 1.0  # of processor time, so that a busy machine does not decide
    assert "output_dir: ${paths.outputs}" in done.stdout


def test_help_shows_groups_and_the_settings_that_are_asked_for(run: Run) -> None:
    code, out, err = run("simulate", "n_paths=7", "-h", "sde=bates")
    assert (code, err) == (0, "")
    assert "sde: bates, fgbm" in out
    assert "n_paths: 7" in out
    assert "hydra" not in out
    assert out.index("== Groups ==") < out.index("== Settings ==") < out.index("-m runs one job")
    code, out, err = run("simulate", "--help", "n_path=7")
    assert (code, out) == (2, "")
    assert "nearest: n_paths" in err


def test_stages_are_listed(run: Run) -> None:
    code, out, _ = run(None, "--help")
    assert code == 0
    assert all(name in out for name in cli.STAGES)
    assert run(None)[0] == 2


def test_every_stage_exists() -> None:
    import importlib

    for name in cli.STAGES:
        assert callable(getattr(importlib.import_module(f"parfait.stages.{name}"), name))


def test_an_unknown_stage_is_named(run: Run) -> None:
    code, _, err = run(None, "trian")
    assert code == 2
    named = "stages: label, distill, train, merge, simulate, export, play, evaluate\n"
    assert err == f"error: unknown stage 'trian'; did you mean 'train'? {named}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["n_path=10"], "nearest: n_paths"),
        (["sde.guide.evry=2"], "nearest: sde.guide.every"),
        (["sde=bate"], "it has: bates"),
        (["sdee=bates"], "nearest: sde"),
        (["~nothing"], "unknown setting 'nothing'"),
        (["+n_paths=3"], "already at 'n_paths'"),
        (["n_paths=[1"], "cannot read the setting n_paths=[1"),
        (["n_paths=1,2"], "--multirun"),
        (["n_paths=many", "A calm market"], "'n_paths' cannot be 'many'; give a whole number"),
        (["n_paths=3", "caf\udce9"], "argument 2 is not UTF-8"),
        (["A calm market", "run=nowhere"], "nowhere"),
        (["+colour=red", "A calm market"], "unknown setting 'colour'"),
        (["--foo"], "unknown option '--foo'"),
        (["sampler.name=???", "A calm market"], "'sampler.name' has no value"),
        (["--config-name", "nothing"], "no configuration 'nothing'"),
        (["instruction=???"], "no instruction"),
        (["scenarios=absent.json", "A calm market"], "give one of them"),
        (["scenarios=absent.json"], "scenarios=absent.json cannot be read: No such file"),
        (["launcher=joblib", "A calm market"], "launcher=joblib is for sweeps; add -m"),
        (["launcher=joblb", "A calm market"], "launcher has no option 'joblb'; it has: joblib"),
        (["-m", "launcher=joblib", "hydra.launcher.n_job=2"], "nearest: hydra.launcher.n_jobs"),
        (["-m", "launcher=joblib", "hydra.launcher.n_jobs=all"], "give a whole number"),
        (["-m", "sde.guide.evry=1,2"], "nearest: sde.guide.every"),
        (["-m", "sde=bates,hestn"], "sde has no option 'hestn'"),
        (["-m", "sampler.stps=1,2"], "nearest: sampler.steps"),
        (["hydra.sweep.dirr=x"], "nearest: hydra.sweep.dir"),
        (["hparams_search=default"], "unknown setting 'hparams_search'"),
        (["experiment=embedded", "A calm market"], "belongs to 'python -m parfait train'"),
        (["experiment=stres", "A calm market"], "it has: stress, ticks"),
        ([""], "the instruction is empty"),
        ([], "no instruction"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    run: Run, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    code, out, err = run("simulate", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())  # nothing was written


@pytest.mark.parametrize("launcher", ["joblib", "submitit", "slurm", "ray"])
def test_a_launcher_that_is_not_installed(
    run: Run, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    """Its plugin registers a configuration, which is taken away here."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()
    known: dict[str, object] = ConfigStore.instance().repo["hydra"]["launcher"]
    kept = {name: node for name, node in known.items() if name == "basic.yaml"}
    monkeypatch.setitem(ConfigStore.instance().repo["hydra"], "launcher", kept)
    code, out, err = run("simulate", "-m", "A calm market", f"launcher={launcher}")
    assert (code, out) == (2, "")
    extra = "ray" if launcher == "ray" else "sweep"
    assert err.endswith(f"is not installed; pip install 'parfait[{extra}]'\n")
    assert err.count("\n") == 1


def test_help_lists_what_the_stage_can_choose(run: Run) -> None:
    code, out, _ = run("label", "--help")
    assert code == 0
    assert "experiment: rolling\n" in out
    assert "launcher: joblib, local, ray, slurm, submitit\n" in out
    assert not any(f"\n{group}:" in out for group in ("sde", "model", "wandb_sweep", "hydra"))
    assert run("label", "--help", "labels.stride=7")[1].count("stride: 7") == 1


def test_words_of_others_do_not_steer_the_terminal(run: Run) -> None:
    for setting in ("run=\x1b[2Jno\u202ewhere\x07", "run='\x1b[2Jno\u202ewhere\x07'"):
        code, _, err = run("simulate", "A calm market", setting)
        assert code == 2
        assert "[2Jno where" in err
        assert err.removesuffix("\n").isprintable()


def test_standard_input_that_is_no_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for errors in ("strict", "surrogateescape"):
        stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8", errors=errors)
        monkeypatch.setattr(sys, "stdin", stdin)
        code, _, err = run("simulate", "-")
        assert code == 2
        assert err == "error: standard input is not UTF-8 text; convert it to UTF-8 first\n"


def test_a_folder_that_was_there_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    assert run("simulate", "")[0] == 2
    assert [p.name for p in tmp_path.rglob("*")] == ["outputs"]


def test_half_an_interpolation_is_a_sentence_too(run: Run, tmp_path: Path) -> None:
    code, _, err = run("simulate", "${", "run=nowhere", "output_dir=x")
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert err.startswith("error: nowhere holds no trained model")


def test_the_traceback_of_a_mistake_is_shown_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for arguments in (["n_path=10"], [""]):
        code, _, err = run("simulate", *arguments)
        assert code == 2
        assert "Traceback" in err
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


def test_an_output_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run("simulate", "A calm market", "output_dir=file/below")
    assert code == 2
    assert "output_dir=" in err
    assert err.count("\n") == 1


def test_the_sentence_arrives_unchanged(run: Run, stage: list[DictConfig]) -> None:
    text = "Gold, \"up\" = ${HOME} {5%}, it's 'over'\n🚀 黄金"
    assert run("simulate", "n_paths=7", text, "output_dir=x")[0] == 0
    assert (stage[0].instruction, stage[0].n_paths) == (text, 7)
    assert Path(stage[0].output_dir).name == "x"


def test_a_sweep_runs_every_job_in_its_own_folder(run: Run, stage: list[DictConfig]) -> None:
    text = "One, two, 'three'"
    code, out, _ = run("simulate", "-m", text, "seed=1,2", "output_dir=x")
    assert code == 0, out
    assert [c.seed for c in stage] == [1, 2]
    assert {c.instruction for c in stage} == {text}
    assert [Path(c.output_dir).parts[-2:] for c in stage] == [("x", "0"), ("x", "1")]


def test_default_folders_differ_between_runs(run: Run, stage: list[DictConfig]) -> None:
    for _ in range(2):
        assert run("simulate", "A calm market")[0] == 0
    first, second = (Path(c.output_dir) for c in stage)
    assert first != second
    assert first.parts[-3:-1] == ("outputs", "simulate")


def test_a_mistake_in_one_job_of_a_sweep_lets_the_others_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import parfait.stages.simulate as module

    seen = []

    def fail_first(cfg: DictConfig) -> None:
        seen.append(cfg.seed)
        if cfg.seed == 1:
            raise UserError("seed 1 is out of the question")

    monkeypatch.setattr(module, "simulate", fail_first)
    code, _, err = run("simulate", "-m", "A calm market", "seed=1,2")
    assert (code, seen) == (2, [1, 2])
    assert err.startswith("error: job 0: seed 1 is out of the question\n")
    assert err.count("out of the question") == 1


def test_a_failure_is_logged_with_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import parfait.stages.simulate as module

    def fail(cfg: DictConfig) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(module, "simulate", fail)
    for sweep in ([], ["-m"]):
        code, _, err = run("simulate", "A calm market", *sweep)
        assert code == 1
        assert "ZeroDivisionError: a defect" in err


def test_the_process_gets_its_arguments_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import parfait.stages.simulate as module

    seen: list[list[str]] = []

    def look(cfg: DictConfig) -> None:
        seen.append([*sys.argv, os.environ.get("HYDRA_FULL_ERROR", "unset")])

    monkeypatch.setattr(module, "simulate", look)
    run("simulate", "It's calm", "n_paths=3")
    assert seen == [["simulate.py", "It's calm", "n_paths=3", "unset"]]


@pytest.mark.parametrize("program", [["simulate.py"], ["-m", "parfait", "simulate"]])
def test_real_processes(program: list[str], tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = [str(ROOT / program[0])] if program[0].endswith(".py") else program
    done = subprocess.run(
        [sys.executable, *script, "-"],
        input="  \n",
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "error: the instruction is empty; describe the market in a sentence\n",
    )
    assert not list(tmp_path.rglob("*.*"))
