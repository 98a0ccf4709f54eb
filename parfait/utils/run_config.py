"""The configuration of a run on disk: saved, read back, compared; secrets never leave memory."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from parfait.utils.files import sweep_temporaries, write_files

CONFIG_FOLDER = ".hydra"
# What may differ when a run is continued: where it is, how it is watched, how long it lasts.
VOLATILE = (
    "output_dir",
    "paths",
    "ckpt_path",
    "name",
    "tags",
    "logger",
    "batch_size",
    "shard",
    "workers",
    "executor",
    "cache",
    "figures",
    "callbacks.progress",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)
_SECRET = re.compile(r"(?i)key|token|secret|password")
_REDACTED = "<redacted>"


def redact(plain: Any, secret: bool = False) -> Any:
    """Replace every text whose key, or one above it, looks like that of a secret."""
    if isinstance(plain, Mapping):
        return {k: redact(v, secret or bool(_SECRET.search(str(k)))) for k, v in plain.items()}
    if isinstance(plain, list):
        return [redact(v, secret) for v in plain]
    return _REDACTED if secret and isinstance(plain, str) else plain


def save(cfg: DictConfig, folder: Path) -> None:
    """Write ``.hydra/config.yaml`` (and Hydra's own files, where Hydra runs) into ``folder``.

    Interpolations stay as they are: resolved, a text that contains ``${`` would be read back as
    another. Plain YAML, because OmegaConf refuses texts such as ``${`` that the user may write.
    """
    from hydra.core.hydra_config import HydraConfig

    target = folder / CONFIG_FOLDER
    files: dict[str, Any] = {"config.yaml": plain(cfg)}
    if HydraConfig.initialized():
        given: Any = OmegaConf.to_container(HydraConfig.get(), resolve=False, enum_to_str=True)
        hydra_cfg = _redact_hydra(given)
        overrides = hydra_cfg["overrides"]["task"]
        files |= {"hydra.yaml": {"hydra": hydra_cfg}, "overrides.yaml": overrides}
    sweep_temporaries(target)
    _write(target, files)


def redact_sweep(folder: Path) -> None:
    """Take secrets out of ``multirun.yaml``, in which Hydra keeps the command of a sweep."""
    file = folder / "multirun.yaml"
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
        hidden = redact(told) | {"hydra": _redact_hydra(told["hydra"])}
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return
    if hidden != told:
        _write(folder, {file.name: hidden})


def read(folder: Path) -> dict[str, Any] | None:
    """The configuration that ``save`` wrote into ``folder``; ``None`` without a readable one."""
    try:
        text = (folder / CONFIG_FOLDER / "config.yaml").read_text(encoding="utf-8")
        stored = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return redact(stored) if isinstance(stored, dict) else None


def differences(stored: Mapping[str, Any], cfg: DictConfig) -> list[str]:
    """``key: old -> new`` of every setting that differs and is not volatile."""
    old, new = _flat(stored), _flat(plain(cfg))
    return [
        f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, ...) != new.get(key, ...) and not _is_volatile(key)
    ]


def _write(folder: Path, files: Mapping[str, Any]) -> None:
    """As plain YAML; renamed into place, because another job of the same run may be reading it."""
    dump = partial(yaml.safe_dump, sort_keys=False, allow_unicode=True)
    write_files(folder, {name: dump(content).encode() for name, content in files.items()})


def _redact_hydra(given: Mapping[str, Any]) -> dict[str, Any]:
    """Hydra's own settings, which hold the command line."""
    told = redact(given)
    told["overrides"]["task"] = [redact_override(o) for o in given["overrides"]["task"]]
    told["job"]["override_dirname"] = None
    return told


def plain(cfg: Any) -> dict[str, Any]:
    """The settings as plain types, interpolations unresolved, secrets redacted."""
    return redact(OmegaConf.to_container(cfg, resolve=False, enum_to_str=True))


def redact_override(override: str) -> str:
    """``key=value`` as it may be shown: without the value where its key, or one inside of it, looks
    like that of a secret.
    """
    key, separator, value = override.partition("=")
    inside = value.lstrip().startswith(("{", "[")) and _SECRET.search(value)
    return (
        f"{key}{separator}{_REDACTED}"
        if separator and (_SECRET.search(key) or inside)
        else override
    )


def _is_volatile(key: str) -> bool:
    return any(key == v or key.startswith(f"{v}.") for v in VOLATILE)


def _flat(plain: Any, key: str = "") -> dict[str, Any]:
    if isinstance(plain, Mapping) and plain:
        flat: dict[str, Any] = {}
        for name, value in plain.items():
            flat |= _flat(value, f"{key}.{name}" if key else str(name))
        return flat
    return {key: plain}
