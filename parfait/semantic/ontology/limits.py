"""Numbers that no market can have: held to the nearest that one can, and told.

Parameters have the bounds of ``Regime`` (``directives``). Here are moves, prices, drawdowns and
probabilities.
"""

from parfait.semantic.ontology.clauses import PROBABILITY, probability_of, stated_probability
from parfait.semantic.ontology.directives import DEEPEST, stated_drawdowns
from parfait.semantic.ontology.doses import Frame
from parfait.semantic.ontology.lexicon import effects
from parfait.semantic.ontology.normalise import Text

HIGHEST = 99.0  # the largest rise: a hundred times the price, as ``DEEPEST`` is a hundredth of it
DEAREST = 1e12  # the largest price in whatever currency


def hold(text: Text, frames: list[Frame]) -> list[str]:
    """A sentence for every impossible number of the text; ``frames`` are changed in place."""
    return [*_probabilities(text), *_drawdowns(text), *_moves(text, frames)]


def _moves(text: Text, frames: list[Frame]) -> list[str]:
    said = []
    for f in frames:
        outcome = effects()["events"][f.event].get("outcome", 0)
        quote = text.quote(f.start, f.end)
        if outcome and f.level is not None and not 0 < f.level <= DEAREST:
            f.level = None
            said.append(f'"{quote}" is no price that a market can have; it was left out.')
        most = HIGHEST if outcome > 0 else DEEPEST
        if outcome and f.move is not None and abs(f.move) > most:
            f.move = most
            verb = "rise" if outcome > 0 else "fall"
            said.append(f'"{quote}" is more than a price can {verb}; {most:.0%} was used.')
    return said


def _drawdowns(text: Text) -> list[str]:
    return [
        f'"{text.quote(*span)}" is more than a price can fall; {DEEPEST:.0%} was used.'
        for depth, span in stated_drawdowns(text.clean)
        if depth > DEEPEST
    ]


def _probabilities(text: Text) -> list[str]:
    said: dict[tuple[int, int], str] = {}
    for pattern in PROBABILITY:
        for match in pattern.finditer(text.clean):
            p = probability_of(match)
            known = any(a < match.end() and match.start() < b for a, b in said)
            if p != stated_probability(match) and not known:
                quote = text.quote(*match.span())
                said[match.span()] = f'"{quote}" is no probability; {p:.0%} was used.'
    return list(said.values())
