"""Events that weak cues and tones of a sentence tell of, where nothing in it names one.

    score_e = 2 strong cues + 1 weak cues of e,   score_topic = its words + 1 where there is a tone

(a weak word of a topic counts half).

The largest score of at least ``ENOUGH`` wins. Between equals of one sign the mildest wins, between
equals of either sign none does. Where nothing wins, a tone beside a market or an economic quantity
moves that: bad news of growth is slower growth, of bitcoin a sell-off.
"""

from collections.abc import Collection
from dataclasses import dataclass

from parfait.semantic.ontology.clauses import Clause, Parsed
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.cues import FoundCue, cues
from parfait.semantic.ontology.lexicon import Entry, Mention, effects

ENOUGH = 2.0
STRENGTH = 0.8  # of an event that is told of and not named
_NEAR = 3  # tokens between a negator and the tone that it turns
_MUTE = frozenset({"oil_supply", "oil_demand", "etf"})  # good for whom?


@dataclass(frozen=True)
class _Told:
    """An event, the asset it belongs to, and the tokens that tell of it."""

    event: str
    asset: str | None
    spans: tuple[tuple[int, int], ...]
    turned: tuple[tuple[Clause, Mention], ...] = ()


def infer(parsed: Parsed, sentences: Collection[int]) -> dict[int, Target]:
    """Targets by index of the clause that holds their first cue, for sentences without a frame.

    Marks the words it used; a negator that turned a tone is taken from its clause.
    """
    made: dict[int, Target] = {}
    for sentence in sorted(sentences):
        own = [k for k, c in enumerate(parsed.clauses) if c.sentence == sentence]
        told = _told(parsed, own) if own else None
        if told is None:
            continue
        for clause, mention in told.turned:
            if mention in clause.mentions:
                clause.mentions.remove(mention)
        for i, j in told.spans:
            parsed.used.update(range(i, j))
        first = min(i for i, _ in told.spans)
        index = next((k for k in own if first < parsed.clauses[k].end), own[-1])
        last = max([j for _, j in told.spans if j <= parsed.clauses[index].end] or [first + 1])
        entry = Entry("event", told.event, "en", inferred=True)
        made[index] = Target(entry, first, last, first, told.event, STRENGTH, told.asset)
    return made


def confirm(parsed: Parsed, events: Collection[str]) -> None:
    """Cues of events that were read by other words count as read."""
    for one in cues().within(parsed.tokens, 0, len(parsed.tokens)):
        if any(event in events for event in one.cue.events):
            parsed.used.update(range(one.i, one.j))


def _told(parsed: Parsed, own: list[int]) -> _Told | None:
    after = own[-1] + 1
    end = parsed.clauses[after].start if after < len(parsed.clauses) else len(parsed.tokens)
    found = cues().within(parsed.tokens, parsed.clauses[own[0]].start, end)
    inner = _inner(parsed, found, own)
    tone, turned = _tone(parsed, found, own, inner)
    toned = tuple((f.i, f.j) for f in found if f.cue.tone)
    scores: dict[str, float] = {}
    topics: dict[str, set[str]] = {}
    distinct = list({id(f.cue): f.cue for f in found}.values())
    for cue in distinct:
        for event, weight in cue.events.items():
            scores[event] = scores.get(event, 0.0) + weight
    for topic, (good, bad) in cues().topics.items():
        words = sum(cue.topics.get(topic, 0.0) for cue in distinct)
        if words and tone:
            event = good if tone > 0 else bad
            scores[event] = scores.get(event, 0.0) + words + 1
            topics.setdefault(event, set()).add(topic)
    event = _winner(scores)
    if event is not None:
        by_topic = topics.get(event, set())
        spans = [
            (f.i, f.j) for f in found if event in f.cue.events or f.cue.topics.keys() & by_topic
        ]
        tones = toned if by_topic else ()
        return _Told(event, None, (*spans, *tones), (*inner, *turned) if by_topic else inner)
    return _moved(parsed, own, tone, toned, (*inner, *turned)) if tone else None


def _inner(
    parsed: Parsed, found: list[FoundCue], own: list[int]
) -> tuple[tuple[Clause, Mention], ...]:
    """Negators that are letters of a cue (a character of a Chinese word) and negate nothing."""
    negators = [(parsed.clauses[k], m) for k in own for m in parsed.clauses[k].of("negators")]
    return tuple(x for x in negators if any(f.i <= x[1].i and x[1].j <= f.j for f in found))


def _winner(scores: dict[str, float]) -> str | None:
    best = max(scores.values(), default=0.0)
    if best < ENOUGH:
        return None
    mu = {e: float(effects()["events"][e]["mu"]) for e, s in scores.items() if s == best}
    if min(mu.values()) < 0 < max(mu.values()):
        return None
    return min(mu, key=lambda e: abs(mu[e]))


def _moved(
    parsed: Parsed,
    own: list[int],
    tone: int,
    toned: tuple[tuple[int, int], ...],
    turned: tuple[tuple[Clause, Mention], ...],
) -> _Told | None:
    """What a tone says of the first object or asset of the sentence."""
    for clause in (parsed.clauses[k] for k in own):
        for m in clause.of("object", "asset"):
            span = ((m.i, m.j), *toned)
            if m.entry.kind == "asset":
                asset = None if m.entry.id == "market" else m.entry.id
                return _Told("rally" if tone > 0 else "selloff", asset, span, turned)
            row = effects()["objects"][m.entry.id]
            for event in (row.get("up"), row.get("down")):
                mu = float(effects()["events"][event]["mu"]) if event is not None else 0.0
                if event is not None and m.entry.id not in _MUTE and mu * tone > 0:
                    return _Told(event, None, span, turned)
    return None


def _tone(
    parsed: Parsed,
    found: list[FoundCue],
    own: list[int],
    inner: tuple[tuple[Clause, Mention], ...],
) -> tuple[int, tuple[tuple[Clause, Mention], ...]]:
    """The sign of a sentence's evaluative words, and the negators that turned one of them."""
    total, turned = 0, []
    negators = [
        (parsed.clauses[k], m)
        for k in own
        for m in parsed.clauses[k].of("negators")
        if all(m is not x for _, x in inner)
    ]
    for one in found:
        if one.cue.tone:
            by = [x for x in negators if 0 <= one.i - x[1].j < _NEAR]
            total += -one.cue.tone if by else one.cue.tone
            turned += by[-1:]
    return (total > 0) - (total < 0), tuple(turned)
