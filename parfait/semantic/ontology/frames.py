"""Clauses into frames: which event, its sign, size, surprise, negation, probability, and its place
in the sequence.
"""

import re
from dataclasses import replace
from typing import Any

from parfait.semantic.ontology.attach import attach
from parfait.semantic.ontology.backoff import plain_tone
from parfait.semantic.ontology.bare import bare_surprise
from parfait.semantic.ontology.clauses import Clause, Parsed, dreads
from parfait.semantic.ontology.comparisons import compare
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.doses import Frame, gap, give, is_expected, settle_surprise
from parfait.semantic.ontology.infer import confirm, infer
from parfait.semantic.ontology.lexicon import Entry, Mention
from parfait.semantic.ontology.negation import negate, replaced

_SOME_CHANCE = 0.35  # of a modal that says no more than that it may be
_SPELL = re.compile(
    r"(?:after|following)?\s*(?:\w+\s+){0,2}?(?:years?|months?|weeks?|decades?|days)\s+of\b"
)


def read_frames(parsed: Parsed) -> list[Frame]:
    """Frames of a whole text in the order of the text; ``phase`` orders them in time.

    Sentences in which no words of the lexicon make an event are read again with what their cues
    tell of.
    """
    frames = _frames(_copy(parsed), {})
    silent = {c.sentence for c in parsed.clauses} - {f.sentence for f in frames}
    inferred = infer(parsed, silent)
    if inferred:
        frames = _frames(_copy(parsed), inferred)
    confirm(parsed, {f.event for f in frames})
    return frames or plain_tone(parsed)


def _copy(parsed: Parsed) -> Parsed:
    """Clauses of its own, since reading hands numbers and times from one to the next."""
    own = [replace(c, numbers=list(c.numbers), mentions=list(c.mentions)) for c in parsed.clauses]
    return replace(parsed, clauses=own)


def _frames(parsed: Parsed, inferred: dict[int, Target]) -> list[Frame]:
    frames: list[Frame] = []
    carried: list[Clause] = []
    phase, group, hanging = 0, 0, []
    scope: dict[str, Any] = {}
    sentence_of_scope = -1
    for index, clause in enumerate(parsed.clauses):
        if clause.sentence != sentence_of_scope:
            sentence_of_scope, scope = clause.sentence, {}
            _spill(carried, frames, parsed)
            carried, hanging = [], []
        links = [*clause.lead, clause.link]
        waiting = hanging
        targets, hanging = attach(parsed, index, hanging, frames)
        targets += [inferred[index]] if index in inferred else []
        if not any(t.event for t in targets):
            told = [n for c in carried for n in c.numbers]
            targets = compare(parsed, clause, [*waiting, *hanging], told)
            targets = targets or bare_surprise(clause, carried)
        drafts = _frames_of(parsed, index, targets)
        if not drafts:
            if any(f.sentence == clause.sentence for f in frames):
                _modify(parsed, clause, frames, clause.sentence)
            else:
                carried.append(clause)
            if "if" in links:
                scope["if"] = True
            continue
        for earlier in carried:
            _apply_words(parsed, earlier, drafts, forward=True)
            clause.numbers = earlier.numbers + clause.numbers
            clause.horizon = clause.horizon or earlier.horizon
            if earlier.probability is not None and clause.probability is None:
                clause.probability = earlier.probability
            links += [*earlier.lead, earlier.link]
        carried = []
        phase = _place(links, drafts, frames, phase, scope, _lasted(parsed, clause))
        _apply_words(parsed, clause, drafts, forward=True)
        group = _weigh(parsed, clause, links, drafts, frames, scope, group)
        replaced(parsed, clause, frames)
        frames += drafts
        _quantify(parsed, clause, drafts, frames)
    _spill(carried, frames, parsed)
    for frame in frames:
        settle_surprise(frame)
    return frames


