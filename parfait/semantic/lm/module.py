"""Distillation of a teacher into a ``ScenarioModel`` as a ``LightningModule``."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parfait.regime.fields import INITIAL_VOLATILITY
from parfait.semantic.lm.base import base_config, require_quantization
from parfait.semantic.lm.calibration import Calibration
from parfait.semantic.lm.datamodule import Batch, check_data
from parfait.semantic.lm.design import Design, Small
from parfait.semantic.lm.features import features_of
from parfait.semantic.lm.figures import calibration_figure
from parfait.semantic.lm.head import Mixture
from parfait.semantic.lm.losses import (
    consistency_loss,
    draw,
    expected,
    mixture_nll,
    order_loss,
    slot_divergence,
)
from parfait.semantic.lm.memory import estimate
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.speed import optimizer_of, prepare
from parfait.semantic.lm.targets import N_SLOTS
from parfait.semantic.lm.trained import TrainedOnly
from parfait.utils.errors import UserError, require
from parfait.utils.schedule import warmup_cosine
from parfait.utils.seeding import derive_seed

log = logging.getLogger(__name__)

_DRAWS = 8  # of every teacher's mixture, for the likelihood told in validation


class ScenarioModule(TrainedOnly):
    """Loss: D(teacher, student), plus order and consistency of contrast pairs.

        L = mean over heads of [D + order mean max(0, margin - difference) + same D_sym
                                + mean |E u - E u'|^2]

    The last part is the squared error of the mean of the first ten coordinates, in prior sd: in D
    it counts the less the wider the student's answer is, and a beginner's answers are wide.

    The margin is half of the difference that the teacher makes. ``val/loss`` is D, ``val/nll`` the
    mean of -ln p(u) over draws of the teacher's mixtures, ``val/order`` the share of pairs in the
    right order; the others are those of ``Calibration``.

    A frozen base reads every prompt once, into ``cache``, and is not loaded again. Checkpoints
    hold what is trained and nothing of a base that stays as it is.

    Args:
        optimizer: callable from parameters to an optimiser.
        base, revision, tuning, rank, alpha, dropout, modules, hidden, ensemble, dtype,
            quantization: ``Design``.
        tokens: of a batch, for the estimate of memory that is told before weights are loaded.
        small: ``Small``, the architecture without a base.
        order, same, mean: weights of the additional losses.
        head_rate: learning rate of head and queries, in units of that of the backbone.
        compile: compile the layers of the backbone.
        checkpointing: compute activations again in the backward pass, for a third more time.
        cache: folder of what a frozen base makes of prompts.
        warmup_steps, final_lr_share: of the schedule.
        seed: of what starts at random.

    Raises:
        UserError: a setting out of bounds, no such base, or a library that is missing.
    """

    base_prefix = "net.backbone."

    def __init__(
        self,
        optimizer: Callable[..., torch.optim.Optimizer],
        base: str | None = None,
        revision: str | None = None,
        tuning: str = "full",
        rank: int = 16,
        alpha: int = 32,
        dropout: float = 0.0,
        modules: tuple[str, ...] = Design.modules,
        hidden: int = 128,
        ensemble: int = 3,
        dtype: str = "float32",
        quantization: str | None = None,
        tokens: int = 4096,
        small: dict[str, int] | None = None,
        order: float = 0.2,
        same: float = 0.1,
        mean: float = 0.0,
        head_rate: float = 1.0,
        compile: bool = False,
        checkpointing: bool = False,
        cache: str = "outputs/cache/features",
        warmup_steps: int = 100,
        final_lr_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require("model.order", order, 0.0)
        require("model.same", same, 0.0)
        require("model.mean", mean, 0.0)
        require("model.head_rate", head_rate, 1e-3)
        require("model.warmup_steps", warmup_steps, 0)
        require("model.final_lr_share", final_lr_share, 0.0, 1.0)
        self.make_optimizer, self.head_rate = optimizer, head_rate
        self.order, self.same, self.mean = order, same, mean
        self.warmup_steps, self.final_lr_share = warmup_steps, final_lr_share
        self.cache, self.seed = cache, seed
        shape = Small(**(small or {}))
        design = Design(
            base,
            revision,
            shape,
            tuning,
            rank,
            alpha,
            dropout,
            tuple(modules),
            hidden,
            ensemble,
            dtype,
            quantization,
        )
        require_quantization(design)
        if base is not None:
            needs = estimate(design, base_config(design), tokens, checkpointing)
            log.info("%s: %s.", base, needs.sentence())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = ScenarioModel(design, None if tuning == "frozen" else True)
        self.net.train()
        if self.net.backbone is not None:
            prepare(self.net.backbone, compile, checkpointing)
        self.calibration = Calibration()

    def setup(self, stage: str) -> None:
        """Refuses data that are no examples, and a tokenizer that does not fit; lets a frozen base
        read the prompts.
        """
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        check_data(data, "mixture")
        words, rows = len(data.tokenizer), self.net.vocabulary
        if words > rows:
            raise UserError(f"the tokenizer has {words} tokens, the model {rows}; give data.base")
        if data.packing and self.net.backbone is not None:
            self.net.require_packing()
        self.require_shardable()
        if self.net.design.base is None:
            self.net.classes = data.classes
        if self.net.backbone is None and data.hidden:
            raise UserError(
                f"data.hidden={data.hidden:g} hides words at every step, and a frozen base reads "
                "them once; give data.hidden=0, or another model.tuning"
            )
        if self.net.backbone is None and data.examples.features is None:
            self._read_once(data)

    def _read_once(self, data: Any) -> None:
        trainer = self.trainer
        found = features_of(
            self.net.design,
            data.examples.ids + data.held.ids,
            self.cache,
            data.tokens,
            trainer.strategy.root_device,
            (trainer.global_rank, trainer.world_size),
            trainer.strategy.barrier,
        )
        n = len(data.examples.ids)
        data.examples.features, data.held.features = found[:n], found[n:]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout draws from the global stream: tie it to the step."""
        step = (self.seed, "dropout", self.global_rank, self.global_step, batch_idx)
        torch.manual_seed(derive_seed(*step))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        told = self._told(batch)
        with torch.autocast(self.device.type, enabled=False):
            parts = torch.stack([self._loss(one, batch) for one in told]).mean(0)
            loss = parts[0] + self.order * parts[1] + self.same * parts[2] + self.mean * parts[3]
        self.log("train/loss", parts[0], prog_bar=True, batch_size=len(batch.ids))
        return loss

    def _told(self, batch: Batch) -> list[Mixture]:
        """Mixtures of every head, in float32 whatever the backbone computes in."""
        if batch.features is None:
            return self.net(batch.ids, batch.lengths)
        return self.net.answer(batch.features[:, None].expand(-1, N_SLOTS, -1))

    def _loss(self, told: Mixture, batch: Batch) -> Tensor:
        divergence = slot_divergence(batch.target, told).mean()
        mean = expected(told)
        wanted = (batch.target.weights[..., None] * batch.target.mean).sum(1)
        high, low = batch.pairs.T
        gap = wanted[high, batch.fields] - wanted[low, batch.fields]
        order = order_loss(mean[high, batch.fields], mean[low, batch.fields], 0.5 * gap)
        a, b = batch.same.T
        same = consistency_loss(told, a, b)
        apart = (mean - wanted)[:, :INITIAL_VOLATILITY].square().sum(-1).mean()
        return torch.stack([divergence, order, same, apart])

    def on_validation_epoch_start(self) -> None:
        """Counts begin again."""
        self.calibration = Calibration().to(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Divergence, likelihood, order and calibration on held-out examples."""
        told = self._told(batch)
        generator = torch.Generator().manual_seed(batch_idx)
        n = len(batch.ids)
        with torch.autocast(self.device.type, enabled=False):
            draws = draw(batch.target, _DRAWS, generator)
            divergence = torch.stack([slot_divergence(batch.target, m) for m in told]).mean()
            density = torch.stack([-mixture_nll(m, draws) for m in told]).logsumexp(0)
            nll = -(density - torch.tensor(float(len(told))).log().to(density)).mean()
            self.calibration.add(told, draws, batch.target)
        self.log("val/loss", divergence, prog_bar=True, batch_size=n, sync_dist=True)
        self.log("val/nll", nll, batch_size=n, sync_dist=True)
        high, low = batch.pairs.T
        if len(high):
            mean = torch.stack([expected(m) for m in told]).mean(0)
            right = mean[high, batch.fields] > mean[low, batch.fields]
            self.log("val/order", right.float().mean(), batch_size=len(high), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Tells how well widths and weights are calibrated; a figure to logs that show figures.
        Every process has seen all held-out examples.
        """
        for name, value in self.calibration.scores().items():
            self.log(f"val/{name}", value, sync_dist=True)
        if not self.trainer.is_global_zero:
            return
        for logger in self.loggers:
            show = getattr(logger, "log_image", None)
            if show is not None:
                show("val/calibration", [calibration_figure(self.calibration)])

    def configure_optimizers(self) -> Any:
        """The optimiser of what is trained, with linear warm-up and a cosine over the whole run."""
        optimizer = optimizer_of(self.make_optimizer, self.net, self.head_rate)
        return warmup_cosine(self.trainer, optimizer, self.warmup_steps, self.final_lr_share)

    def export(self, folder: str | Path, **provenance: Any) -> None:
        """Writes what ``ScenarioModel.load`` and ``load_reader("student", run=...)`` read."""
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self.cpu().eval()
        self.net.save(folder, data.tokenizer, provenance)
