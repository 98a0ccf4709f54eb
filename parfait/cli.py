"""Entry points. Only Hydra is imported here, and late, so that ``--help`` answers at once.

Exit codes: 0 done; 1 failure (logged with its traceback); 2 a mistake of the user (one sentence
on stderr, the traceback only with ``HYDRA_FULL_ERROR=1``).
"""

from __future__ import annotations

import difflib
import importlib
import io
import itertools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from parfait.utils.argv import rewrite
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir, experiment_stage, stage_groups, top_level_keys
from parfait.utils.printable import printable

if TYPE_CHECKING:
    from omegaconf import DictConfig

STAGES = {
    "label": "label price bars: what regime each stretch of them was",
    "distill": "let a teacher write examples for a semantic model",
    "train": "train a model on price bars",
    "merge": "merge a trained adapter into its language model",
    "simulate": "turn a sentence about a market into OHLCV bars that obey it",
    "export": "write simulated bars as files that other tools read: csv, lean, zipline",
    "play": "a page in the browser: sentences, scenarios to change, paths to compare",
    "evaluate": "judge generated bars: do they hold against nulls and rivals",
}
_TRACE = "HYDRA_FULL_ERROR"
_HELP = {"--help", "-h"}
_HELP_TEXT = """\
{stage}: settings are given as key=value; group=option selects a file of a group.

== Groups ==
{groups}

== Settings ==
{settings}
-m runs one job per combination of comma-separated values; --cfg job shows the configuration \
without running."""


def main(stage: str | None = None) -> NoReturn:
    """Run ``stage``, or the one that the first argument names, with the process's arguments."""
    trace = os.environ.get(_TRACE) == "1"
    try:
        command = _command(stage)
        arguments = sys.argv[1:]
        for number, argument in enumerate(arguments, 1):
            _check_text(argument, f"argument {number}")
        if stage is None:
            stage, arguments = _choose_stage(arguments)
            command = f"{command} {stage}"
        sys.exit(_run(stage, arguments, command))
    except UserError as error:
        _report(error, trace)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(stage: str, arguments: list[str], command: str) -> int:
    """Compose the configuration and run the stage; return the exit code."""
    rewritten = rewrite(
        arguments,
        known_keys=top_level_keys(stage),
        command=command,
        read_stdin=_read_stdin,
    )
    _check_experiment(stage, rewritten)
    import hydra

    absent = _absent_parents(stage, rewritten)
    called = {"argv": sys.argv, "trace": os.environ.get(_TRACE)}
    # With this variable Hydra raises its own errors instead of printing them and exiting with 1.
    os.environ[_TRACE] = "1"
    helps = not _HELP.isdisjoint(rewritten)
    shown = ["--cfg", "job"] if helps else []
    sys.argv = [sys.argv[0], *shown, *(a for a in rewritten if a not in _HELP)]
    _CALLED.update(called)
    try:
        entry = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=stage)
        if helps:
            _show_help(stage, entry(run_job))
        else:
            entry(run_job)()
    except UserError as error:  # from one job of a sweep; the others have run
        _report(error, called["trace"] == "1")
        return 2
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from parfait.utils.config_errors import explain

        sentence = explain(error, stage, rewritten)
        if sentence is None:
            if not vars(error).get("logged"):
                traceback.print_exc()
            return 1
        if called["trace"] == "1":
            traceback.print_exc()
        print(f"error: {printable(sentence)}", file=sys.stderr)
        return 2
    finally:
        _tell_sweep()
        _CALLED.clear()
        _set_process(called)
        for folder in absent:  # Hydra made them; without a result they are nobody's
            with suppress(OSError):
                folder.rmdir()
    return 0


def _show_help(stage: str, show_settings: Callable[[], object]) -> None:
    """Groups and settings. Hydra's own help reads every file of every group of every plugin twice,
    for a second.
    """
    settings = io.StringIO()
    with redirect_stdout(settings):
        show_settings()
    groups = sorted(f"{k}: {', '.join(v)}" for k, v in stage_groups(stage).items())
    print(_HELP_TEXT.format(stage=stage, groups="\n".join(groups), settings=settings.getvalue()))


def _check_experiment(stage: str, arguments: list[str]) -> None:
    """``UserError`` for an experiment of another stage."""
    for argument in arguments:
        name = argument.removeprefix("experiment=")
        other = experiment_stage(name) if name != argument else None
        if other not in (None, stage):
            known = ", ".join(stage_groups(stage).get("experiment", [])) or "none"
            raise UserError(
                f"experiment={name} belongs to 'python -m parfait {other}'; those of {stage}: "
                f"{known}"
            )


def _tell_sweep() -> None:
    """After a sweep, its finished jobs, best first; where nothing came out, nothing is left."""
    sweeps = sys.modules.get("parfait.utils.sweeps")
    if sweeps is None or sweeps.Summary.folder is None:
        return
    folder, sweeps.Summary.folder = sweeps.Summary.folder, None
    with suppress(UserError, OSError):
        if table := sweeps.summarise(folder):
            print(f"{table}\nSweep: {folder / sweeps.TABLE}")
        elif [file.name for file in folder.iterdir()] == ["multirun.yaml"]:  # Hydra's
            (folder / "multirun.yaml").unlink()
            folder.rmdir()


