"""Where the package keeps its configuration, whether installed or run from a checkout."""

from pathlib import Path

import yaml


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
        if group.is_dir()
    }


def top_level_keys(stage: str, folder: Path | None = None) -> set[str]:
    """Groups and top-level keys that ``stage`` knows, without composing its configuration."""
    folder = folder or conf_dir()
    primary = yaml.safe_load((folder / f"{stage}.yaml").read_text(encoding="utf-8"))
    return (set(primary) - {"defaults"}) | set(config_groups(folder))
