"""Where the package keeps its configuration, whether installed or run from a checkout."""

import re
from pathlib import Path
from typing import Any

import yaml

FOREIGN = "wandb_sweep"  # a folder of files that W&B reads, no group
_COMMAND = re.compile(r"^# python (?:-m parfait (\w+)|(\w+)\.py) .*experiment=", re.MULTILINE)


def conf_dir() -> Path:
    """The absolute folder of the Hydra configuration: inside the wheel, else beside the package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def config_groups(folder: Path | None = None) -> dict[str, list[str]]:
    """Names of the configuration groups, each with its options, read from file names alone."""
    folder = folder or conf_dir()
    return {
        group.name: sorted(file.stem for file in group.glob("*.yaml"))
        for group in sorted(folder.iterdir())
        if group.is_dir() and group.name != FOREIGN
    }


def stage_groups(stage: str, folder: Path | None = None) -> dict[str, list[str]]:
    """The groups of one stage, each with the options that it may choose."""
    folder = folder or conf_dir()
    groups = config_groups(folder)
    names = [k.removeprefix("optional ") for e in _primary(stage, folder)["defaults"] for k in e]
    chosen = {name: groups[name] for name in names if name in groups and name != "hydra"}
    if "experiment" in chosen:
        chosen["experiment"] = [e for e in chosen["experiment"] if experiment_stage(e) == stage]
    return chosen


def experiment_stage(name: str, folder: Path | None = None) -> str | None:
    """The stage that the command at the head of an experiment runs; ``None`` without one."""
    file = (folder or conf_dir()) / "experiment" / f"{name}.yaml"
    if not file.is_file():
        return None
    found = _COMMAND.search(file.read_text(encoding="utf-8"))
    return None if found is None else found[1] or found[2]


def top_level_keys(stage: str, folder: Path | None = None) -> set[str]:
    """Groups and top-level keys that ``stage`` knows, without composing its configuration."""
    folder = folder or conf_dir()
    return (set(_primary(stage, folder)) - {"defaults"}) | set(config_groups(folder))


def _primary(stage: str, folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / f"{stage}.yaml").read_text(encoding="utf-8"))
