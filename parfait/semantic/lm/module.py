"""Distillation of a teacher into a ``ScenarioModel`` as a ``LightningModule``."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from parfait.regime.fields import INITIAL_VOLATILITY
from parfait.semantic.lm.datamodule import Batch, DistilledDataModule
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
from parfait.semantic.lm.model import Design, ScenarioModel, Small, base_config
from parfait.utils.errors import UserError, require
from parfait.utils.schedule import warmup_cosine

log = logging.getLogger(__name__)

_DRAWS = 8  # of every teacher's mixture, for the likelihood told in validation


class ScenarioModule(lightning.LightningModule):
    """Loss: D(teacher, student), plus order and consistency of contrast pairs.

        L = mean over heads of [D + order mean max(0, margin - difference) + same D_sym
                                + mean |E u - E u'|^2]

    The last part is the squared error of the mean of the first ten coordinates, in prior sd: in D
    it counts the less the wider the student's answer is, and a beginner's answers are wide.

    The margin is half of the difference that the teacher makes. ``val/loss`` is D, ``val/nll`` the
    mean of -ln p(u) over draws of the teacher's mixtures, ``val/order`` the share of pairs in the
    right order.

    Args:
        optimizer: callable from parameters to an optimiser.
        base, revision, tuning, rank, alpha, dropout, modules, hidden, ensemble, dtype: ``Design``.
        tokens: of a batch, for the estimate of memory that is told before weights are loaded.
        small: ``Small``, the architecture without a base.
        order, same, mean: weights of the additional losses.
        warmup_steps, final_lr_share: of the schedule.
        seed: of what starts at random.
    """

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
        tokens: int = 4096,
        small: dict[str, int] | None = None,
        order: float = 0.2,
        same: float = 0.1,
        mean: float = 0.0,
        warmup_steps: int = 100,
        final_lr_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require("model.order", order, 0.0)
        require("model.same", same, 0.0)
        require("model.mean", mean, 0.0)
        require("model.warmup_steps", warmup_steps, 0)
        require("model.final_lr_share", final_lr_share, 0.0, 1.0)
        self.make_optimizer = optimizer
        self.order, self.same, self.mean = order, same, mean
        self.warmup_steps, self.final_lr_share = warmup_steps, final_lr_share
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
        )
        if base is not None:
            log.info("%s: %s.", base, estimate(design, base_config(design), tokens).sentence())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = ScenarioModel(design)

    def setup(self, stage: str) -> None:
        """Refuses data that are no examples, and a tokenizer that does not fit."""
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if not isinstance(data, DistilledDataModule):
            raise UserError(
                f"this model learns from examples, not a {type(data).__name__}; give data=distilled"
            )
        words, rows = len(data.tokenizer), int(self.net.backbone.config.vocab_size)
        if words > rows:
            raise UserError(f"the tokenizer has {words} tokens, the model {rows}; give data.base")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        told = self.net(batch.ids, batch.lengths)
        parts = torch.stack([self._loss(one, batch) for one in told]).mean(0)
        loss = parts[0] + self.order * parts[1] + self.same * parts[2] + self.mean * parts[3]
        self.log("train/loss", parts[0], prog_bar=True, batch_size=len(batch.ids))
        return loss

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

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Divergence, likelihood and order on held-out examples."""
        told = self.net(batch.ids, batch.lengths)
        generator = torch.Generator().manual_seed(batch_idx)
        draws = draw(batch.target, _DRAWS, generator)
        n = len(batch.ids)
        divergence = torch.stack([slot_divergence(batch.target, m) for m in told]).mean()
        density = torch.stack([-mixture_nll(m, draws) for m in told]).logsumexp(0)
        nll = -(density - torch.tensor(float(len(told))).log().to(density)).mean()
        self.log("val/loss", divergence, prog_bar=True, batch_size=n, sync_dist=True)
        self.log("val/nll", nll, batch_size=n, sync_dist=True)
        high, low = batch.pairs.T
        if len(high):
            mean = torch.stack([expected(m) for m in told]).mean(0)
            right = mean[high, batch.fields] > mean[low, batch.fields]
            self.log("val/order", right.float().mean(), batch_size=len(high), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimiser of what is trained, with linear warm-up and a cosine over the whole run."""
        optimizer = self.make_optimizer([p for p in self.net.parameters() if p.requires_grad])
        return warmup_cosine(self.trainer, optimizer, self.warmup_steps, self.final_lr_share)

    def export(self, folder: str | Path, **provenance: Any) -> None:
        """Writes what ``ScenarioModel.load`` and ``load_reader("student", run=...)`` read."""
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self.cpu().eval()
        self.net.save(folder, data.tokenizer, provenance)
