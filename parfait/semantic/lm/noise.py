"""What training does to prompts, so that no answer rests on one word alone."""

import json
from typing import Any

import torch
from torch import Tensor

from parfait.utils.errors import UserError, require

_ROUNDS = 3  # a token falls into eight pieces at most


class Noise:
    """Takes tokens apart and hides some of them.

    A token of a byte-level BPE is the merge of two, these of two again. With a share p, drawn
    for every prompt from U(0, 2 ``apart``), a token becomes the two it was merged from; in three
    rounds, so that pieces fall apart too. Then every token is replaced by the padding token with a
    share of its own from U(0, 2 ``hidden``). Control tokens stay.

    A word that training never met is met as pieces, and an answer that can do without any single
    piece falls back, where a word is unknown, to the mean over what it may have been. The idea of
    the first is that of BPE-dropout (Provilkov et al. 2020), which redoes the merges from the text;
    here the finished merges are undone, which needs the tokens alone.

    Args:
        tokenizer: a BPE with its merges.
        apart: share of the tokens that are taken apart in a round, on average.
        hidden: share of the pieces that are hidden, on average.

    Raises:
        UserError: a share out of bounds, or a tokenizer without merges.
    """

    def __init__(self, tokenizer: Any, apart: float = 0.0, hidden: float = 0.0) -> None:
        require("data.noise.apart", apart, 0.0, 0.5)
        require("data.noise.hidden", hidden, 0.0, 0.5)
        self.apart, self.hidden = apart, hidden
        self.blank = int(tokenizer.pad_token_id)
        control = torch.tensor(tokenizer.all_special_ids)
        self.words = torch.ones(len(tokenizer), dtype=torch.bool).index_fill(0, control, False)
        self.halves = torch.full((len(tokenizer), 2), -1)
        for whole, first, second in _merges(tokenizer) if apart else ():
            self.halves[whole, 0], self.halves[whole, 1] = first, second

    def __call__(self, prompts: list[Tensor], generator: torch.Generator) -> list[Tensor]:
        """The prompts with noise, a function of the state of the generator."""
        ids = torch.cat(prompts)
        row = torch.repeat_interleave(
            torch.arange(len(prompts)), torch.tensor([len(p) for p in prompts])
        )
        shares = 2 * torch.rand(2, len(prompts), generator=generator)
        for _ in range(_ROUNDS if self.apart else 0):
            drawn = torch.rand(len(ids), generator=generator) < self.apart * shares[0, row]
            cut = drawn & (self.halves[ids, 0] >= 0)
            first = torch.arange(len(ids)) + cut.cumsum(0) - cut.long()
            pieces = torch.repeat_interleave(ids, 1 + cut.long())
            row = torch.repeat_interleave(row, 1 + cut.long())
            pieces[first[cut]], pieces[first[cut] + 1] = self.halves[ids[cut]].T
            ids = pieces
        if self.hidden:
            drawn = torch.rand(len(ids), generator=generator) < self.hidden * shares[1, row]
            ids = ids.masked_fill(drawn & self.words[ids], self.blank)
        return list(ids.split(torch.bincount(row, minlength=len(prompts)).tolist()))


def _merges(tokenizer: Any) -> list[tuple[int, int, int]]:
    """(whole, first half, second half) of every merge, as token ids."""
    try:
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        pairs, known = model["merges"], model["vocab"]
    except (AttributeError, KeyError) as error:
        raise UserError(
            "data.noise.apart needs a tokenizer that merges pairs (BPE), which that of the base "
            "is not; set it to 0"
        ) from error
    halves = (pair.split(" ") if isinstance(pair, str) else pair for pair in pairs)
    return [(known[a + b], known[a], known[b]) for a, b in halves]
