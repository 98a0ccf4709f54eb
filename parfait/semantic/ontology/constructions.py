"""Turns of phrase with gaps: "depositors queue ... bank", "pull ... money ... out".

A row of the lexicon reads ``a/b .. c/d .. e``: alternatives (of one word or several) in this order,
each at most a few words after the one before and within one sentence. Words of the row are
matched by stem like all others.
"""

from collections.abc import Sequence

from parfait.semantic.ontology.lexicon import Lexicon, Mention, Steps, Token

_GAP = {"en": 5, "zh": 8}  # words, characters
_WHOLE = 99  # length of a phrase that no construction outdoes
_ENDERS = frozenset(".!?;。！？；\n")


def read_constructions(
    tokens: list[Token], lexicon: Lexicon
) -> list[tuple[Mention, frozenset[int]]]:
    """Every construction of the text with the tokens it is made of, leftmost first; none shares a
    token with another, or with a phrase of the lexicon that is as long.
    """
    found: list[tuple[Mention, frozenset[int]]] = []
    taken: set[int] = set()
    fixed = _fixed(tokens, lexicon)
    for i, token in enumerate(tokens):
        for entry, steps in lexicon.constructions.get(token.key, ()):
            used = _match(tokens, i, steps, _GAP[entry.language])
            if used and not taken & used and all(fixed.get(k, 0) < len(used) for k in used):
                taken |= used
                found.append((Mention(entry, i, max(used) + 1), frozenset(used)))
                break
    return found


def _fixed(tokens: list[Token], lexicon: Lexicon) -> dict[int, int]:
    """Tokens of phrases of the lexicon ("peace talks") with their length; those that name an event
    ("civil war") are never taken apart.
    """
    fixed: dict[int, int] = {}
    i = 0
    while i < len(tokens):
        mention = lexicon.find(tokens, i)
        if mention is None:
            i += 1
            continue
        if mention.entry.kind in ("event", "object") and mention.entry.language == "en":
            size = mention.j - mention.i
            size = _WHOLE if mention.entry.kind == "event" and size > 1 else size
            fixed |= dict.fromkeys(range(mention.i, mention.j), size)
        i = mention.j
    return fixed


def _match(tokens: Sequence[Token], i: int, steps: Steps, gap: int) -> set[int]:
    """The tokens of the steps from token i on, empty where they do not match. Punctuation within a
    sentence takes no room in a gap.
    """
    used: set[int] = set()
    at = i
    for number, step in enumerate(steps):
        passed = 0
        for start in range(at, len(tokens)):
            if tokens[start].key in _ENDERS or passed > (gap if number else 0):
                return set()
            passed += tokens[start].kind != "punct"
            size = _starts(tokens, start, step)
            if size:
                used.update(range(start, start + size))
                at = start + size
                break
        else:
            return set()
    return used


def _starts(tokens: Sequence[Token], at: int, step: tuple[tuple[str, ...], ...]) -> int:
    """Number of tokens of the alternative that begins at a token, 0 for none."""
    for words in step:
        if tuple(t.key for t in tokens[at : at + len(words)]) == words:
            return len(words)
    return 0
