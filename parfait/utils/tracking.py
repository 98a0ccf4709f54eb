"""What a job tells of itself: one run per logger, and how its results came to be."""

import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from parfait.utils import lineage
from parfait.utils.files import json_bytes
from parfait.utils.instantiate import instantiate
from parfait.utils.run_config import redact
from parfait.utils.wandb_runs import begin

log = logging.getLogger(__name__)

UPLOAD_AT_MOST = 100 * 2**20  # bytes; W&B knows larger outputs by their hashes alone
FIGURES_AT_MOST = 20
Rows = Sequence[Mapping[str, Any]]


class Tracker:
    """The loggers of a job; see ``start``.

    Attributes:
        loggers: of Lightning; none where ``logger=none``.
    """

    def __init__(self, cfg: DictConfig, folder: Path, about: dict[str, Any], part: str) -> None:
        self._folder, self._about, self._name = folder, about, str(cfg.name)
        settings: Any = redact(OmegaConf.to_container(cfg, resolve=True))
        self._settings = settings | {name: about[name] for name in ("inputs", "parfait")}
        # A stage may work in a folder that is renamed at its end: files of loggers go along.
        moved: Any = OmegaConf.merge(cfg, {"output_dir": str(folder)})
        final = Path(cfg.output_dir).absolute()
        numbered = final.name.isdigit()  # the jobs of a sweep lie in folders 0, 1, ...
        name = f"{final.parent.name}/{final.name}" if numbered else final.name
        place = {"job_type": about["stage"], "name": name, "part": part}
        self.loggers: list[Any] = []
        self._wandb: list[Any] = []
        for node in (moved.get("logger") or {}).values():
            tracked = "job_type" in node
            self.loggers.append(instantiate(node, **(place if tracked else {})))
            if tracked:
                self._wandb.append(self.loggers[-1])
                begin(self.loggers[-1], self._settings)
        for run in self._runs():
            for key, told in about["inputs"].items() if not run.offline else ():
                _try(run.use_artifact, lambda key=key, told=told: _input_artifact(key, told))

    def log_settings(self) -> None:
        """Tells the loggers that write into the run folder; earlier, a mistake leaves no folder."""
        for logger in self.loggers:
            if logger not in self._wandb:
                logger.log_hyperparams(self._settings)

    def report(
        self,
        metrics: Mapping[str, Any],
        *,
        kind: str = "dataset",
        outputs: Mapping[str, str | Path] | None = None,
        tables: Mapping[str, Rows] | None = None,
        figures: Sequence[Path] = (),
        step: int | None = None,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        """Tells every logger the results; writes ``lineage.json`` where there are outputs.

        Args:
            metrics: numbers by name, or mappings of them, whose names are joined by "/"; what is no
                finite number is left out.
            kind: of the W&B artifact that ``outputs`` become.
            outputs: files, folders and globs below the run folder that later stages read, by name.
            tables: rows by name, with the same columns each.
            figures: PNG files.
            step: of training.
            known: what else the job turned out to be made of; joins its settings.
        """
        if known:
            self._settings |= known
            for logger in self._wandb:
                logger.log_hyperparams(dict(known))
        self.log_settings()
        numbers = dict(flat_numbers(metrics))
        for logger in self.loggers:
            logger.log_metrics(numbers, step)
            logger.save()
        for logger in self._wandb:
            for name, rows in (tables or {}).items():
                columns = list(rows[0]) if rows else []
                data = [[_cell(row.get(column)) for column in columns] for row in rows]
                logger.log_table(f"tables/{name}", columns, data)
            for file in figures[:FIGURES_AT_MOST]:
                name = file.relative_to(self._folder).with_suffix("").as_posix()
                logger.log_image(f"figures/{name.removeprefix('figures/')}", [str(file)])
        if outputs:
            artifact = {"name": f"{self._name}-{kind}", "type": kind}
            told = lineage.write(self._folder, self._about | {"artifact": artifact}, outputs)
            for run in self._runs():
                _try(run.log_artifact, lambda: _artifact(self._folder, told))

    def _runs(self) -> list[Any]:
        """W&B runs that take artifacts: not those of other ranks, nor disabled ones."""
        runs = [logger.experiment for logger in self._wandb]
        return [run for run in runs if run.disabled is False]


def start(
    cfg: DictConfig,
    stage: str,
    folder: Path,
    inputs: Mapping[str, lineage.Given | None],
    part: str = "",
) -> Tracker:
    """Starts the loggers of ``cfg.logger`` and tells them what the job is made of.

    Args:
        cfg: the composed configuration; ``name`` becomes the group.
        stage: becomes the job type.
        folder: where the stage writes.
        inputs: files that it reads, by name; ``None`` where there are none.
        part: tells jobs apart that share the folder.

    Raises:
        UserError: a logger cannot be made.
    """
    found = {k: lineage.describe_input(v) for k, v in inputs.items() if v is not None}
    about = {"stage": stage, "parfait": lineage.describe_code(), "inputs": found}
    return Tracker(cfg, folder, about, part)


def finish(exit_code: int) -> None:
    """Close the W&B run of this process, if any; two jobs of a sweep would share it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=exit_code)


def flat_numbers(told: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """``a/b`` -> finite number of nested mappings; flags, texts and the unknown are left out."""
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from flat_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            continue
        elif math.isfinite(value):
            yield f"{prefix}{name}", value


def _cell(value: Any) -> Any:
    """An entry of a table whose columns have one type each."""
    return value if value is None or isinstance(value, int | float) else str(value)


def _try(call: Callable[[Any], Any], make: Callable[[], Any]) -> None:
    """``call(make())``; what W&B refuses is told, and costs no result."""
    try:
        call(make())
    except Exception as error:
        log.warning("W&B took no artifact: %s", " ".join(str(error).split()))


def _artifact(folder: Path, told: Mapping[str, Any]) -> Any:
    """The outputs of the run in ``folder``: equal runs give equal digests, wherever it is made."""
    import wandb

    hashes = {name: output["sha256"] for name, output in told["outputs"].items()}
    inputs = {name: given["sha256"] for name, given in told["inputs"].items()}
    about: dict[str, Any] = {"sha256": hashes, "inputs": inputs, **told["parfait"]}
    made = wandb.Artifact(**told["artifact"], metadata=about)
    with made.new_file("hashes.json", mode="wb") as file:
        file.write(json_bytes(hashes))
    if sum(output["bytes"] for output in told["outputs"].values()) <= UPLOAD_AT_MOST:
        for name, output in told["outputs"].items():
            for below, file in lineage.files_of(folder / output["path"]):
                made.add_file(
                    str(file), name if file == folder / output["path"] else f"{name}/{below}"
                )
    return made


def _input_artifact(name: str, told: Mapping[str, Any]) -> Any:
    """That of the run that made it, else the hashes alone: a user's data are not uploaded."""
    import wandb

    made_by = told.get("made_by")
    if made_by is not None:
        return _artifact(Path(made_by["folder"]), made_by)
    known = {key: told[key] for key in ("files", "bytes", "method", "sha256")}
    made = wandb.Artifact(f"parfait-{name}", "dataset", metadata=dict(told))
    with made.new_file("hashes.json", mode="wb") as file:
        file.write(json_bytes(known))
    return made
