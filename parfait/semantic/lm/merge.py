"""Adapters into their base: one model, and the proof that it answers as before."""

from dataclasses import replace
from pathlib import Path

import torch

from parfait.semantic.lm.model import TOKENIZER, ScenarioModel
from parfait.semantic.lm.prompt import encode
from parfait.semantic.lm.reader import model_folder
from parfait.semantic.lm.tokens import load_tokenizer
from parfait.utils.errors import UserError

ASKED = (
    "War breaks out",
    "The central bank unexpectedly raises rates by 50 bps",
    "央行意外降息50个基点",
    "A calm month",
)


def merge_run(run: str | Path, folder: str | Path, tolerance: float) -> float:
    """Writes the merged model of a run into ``folder``.

    Returns:
        The largest difference of means and logits between both models, prior sd.

    Raises:
        UserError: the run holds no adapter, or the difference exceeds ``tolerance``.
    """
    source = model_folder(run)
    # Merged into 4 or 8 bits, adapters would be rounded away.
    model = ScenarioModel.load(source, restored=True)
    if model.design.tuning != "lora":
        raise UserError(f"{source} holds no adapter: it was trained with {model.design.tuning!r}")
    tokenizer = load_tokenizer(source / TOKENIZER)
    before = _answers(model, tokenizer)
    model.backbone = model.backbone.merge_and_unload()
    model.design = replace(model.design, tuning="full", quantization=None)
    apart = float((_answers(model, tokenizer) - before).abs().max())
    if not apart <= tolerance:
        raise UserError(
            f"the merged model answers otherwise, by {apart:.3g} prior sd (tolerance "
            f"{tolerance:g}); use model.dtype=float32, or a larger tolerance="
        )
    model.save(folder, tokenizer, {"merged": True}, whole=True)
    return apart


def _answers(model: ScenarioModel, tokenizer: object) -> torch.Tensor:
    found = []
    for text in ASKED:
        ids = encode(tokenizer, text, "equity", None)
        with torch.no_grad():
            told = model(torch.tensor([ids]), torch.tensor([len(ids)]))
        found += [torch.cat([m.mean.flatten(), m.logits.flatten()]) for m in told]
    return torch.stack(found)
