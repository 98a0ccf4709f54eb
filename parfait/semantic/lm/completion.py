"""Examples as prompts with the scenario JSON that is to be answered, and the loss of the answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from parfait.semantic.examples import Example
from parfait.semantic.lm.datamodule import DistilledDataModule
from parfait.semantic.lm.prompt import conversation, words
from parfait.semantic.spoken.prompt import TRAINED, messages
from parfait.semantic.spoken.schema import to_text


@dataclass(frozen=True)
class CompletionBatch:
    """Prompts with their answers.

    Args:
        ids: both, padded on the right with 0.
        lengths: tokens of both.
        prompts: tokens of the prompt alone.
    """

    ids: Int64[Tensor, "batch tokens"]
    lengths: Int64[Tensor, " batch"]
    prompts: Int64[Tensor, " batch"]

    def to(self, device: torch.device | str) -> "CompletionBatch":
        """On a device."""
        parts = (self.ids, self.lengths, self.prompts)
        return CompletionBatch(*(x.to(device) for x in parts))

    @property
    def seen(self) -> Int64[Tensor, "batch tokens"]:
        """1 where there is a token, 0 where padding is."""
        return (self._places < self.lengths[:, None]).long()

    @property
    def answered(self) -> tuple[Tensor, Tensor]:
        """Rows and places of the answers' tokens, the end token included."""
        mask = (self._places >= self.prompts[:, None]) & self.seen.bool()
        rows, places = mask.nonzero(as_tuple=True)
        return rows, places

    @property
    def _places(self) -> Tensor:
        return torch.arange(self.ids.shape[1], device=self.ids.device)


def completion_loss(
    logits: Float[Tensor, "batch tokens vocabulary"], batch: CompletionBatch
) -> Float[Tensor, ""]:
    """Mean of -ln p(token | all before it) over the tokens of the answers; prompts and padding
    count nothing.
    """
    rows, places = batch.answered
    return F.cross_entropy(logits[rows, places - 1].float(), batch.ids[rows, places])


class Completions:
    """Token ids of prompts with answers.

    Args:
        tokenizer: with an end token, which ends every answer.
        examples: the targets are told as ``to_text``.
    """

    def __init__(self, tokenizer: Any, examples: Sequence[Example]) -> None:
        self.ids: list[Tensor] = []
        self.prompts: list[int] = []
        for e in examples:
            asked = conversation(tokenizer, prompt(e))
            answer = [*words(tokenizer, to_text(e.target)), tokenizer.eos_token_id]
            self.ids.append(torch.tensor([*asked, *answer]))
            self.prompts.append(len(asked))
        self.units = [[i] for i in range(len(self.ids))]

    def batch(self, numbers: Sequence[int]) -> CompletionBatch:
        """The examples of those numbers."""
        ids = torch.nn.utils.rnn.pad_sequence([self.ids[i] for i in numbers], batch_first=True)
        lengths = torch.tensor([len(self.ids[i]) for i in numbers])
        return CompletionBatch(ids, lengths, torch.tensor([self.prompts[i] for i in numbers]))


def prompt(example: Example) -> list[dict[str, str]]:
    """What a trained model is asked."""
    return messages(example.text, example.target.asset_class, example.context, TRAINED)


class CompletionDataModule(DistilledDataModule):
    """Batches of prompts with answers of about so many tokens; see ``DistilledDataModule``."""

    target = "json"
    packs = False
    verbatim = True

    def texts(self, examples: Sequence[Example]) -> Iterator[str]:
        """What a tokenizer is learnt from."""
        for e in examples:
            yield prompt(e)[-1]["content"]
            yield to_text(e.target)

    def encoded(self, examples: Sequence[Example]) -> Completions:
        """The examples as tokens."""
        return Completions(self.tokenizer, examples)
