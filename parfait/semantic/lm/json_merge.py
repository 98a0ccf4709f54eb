"""Adapters of a model that answers in JSON into their base: one folder, and the proof that it
answers as before.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from parfait.semantic.literal import rules
from parfait.semantic.lm.merge import ASKED
from parfait.semantic.lm.prompt import conversation, words
from parfait.semantic.lm.reader import model_folder
from parfait.semantic.lm.speaker import load_speaker, save_speaker
from parfait.semantic.spoken.prompt import messages
from parfait.semantic.spoken.schema import to_text
from parfait.utils.errors import UserError


def merge_speaker(run: str | Path, folder: str | Path, tolerance: float) -> float:
    """Writes the merged model of a run into ``folder``, which serves as ``semantic.base`` too.

    Returns:
        The largest difference of a logit between both models, along prompts and answers.

    Raises:
        UserError: the run holds no adapter, or the difference exceeds ``tolerance``.
    """
    source = model_folder(run)
    told = load_speaker(source, trained=True)
    if told.design.tuning != "lora":
        raise UserError(f"{source} holds no adapter: it was trained with {told.design.tuning!r}")
    before = _logits(told.model, told.tokenizer, told.task)
    merged = told.model.merge_and_unload()
    after = _logits(merged, told.tokenizer, told.task)
    apart = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    if not apart <= tolerance:
        raise UserError(
            f"the merged model answers otherwise, by {apart:.3g} in a logit (tolerance "
            f"{tolerance:g}); use model.dtype=float32, or a larger tolerance="
        )
    design = replace(told.design, tuning="full")
    save_speaker(folder, merged, told.tokenizer, design, {"merged": True})
    return apart


def _logits(
    model: Any, tokenizer: Any, task: str | None
) -> list[Float[Tensor, "tokens vocabulary"]]:
    """Of every place in prompts that are answered as the rules read them."""
    found = []
    for text in ASKED:
        asked = conversation(tokenizer, messages(text, "equity", None, task))
        ids = torch.tensor([[*asked, *words(tokenizer, to_text(rules(text)))]])
        with torch.no_grad():
            found.append(model(input_ids=ids, use_cache=False).logits[0].float())
    return found
