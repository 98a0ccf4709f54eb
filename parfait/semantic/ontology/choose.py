"""Which target an action belongs to."""

from parfait.semantic.ontology.clauses import Clause, Parsed
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.lexicon import Mention

_PREPOSITIONS = frozenset({"in", "of", "for", "on"})
_COMPLEMENTS = frozenset({"about", "over", "in", "around", "surround", "regard"})
# What is done to events and things rather than to shares: "the suit is thrown out".
_PUBLIC = frozenset({"end", "reject", "approve"})
# Verbs that look for something they make sense of: does (its object first), goes (its subject
# first), tone (a judgement: what it stands before, else its subject).
LOOSE = frozenset({"does", "goes", "tone"})
# In Chinese these move prices and quantities, never an event: 阴跌到腰斩 is no end of the fall.
_PRICED = frozenset("涨跌斩崩")
_SUFFERED = frozenset("被遭受挨")
_REACH = 9  # words between a loose verb and what it is about
_REACH_OF_TONE = 3  # ... between a judgement and an event, which has a judgement of its own


def choose(
    parsed: Parsed,
    clause: Clause,
    action: Mention,
    targets: list[Target],
    actions: list[Mention],
    following: str,
) -> Target | None:
    """The target of an action: to the right for transitive verbs and attributes, to the left for
    the others.
    """
    i, j, verb = action.i, action.j, action.entry.verb
    chinese = action.entry.language == "zh"
    if chinese and _PRICED & {t.key for t in parsed.tokens[i:j]}:
        targets = [t for t in targets if t.entry.kind != "event"]
    reach = 7 if chinese else 6
    right = sorted(
        (t for t in targets if t.entry is not None and t.first >= j), key=lambda t: t.first
    )
    left = sorted((t for t in targets if t.last <= i), key=lambda t: -t.last)
    r = right[0] if right and right[0].first - j <= reach else None
    if r is not None and any(
        j <= a.i < r.first and a.entry.verb != "" for a in actions if a is not action
    ):
        r = None if verb != "trans" else r
    left = _heads(parsed, left)
    if action.entry.id in _PUBLIC and any(t.entry.kind != "asset" for t in left):
        left = [t for t in left if t.entry.kind != "asset"]
    step = left[0] if left else None
    if action.entry.id.startswith("cmp_"):
        return nearest_object(left) or nearest_object(right) or step or r
    if verb in LOOSE:
        return _taking(action, left, right)
    after = parsed.tokens[j].key if j < len(parsed.tokens) else ""
    if verb == "right":
        if r is not None:
            return r
        if chinese and step is not None and _suffered(parsed, step, i):
            return step
        return (
            step
            if following == "because" and step is not None and step.entry.kind != "event"
            else None
        )
    if verb == "trans":
        close = r if r is None or not chinese or r.first - j <= 5 else None
        if chinese and step is not None and _topic(action, step, close, actions):
            return step
        if close is not None and close.acted and step is not None and not step.acted:
            return step
        if (
            close is None
            and step is not None
            and step.entry.kind == "event"
            and not chinese
            and not _passive(parsed, i)
        ):
            return None  # "the earthquake devastates Tokyo" does not lessen the earthquake
        return close or step
    if (
        r is not None
        and after in _PREPOSITIONS
        and r.first - j <= 3
        and not (step is not None and not step.acted and after == "on")
    ):
        return r
    if (
        r is not None
        and r.first == j
        and not r.acted
        and (step is None or step.acted or (step.event is not None and step.entry.kind == "event"))
    ):
        return r
    attribute = r is not None and r.first == j and not chinese and r.entry.kind != "event"
    if attribute and (step is None or i - step.last > 0 or step.acted):
        return r
    if step is not None:
        return step
    return r if r is not None and not r.acted else None


def _suffered(parsed: Parsed, step: Target, i: int) -> bool:
    """Whether a marker of the passive stands between a subject and its Chinese verb: 信心遭重创."""
    return bool(_SUFFERED & {t.key for t in parsed.tokens[step.last : i]})


def _topic(action: Mention, step: Target, close: Target | None, actions: list[Mention]) -> bool:
    """Whether what stands right before a Chinese verb is its object: 利率上调冲击股市, 评级遭下调."""
    if step.acted or action.i - step.last > 2 or not step.takes(action.entry.id):
        return False
    between = close is not None and any(action.j <= a.i < close.first for a in actions)
    return close is None or between or close.first - action.j > 1


def _passive(parsed: Parsed, i: int) -> bool:
    """Whether the verb at token i may be passive: "is cut", "scrapped", a headline's bare
    participle.
    """
    surface = parsed.clean[parsed.tokens[i].start : parsed.tokens[i].end]
    before = parsed.tokens[i - 1].key if i else ""
    return (
        surface.endswith("ed")
        or before in ("is", "are", "was", "were", "be", "been", "get", "be")
        or surface == "cut"
    )


def nearest_object(targets: list[Target]) -> Target | None:
    return next((t for t in targets if t.entry.kind == "object"), None)


def _heads(parsed: Parsed, left: list[Target]) -> list[Target]:
    """Left targets, nearest first, without those that only complete another one ("uncertainty
    about policy", "fears over growth": what fades is the uncertainty).
    """
    spare = {
        id(inner)
        for outer, inner in zip(left[1:], left, strict=False)
        if outer.entry.kind != "asset"
        and any(parsed.tokens[k].key in _COMPLEMENTS for k in range(outer.last, inner.first))
        and inner.first - outer.last <= 2
    }
    return [t for t in left if id(t) not in spare] or left


def _taking(action: Mention, left: list[Target], right: list[Target]) -> Target | None:
    """The nearest target that the action makes sense of, on the preferred side first."""
    name, verb = action.entry.id, action.entry.verb

    def near(target: Target, words: int) -> bool:
        judged = verb == "tone" and target.entry.kind == "event"
        return words <= (_REACH_OF_TONE if judged else _REACH) and target.takes(name)

    near_left = [t for t in left if near(t, action.i - t.last)]
    near_right = [t for t in right if near(t, t.first - action.j)]
    subject = near_left[0] if near_left else None
    object_ = near_right[0] if near_right else None
    if verb == "goes":
        return subject or object_
    if verb == "does":
        return object_ or subject
    attribute = object_ is not None and object_.first - action.j <= 1
    return object_ if attribute else subject or object_
