"""Types of the top-level settings: what a stage's configuration may hold, and nothing else."""

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from parfait.utils.config_errors import explain_value, unknown_key
from parfait.utils.errors import UserError

Settings = TypeVar("Settings")


@dataclass
class TrainConfig:
    """``conf/train.yaml``; groups are checked by what they instantiate."""

    data: Any = MISSING
    diffusion: Any = MISSING
    optim: Any = MISSING
    model: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING
    paths: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    seed: int = MISSING
    ckpt_path: str | None = None
    optimized_metric: str = MISSING
    output_dir: str = MISSING


@dataclass
class SamplerSettings:
    """``conf/sampler``."""

    name: str = MISSING
    steps: int | None = None


@dataclass
class PathSettings:
    """``conf/paths``."""

    outputs: str = MISSING


@dataclass
class SimulateConfig:
    """``conf/simulate.yaml``; keys of ``semantic`` and ``sde`` beside ``name`` are options,
    but for ``sde.guide`` and ``sde.condition``.
    """

    instruction: str | None = None
    instruction_file: str | None = None
    history: Any = None
    history_options: Any = None
    asset: Any = None
    correlation: Any = None
    n_paths: int = MISSING
    horizon: int = MISSING
    bars_per_year: float | None = None
    seed: int = MISSING
    run: str | None = None
    batch_size: int = MISSING
    output_dir: str = MISSING
    semantic: dict[str, Any] = field(default_factory=dict)
    sde: dict[str, Any] = field(default_factory=dict)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    paths: PathSettings = field(default_factory=PathSettings)


def validate(cfg: DictConfig, schema: type[Settings]) -> Settings:
    """Return ``cfg`` typed and read-only; ``UserError`` for an unknown key or a wrong type."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
    except ConfigKeyError as error:
        key = str(getattr(error, "full_key", "") or getattr(error, "key", ""))
        raise UserError(unknown_key(key, schema.__annotations__)) from error
    except OmegaConfBaseException as error:
        raise UserError(explain_value(error)) from error
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise UserError(f"the setting {missing[0]!r} has no value; give {missing[0]}=...")
    OmegaConf.set_readonly(merged, True)
    return cast(Settings, merged)
