"""The lexicons compiled into one trie over stems (English) and characters (Chinese), with a typo
index.

A surface form leads to exactly one ``Entry``: a concept with its polarity is never decided by two
rows of the data.
"""

import re
from collections.abc import Collection, Container
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from parfait.semantic.ontology.numerals import canonical_text
from parfait.semantic.ontology.own import OwnEvents, for_own_events
from parfait.semantic.ontology.words import Token, damerau, one_deleted, raw_tokens, slipped, stem

LANGUAGES = ("en", "zh")
# Forms with Chinese numerals are looked up as the text is read: 一次性 is 1次性 there.
_NUMERAL = re.compile("[零一二两三四五六七八九十百千万半俩斩番倍折码厘]")
# What a typo may never become: a polarity, a number or a function word is not to be guessed.
_FUZZY_KINDS = frozenset({"event", "object", "asset", "action", "institution", "surprise"})


@dataclass(frozen=True)
class Entry:
    """One row of the lexicon: ``kind`` (event, object, asset, action, ...), concept ``id``, and
    its numbers.
    """

    kind: str
    id: str
    language: str
    value: float = 1.0
    verb: str = ""
    market: str = ""
    bare: str = ""
    loss: float | None = None
    implies: str = ""
    inferred: bool = False  # told of by cues, not named


# Turns of phrase that lead to no event: a judgement that speaks for itself, a degree of surprise.
_PHRASES = {
    "good": Entry("action", "good", "", verb="tone", implies="idiom"),
    "bad": Entry("action", "bad", "", verb="tone", implies="idiom"),
    "full": Entry("surprise", "full", ""),
    "priced": Entry("surprise", "priced", ""),
    "false_news": Entry("averted", "averted", ""),
}


@dataclass(frozen=True)
class Mention:
    """A lexicon entry found at tokens [i, j)."""

    entry: Entry
    i: int
    j: int


Steps = tuple[tuple[tuple[str, ...], ...], ...]  # of a construction: alternatives by step