def _frames_of(parsed: Parsed, index: int, targets: list[Target]) -> list[Frame]:
    clause = parsed.clauses[index]
    frames = []
    for t in targets:
        if t.event is None or any(f.event == t.event and f.asset == t.asset for f in frames):
            continue  # "steps in with a bailout": one rescue
        start, end = parsed.tokens[t.first].start, parsed.tokens[t.last - 1].end
        frame = Frame(t.event, t.strength, t, index, clause.sentence, start, end, asset=t.asset)
        frame.negated, frame.move = t.negated, t.loss
        if t.comparison:
            frame.surprise = "full"
        frames.append(frame)
    return frames


def _place(
    links: list[str],
    drafts: list[Frame],
    frames: list[Frame],
    phase: int,
    scope: dict[str, Any],
    lasted: bool,
) -> int:
    """Time order: "then" is later, "after X" is earlier, "but" may turn the tide, "if ... then" is
    no sequence.
    """
    if "if" in links:
        scope["if"] = True
    base = phase
    if "then" in links:
        if scope.get("if") and "but" not in links and not scope.get("then_used"):
            scope["then_used"] = True
        elif frames:
            phase += 1
    elif "but" in links and frames:
        phase += 1
    elif scope.get("subordinate") and not {"after", "because", "despite"} & set(links):
        phase, scope["subordinate"] = phase + 1, None
    elif "after" in links:
        earlier = [f for f in frames if f.sentence == drafts[0].sentence]
        if not earlier:
            scope["subordinate"] = True
        else:  # Y after X: what was read first happened last
            for f in earlier:
                f.phase += 1
            for f in drafts:
                f.phase = phase
                if lasted:  # "a ceasefire after two years of war": known for long
                    f.surprise = "priced"
            return phase + 1
    for f in drafts:
        f.phase = phase
        f.contrast = phase > base and "but" in links
        f.despite = "despite" in links
        if "unless" in links:
            f.negated = not f.negated
    return phase


def _lasted(parsed: Parsed, clause: Clause) -> bool:
    """Whether the clause begins with a length of time: "(after) two years of ..."."""
    if clause.start >= len(parsed.tokens):
        return False
    text = parsed.clean[parsed.tokens[clause.start].start :]
    return _SPELL.match(text) is not None


def _apply_words(parsed: Parsed, clause: Clause, drafts: list[Frame], forward: bool) -> None:
    """Adverbs, surprise, persistence, negation and modality of one clause acting on its frames."""
    for m in clause.of("adverb"):
        near = min(drafts, key=lambda f, m=m: gap(m.i, f.target))
        near.adverbs.append(m.entry.value)
    for m in clause.of("surprise"):
        if m.entry.id in ("above", "below") and not any(f.target.comparison for f in drafts):
            continue
        for f in drafts:
            if m.entry.id == "full" and f.surprise in ("more", "less"):
                continue
            f.surprise = _surprise(m.entry, f)
    for m in clause.of("persistence"):
        for f in drafts:
            f.persistence = m.entry.id
    if clause.of("anticipated"):
        for f in drafts:
            f.anticipated = True
            f.surprise = "priced" if f.surprise == "unstated" else f.surprise
    negate(parsed, clause, drafts)


def likelihood(modals: list[Mention]) -> float:
    """The probability that modal words tell: of "the chance is remote" the word that says how
    large the chance is.
    """
    values = [m.entry.value for m in modals]
    return min([v for v in values if v != _SOME_CHANCE] or values)


def _surprise(word: Entry, frame: Frame) -> str:
    """In Chinese an event itself may exceed or miss expectations: 降息不及预期."""
    if word.id not in ("above", "below"):
        return word.id
    if word.language == "zh" and frame.target.entry.kind == "event":
        return "more" if word.id == "above" else "less"
    return "full"


