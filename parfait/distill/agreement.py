"""Whether a reading is what the grammar meant, and what a sentence and its reading hold."""

from parfait.distill.families import Draft
from parfait.distill.grammar import Grammar, grammar
from parfait.distill.held_out import Facts, band
from parfait.regime import RegimeDistribution
from parfait.semantic import UNSURE_BELOW


def agrees(draft: Draft, target: RegimeDistribution) -> bool:
    """Whether the reading is what the grammar meant."""
    events, meaning = target.reading["events"], draft.meaning
    if meaning is None:
        nothing = not events and not target.overrides and target.confidence <= 0.1
        return nothing and all(c.slot == "prior" for c in target.components)
    if target.confidence < UNSURE_BELOW:
        return False
    if meaning.mode in ("directive", "stated"):
        said = target.overrides or any(c.conditions for c in target.components)
        if not said:
            return False
    read = [(e["type"], e["negated"]) for e in events]
    meant = [(e, i == 0 and meaning.mode == "negated") for i, e in enumerate(meaning.events)]
    if sorted(read) != sorted(meant):
        return False
    if named(draft) and target.asset_class != meaning.asset:
        return False
    if not events:
        return True
    first = events[[e["type"] for e in events].index(meaning.events[0])]
    if meaning.dose is not None and not _near(first["magnitude"], meaning.dose):
        return False
    return meaning.mode != "chance" or _near(first["probability"], meaning.percent / 100)


def named(draft: Draft) -> bool:
    """Whether the sentence names the asset that it means."""
    return draft.meaning is not None and names_asset(
        draft.clean, grammar(draft.language), draft.meaning.asset
    )


def names_asset(text: str, words: Grammar, asset: str) -> bool:
    """Whether the text holds one of the grammar's names of that asset class."""
    low = text.lower()
    return any(name.lower() in low for name in words.data["assets"][asset])


def _near(a: float | None, b: float) -> bool:
    return a is not None and abs(abs(a) - b) <= 1e-6 * max(abs(b), 1.0)


def facts_of(draft: Draft, target: RegimeDistribution) -> Facts:
    """What decides about the split."""
    events = target.reading["events"]
    types = tuple(e["type"] for e in events) or ((draft.topic,) if draft.topic else ())
    doses = [(e["type"], e["magnitude"]) for e in events if e["magnitude"] is not None]
    meant = draft.meaning.asset if draft.meaning is not None else None
    assets = {target.asset_class, draft.context.asset_class, meant} - {None}
    assets |= {e["asset"] for e in events} - {None, "market", "shares"}
    return Facts(
        draft.template,
        types,
        tuple(e["type"] for e in events if e["negated"]),
        tuple(band(event, dose) for event, dose in doses),
        tuple(sorted(str(a) for a in assets)),
        draft.language,
    )


def tags_of(draft: Draft, target: RegimeDistribution, facts: Facts) -> dict[str, str]:
    """What a split is made by; several values are joined by commas."""
    return {
        "template": draft.template_id,
        "event": ",".join(facts.events),
        "negated": ",".join(facts.negated),
        "magnitude": ",".join(facts.bands),
        "asset": target.asset_class,
        "assets": ",".join(facts.assets),
        "composition": draft.meaning.mode if draft.meaning is not None else draft.kind,
        "style": draft.style,
    }
