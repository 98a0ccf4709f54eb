"""Scenario JSON token by token: which tokens may come next, whatever a model would rather say.

The JSON schema is compiled by llguidance into a mask over the vocabulary. What no JSON schema can
tell, that low, mid and high are in order, is added here: a token is left out if after it no whole
number in order and within its bounds can follow.
"""

import json
import re
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from parfait.semantic.spoken.schema import UNITS, json_schema, whole_bounds
from parfait.utils.errors import UserError, first_line

_RANGE = re.compile(
    rb'"(\w+)":\{"low":(-?\d+),"mid":(-?\d*)(,(?:"high":(-?\d*)(\}?))?)?'  # what is told of a field
)
_OPENS = b'{"low":'
_DIGITS = 7  # more than any bound has


class Grammar:
    """The grammar of short scenario JSON over one vocabulary.

    Args:
        tokenizer: a fast one of transformers, with an end token.
        rows: logits of the model, at least one per token.

    Raises:
        UserError: llguidance is not installed, or the tokenizer cannot be used with it.
    """

    def __init__(self, tokenizer: Any, rows: int) -> None:
        try:
            from llguidance import LLMatcher
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise UserError(
                "semantic=json_lm needs the package llguidance; install it with "
                "pip install 'parfait[lm]', or set semantic.grammar=false"
            ) from error
        if tokenizer.eos_token_id is None or len(tokenizer) > rows:
            raise UserError(
                f"the tokenizer ({len(tokenizer)} tokens) does not fit the model ({rows}), or has "
                "no end token; give a base whose files belong together"
            )
        try:
            self.tokens = from_tokenizer(tokenizer, n_vocab=rows)
        except ValueError as error:
            raise UserError(
                f"this tokenizer cannot be held to a grammar ({first_line(error)}); set "
                "semantic.grammar=false"
            ) from error
        self.rows = rows
        self._matcher = LLMatcher
        self._rules = LLMatcher.grammar_from_json_schema(
            json.dumps(json_schema(short=True)), overrides={"whitespace_flexible": False}
        )

    def begin(self) -> "Answering":
        """The beginning of one answer."""
        return Answering(self, self._matcher(self.tokens, self._rules))


class Answering:
    """An answer that is being written.

    Args:
        grammar: what it obeys.
        matcher: of llguidance, new for every answer.
    """

    def __init__(self, grammar: Grammar, matcher: Any) -> None:
        self._grammar, self._matcher = grammar, matcher
        self._mask = np.zeros((1, -(-grammar.rows // 32)), dtype=np.int32)
        self._said = b""

    @property
    def done(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    @property
    def text(self) -> str:
        """What was written so far."""
        return self._said.decode("utf-8", "replace")

    def best(self, logits: Float[Tensor, " rows"]) -> int:
        """The allowed token of the largest logit."""
        allowed = torch.from_numpy(self.allowed())
        scores = logits.detach().float().cpu().nan_to_num()
        return int(scores.masked_fill(~allowed, -torch.inf).argmax())

    def allowed(self) -> np.ndarray:
        """Which tokens may come next, (rows,) of bool."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._mask)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")  # lowest bit first
        allowed = bits[: self._grammar.rows].astype(bool)
        tail = self._said[max(self._said.rfind(_OPENS), 0) :]
        if tail.startswith(_OPENS) and b"}" not in tail:
            name = self._said[: -len(tail)].rpartition(b',"')[2]
            for token in allowed.nonzero()[0].tolist():
                piece = self._grammar.tokens.decode_bytes([token])
                allowed[token] = in_order(b'"' + name + tail + piece)
        return allowed

    def take(self, token: int) -> None:
        """Writes a token."""
        if not self._matcher.consume_token(token):
            raise RuntimeError(f"the grammar refused a token: {self._matcher.get_error()}")
        self._said += self._grammar.tokens.decode_bytes([token])

    def forced(self) -> list[int]:
        """Writes the tokens about which there is no choice, such as the rest of a key."""
        found: list[int] = []
        while not self.done and (more := self._matcher.compute_ff_tokens()):
            for token in more:
                self.take(token)
            found += more
        return found


def in_order(text: bytes) -> bool:
    """Whether the ranges in ``text``, of which the last may be unfinished, are in order or can be
    finished so.
    """
    for found in _RANGE.finditer(text):
        name, low, mid, more, high, end = found.groups()
        if name.decode() not in UNITS:
            continue
        most = whole_bounds(name.decode())[1]
        if not _reaches(mid, int(low), most, finished=more is not None):
            return False
        if high is not None and not _reaches(high, int(mid), most, finished=bool(end)):
            return False
    return True


def _reaches(digits: bytes, least: int, most: int, finished: bool) -> bool:
    """Whether a number that begins (or is) so lies within [least, most]."""
    if digits in (b"", b"-"):
        return least <= (most if not digits else min(most, -1))
    value, negative = int(digits), digits.startswith(b"-")
    if finished or value == 0:  # no digit follows a leading zero
        return least <= value <= most
    for k in range(_DIGITS):
        near = abs(value) * 10**k
        far = near + 10**k - 1
        low, high = (-far, -near) if negative else (near, far)
        if low <= most and high >= least:
            return True
    return False
