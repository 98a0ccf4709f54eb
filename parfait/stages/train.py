"""``train``: configuration in, trained model out; a run that stopped continues where it was."""

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf

from parfait.stages.checkpoints import AtomicCheckpointIO, find_checkpoint, sweep_temporaries
from parfait.stages.schema import TrainConfig, validate
from parfait.utils.errors import UserError
from parfait.utils.instantiate import instantiate
from parfait.utils.run_config import redact
from parfait.utils.run_guard import run_guard

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float:
    """Train ``cfg.model`` on ``cfg.data`` and export it to ``<output_dir>/model``.

    Returns:
        The best value of ``optimized_metric`` so far.

    Raises:
        UserError: a setting that cannot be used, or a loss that is not finite.
    """
    validate(cfg, TrainConfig)
    with run_guard(cfg, "train") as folder:
        return _train(cfg, folder)


def _train(cfg: DictConfig, folder: Path) -> float:
    _quiet_lightning()
    checkpoints = folder / "checkpoints"
    sweep_temporaries(checkpoints)
    ckpt_path = find_checkpoint(cfg.ckpt_path, checkpoints)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)

    datamodule = instantiate(cfg.data)
    module = instantiate(cfg.model)
    loggers = [instantiate(node) for node in (cfg.logger or {}).values()]
    callbacks = [instantiate(node) for node in (cfg.callbacks or {}).values()]
    if not loggers:
        callbacks = [c for c in callbacks if not isinstance(c, LearningRateMonitor)]
    trainer: lightning.Trainer = instantiate(
        cfg.trainer,
        logger=loggers or False,
        callbacks=[*callbacks, FiniteLoss(), SaveOnSignal(checkpoints)],
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
    )
    parameters = redact(OmegaConf.to_container(cfg, resolve=True))
    for logger in loggers:
        logger.log_hyperparams(parameters)

    if ckpt_path is not None:
        log.info("Continuing from %s.", ckpt_path)
    trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)

    best = _best_checkpoint(trainer, cfg.optimized_metric)
    if best is not None:
        state = AtomicCheckpointIO().load_checkpoint(best.best_model_path)["state_dict"]
        module.load_state_dict(state)
    value = _optimized(trainer, best, cfg.optimized_metric)
    if trainer.is_global_zero and not trainer.fast_dev_run:
        module.export(folder / "model")
        log.info("%s = %.5g; the model is in %s.", cfg.optimized_metric, value, folder / "model")
    return value


class FiniteLoss(Callback):
    """Stops at the first loss that is not finite, before a checkpoint can hold the damage."""

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raise ``UserError`` unless the loss of this step is finite."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None and not bool(torch.isfinite(loss).all()):
            raise UserError(
                f"the loss became {float(loss)} at step {trainer.global_step}; lower the learning rate "
                "(optim.lr) or look at the data; checkpoints before it are intact"
            )


class SaveOnSignal(Callback):
    """Saves a checkpoint when the process is asked to end (SIGTERM, Ctrl-C)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Save unless the exception is an error of the program."""
        if isinstance(exception, SIGTERMException | KeyboardInterrupt):
            file = self.folder / f"{trainer.global_step:08d}.ckpt"
            trainer.save_checkpoint(file)
            log.warning("Stopped; %s holds the state, ckpt_path=last continues.", file)


def _best_checkpoint(trainer: lightning.Trainer, metric: str) -> ModelCheckpoint | None:
    """The callback that kept the best model by ``metric``, if one did."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor == metric:
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
    elif trainer.fast_dev_run or not known:
        return math.inf
    else:
        raise UserError(
            f"optimized_metric={metric} was never logged; it is one of: {', '.join(sorted(known))}"
        )
    return value if math.isfinite(value) else math.inf


def _quiet_lightning() -> None:
    """Lightning adds handlers of its own and passes on to ours: every line would come twice."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Advice that does not apply: loaders here read from memory, workers would only cost time.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
