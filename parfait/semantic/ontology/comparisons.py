"""Comparisons with what was expected: which way a word ("below forecasts") or two numbers ("CPI at
6.1 versus 5.2 expected", without any verb) move what they are said of.
"""

from parfait.semantic.ontology.clauses import Clause, Number, Parsed, entry_key
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.doses import is_expected
from parfait.semantic.ontology.lexicon import Mention, effects

_STRENGTH = (0.5, 2.0)  # of a gap of a tenth of what was expected and less, of four tenths and more
_JUDGED = frozenset("好优差逊糟")  # 好于预期 judges, 高于预期 measures


def compare(
    parsed: Parsed, clause: Clause, waiting: list[Target], told: list[Number]
) -> list[Target]:
    """The object that waits for a verb, redirected by the gap between the figure and what was
    expected of it; empty where the clause has not both.

    Args:
        parsed: the text.
        clause: where the expectation stands.
        waiting: objects without a verb, of this clause and those before it in the sentence.
        told: numbers of the clauses before it in the sentence.
    """
    numbers = [*told, *clause.numbers]
    hoped = [n for n in clause.numbers if is_expected(n, clause, parsed)]
    actual = [n for n in numbers if n not in hoped]
    objects = [t for t in waiting if t.entry.kind == "object" and t.event is None]
    if not (hoped and actual and objects):
        return []
    figure, hope = actual[-1], hoped[0]
    gap = figure.value - hope.value
    if gap == 0 or (figure.unit and hope.unit and figure.unit != hope.unit):
        return []
    target = objects[-1]
    target.redirect("up" if gap > 0 else "down")
    target.acted = True
    size = 5 * abs(gap) / max(abs(hope.value), 1e-9)
    target.strength *= min(max(size, _STRENGTH[0]), _STRENGTH[1])
    return [target] if target.event is not None else []


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
