"""Cues: what a sentence is about when no verb and object in it make an event.

"Generals have seized the palace and suspended the constitution" names no event of the lexicon, yet
everybody knows which it is. Words that tell of an event without naming it are its cues
(``lexicon/cues_*.yaml``): strong ones tell of it alone, weak ones two at a time. A topic (a drug
trial, a takeover) is good or bad news by the tone of the words beside it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from parfait.semantic.ontology.lexicon import LANGUAGES, Entry, load_data
from parfait.semantic.ontology.normalise import normalise
from parfait.semantic.ontology.words import Token, raw_tokens

_AT_ONCE = 40  # forms, well below what is read of one text
_WEIGHTS = {"strong": 2.0, "weak": 1.0}


@dataclass
class Cue:
    """What one surface form tells of.

    Args:
        events: weight by event.
        topics: weight by topic.
        tone: +1 good, -1 bad, 0 neither.
    """

    events: dict[str, float] = field(default_factory=dict)
    topics: dict[str, float] = field(default_factory=dict)
    tone: int = 0

    @property
    def event(self) -> Entry | None:
        """The event that it tells of by itself."""
        strong = [name for name, weight in self.events.items() if weight == _WEIGHTS["strong"]]
        return Entry("event", strong[0], "en", inferred=True) if strong else None


@dataclass(frozen=True)
class FoundCue:
    """A cue at tokens [i, j)."""

    cue: Cue
    i: int
    j: int


@dataclass
class Cues:
    """A trie of stems of all languages, the stems, and the topics: (event of good news, event of
    bad news).
    """

    trie: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, tuple[str, str]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def all(self, forms: Iterable[object]) -> Iterator[Cue]:
        """The cues of surface forms, made when they are new."""
        for surface in _canonical([str(form) for form in forms]):
            node = self.trie
            for token in raw_tokens(surface):
                if token.kind != "punct":
                    self.words.add(token.key)
                    node = node.setdefault(token.key, {})
            yield node.setdefault("", Cue())

    def find(self, tokens: list[Token], i: int) -> FoundCue | None:
        """The longest cue that starts at token i."""
        node, found = self.trie, None
        for j in range(i, len(tokens)):
            node = node.get(tokens[j].key)
            if node is None:
                break
            if "" in node:
                found = FoundCue(node[""], i, j + 1)
        return found

    def within(self, tokens: list[Token], start: int, end: int) -> list[FoundCue]:
        """All cues of tokens [start, end), the longest first at every place."""
        found, i = [], start
        while i < end:
            one = self.find(tokens, i)
            if one is not None and one.j <= end:
                found.append(one)
            i = one.j if one is not None else i + 1
        return found


@cache
def cues() -> Cues:
    """The compiled cues of all languages, once per process."""
    made = Cues()
    for language in LANGUAGES:
        data = load_data(f"lexicon/cues_{language}.yaml")
        for event, rows in data["events"].items():
            for strength, forms in rows.items():
                for cue in made.all(forms):
                    cue.events[event] = max(cue.events.get(event, 0.0), _WEIGHTS[strength])
        for topic, row in data["topics"].items():
            made.topics[topic] = (row["good"], row["bad"])
            for key, weight in (("weak", 0.5), ("words", 1.0)):
                for cue in made.all(row.get(key, ())):
                    cue.topics[topic] = weight
        for tone, forms in ((1, data["good"]), (-1, data["bad"])):
            for cue in made.all(forms):
                cue.tone = tone
    return made


def _canonical(forms: list[str]) -> list[str]:
    """Forms as texts have them after normalising, many at a time: one by one takes a second."""
    found = []
    for start in range(0, len(forms), _AT_ONCE):
        part = forms[start : start + _AT_ONCE]
        lines = normalise("\n".join(part)).clean.split("\n")
        found += lines if len(lines) == len(part) else [normalise(form).clean for form in part]
    return found
