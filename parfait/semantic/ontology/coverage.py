"""How much of a text was understood: the share of content words that a frame, directive or carrier
consumed.
"""

from dataclasses import dataclass, replace

from parfait.semantic.ontology.clauses import Parsed
from parfait.semantic.ontology.lexicon import Lexicon

# Below this confidence the reading is flagged: fewer than about three in ten content words were
# understood.
UNSURE_BELOW = 0.5
_STRANGER = 5.0  # weight of a further word of another world: two are no slip
# Function words of other languages: their presence says that the words around them are not English
# either.
_FOREIGN = frozenset(
    [
        "el",
        "la",
        "los",
        "las",
        "del",
        "una",
        "por",
        "que",
        "y",
        "con",
        "para",
        "il",
        "lo",
        "gli",
        "di",
        "che",
        "non",
        "der",
        "die",
        "das",
        "und",
        "ist",
        "ein",
        "eine",
        "nicht",
        "mit",
        "von",
        "le",
        "les",
        "des",
        "est",
        "une",
        "du",
        "et",
        "dans",
        "sur",
        "pas",
        "avec",
        "os",
        "uma",
        "não",
        "se",
        "su",
        "al",
        "het",
        "een",
        "van",
        "zijn",
        "och",
        "att",
        "det",
        "som",
        "på",
        "och",
        "i",
        "w",
        "na",
        "nie",
    ]
)


@dataclass(frozen=True)
class Coverage:
    """``share`` of content read, ``confidence`` = 1 - (1 - share)^2 (0 without frame or
    directive), unread words.
    """

    share: float
    confidence: float
    unread: tuple[str, ...]
    foreign: bool

    def doubted(self) -> "Coverage":
        """The same of a text that states what cannot be: never confident."""
        return replace(self, confidence=min(self.confidence, UNSURE_BELOW))


def measure(parsed: Parsed, lexicon: Lexicon, understood: bool, named: bool = True) -> Coverage:
    """Coverage of a segmented text.

    Args:
        parsed: clauses and what was used of them.
        lexicon: words without content, words of another world.
        understood: whether there is a frame or directive at all.
        named: whether one of them is named; what cues alone tell of earns no benefit of doubt, so
            its confidence is the share itself.

    Function words and general news vocabulary weigh nothing; an unknown word weighs 1, a word used
    by a frame 1, a Chinese character 0.5, a word of another world (``lexicon.elsewhere``) 2 and
    every further one 5, whether used or not. The square makes a few unread names harmless and a
    mostly unread text untrusted.
    """
    read = unread = 0.0
    strange_seen: set[str] = set()
    words: list[str] = []
    foreign = latin = 0
    covered = _spans(parsed, lexicon, "neutral", "carriers")
    strange_words = _spans(parsed, lexicon, "elsewhere")
    gap: list[int] = []
    for i, token in enumerate(parsed.tokens):
        if token.kind == "punct":
            continue
        surface = parsed.clean[token.start : token.end]
        weight = 0.5 if token.kind == "cjk" else 1.0
        latin += token.kind == "word"
        foreign += token.kind == "foreign" or (token.kind == "word" and surface in _FOREIGN)
        if token.kind == "foreign" or surface in lexicon.elsewhere or i in strange_words:
            unread += _STRANGER if strange_seen - {surface} else 2.0
            strange_seen.add(surface)
            words.append(surface)
        elif i in parsed.used:
            read += 0.0 if token.key in lexicon.function and token.kind == "word" else weight
        elif i in covered or token.key in lexicon.neutral or surface in lexicon.neutral:
            continue
        elif token.kind == "num":
            unread += 0.25
        else:
            unread += weight
            if token.kind == "cjk" and gap and gap[-1] == i - 1:
                words[-1] += surface
            else:
                words.append(surface)
            gap.append(i)
    kana = any("\u3040" <= c <= "\u30ff" for c in parsed.clean)
    strange = kana or foreign > 0.15 * max(latin, 1) + 0.5
    share = read / (read + unread) if read > 0 else 0.0
    confidence = 1 - (1 - share) ** (2 if named else 1) if understood else 0.0
    if strange:
        confidence = min(confidence, 0.1)
    return Coverage(share, confidence, tuple(dict.fromkeys(words)), strange)


def _spans(parsed: Parsed, lexicon: Lexicon, *kinds: str) -> set[int]:
    """Tokens of the mentions of these kinds."""
    covered: set[int] = set()
    i = 0
    while i < len(parsed.tokens):
        mention = lexicon.find(parsed.tokens, i)
        if mention is not None and mention.entry.kind in kinds:
            covered.update(range(mention.i, mention.j))
        i = mention.j if mention is not None else i + 1
    return covered
