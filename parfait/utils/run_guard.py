"""What surrounds every stage: its folder, saved configuration, log, and a clean end."""

import errno
import logging
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from parfait.utils import tracking
from parfait.utils.errors import UserError
from parfait.utils.files import is_alive, sweep_temporaries
from parfait.utils.run_config import CONFIG_FOLDER, differences, read, save
from parfait.utils.signals import exit_code, stoppable
from parfait.utils.wandb_runs import ID_FILE

log = logging.getLogger(__name__)

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR}

_PARTIAL = re.compile(r"\..+\.(\d+)\.partial")
_STALE = 86_400.0  # seconds after which a killed run's leftovers are nobody's business any more
_TERMINATED, _INTERRUPTED = exit_code(signal.SIGTERM), exit_code(signal.SIGINT)


@contextmanager
def run_guard(
    cfg: DictConfig, stage: str, *, staged: bool = False, shared: bool = False
) -> Iterator[Path]:
    """Run a stage inside its folder ``cfg.output_dir``.

    The folder must be new, or hold the same configuration. The log goes into it; failures are
    logged with their traceback; W&B is told how the run ended. SIGTERM and SIGUSR1 end the stage
    as Ctrl-C does, with the exit codes 143 and 138.

    Args:
        cfg: the composed configuration.
        stage: its name, also that of the log file.
        staged: work in a hidden sibling that takes the folder's place when everything succeeded,
            so that the folder either holds all results or does not exist; a failure leaves
            nothing. Otherwise work in the folder itself.
        shared: every process of a distributed run is a run of its own in the same folder.

    Yields:
        The folder to write into.

    Raises:
        UserError: the folder cannot be used.
    """
    with stoppable(), _guarded(cfg, stage, staged, shared) as folder:
        yield folder


@contextmanager
def _guarded(cfg: DictConfig, stage: str, staged: bool, shared: bool) -> Iterator[Path]:
    final = Path(cfg.output_dir).absolute()
    if _rank() != 0 and not shared:  # the main process of a distributed run takes care of it
        yield final
        return
    _check_folder(final, cfg)
    folder = final.with_name(f".{final.name}.{os.getpid()}.partial") if staged else final
    existed = folder.is_dir() and any(folder.iterdir())
    try:
        if staged:
            shutil.rmtree(folder, ignore_errors=True)
            _sweep(final)
        folder.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(folder)
        save(cfg, folder)
    except BaseException as error:
        if staged:
            shutil.rmtree(folder, ignore_errors=True)
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError):
            raise _unwritable(final, cause) from error
        raise
    try:
        with _logging_to(folder / f"{stage}.log"):
            yield from _ending(folder, keeps_log=not staged)
    except BaseException as error:
        unwritable = _is_unwritable(error)
        if staged:
            shutil.rmtree(folder, ignore_errors=True)
        elif isinstance(error, UserError) or unwritable:
            _discard(folder, existed=existed)
        if isinstance(error, OSError) and unwritable:
            raise _unwritable(final, error) from error
        raise
    if staged:
        _publish(folder, final)


def _ending(folder: Path, *, keeps_log: bool) -> Iterator[Path]:
    """Hand the folder over, then log how it ended and close W&B with that exit code."""
    try:
        yield folder
    except UserError as error:
        log.error("%s", error, extra={"file_only": True})  # the entry point tells the user
        tracking.finish(2)
        raise
    except Exception as error:
        if _is_unwritable(error):  # the folder is the user's
            log.error("%s", error, extra={"file_only": True})
            tracking.finish(2)
            raise
        log.exception("failed; the log is in %s" if keeps_log else "failed; %s is removed", folder)
        vars(error)["logged"] = True  # so that the entry point need not do it again
        tracking.finish(1)
        raise
    except BaseException as error:  # SIGTERM, Ctrl-C
        log.warning("stopped by a signal")
        code = error.code or _TERMINATED if isinstance(error, SystemExit) else _INTERRUPTED
        tracking.finish(code if isinstance(code, int) else 1)
        if isinstance(error, SystemExit) and not error.code:  # Lightning ends a SIGTERM with 0
            raise SystemExit(_TERMINATED) from None
        raise
    tracking.finish(0)


def _check_folder(folder: Path, cfg: DictConfig) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"the output folder {folder} is a file; choose another with output_dir=")
    if not folder.is_dir() or not _contents(folder):
        return
    stored = read(folder)
    starting = (folder / CONFIG_FOLDER).is_dir() and _only_bookkeeping(folder)
    if stored is None and not starting:
        raise UserError(
            f"the output folder {folder} is not empty and holds no run; "
            "choose another with output_dir="
        )
    changed = differences(stored, cfg) if stored is not None else []
    if changed:
        shown = "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")
        raise UserError(
            f"the output folder {folder} holds a run of another configuration ({shown}); "
            "repeat those settings to continue it, or choose another folder with output_dir="
        )


class _LogFile(logging.FileHandler):
    """A log whose disk may be full: results decide about a run, and closing it tells in the end."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing, where ``logging`` would print a traceback for every line."""


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Log to ``file`` and, briefly, to the terminal."""
    root = logging.getLogger()
    level = root.level
    to_file = _LogFile(file, encoding="utf-8", delay=True)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_terminal = logging.StreamHandler()
    to_terminal.setFormatter(logging.Formatter("%(message)s"))
    to_terminal.addFilter(lambda record: not getattr(record, "file_only", False))
    handlers = [to_file, to_terminal]
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for every request
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
        to_terminal.close()
        to_file.close()  # raises where the disk could not take it all


def _publish(folder: Path, final: Path) -> None:
    """Put the finished ``folder`` in place of ``final``, which holds nothing or the same run."""
    try:
        if final.is_dir() and any(final.iterdir()):
            old = final.with_name(f".{final.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
            folder.rename(final)
            shutil.rmtree(old)
        else:
            folder.replace(final)
    except OSError as error:
        raise _unwritable(final, error) from error


def _discard(folder: Path, *, existed: bool) -> None:
    """After a user's mistake leave nothing, unless there is more than log and configuration."""
    if not existed and _only_bookkeeping(folder):
        shutil.rmtree(folder)


def _only_bookkeeping(folder: Path) -> bool:
    """Whether there are no results: a run that failed early, or one that starts this moment."""
    return all(
        p.name == CONFIG_FOLDER or p.suffix == ".log" or p.name.endswith(ID_FILE)
        for p in _contents(folder)
    )


def _contents(folder: Path) -> list[Path]:
    """What a folder holds, but for Hydra's note of a sweep whose jobs share it."""
    return [p for p in folder.iterdir() if p.name != "multirun.yaml"]


def _sweep(final: Path) -> None:
    """Remove what killed runs left beside ``final``: of the same run at once, else after a day."""
    for folder in final.parent.glob(".*.partial"):
        match = _PARTIAL.fullmatch(folder.name)
        if match is None or not (folder / CONFIG_FOLDER).is_dir() or is_alive(int(match[1])):
            continue
        same = folder.name == f".{final.name}.{match[1]}.partial"
        if same or time.time() - folder.stat().st_mtime > _STALE:
            shutil.rmtree(folder, ignore_errors=True)


def _is_unwritable(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _UNWRITABLE


def _unwritable(folder: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(
        f"the output folder {folder} cannot be written ({reason}); choose another with output_dir="
    )


def _rank() -> int:
    """Rank among the processes of a distributed run; 0 elsewhere."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return int(next((os.environ[n] for n in names if os.environ.get(n)), "0"))
