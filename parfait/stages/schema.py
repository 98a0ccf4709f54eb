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
    ckpt: str | None = None
    ckpt_path: str | None = None
    optimized_metric: str = MISSING
    output_dir: str = MISSING


@dataclass
class DataSettings:
    """``data`` of ``conf/label.yaml``."""

    path: Any = None
    pattern: str | None = None
    options: Any = None
    bars_per_year: float | None = None
    max_gap: int = MISSING
    train_end: str | None = None


@dataclass
class LabelSettings:
    """``labels`` of ``conf/label.yaml``."""

    n: Any = MISSING
    stride: int = MISSING
    before: int = MISSING
    method: str = MISSING
    range_correction: float | None = None


@dataclass
class SamplerSettings:
    """``conf/sampler``."""

    name: str = MISSING
    steps: int | None = None


@dataclass
class TickSettings:
    """``conf/ticks``."""

    name: str = MISSING
    per_bar: int | None = None
    spread: float | None = None
    persistence: float | None = None
    session: str | None = None
    minutes: Any = None
    options: Any = None


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
    like: str | None = None
    like_history: Any = None
    scenarios: str | None = None
    history: Any = None
    history_options: Any = None
    asset: Any = None
    correlation: Any = None
    portfolio: str | None = None
    n_paths: int = MISSING
    horizon: int = MISSING
    bars_per_year: float | None = None
    seed: int = MISSING
    run: str | None = None
    batch_size: int = MISSING
    stream: bool | None = None
    part_paths: int = MISSING
    workers: int | None = None
    shard: str | None = None
    executor: str = MISSING
    logger: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    output_dir: str = MISSING
    semantic: dict[str, Any] = field(default_factory=dict)
    sde: dict[str, Any] = field(default_factory=dict)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    ticks: TickSettings = field(default_factory=TickSettings)
    paths: PathSettings = field(default_factory=PathSettings)


@dataclass
class PlayConfig:
    """``conf/play.yaml``; keys of ``semantic`` and ``sde`` as in ``SimulateConfig``."""

    host: str = MISSING
    port: int = MISSING
    names: list[str] = field(default_factory=list)
    open_browser: bool = MISSING
    history: Any = None
    history_options: Any = None
    bars_per_year: float | None = None
    asset: str | None = None
    n_paths: int = MISSING
    horizon: int = MISSING
    seed: int = MISSING
    run: str | None = None
    max_paths: int = MISSING
    max_horizon: int = MISSING
    max_bars: int = MISSING
    waiting: int = MISSING
    kept: int = MISSING
    output_dir: str = MISSING
    semantic: dict[str, Any] = field(default_factory=dict)
    sde: dict[str, Any] = field(default_factory=dict)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    paths: PathSettings = field(default_factory=PathSettings)


@dataclass
class LabelConfig:
    """``conf/label.yaml``."""

    data: DataSettings = field(default_factory=DataSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    shard: str | None = None
    executor: str = MISSING
    figures: int = MISSING
    logger: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    output_dir: str = MISSING
    paths: PathSettings = field(default_factory=PathSettings)


@dataclass
class EvaluationData:
    """``data`` of ``conf/evaluate.yaml``."""

    path: Any = None
    options: Any = None
    pattern: str | None = None
    train_end: str | None = None
    bars_per_year: float | None = None
    asset: str | None = None
    history: int = MISSING
    horizon: int = MISSING


@dataclass
class MergeConfig:
    """``conf/merge.yaml``."""

    run: str | None = None
    tolerance: float = MISSING
    logger: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    output_dir: str = MISSING
    paths: PathSettings = field(default_factory=PathSettings)


@dataclass
class ExportConfig:
    """``conf/export.yaml``."""

    run: str | None = None
    format: str = MISSING
    select: Any = None
    timezone: str | None = None
    volume_scale: float = MISSING
    logger: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    output_dir: str = MISSING
    paths: PathSettings = field(default_factory=PathSettings)


@dataclass
class EvaluateConfig:
    """``conf/evaluate.yaml``; loggers are checked by what they instantiate."""

    task: str = MISSING
    suite: str = MISSING
    run: str | None = None
    semantic: dict[str, Any] = field(default_factory=dict)
    battery: str = MISSING
    examples: str | None = None
    per_split: int = MISSING
    catalogue: str | None = None
    data: EvaluationData = field(default_factory=EvaluationData)
    every: int = MISSING
    questions: list[str] | None = None
    rows: list[str] | None = None
    windows: int | None = None
    samples: int | None = None
    steps: int | None = None
    workers: int | None = None
    logger: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    output_dir: str = MISSING
    paths: PathSettings = field(default_factory=PathSettings)


@dataclass
class DistillData:
    """``data`` of ``conf/distill.yaml``."""

    path: Any = None
    pattern: str | None = None
    options: Any = None
    bars_per_year: float | None = None
    asset: str | None = None


@dataclass
class DistillConfig:
    """``conf/distill.yaml``; keys of ``teacher`` beside ``name`` are its options."""

    teacher: dict[str, Any] = field(default_factory=dict)
    prompt: dict[str, Any] = field(default_factory=dict)
    data: DistillData = field(default_factory=DistillData)
    n: int = MISSING
    seed: int = MISSING
    workers: int | None = None
    shard: str | None = None
    executor: str = MISSING
    dry_run: bool = MISSING
    cache: str = MISSING
    logger: Any = MISSING
    name: str = MISSING
    tags: list[str] = field(default_factory=list)
    output_dir: str = MISSING
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


def plain(value: Any, *, text: bool = False) -> Any:
    """A setting as plain Python; with ``text`` its numbers as the words they were typed as."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    if isinstance(value, dict):
        return {str(k): plain(v, text=text) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v, text=text) for v in value]
    return str(value) if text and isinstance(value, int | float) else value
