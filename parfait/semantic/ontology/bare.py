"""A size without an action: "the central bank surprises with 50bps"."""

from collections.abc import Sequence

from parfait.semantic.ontology.clauses import Clause
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.lexicon import Entry

_SPOKEN_FOR = ("event", "object", "action", "asset", "negators", "averted")


def bare_surprise(clause: Clause, before: Sequence[Clause]) -> list[Target]:
    """A central bank that surprises by so many basis points, and is said to do nothing else, raises
    rates: a surprise counts as positive where the rate is higher than expected (Kuttner 2001).

    Args:
        clause: of one sentence, with the size.
        before: the clauses of the sentence before it, none of which made an event.
    """
    known = [m for c in (*before, clause) for m in c.mentions if m.entry.id != "market"]
    sizes = [n for n in clause.numbers if n.unit == "bps" and not n.level and n.origin is None]
    bank = [m for m in known if (m.entry.kind, m.entry.id) == ("institution", "central_bank")]
    if not sizes or not bank or any(m.entry.kind in _SPOKEN_FOR for m in known):
        return []
    if not any((m.entry.kind, m.entry.id) == ("surprise", "full") for m in known):
        return []
    hike, end = Entry("event", "rate_hike", bank[0].entry.language), sizes[-1].i + 1
    return [Target(hike, bank[0].i, end, bank[0].i, event=hike.id, assumed=True)]