def _read_stdin() -> str:
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UserError(_NO_TEXT.format(where="standard input")) from error
    _check_text(text, "standard input")
    return text


def _check_text(text: str, where: str) -> None:
    """``UserError`` for bytes that Python could not decode and keeps as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(_NO_TEXT.format(where=where)) from error


_NO_TEXT = "{where} is not UTF-8 text; convert it to UTF-8 first"


def _absent_parents(stage: str, overrides: list[str]) -> list[Path]:
    """Parents of the output folder that do not exist yet, deepest first.

    Known without composing for the default folder and for a plain ``output_dir=``; of any other
    nothing is removed.
    """
    given = [o.partition("=")[2] for o in overrides if o.lstrip("+").startswith("output_dir=")]
    output = Path(given[-1].strip("'\"") if given else f"outputs/{stage}/run")
    parents = output.absolute().parents
    return list(itertools.takewhile(lambda folder: not folder.exists(), parents))


_CALLED: dict[str, Any] = {}  # arguments and trace variable that the user gave


@contextmanager
def _as_called() -> Iterator[None]:
    """The user's own arguments and environment: launchers of child processes read them."""
    now = {"argv": sys.argv, "trace": os.environ.get(_TRACE)}
    _set_process(_CALLED or now)
    try:
        yield
    finally:
        _set_process(now)


def _set_process(values: dict[str, Any]) -> None:
    sys.argv = values["argv"]
    if values["trace"] is None:
        os.environ.pop(_TRACE, None)
    else:
        os.environ[_TRACE] = values["trace"]


def run_job(cfg: DictConfig) -> Any:
    """The task Hydra calls, once per job; top level so that parallel launchers can pickle it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from parfait.utils.run_config import redact_sweep
    from parfait.utils.sweeps import forget, run_once

    hydra_cfg = HydraConfig.get()
    stage = str(hydra_cfg.job.config_name)
    # In a sweep every job has its own folder below the configured one.
    cfg.output_dir = hydra_cfg.runtime.output_dir
    sweeping = hydra_cfg.mode == RunMode.MULTIRUN

    def task(cfg: DictConfig) -> Any:
        return getattr(importlib.import_module(f"parfait.stages.{stage}"), stage)(cfg)

    if sweeping:
        redact_sweep(Path(hydra_cfg.sweep.dir))
    with _as_called():
        try:
            if sweeping:
                return run_once(task, cfg)
            _check_single(hydra_cfg.runtime.choices)
            forget(cfg)
            return task(cfg)
        except Exception as error:
            _remove_if_empty(Path(cfg.output_dir))
            if sweeping:  # Hydra runs the other jobs, then raises it
                if isinstance(error, UserError):
                    told = f"error: job {hydra_cfg.job.num}: {printable(str(error))}"
                    print(told, file=sys.stderr)
                    vars(error)["told"] = True
                raise
            if isinstance(error, UserError):
                _report(error, os.environ.get(_TRACE) == "1")
                raise SystemExit(2) from None
            if not vars(error).get("logged"):
                logging.getLogger(__name__).exception("%s failed", stage)
            raise SystemExit(1) from None


def _check_single(choices: Mapping[str, Any]) -> None:
    """``UserError`` for what only acts on the jobs of ``-m``."""
    for group, idle in (("hparams_search", None), ("launcher", "local")):
        choice = choices.get(group, idle)
        if choice != idle:
            raise UserError(f"{group}={choice} is for sweeps; add -m")


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder that Hydra made for a job which then wrote nothing."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _report(error: UserError, trace: bool) -> None:
    if trace:
        traceback.print_exception(error)
    elif not vars(error).get("told"):
        print(f"error: {printable(str(error))}", file=sys.stderr)


def _command(stage: str | None) -> str:
    """How the user called us, for messages that show a corrected command."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return "python -m parfait" if stage is None else f"python -m parfait {stage}"
    return f"python {program.name}" if program.suffix == ".py" else program.name


def _choose_stage(arguments: list[str]) -> tuple[str, list[str]]:
    if not arguments or arguments[0] in ("--help", "-h"):
        width = max(map(len, STAGES))
        print("usage: parfait STAGE [key=value ...]   (or: python -m parfait STAGE ...)\n\nstages:")
        for name, purpose in STAGES.items():
            print(f"  {name:<{width}}  {purpose}")
        print("\n'parfait STAGE --help' lists the settings of a stage.")
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        from parfait import __version__

        print(f"parfait {__version__}")
        sys.exit(0)
    if arguments[0] not in STAGES:
        near = difflib.get_close_matches(arguments[0], STAGES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown stage {arguments[0]!r}; {hint}stages: {', '.join(STAGES)}")
    return arguments[0], arguments[1:]