@dataclass
class Lexicon:
    """Trie of surface forms, vocabulary of stems, typo indices, words without content."""

    trie: dict[str, Any] = field(default_factory=dict)
    forms: dict[tuple[str, ...], list[tuple[Entry, str]]] = field(default_factory=dict)
    vocabulary: set[str] = field(default_factory=set)
    neutral: set[str] = field(default_factory=set)
    deletions: dict[str, list[str]] = field(default_factory=dict)
    plain: dict[str, list[str]] = field(default_factory=dict)
    content: set[str] = field(default_factory=set)
    function: set[str] = field(default_factory=set)
    occurrence: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    han_occurrence: tuple[str, ...] = ()
    constructions: dict[str, list[tuple[Entry, Steps]]] = field(default_factory=dict)

    def add_construction(self, entry: Entry, row: str, groups: dict[str, list[str]]) -> None:
        """A turn of phrase with gaps, ``a/b .. $group .. c`` (``constructions.py``)."""
        steps = []
        for step in row.split(" .. "):
            words = [w for a in step.split("/") for w in (groups[a[1:]] if a[0] == "$" else [a])]
            keyed = {tuple(t.key for t in raw_tokens(w) if t.kind != "punct") for w in words}
            steps.append(tuple(sorted(keyed, key=len, reverse=True)))
            self.vocabulary.update(key for keys in keyed for key in keys)
        for key in {words[0] for words in steps[0]}:
            self.constructions.setdefault(key, []).append((entry, tuple(steps)))

    def add(self, entry: Entry, surface: str) -> None:
        keys = tuple(t.key for t in raw_tokens(surface) if t.kind != "punct")
        if not keys:
            return
        self.forms.setdefault(keys, []).append((entry, surface))
        node = self.trie
        for key in keys:
            node = node.setdefault(key, {})
        node.setdefault("", entry)
        self.vocabulary.update(keys)
        if entry.kind in _FUZZY_KINDS and entry.language == "en":
            self.content.update(w for w in re.findall("[a-z]+", surface) if len(w) >= 4)

    def index(self) -> None:
        """To be called once, when all is added."""
        for rows in self.constructions.values():
            rows.sort(key=lambda row: len(row[1]), reverse=True)
        self._index_typos()

    def _index_typos(self) -> None:
        """Deletion neighbourhoods of the content words of five letters or more and their
        inflections, and of words without content.
        """
        for word in sorted(self.content):
            base = word[:-1] if word.endswith("e") else word
            for form in {word, word + "s", base + "ed", base + "ing"}:
                known = stem(form) in self.vocabulary and form not in self.neutral
                if len(form) >= 5 and known:
                    for variant in one_deleted(form):
                        self.deletions.setdefault(variant, []).append(form)
        for form in sorted(w for w in self.neutral if len(w) >= 5 and w.isascii()):
            for variant in one_deleted(form):
                self.plain.setdefault(variant, []).append(form)

    def correct(self, word: str) -> str | None:
        """The stem of the one word within reach of a misspelt word; ``None`` when none or
        ambiguous. Words without content are tried when none with content is near.

        Reach: Damerau distance 1 from five letters, 2 from nine. The first letter is trusted.
        """
        if len(word) < 5:
            return None
        reach = 2 if len(word) >= 9 else 1
        keys = set(one_deleted(word))
        if reach == 2:
            keys |= {v for k in keys for v in one_deleted(k)}
        close = _near(word, keys, self.deletions, reach)
        if not close:
            plain = _near(word, set(one_deleted(word)), self.plain, 1)
            return stem(min(plain)) if plain else None
        best = min(close.values())
        stems = sorted({stem(c) for c, d in close.items() if d == best})
        meanings = {self.trie.get(s, {}).get("") for s in stems}
        concepts = {(m.kind, m.id) if m else None for m in meanings}
        return (
            stems[0] if len(stems) == 1 or (len(concepts) == 1 and None not in concepts) else None
        )

    def find(
        self, tokens: list[Token], i: int, taken: Collection[int] = frozenset()
    ) -> Mention | None:
        """Longest entry starting at token i that has none of the tokens ``taken``."""
        node, found = self.trie, None
        for j in range(i, min(len(tokens), i + 14)):
            if j in taken:
                break
            node = node.get(tokens[j].key)
            if node is None:
                break
            if "" in node:
                found = Mention(node[""], i, j + 1)
        return found


def _near(word: str, keys: set[str], index: dict[str, list[str]], reach: int) -> dict[str, int]:
    """Distance of every indexed form within reach that begins like the word."""
    found: dict[str, int] = {}
    for key in keys:
        for candidate in index.get(key, ()):
            if candidate[0] == word[0] and candidate not in found:
                found[candidate] = damerau(word, candidate)
    close = {c: d for c, d in found.items() if d <= (reach if len(c) >= 9 else 1)}
    return {c: d for c, d in close.items() if d != 1 or slipped(word, c)}


def tokenise(clean: str, lexicon: Lexicon, known: Container[str] = ()) -> list[Token]:
    """Tokens with misspelt content words corrected (``fixed``), but for ``known`` stems."""
    tokens = []
    for token in raw_tokens(clean):
        if token.kind == "word" and token.key not in lexicon.vocabulary and token.key not in known:
            surface = clean[token.start : token.end]
            if token.key not in lexicon.neutral and surface not in lexicon.neutral:
                better = lexicon.correct(surface)
                if better is not None:
                    token = Token(better, token.start, token.end, "word", fixed=True)
        tokens.append(token)
    return tokens


def load_data(name: str) -> dict[str, Any]:
    """A YAML file shipped beside this module."""
    text = resources.files("parfait.semantic.ontology").joinpath(name).read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)


@cache
def _shipped(name: str) -> dict[str, Any]:
    return load_data(name)


