"""A verb without an object: the Fed hikes (rates), OPEC cuts (supply), "then falls" (what was
spoken of).
"""

from typing import Any

from parfait.semantic.ontology.choose import LOOSE
from parfait.semantic.ontology.clauses import Clause, Parsed, entry_key, synthetic
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.lexicon import Mention, effects

# What is only said of rates when nothing else is named.
_OF_RATES = frozenset({"cut", "eas", "tighten", "reduction"})


def implied(
    parsed: Parsed, clause: Clause, action: Mention, targets: list[Target], frames: list[Any]
) -> Target | None:
    """A verb without an object: the Fed hikes (rates), OPEC cuts (supply), "then falls" (what was
    spoken of).
    """
    entry = action.entry
    if entry.verb == "right" or entry.id.startswith("cmp_"):
        return None
    i, j = action.i, action.j

    def found(kind: str, name: str) -> Target:
        event = name if kind == "event" else None
        return Target(synthetic(kind, name), i, j, i, event=event, acted=kind == "event")

    banks = {m.entry.id for m in clause.of("institution")}
    for other in parsed.clauses:  # "the BoJ shocked markets with a surprise hike"
        if other.sentence == clause.sentence and not targets:
            banks |= {m.entry.id for m in other.of("institution") if m.entry.id == "central_bank"}
    if entry.verb in LOOSE or entry.market == "crash":
        for name in ("bank", "government"):
            body = found("object", name)
            if name in banks and body.takes("fail" if entry.market == "crash" else entry.id):
                return body
    if entry.id == "fail" and entry_key(parsed.tokens, action) == "default":
        return found("event", "sovereign_default")
    if entry.verb in LOOSE and entry.implies in ("", "idiom"):
        return None
    basis_points = any(n.unit == "bps" for n in clause.numbers)
    previous = frames[-1].target if frames and frames[-1].sentence == clause.sentence else None
    if entry.id in ("hold", "end") and not banks:
        return None
    if "central_bank" in banks and entry.verb in ("trans", "both"):
        return found("object", "policy_rate")
    if "opec" in banks and entry.verb == "trans":
        return found("object", "oil_supply")
    if basis_points and entry.verb == "trans":
        return found("object", "policy_rate")
    if (
        previous is not None
        and previous.entry.kind in ("object", "asset")
        and entry.verb not in ("trans", *LOOSE)
    ):
        return Target(previous.entry, i, j, i, asset=previous.asset)
    if entry.implies:
        return found("event" if entry.implies in effects()["events"] else "object", entry.implies)
    alone = not any(
        c.of("event", "object", "asset") for c in parsed.clauses if c.sentence == clause.sentence
    )
    if alone and entry_key(parsed.tokens, action) in _OF_RATES:
        return found("object", "policy_rate")  # "an emergency cut", "the bank stunned by easing"
    percent = any(n.unit == "%" or (n.unit == "pts" and n.value >= 100) for n in clause.numbers)
    if entry.bare or (percent and entry.verb == "intrans" and not targets):
        return found("asset", "market")
    return None
