"""Two numbers and no verb: "CPI printed at 6.1 versus 5.2 expected", "EPS of 1.10 against a
consensus of 1.60". The figure against what was expected of it says where it went.
"""

from parfait.semantic.ontology.clauses import Clause, Number, Parsed
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.doses import is_expected

_STRENGTH = (0.5, 2.0)  # of a gap of a tenth of what was expected and less, of four tenths and more


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
