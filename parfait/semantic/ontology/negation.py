"""What a clause denies: negators, events averted, double negation."""

from parfait.semantic.ontology.clauses import Clause, Parsed, entry_key
from parfait.semantic.ontology.doses import Frame
from parfait.semantic.ontology.lexicon import Mention, lexicon

# Subjects that deny what follows them alone.
_NOBODY = frozenset(
    {"nobody", "nothing", "none", "neither", "no one", "没 人", "没 有 人", "无 人"}
)
_CAUSES = frozenset({"becaus", "due", "owing", "thank"})
_ANAPHORS = frozenset({"it", "this", "that", "them"})
# Negators of a noun: they deny the next event, not the verb of the clause.
_COMPLEMENTS = frozenset("住了起动到出上下完来去得着掉开过")
_NOMINAL = frozenset(
    ["no", "without", "lack of", "absenc of", "fre of", "fre from", "instead of", "rather than"]
)


def negate(parsed: Parsed, clause: Clause, drafts: list[Frame]) -> None:
    """Denies the frames that the negators of the clause reach.

    A negator reaches what follows it ("does not raise", "no war") and, where nothing does, what
    came before if its own verb is one of occurring ("the war did not come", "... will not happen").
    """
    for m in clause.of("negators", "instead"):
        key = entry_key(parsed.tokens, m)
        if key == "不" and _unable(parsed, m):
            continue
        after = sorted((f for f in drafts if f.target.last > m.i), key=lambda f: f.target.first)
        after = [f for f in after if not _cause(parsed, clause, parsed.clauses[f.clause])]
        if m.entry.language == "zh":  # 虽不敢断言，但...: it reaches no other clause
            after = [f for f in after if parsed.clauses[f.clause] is clause]
        if key in _NOMINAL:
            after = after[:1]
        if m.j < len(parsed.tokens) and parsed.tokens[m.j].key in _ANAPHORS:
            continue  # "having denied it on Monday"
        if not after and key not in _NOBODY and _occurs(parsed, m):
            after = [] if m.i < min(f.target.first for f in drafts) else drafts
        for f in after:
            _deny(f)
    for m in clause.of("averted"):
        after = [f for f in drafts if f.target.first >= m.i]
        for f in after or drafts:
            f.negated = not f.negated
            if not f.negated:
                f.probability = 0.7
    if clause.of("reopen_negation"):
        for f in drafts:
            f.probability = 0.3


def _cause(parsed: Parsed, clause: Clause, other: Clause) -> bool:
    """Whether another clause gives the reason of this one: trains that do not run because of the
    floods deny no flood.
    """
    if other is clause:
        return False
    before = parsed.tokens[max(other.start - 2, clause.start) : other.start + 1]
    return any(t.key in _CAUSES for t in before)


def _unable(parsed: Parsed, negator: Mention) -> bool:
    """Whether 不 stands inside a verb: 顶不住, 受不了 deny that verb alone."""
    around = [t.key for t in parsed.tokens[negator.j : negator.j + 1]]
    before = parsed.tokens[negator.i - 1].kind if negator.i else ""
    return before == "cjk" and bool(around) and around[0] in _COMPLEMENTS


def replaced(parsed: Parsed, clause: Clause, frames: list[Frame]) -> None:
    """Denies what the clauses before it in the sentence told, where this one says what happens
    "instead".
    """
    tokens = parsed.tokens[clause.start : clause.end]
    following = [t.key for t in parsed.tokens[clause.start + 1 : clause.end + 1]]
    for t, after in zip(tokens, [*following, ""], strict=False):
        if t.key == "instead" and after != "of":
            for f in frames:
                if f.sentence == clause.sentence:
                    f.negated = True


def _deny(frame: Frame) -> None:
    denied = frame.target.denied
    if denied is not None:  # what is not good is bad, and who cannot pay defaults
        frame.event, frame.target.denied = denied, frame.event
        frame.strength *= 0.8
        return
    frame.negated = not frame.negated
    if not frame.negated:  # a double negative leaves a possibility, not a fact
        frame.probability = 0.35


def _occurs(parsed: Parsed, negator: Mention) -> bool:
    """Whether what is denied is the occurring of something told before: the next word with a
    meaning is of the lexicon's ``occurrence``, or there is none.
    """
    words = lexicon()
    for i in range(negator.j, min(negator.j + 5, len(parsed.tokens))):
        token = parsed.tokens[i]
        if token.kind == "punct":
            return True
        if token.key in words.occurrence or parsed.clean.startswith(
            words.han_occurrence, token.start
        ):
            return True
        if token.key not in words.function:
            return False
    return True
