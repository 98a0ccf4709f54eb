"""Which way a comparison with what was expected moves its target."""

from parfait.semantic.ontology.clauses import Parsed, entry_key
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.lexicon import Mention, effects

_JUDGED = frozenset("好优差逊糟")  # 好于预期 judges, 高于预期 measures


def direction(parsed: Parsed, action: Mention, target: Target) -> str:
    """Where a comparison moves its target, "up" or "down".

    In Chinese a verb before it is measured by it: a fall beyond expectations stays a fall
    (回落超预期), a rise that falls short is a disappointment. A judgement (好于预期) is on the
    side of the higher drift.
    """
    side = action.entry.id[4:]
    if action.entry.language != "zh" or target.entry.kind not in ("object", "asset"):
        return side
    other = {"up": "down", "down": "up"}
    row = effects()["objects"][target.entry.id] if target.entry.kind == "object" else None
    if row is not None and _JUDGED & set(entry_key(parsed.tokens, action)):
        drifts = {k: effects()["events"][row[k]]["mu"] for k in other if k in row}
        if len(drifts) == 2 and drifts["up"] < drifts["down"]:
            return other[side]
    elif target.acted and target.event is not None:
        fell = target.event == row.get("down") if row is not None else _falls(target.event)
        return other[side] if fell else side
    return side


def _falls(event: str) -> bool:
    return effects()["events"][event].get("outcome", 0) < 0
