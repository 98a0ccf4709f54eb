"""Text in which no event was found but whose tone is plain: the market of the text feels it a
little, and the answer stays wide.

Judgements ("botched", "stellar", "the wheels have come off") count where the text also names
something of markets or the economy, or is a turn of phrase that means trouble or luck by itself.
"""

from parfait.semantic.ontology.clauses import Clause, Parsed, synthetic
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.doses import Frame
from parfait.semantic.ontology.lexicon import Mention, lexicon

_GOOD = frozenset({"good", "succeed", "win", "save", "beat"})
_BAD = frozenset({"bad", "fail", "lose", "destroy", "leave", "miss", "close"})
_STRENGTH = 0.35
_COMPANIES = frozenset(
    ["business", "product", "executive", "works", "customers", "contract", "drug_trial", "cash"]
)


def plain_tone(parsed: Parsed) -> list[Frame]:
    """At most one frame: a weak move of the subject's own market, or of the appetite for risk when
    the text speaks of the economy or of states; empty without tone, where good and bad are in
    balance, where nothing of markets is named, or something of another world is.
    """
    judged: list[tuple[Clause, Mention, float]] = []
    evidence: set[tuple[str, str]] = set()
    for clause in parsed.clauses:
        for m in clause.of("action"):
            sign = (m.entry.id in _GOOD) - (m.entry.id in _BAD)
            if sign:
                judged.append((clause, m, sign * m.entry.value * _denial(clause, m)))
                evidence |= {("idiom", "")} if m.entry.implies == "idiom" else set()
        evidence |= {
            (m.entry.kind, m.entry.id) for m in clause.of("asset", "object", "institution")
        }
    words = lexicon()
    strange = any(parsed.clean[t.start : t.end] in words.elsewhere for t in parsed.tokens)
    if strange or any(clause.of("elsewhere") for clause in parsed.clauses):
        return []
    tone = sum(value for *_, value in judged)
    if not evidence or abs(tone) < 1e-9:
        return []
    own = any(kind in ("asset", "idiom") or name in _COMPANIES for kind, name in evidence)
    events = ("rally", "selloff") if own else ("risk_on", "risk_off")
    clause, mention, _ = max(judged, key=lambda row: row[2] * tone)
    event = events[tone < 0]
    target = Target(synthetic("event", event), mention.i, mention.j, mention.i, event=event)
    start, end = parsed.tokens[mention.i].start, parsed.tokens[mention.j - 1].end
    strength = _STRENGTH * min(abs(tone), 2.0) ** 0.5
    frame = Frame(
        event, strength, target, parsed.clauses.index(clause), clause.sentence, start, end
    )
    frame.vague = True
    return [frame]


def _denial(clause: Clause, judgement: Mention) -> float:
    """-1 behind a negator, what is not good being bad."""
    return -1.0 if any(0 <= judgement.i - n.j <= 3 for n in clause.of("negators")) else 1.0
