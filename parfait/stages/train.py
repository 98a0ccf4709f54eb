"""``train``: configuration in, trained model out; a run that stopped continues where it was."""

import logging
import math
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, ProgressBar
from omegaconf import DictConfig, OmegaConf

from parfait.microstructure.model import EMBEDDED
from parfait.stages.callbacks import (
    EpochLog,
    FiniteLoss,
    KnownMetric,
    ResumableProgress,
    SaveOnSignal,
    unknown_metric,
)
from parfait.stages.checkpoints import AtomicCheckpointIO, find_checkpoint, wanted_checkpoint
from parfait.stages.data_settings import data_files
from parfait.stages.schema import TrainConfig, validate
from parfait.utils import tracking
from parfait.utils.errors import UserError, require
from parfait.utils.files import sweep_temporaries
from parfait.utils.instantiate import instantiate
from parfait.utils.run_config import redact
from parfait.utils.run_guard import run_guard

log = logging.getLogger(__name__)

_MAX_SEED = 2**32 - 1  # of NumPy, which Lightning seeds too


def train(cfg: DictConfig) -> float:
    """Train ``cfg.model`` on ``cfg.data`` and export it to ``<output_dir>/model``; agents by
    ``parfait.stages.rl``.

    Returns:
        The best value of ``optimized_metric`` so far.

    Raises:
        UserError: a setting that cannot be used, or a loss that is not finite.
    """
    settings = validate(cfg, TrainConfig)
    require("seed", settings.seed, 0, _MAX_SEED)
    if str(cfg.model.get("_target_")).startswith("parfait.agents."):
        from parfait.stages.rl import rl

        return rl(cfg)
    for name in ("max_epochs", "max_steps"):
        _check_limit(f"trainer.{name}", cfg.trainer.get(name))
    if settings.ckpt is not None and "init_from" not in cfg.model:
        raise UserError(f"ckpt={settings.ckpt}: this model cannot start from other weights")
    with run_guard(cfg, "train") as folder:
        return _train(cfg, folder)


def _train(cfg: DictConfig, folder: Path) -> float:
    _quiet_lightning()
    start = time.perf_counter()
    checkpoints = folder / "checkpoints"
    for place in (checkpoints, folder / "model"):
        sweep_temporaries(place)
    ckpt_path = find_checkpoint(wanted_checkpoint(cfg.ckpt_path), checkpoints)
    tracker = tracking.start(cfg, "train", folder, _inputs(cfg))
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)

    datamodule = instantiate(cfg.data)
    module = instantiate(cfg.model)
    # Mistakes that can be found now are, before loggers write and Lightning prints anything.
    if ckpt_path is not None:
        checkpoint = AtomicCheckpointIO().load_checkpoint(ckpt_path)
        _check_architecture(module, checkpoint, ckpt_path)
        _check_remaining(checkpoint, ckpt_path, cfg.trainer.get("max_epochs"))
    datamodule.setup("fit")
    callbacks = [instantiate(node) for node in (cfg.callbacks or {}).values()]
    if not tracker.loggers:
        callbacks = [c for c in callbacks if not isinstance(c, LearningRateMonitor)]
    watched = sys.stderr.isatty() and bool(cfg.trainer.get("enable_progress_bar", True))
    if not watched:
        callbacks = [c for c in callbacks if not isinstance(c, ProgressBar)]
    stop = SaveOnSignal(checkpoints)
    always = [
        FiniteLoss(),
        KnownMetric(cfg.optimized_metric),
        ResumableProgress(),
        stop,
        EpochLog(terminal=not watched),
    ]
    trainer: lightning.Trainer = instantiate(
        cfg.trainer,
        logger=tracker.loggers or False,
        callbacks=[*callbacks, *always],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=watched,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
    )
    tracker.log_settings()

    if ckpt_path is not None:
        log.info("Continuing from %s.", ckpt_path)
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
    except MisconfigurationException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"training with these settings is not possible: {reason}") from error
    except SystemExit as error:  # Lightning's own codes are 0 for a signal and 1 for Ctrl-C
        known = stop.signum or isinstance(error.__context__, KeyboardInterrupt)
        if known and trainer.is_global_zero:
            raise stop.ending() from None
        raise

    best = _best_checkpoint(trainer, cfg.optimized_metric)
    if best is not None:
        state = AtomicCheckpointIO().load_checkpoint(best.best_model_path)["state_dict"]
        module.load_state_dict(state)
    value = _optimized(trainer, best, cfg.optimized_metric)
    quick = bool(cfg.trainer.get("fast_dev_run"))  # one batch: a model that nobody wants
    if trainer.is_global_zero and not quick:
        parameters = redact(OmegaConf.to_container(cfg, resolve=True))
        made_by = {name: parameters[name] for name in ("seed", "data", "model")}
        metrics = {cfg.optimized_metric: value if math.isfinite(value) else None}
        module.export(folder / "model", config=made_by, metrics=metrics)
        log.info("%s = %.5g; the model is in %s.", cfg.optimized_metric, value, folder / "model")
        numbers = {
            "best": metrics,
            "epochs": trainer.current_epoch,
            "parameters": sum(p.numel() for p in module.parameters()),
            "seconds": {"train": time.perf_counter() - start},
        }
        made, step = {"model": folder / "model"}, trainer.global_step
        tracker.report(numbers, kind="model", outputs=made, step=step)
    return value