def _weigh(
    parsed: Parsed,
    clause: Clause,
    links: list[str],
    drafts: list[Frame],
    frames: list[Frame],
    scope: dict[str, Any],
    group: int,
) -> int:
    """Probability of the drafts and the alternative they belong to."""
    modals = clause.of("modal")
    nouns = [m for m in modals if dreads(parsed, m)]
    if nouns and any(f.target.last > nouns[0].i for f in drafts):
        spared = [f for f in drafts if f.target.last <= nouns[0].i]
    else:
        spared = []
    p, stated = clause.probability, clause.probability is not None
    if p is None and modals:
        p = likelihood(modals)
    apart = "or" in links or ("else" in links and scope.get("p") is None)
    if apart or "whether" in links:
        scope["or"] = True
    alternative = apart and any(f.sentence == drafts[0].sentence for f in frames)
    if "else" in links and p is None and scope.get("p") is not None:
        group += 1  # what the stated probability leaves
        p, stated = 1 - scope["p"], bool(scope.get("stated"))
    elif p is not None:
        scope["p"], scope["stated"], scope["feared"] = p, stated, bool(nouns) and not stated
        group += 1
    elif alternative:
        group += 1
        p, stated = scope.get("p"), bool(scope.get("stated"))
    elif links[-1] in (",", "and", "cause", "", "because", "then") and "but" not in links:
        p, stated = scope.get("p"), bool(scope.get("stated"))
        if scope.get("feared") and (links[-1] == "," or "then" in links):
            p, stated = None, False
        if "because" in links and p is not None and not modals:
            p, stated = (None, False) if not scope.get("or") else (p, stated)
    for f in drafts:
        if f in spared and not stated:
            continue
        if (
            f.target.dread and f.target.flipped and not stated
        ):  # "fears of a recession ease": relief, and it has happened
            f.strength *= 0.6
        elif f.target.dread and f.target.entry.kind == "event" and p is None:
            f.probability = 0.4  # feared, not there
            group += f.group == 0
            f.group = group
            continue
        elif f.probability is None:
            f.probability = p
            f.stated_probability = stated
        if f.probability is not None or alternative:
            f.group = group
        f.alternative = alternative
    if p is None and any(f.target.entry.id == "fear" and f.event == "uncertainty" for f in drafts):
        scope.update(p=0.35, stated=False, feared=True)  # "fear that ...": what follows is feared
    if alternative:
        for f in frames:
            if f.sentence == drafts[0].sentence and not f.alternative:
                f.alternative = True
                f.group = f.group or -drafts[0].sentence - 1
    return group


def _quantify(parsed: Parsed, clause: Clause, drafts: list[Frame], frames: list[Frame]) -> None:
    for f in drafts:
        f.horizon = clause.horizon
    for number in clause.numbers:
        give(number, drafts, parsed, is_expected(number, clause, parsed))


def _modify(parsed: Parsed, clause: Clause, frames: list[Frame], sentence: int) -> None:
    """A clause without an event of its own: ", unexpectedly", ", less than the 50 bps expected",
    "in two weeks".
    """
    last = [f for f in frames if f.sentence == sentence]
    last = [f for f in last if f.clause == last[-1].clause]
    _apply_words(parsed, clause, last, forward=False)
    if clause.probability is not None or clause.of("modal"):
        p = clause.probability
        p = likelihood(clause.of("modal")) if p is None else p
        top = max((f.group for f in frames), default=0) + 1
        for f in last:
            f.probability, f.stated_probability = p, clause.probability is not None
            f.group = f.group or top
    for number in clause.numbers:
        give(number, last, parsed, is_expected(number, clause, parsed))
    for f in last:
        f.horizon = f.horizon or clause.horizon
    for m in clause.of("surprise"):
        if m.entry.id in ("above", "below"):
            for f in last:
                if f.target.entry.kind == "event":
                    f.surprise = "more" if m.entry.id == "above" else "less"
                elif f.expected is None:
                    f.target.redirect("up" if m.entry.id == "above" else "down")
                    f.event, f.surprise = f.target.event or f.event, "full"
                    f.negated = False  # "no new measures, far below hopes"


def _spill(carried: list[Clause], frames: list[Frame], parsed: Parsed) -> None:
    """Words of a sentence without any event qualify the last sentence that had one."""
    if frames:
        for clause in carried:
            if clause.sentence > frames[-1].sentence and (
                clause.of("surprise", "consensus") or clause.horizon
            ):
                _modify(parsed, clause, frames, frames[-1].sentence)
