"""The rules of the splits: what an example may hold that training never sees."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from parfait.distill.grammar import GRAMMARS, load_yaml
from parfait.semantic.ontology.lexicon import effects

BANDS = (("0-0.5", 0.5), ("0.5-1.5", 1.5), ("1.5-3", 3.0), ("3-6", 6.0), ("6+", float("inf")))
TESTS = (
    "test_template",
    "test_event",
    "test_magnitude",
    "test_asset",
    "test_language",
    "test_composition",
)


@dataclass(frozen=True)
class Facts:
    """What a sentence and its reading hold.

    Args:
        template: the text of its template.
        events: event types that are said or read.
        negated: those of them that are denied.
        bands: of the doses, see ``band``.
        assets: asset classes named, of the market, and read.
        language: of the sentence.
    """

    template: str
    events: tuple[str, ...]
    negated: tuple[str, ...]
    bands: tuple[str, ...]
    assets: tuple[str, ...]
    language: str


@cache
def rules() -> dict[str, Any]:
    """``grammar/held_out.yaml``."""
    return load_yaml(GRAMMARS / "held_out.yaml")


def broken(facts: Facts) -> set[str]:
    """The test splits whose rule this sentence breaks: ``split_of`` must be one of them."""
    told = rules()
    language = told["language"].get(facts.language, [])
    found = {
        "test_template": facts.template in told["templates"],
        "test_event": _meet(facts.events, told["events"]),
        "test_magnitude": told["band"] in facts.bands,
        "test_asset": _meet(facts.assets, told["assets"]),
        "test_language": _meet(facts.events, language),
        "test_composition": _meet(facts.negated, told["negated"]),
    }
    return {name for name, is_so in found.items() if is_so}


def split_of(facts: Facts) -> str | None:
    """The split of a sentence; ``None`` where it breaks several rules and is of no use.

    Training and validation differ by the pair of template and events.
    """
    rule = broken(facts)
    if len(rule) > 1:
        return None
    if rule:
        return next(iter(rule))
    told = "\x1f".join([facts.template, *sorted(facts.events)])
    digest = hashlib.sha256(told.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") % rules()["validation"] == 0 else "train"


def band(event: str, dose: float) -> str:
    """Which multiple of the event's reference dose a dose is."""
    reference = effects()["events"][event].get("ref") or 1.0
    ratio = abs(dose) / reference
    return next(name for name, upper in BANDS if ratio < upper)


def _meet(a: Collection[str], b: Collection[str]) -> bool:
    return not set(a).isdisjoint(b)