@for_own_events
def effects(own: OwnEvents | None) -> dict[str, Any]:
    """``effects.yaml``: constants, priors, events, composition of action and object; with the rows
    of own events while a reader uses them, as the two below.
    """
    table = _shipped("effects.yaml")
    if own is None:
        return table
    rows = {key: event.row(key, table["events"]) for key, event in own.events.items()}
    return table | {"events": table["events"] | rows}


@for_own_events
def exposures(own: OwnEvents | None) -> dict[str, Any]:
    """``exposure.yaml``: how each asset class feels each event."""
    table = _shipped("exposure.yaml")
    if own is None:
        return table
    shipped = table["events"]
    rows = {key: shipped.get(e.like, {}) | e.exposure for key, e in own.events.items()}
    return table | {"events": shipped | rows}


def entries(language: str) -> list[tuple[Entry, str]]:
    """Every (entry, surface form) of one language file."""
    data, rows = load_data(f"lexicon/{language}.yaml"), []
    for section in (
        "events",
        "objects",
        "assets",
        "institutions",
        "links",
        "surprise",
        "persistence",
    ):
        kind = {"persistence": "persistence", "surprise": "surprise"}.get(
            section, section.rstrip("s")
        )
        for name, forms in data[section].items():
            rows += [(Entry(kind, str(name), language), str(f)) for f in forms]
    for action in data["actions"]:
        keys = {k: action[k] for k in ("verb", "market", "bare", "loss", "implies") if k in action}
        entry = Entry("action", action["id"], language, float(action["strength"]), **keys)
        rows += [(entry, str(f)) for f in action["forms"]]
    for kind in ("adverbs", "modals"):
        for value, forms in data[kind].items():
            rows += [(Entry(kind[:-1], str(value), language, float(value)), str(f)) for f in forms]
    for kind in (
        "negators",
        "averted",
        "double_negation",
        "reopen_negation",
        "anticipated",
        "carriers",
        "consensus",
        "comparing",
        "instead",
    ):
        rows += [(Entry(kind, kind, language), str(f)) for f in data[kind]]
    strange = Entry("elsewhere", "elsewhere", language)
    return rows + [(strange, str(f)) for f in data.get("elsewhere_phrases", ())]


@for_own_events
def lexicon(own: OwnEvents | None) -> Lexicon:
    """The compiled lexicon of all languages, once per process and file of own events."""
    compiled = Lexicon()
    for key, event in own.events.items() if own is not None else ():
        for language in LANGUAGES:
            for surface in getattr(event, language):
                compiled.add(Entry("event", key, language), _canonical(surface))
    for language in LANGUAGES:
        for entry, surface in entries(language):
            compiled.add(entry, _canonical(surface))
        data = load_data(f"lexicon/{language}.yaml")
        phrases = load_data(f"lexicon/phrases_{language}.yaml")
        for name, rows in phrases["constructions"].items():
            entry = _PHRASES.get(name, Entry("event", name, ""))
            entry = replace(entry, language=language)
            for row in rows:
                compiled.add_construction(entry, str(row), phrases["groups"])
        words = [str(w) for w in data["occurrence"]]
        compiled.occurrence |= {stem(w) for w in words if w.isascii()}
        compiled.han_occurrence += tuple(w for w in words if not w.isascii())
        for word in str(data["elsewhere"]).split():
            compiled.elsewhere.add(word)
            if language == "zh":
                compiled.add(Entry("elsewhere", "elsewhere", language), word)
        for section in ("function", "neutral"):
            for word in str(data[section]).split():
                compiled.neutral |= {word, stem(word)}
                if section == "function":
                    compiled.function |= {word, stem(word)}
                if language == "zh":
                    compiled.add(Entry("neutral", section, language), word)
    compiled.index()
    return compiled


def _canonical(surface: str) -> str:
    return canonical_text(surface) if _NUMERAL.search(surface) else surface
