"""Instruction and market as token ids: the user's text can never be a control token."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from parfait.regime import MarketContext
from parfait.utils.errors import UserError

SYSTEM = "Read the market instruction into regimes."
MAX_TOKENS = 256  # of the instruction; of a longer one head and tail are kept
# Stands for words number n while the template is rendered.
_PLACE = "\ue000{}\ue001"
_PLACES = re.compile("\ue000(\\d+)\ue001")


def context_line(asset: str | None, context: MarketContext | None) -> str:
    """What the model is told of the market: asset class (``None`` is silent) and trend. Volatility
    is told by the units of the answer.
    """
    trend = None if context is None else context.trend
    way = (
        ""
        if trend is None
        else ", rising"
        if trend > 0.05
        else ", falling"
        if trend < -0.05
        else ""
    )
    return f"[{asset or ''}{way}] "


def encode(
    tokenizer: Any,
    text: str,
    asset: str | None,
    context: MarketContext | None,
    limit: int = MAX_TOKENS,
) -> list[int]:
    """Token ids of the prompt.

    The chat template of the tokenizer is rendered around a placeholder; the user's words are
    tokenised apart, with special tokens split, so that ``<|im_end|>`` in a text is
    characters like others.
    """
    said = words(tokenizer, text)
    if len(said) > limit:
        said = said[: limit // 2] + said[len(said) - limit + limit // 2 :]
    content = context_line(asset, context) + _PLACE.format(0)
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
    return _rendered(tokenizer, asked, [said])


def conversation(tokenizer: Any, asked: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of messages up to where the model's answer begins. Contents are tokenised apart,
    as in ``encode``, but for those of the role "system".
    """
    said = [words(tokenizer, m["content"]) for m in asked]
    places = [
        dict(m) if m["role"] == "system" else {"role": m["role"], "content": _PLACE.format(n)}
        for n, m in enumerate(asked)
    ]
    return _rendered(tokenizer, places, said)


def words(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text in which nothing is a control token."""
    text = text.encode("utf-8", "replace").decode()  # without halves of surrogate pairs
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


def _rendered(
    tokenizer: Any, asked: Sequence[Mapping[str, str]], said: Sequence[list[int]]
) -> list[int]:
    """The template around the words said; a template may leave some of them out."""
    parts = _PLACES.split(_template(tokenizer, asked))
    found = []
    for k, part in enumerate(parts):
        found += said[int(part)] if k % 2 else tokenizer.encode(part, add_special_tokens=False)
    return found


def _template(tokenizer: Any, asked: Sequence[Mapping[str, str]]) -> str:
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        return "".join(f"{m['content']}\n" for m in asked)
    try:
        return tokenizer.apply_chat_template(
            list(asked), tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        if asked[0]["role"] != "system":
            raise UserError(f"the chat template of the model fails: {error}") from error
    # Some know no system text: it then begins the user's.
    first = {"role": "user", "content": f"{asked[0]['content']}\n\n{asked[1]['content']}"}
    return _template(tokenizer, [first, *asked[2:]])
