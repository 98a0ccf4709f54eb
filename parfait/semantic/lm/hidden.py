"""What training does to prompts, so that no answer rests on one word alone."""

from typing import Any

import torch
from torch import Tensor

from parfait.utils.errors import require


class Hidden:
    """Hides tokens of a prompt: the padding token stands in their place.

    The share of a prompt's tokens that are hidden is drawn from U(0, 2 ``share``), so that some
    stay nearly whole. Control tokens stay. An answer that can do without any single word falls
    back, where a word is unknown, to the mean over what it may have been (word dropout, Iyyer et
    al. 2015).

    Args:
        tokenizer: whose control tokens stay.
        share: of the tokens, on average, 0 to 0.5.

    Raises:
        UserError: a share out of bounds.
    """

    def __init__(self, tokenizer: Any, share: float) -> None:
        require("data.hidden", share, 0.0, 0.5)
        self.share, self.blank = share, int(tokenizer.pad_token_id)
        control = torch.tensor(tokenizer.all_special_ids)
        self.words = torch.ones(len(tokenizer), dtype=torch.bool).index_fill(0, control, False)

    def __call__(self, prompts: list[Tensor], generator: torch.Generator) -> list[Tensor]:
        """The prompts with tokens hidden, a function of the state of the generator."""
        found = []
        for ids in prompts:
            share, *_ = 2 * self.share * torch.rand(1, generator=generator)
            drawn = torch.rand(len(ids), generator=generator) < share
            found.append(ids.masked_fill(drawn & self.words[ids], self.blank))
        return found
