"""What a text says, the whole of it or one stretch: frames, literal numbers, and how much of it was
read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from parfait.regime import Condition
from parfait.semantic.ontology.clauses import Parsed
from parfait.semantic.ontology.coverage import Coverage, measure
from parfait.semantic.ontology.directives import Directive
from parfait.semantic.ontology.frames import Frame
from parfait.semantic.ontology.lexicon import Entry, lexicon
from parfait.semantic.ontology.schedule import Stretch

_VAGUE = 0.8  # share of the confidence that is left where only the tone was understood
Drawdown = tuple[Condition, int, int]


@dataclass(frozen=True)
class Said:
    """Frames, directives and drawdowns of ``parsed.clean[start:end]``."""

    start: int
    end: int
    parsed: Parsed
    frames: list[Frame]
    directives: list[Directive]
    drawdowns: list[Drawdown]
    coverage: Coverage

    @classmethod
    def of(
        cls,
        parsed: Parsed,
        frames: list[Frame],
        directives: list[Directive],
        drawdowns: list[Drawdown],
        span: tuple[int, int] | None = None,
    ) -> "Said":
        """All of ``parsed``, which may be a part of a text (``span`` says which)."""
        named = bool(directives or drawdowns) or not all(f.target.entry.inferred for f in frames)
        understood = bool(frames or directives or drawdowns)
        coverage = measure(parsed, lexicon(), understood, named)
        if frames and all(f.vague for f in frames) and not directives:
            coverage = replace(coverage, confidence=_VAGUE * coverage.confidence)
        start, end = span or (0, len(parsed.clean))
        return cls(start, end, parsed, frames, directives, drawdowns, coverage)

    @property
    def understood(self) -> bool:
        """Whether there is anything to make scenarios of."""
        return bool(self.frames or self.directives or self.drawdowns)


def divide(whole: Said, stretches: Sequence[Stretch]) -> list[Said]:
    """What every stretch says by itself.

    The text was read as a whole, so "rates rise for a month, then fall" knows what falls. A later
    event that shares the probability of an earlier one is certain once that has happened.
    """
    found: list[Said] = []
    groups: set[int] = set()
    mentions = [m for c in whole.parsed.clauses for m in c.of("persistence", "adverb")]
    lasting = [(whole.parsed.tokens[m.i].start, m.entry) for m in mentions]
    for s in stretches:
        frames = [f for f in whole.frames if s.start <= f.start < s.end]
        own = {f.group for f in frames if f.group}
        frames = [
            replace(f, group=0, probability=None, stated_probability=False)
            if f.group in groups
            else f
            for f in frames
        ]
        groups |= own
        a, b = s.duration
        parsed = _tokens_within(whole.parsed, s)
        for entry in (entry for at, entry in lasting if a <= at < b):
            frames = [_without(f, entry) for f in frames]  # the duration says how long
        directives = [d for d in whole.directives if s.start <= d.start < s.end]
        drawdowns = [d for d in whole.drawdowns if s.start <= d[1] < s.end]
        found.append(Said.of(parsed, frames, directives, drawdowns, (s.start, s.end)))
    return found


def _without(frame: Frame, entry: Entry) -> Frame:
    """The frame without a word that strengthens what lasts (lasting, 持续)."""
    if entry.kind == "persistence":
        return replace(frame, persistence="")
    adverbs = list(frame.adverbs)
    if entry.value in adverbs:
        adverbs.remove(entry.value)
    return replace(frame, adverbs=adverbs)


def _tokens_within(parsed: Parsed, s: Stretch) -> Parsed:
    """The tokens of a stretch, those of its duration among what was used."""
    within = [i for i, t in enumerate(parsed.tokens) if s.start <= t.start < s.end]
    a, b = s.duration
    used = {
        new
        for new, old in enumerate(within)
        if old in parsed.used or a <= parsed.tokens[old].start < b
    }
    return Parsed([parsed.tokens[i] for i in within], [], used, parsed.clean)
