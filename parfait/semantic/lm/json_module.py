"""Fine-tuning on the answers alone: a causal language model learns to tell scenarios as JSON."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parfait.semantic.lm.completion import CompletionBatch, completion_loss
from parfait.semantic.lm.datamodule import check_data
from parfait.semantic.lm.memory import estimate
from parfait.semantic.lm.model import Design, Small, backbone, base_config
from parfait.semantic.lm.speaker import positions, rows, save_speaker
from parfait.semantic.lm.speed import prepare
from parfait.semantic.lm.trained import TrainedOnly
from parfait.utils.errors import UserError, require
from parfait.utils.schedule import warmup_cosine
from parfait.utils.seeding import derive_seed

log = logging.getLogger(__name__)


class JsonModule(TrainedOnly):
    """Loss: mean cross-entropy of the tokens of the answers; prompts are only read.
    Checkpoints hold what is trained and nothing of a base that stays as it is.

    Args:
        optimizer: callable from parameters to an optimiser.
        base, revision, tuning, rank, alpha, dropout, modules, dtype: ``Design``.
        tokens: of a batch, for the estimate of memory that is told before weights are loaded.
        small: ``Small``, the architecture without a base.
        checkpointing: compute activations again in the backward pass, for a third more time.
        warmup_steps, final_lr_share: of the schedule.
        seed: of what starts at random.

    Raises:
        UserError: a setting out of range, or a tuning that trains no words.
    """

    base_prefix = "net."

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
        dtype: str = "float32",
        tokens: int = 4096,
        small: dict[str, int] | None = None,
        checkpointing: bool = False,
        warmup_steps: int = 100,
        final_lr_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require("model.warmup_steps", warmup_steps, 0)
        require("model.final_lr_share", final_lr_share, 0.0, 1.0)
        if tuning == "frozen":
            raise UserError("model.target=json needs model.tuning=lora or full; frozen learns none")
        self.make_optimizer, self.seed = optimizer, seed
        self.warmup_steps, self.final_lr_share = warmup_steps, final_lr_share
        self.design = Design(
            base,
            revision,
            Small(**(small or {})),
            tuning,
            rank,
            alpha,
            dropout,
            tuple(modules),
            dtype=dtype,
        )
        if base is not None:
            config = base_config(self.design)
            needs = estimate(self.design, config, tokens, checkpointing, speaks=True)
            log.info("%s: %s.", base, needs.sentence())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = backbone(self.design, pretrained=True, speaks=True).train()
        prepare(self.net, compile=False, checkpointing=checkpointing)

    def setup(self, stage: str) -> None:
        """Refuses data of another kind, a tokenizer that does not fit, examples too long and
        weights that cannot be sharded.
        """
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        check_data(data, "json")
        self.require_shardable()
        told, known = len(data.tokenizer), rows(self.net)
        if told > known:
            raise UserError(f"the tokenizer has {told} tokens, the model {known}; give data.base")
        if data.tokenizer.eos_token_id is None:
            raise UserError("the tokenizer has no end token; give data.base one that has")
        longest = max(len(ids) for ids in data.examples.ids + data.held.ids)
        most = positions(self.design)
        if most is not None and longest > most:
            what = f"model.small.positions={2 * longest}"
            raise UserError(
                f"the longest example has {longest} tokens, the model {most} positions; give "
                f"{what if self.design.base is None else 'another model.base'}"
            )

    def on_train_batch_start(self, batch: CompletionBatch, batch_idx: int) -> None:
        """Dropout draws from the global stream: tie it to the step."""
        step = (self.seed, "dropout", self.global_rank, self.global_step, batch_idx)
        torch.manual_seed(derive_seed(*step))

    def training_step(self, batch: CompletionBatch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        loss = self._loss(batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.ids))
        return loss

    def validation_step(self, batch: CompletionBatch, batch_idx: int) -> None:
        """Loss on held-out examples, every token counting alike."""
        n = len(batch.answered[0])
        loss = self._loss(batch)
        self.log("val/loss", loss, prog_bar=True, batch_size=n, sync_dist=True)

    def _loss(self, batch: CompletionBatch) -> Tensor:
        told = self.net(input_ids=batch.ids, attention_mask=batch.seen, use_cache=False)
        return completion_loss(told.logits, batch)

    def configure_optimizers(self) -> Any:
        """The optimiser of what is trained, with linear warm-up and a cosine over the whole run."""
        optimizer = self.make_optimizer([p for p in self.net.parameters() if p.requires_grad])
        return warmup_cosine(self.trainer, optimizer, self.warmup_steps, self.final_lr_share)

    def export(self, folder: str | Path, **provenance: Any) -> None:
        """Writes what ``load_reader("json_lm", run=...)`` reads."""
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self.cpu().eval()
        save_speaker(folder, self.net, data.tokenizer, self.design, provenance)
