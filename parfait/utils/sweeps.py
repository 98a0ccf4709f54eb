"""Jobs of a sweep: each is run once, and together they leave a table of what came out."""

import csv
import hashlib
import json
import math
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from parfait.utils.files import write_files
from parfait.utils.run_config import CONFIG_FOLDER, differences, plain, read

TABLE = "sweep.csv"
_DONE = "done.yaml"
# Where a job is, and from where it went on: no other result.
_NO_RESULT = ("output_dir", "ckpt_path")


def run_once(stage: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    """What ``stage`` returns for a job of a sweep; the stored value if its folder holds the
    finished job of this very configuration.

    NaN becomes infinity: it has no place in an order, and would end a search by Optuna.
    """
    folder = Path(cfg.output_dir)
    key = _key(cfg)
    stored = _read(folder / CONFIG_FOLDER / _DONE)
    if isinstance(stored, dict) and stored.get("key") == key:
        print(f"{folder} is done already: skipped")
        return stored["value"]
    forget(cfg)
    value = stage(cfg)
    if isinstance(value, float):
        value = math.inf if math.isnan(value) else float(value)
    if (folder / CONFIG_FOLDER).is_dir():
        _write(folder / CONFIG_FOLDER / _DONE, yaml.safe_dump({"key": key, "value": value}))
    return value


def forget(cfg: DictConfig) -> None:
    """The job in the folder of ``cfg`` is no longer done: it is about to run again, unless the
    folder belongs to another configuration, whose mark stays.
    """
    folder = Path(cfg.output_dir)
    stored = read(folder)
    if stored is not None and not differences(stored, cfg):
        with suppress(OSError):  # what cannot be written is told by the run
            (folder / CONFIG_FOLDER / _DONE).unlink()


class Summary(Callback):
    """What Hydra alone tells: where the jobs of a sweep will be."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remembers the folder."""
        Summary.folder = Path(config.hydra.sweep.dir)


def summarise(folder: Path) -> str | None:
    """Writes ``sweep.csv`` into ``folder``: job, value, and every override that differs between
    the finished jobs, the least value first; returns it as a text, ``None`` without such a job.
    """
    jobs: dict[str, tuple[Any, dict[str, str]]] = {}
    for done in folder.glob(f"*/{CONFIG_FOLDER}/{_DONE}"):
        stored, overrides = _read(done), _read(done.with_name("overrides.yaml"))
        if isinstance(stored, dict) and "value" in stored and isinstance(overrides, list):
            pairs = (override.partition("=") for override in overrides)
            jobs[done.parent.parent.name] = stored["value"], {k: v for k, _, v in pairs}
    if not jobs:
        return None
    every = [settings for _, settings in jobs.values()]
    keys = dict.fromkeys(key for settings in every for key in settings)
    swept = [key for key in keys if len({settings.get(key) for settings in every}) > 1]
    rows = [
        [name, "" if value is None else str(value), *(settings.get(key, "") for key in swept)]
        for name, (value, settings) in sorted(jobs.items(), key=_order)
    ]
    rows.insert(0, ["job", "value", *swept])
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    _write(folder / TABLE, text.getvalue())
    rows = [[_short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _order(job: tuple[str, tuple[Any, Any]]) -> tuple[float, int, str]:
    """By value, then by number."""
    name, (value, _) = job
    value = value if isinstance(value, int | float) else math.inf
    return value, int(name) if name.isdecimal() else -1, name


def _short(cell: str) -> str:
    """Five digits are enough to look at."""
    try:
        return f"{float(cell):.5g}" if len(cell) > 8 else cell
    except ValueError:
        return cell


def _key(cfg: DictConfig) -> str:
    settings = {name: value for name, value in plain(cfg).items() if name not in _NO_RESULT}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _read(file: Path) -> Any:
    """What a YAML file holds; ``None`` without a readable one."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _write(file: Path, text: str) -> None:
    write_files(file.parent, {file.name: text.encode()})
