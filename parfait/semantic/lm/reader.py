"""``LanguageModelReader``: what a trained model makes of an instruction."""

from dataclasses import replace
from pathlib import Path

import torch

from parfait.regime import Component, MarketContext, RegimeDistribution
from parfait.semantic.literal import obey, rules, understood
from parfait.semantic.lm.devices import moved
from parfait.semantic.lm.head import combine
from parfait.semantic.lm.model import TOKENIZER, ScenarioModel
from parfait.semantic.lm.prompt import encode
from parfait.semantic.lm.speaker import is_speaker
from parfait.semantic.lm.targets import from_units
from parfait.semantic.lm.tokens import load_tokenizer
from parfait.semantic.ontology.normalise import plain_sentences
from parfait.utils.errors import UserError

STUDENT = Path(__file__).parents[2] / "pretrained" / "student"
_PLAIN = {
    "crash": "It goes the way of a crash.",
    "shock_and_recover": "The shock comes first and is then turned back.",
    "trend_up": "It carries the market up.",
    "grind_down": "It weighs on the market.",
    "calm": "It calms the market.",
    "squeeze": "Buyers are forced, and the move feeds on itself.",
    "baseline": "It changes little, or does not happen.",
    "prior": "What is not known of it.",
}


def model_folder(run: str | Path) -> Path:
    """The model of a training run, or the folder itself."""
    folder = Path(run)
    return folder / "model" if (folder / "model").is_dir() else folder


class LanguageModelReader:
    """Reads by a model that ``train.py model=student`` or ``model=qwen2_lora`` made.

    Args:
        run: a training run or a model folder; ``None`` is the student that ships with Parfait.
        device: where the model runs.
        source: name that readings carry.

    Raises:
        UserError: there is no model, or it does not fit.
    """

    def __init__(
        self, run: str | None = None, device: str = "cpu", source: str = "student"
    ) -> None:
        if run is None and source != "student":
            raise UserError(
                f"semantic={source} needs semantic.run, a run of train.py model=qwen2_lora"
            )
        folder = STUDENT if run is None else model_folder(run)
        if is_speaker(folder):
            raise UserError(
                f"{run} was trained with model.target=json; read with semantic=json_lm "
                "semantic.run=..."
            )
        self.model = moved(ScenarioModel.load(folder), device)
        self.tokenizer = load_tokenizer(folder / TOKENIZER)
        self.device, self.source = device, source

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """Reads any Unicode string; see ``parfait.semantic.literal`` for what is literal.

        Raises:
            UserError: the instruction is not a string.
        """
        by_rules = rules(instruction, context)
        if not understood(by_rules):
            return replace(by_rules, source=self.source)
        said = plain_sentences(instruction)
        asset = self.model.told_of(by_rules.asset_class)
        ids = encode(self.tokenizer, said, asset, context)
        with torch.no_grad():
            told = self.model(
                torch.tensor([ids], device=self.device),
                torch.tensor([len(ids)], device=self.device),
            )
            weights, mean, cholesky, is_open = (part[0].cpu() for part in combine(told))
        found = from_units(weights, mean, cholesky, is_open, by_rules.asset_class, context)
        named = tuple(_named(c, by_rules) for c in found)
        return obey(named, instruction, context, by_rules, self.source)


def _named(c: Component, by_rules: RegimeDistribution) -> Component:
    """Names and reasons come from the slot and from the events that the rules found."""
    events = list(dict.fromkeys(e["name"] for e in by_rules.reading.get("events", ())))[:3]
    name = c.name if not events else f"{', '.join(events)}: {c.name}"
    if c.slot in ("prior", "baseline"):
        name = "prior" if c.slot == "prior" else "no change"
    return replace(c, name=name, rationale=_PLAIN[c.slot])
