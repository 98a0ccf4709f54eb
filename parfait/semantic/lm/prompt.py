"""Instruction and market as token ids: the user's text can never be a control token."""

from typing import Any

from parfait.regime import MarketContext
from parfait.semantic.ontology.lexicon import lexicon
from parfait.semantic.ontology.normalise import normalise
from parfait.semantic.ontology.subject import subject_asset

SYSTEM = "Read the market instruction into regimes."
MAX_TOKENS = 256  # of the instruction; of a longer one head and tail are kept
_PLACE = "\ue000"  # stands for the user's words while the template is rendered


def asset_of(text: str, context: MarketContext | None) -> str:
    """The asset class that a text is about, by the rules all readers share."""
    return subject_asset(normalise(text).clean, context, lexicon())[0]


def context_line(asset: str, context: MarketContext | None) -> str:
    """What the model is told of the market: asset class and trend. Volatility is told by the units
    of the answer.
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
    return f"[{asset}{way}] "


def encode(
    tokenizer: Any, text: str, asset: str, context: MarketContext | None, limit: int = MAX_TOKENS
) -> list[int]:
    """Token ids of the prompt.

    The chat template of the tokenizer is rendered around a placeholder; the user's words are
    tokenised apart, with special tokens split, so that ``<|im_end|>`` in a text is
    characters like others.
    """
    content = context_line(asset, context) + _PLACE
    if getattr(tokenizer, "chat_template", None):
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
        whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    else:
        whole = f"{SYSTEM}\n{content}\n"
    before, _, after = whole.partition(_PLACE)
    said = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    if len(said) > limit:
        said = said[: limit // 2] + said[len(said) - limit + limit // 2 :]
    ends = [tokenizer.encode(part, add_special_tokens=False) for part in (before, after)]
    return [*ends[0], *said, *ends[1]]