def _inputs(cfg: DictConfig) -> dict[str, Any]:
    """The files that the model learns from, and weights that it starts from."""
    ckpt = EMBEDDED if cfg.ckpt == "embedded" else cfg.ckpt
    data = data_files(cfg.data.path) if "path" in cfg.data else None
    return {"data": data, "weights": ckpt, "base": cfg.model.get("base")}


def _check_limit(name: str, value: Any) -> None:
    """``UserError`` unless ``value`` is a positive whole number, -1 (no limit) or nothing."""
    if value is None or value == -1:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name}={value} must be a whole number of at least 1, or -1 for no limit")


def _check_remaining(checkpoint: Mapping[str, Any], ckpt_path: Path, max_epochs: Any) -> None:
    """``UserError`` if the checkpoint has more epochs behind it than the run may have."""
    done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if max_epochs is not None and -1 < max_epochs < done:
        raise UserError(
            f"the checkpoint {ckpt_path} has {done} epochs behind it, more than "
            f"trainer.max_epochs={max_epochs}; give at least {done}"
        )


def _check_architecture(
    module: lightning.LightningModule, checkpoint: dict[str, Any], ckpt_path: Path
) -> None:
    """Raise ``UserError`` if the checkpoint's weights do not fit ``module``."""
    module.on_load_checkpoint(checkpoint)  # knows what the checkpoint was made by
    expected = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in checkpoint["state_dict"].items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"the checkpoint {ckpt_path} is of another architecture: it has {name} of shape "
                f"{found.get(name)}, model ({type(module).__name__}) has {expected.get(name)}"
            )


def _best_checkpoint(trainer: lightning.Trainer, metric: str) -> ModelCheckpoint | None:
    """The callback that kept the best model by ``metric``, if one did."""
    for callback in trainer.checkpoint_callbacks:
        if not isinstance(callback, ModelCheckpoint) or callback.monitor != metric:
            continue
        if callback.best_model_path and Path(callback.best_model_path).is_file():
            return callback
    return None


def _optimized(trainer: lightning.Trainer, best: ModelCheckpoint | None, metric: str) -> float:
    """What a sweeper minimises; not finite becomes infinity, which sweepers can order."""
    known = trainer.callback_metrics
    if best is not None and best.best_model_score is not None:
        value = float(best.best_model_score)
    elif metric in known:
        value = float(known[metric])
    elif not known:
        return math.inf
    else:
        raise UserError(unknown_metric(metric, known))
    return value if math.isfinite(value) else math.inf


def _quiet_lightning() -> None:
    """Lightning adds handlers of its own and passes on to ours: every line would come twice."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # An advertisement, advice that does not apply (loaders here read from memory), and a deprecated
    # call of Lightning's own.
    rank_zero = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    rank_zero.addFilter(_is_no_advertisement)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()
