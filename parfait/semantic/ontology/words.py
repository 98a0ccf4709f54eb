# ruff: noqa: E501  (tables read better in long rows)
"""Words: tokens of canonical text, a light stemmer and an edit distance."""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<num>(?:(?<![a-z0-9\u4e00-\u9fff])[+-])?\$?\d+(?:\.\d+)?(?P<unit>bps|pp|pts|%|x(?![a-z])|k(?![a-z])|[mbt]n(?![a-z]))?\$?)"
    r"|(?P<accented>[a-z]*[\u00df-\u024f][a-z\u00df-\u024f]*)"
    r"|(?P<word>[a-z]+(?:[&][a-z]+)*\+?)"
    r"|(?P<cjk>[\u3007\u3400-\u4dbf\u4e00-\u9fff])"
    r"|(?P<foreign>[^\W\d_a-z]+)"
    r"|(?P<punct>[,.;:!?。;!?，；：！？\n()\[\]\"])"
)
_IRREGULAR = {
    "fell": "fall", "fallen": "fall", "rose": "rise", "risen": "rise", "lost": "lose", "losing": "lose",
    "losses": "loss", "sank": "sink", "sunk": "sink", "beaten": "beat", "broke": "break", "broken": "break",
    "grew": "grow", "grown": "grow", "went": "go", "gone": "go", "goes": "go", "going": "go", "held": "hold", "kept": "keep",
    "left": "leave", "shrank": "shrink", "shrunk": "shrink", "sold": "sell", "bought": "buy", "drove": "drive",
    "driven": "drive", "led": "lead", "withdrew": "withdraw", "withdrawn": "withdraw", "fled": "flee",
    "crises": "crisis", "averted": "avert", "leapt": "leap", "dove": "dive", "drew": "draw", "began": "begin",
    "worse": "worse", "better": "better", "earnings": "earnings", "rating": "rating", "ratings": "rating",
    "died": "die", "dying": "die", "tied": "tie", "sent": "send", "won": "win", "shot": "shoot", "took": "take",
    "taken": "take", "went up": "go up", "stuck": "stick", "spread": "spread", "strategies": "strategy",
    "indices": "index", "indexes": "index", "dries": "dry", "dried": "dry", "flew": "fly", "flies": "fly",
    "swung": "swing", "bounced": "bounce", "broadly": "broadly", "dropped": "drop", "dropping": "drop",
    "freezing": "freeze", "froze": "freeze", "frozen": "freeze", "blew": "blow", "blown": "blow", "stood": "stand",
    "blows": "blow", "news": "news", "goods": "goods", "this": "this", "was": "was", "has": "has", "does": "does",
    "during": "during", "wall": "wall", "trading": "trading", "spring": "spring", "nothing": "nothing",
    "something": "something", "including": "including", "funding": "funding", "housing": "housing",
    "is": "is", "are": "are", "his": "his", "its": "its", "yes": "yes", "us": "us", "as": "as", "thus": "thus",
    "versus": "versus", "plus": "plus", "beijing": "beijing", "boeing": "boeing", "hostilities": "hostility",
    "expected": "expected", "anticipated": "anticipated", "forecasts": "forecast", "priced": "priced",
    "united": "united", "outstanding": "outstanding", "shares": "share", "treasuries": "treasury", "ties": "tie",
    "halving": "halving", "spreads": "spreads", "putting": "put", "cutting": "cut", "hitting": "hit", "trimmed": "trim", "paid": "pay", "repaid": "repay", "lowest": "low", "outbid": "outbid", "underinvest": "underinvest", "interest": "interest", "trimming": "trim",
}  # fmt: skip

_NO_SUPERLATIVE = frozenset(
    [
        "harvest",
        "interest",
        "request",
        "protest",
        "contest",
        "suggest",
        "manifest",
        "conquest",
        "tempest",
        "budapest",
        "bequest",
        "congest",
        "dishonest",
        "midwest",
        "disinterest",
    ]
)


@dataclass(frozen=True)
class Token:
    """A word, number, Chinese character or mark of the canonical text."""

    key: str
    start: int
    end: int
    kind: str
    value: float = 0.0
    unit: str = ""
    signed: bool = False
    fixed: bool = False


def stem(word: str) -> str:
    """A light English stemmer: irregular forms, then plural, -ing, -ed and final e. Only equality
    of stems matters.
    """
    if word in _IRREGULAR:
        base = _IRREGULAR[word]
        return base if base == word else stem(base)
    if len(word) <= 3 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ss", "us", "is", "ous")):
        return word
    if word.endswith("ing") and len(word) > 5 and _has_vowel(word[:-3]):
        return _undouble(word[:-3])
    if word.endswith("est") and len(word) > 6 and word not in _NO_SUPERLATIVE:
        return stem(_undouble(word[:-3])) if word[-4] != "i" else word[:-4] + "y"
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("ed") and not word.endswith("eed") and len(word) > 4 and _has_vowel(word[:-2]):
        return _undouble(word[:-2])
    if word.endswith(("shes", "ches", "xes", "sses", "zes", "oes")):
        return word[:-2]
    if word.endswith("s"):
        word = word[:-1]
    return _undouble(word[:-1]) if word.endswith("e") and len(word) > 3 else word


def _has_vowel(text: str) -> bool:
    return any(c in "aeiouy" for c in text)


def _undouble(text: str) -> str:
    if len(text) > 3 and text[-1] == text[-2] and text[-1] not in "lsz":
        return text[:-1]
    return text[:-1] if text.endswith("e") and len(text) > 3 else text


def one_deleted(word: str) -> list[str]:
    return [word, *(word[:k] + word[k + 1 :] for k in range(len(word)))]


def damerau(a: str, b: str) -> int:
    """Edit distance with adjacent transpositions (optimal string alignment)."""
    if abs(len(a) - len(b)) > 2:
        return 3
    before, row = [], list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        new = [i]
        for j, y in enumerate(b, start=1):
            cost = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            new.append(cost)
        before, row = row, new
    return row[-1]


_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEXT = {
    (a, b)
    for y, row in enumerate(_ROWS)
    for x, a in enumerate(row)
    for v, other in enumerate(_ROWS)
    for u, b in enumerate(other)
    if abs(y - v) <= 1 and abs(x + 0.5 * y - u - 0.5 * v) <= 1.1
}


def slipped(typed: str, meant: str) -> bool:
    """Whether one slip of a finger explains the difference: a letter left out, doubled, swapped
    with the next, or beside its neighbour on the keyboard; in long words a wrong vowel too.
    """
    if len(typed) == len(meant):
        apart = [i for i, (x, y) in enumerate(zip(typed, meant, strict=True)) if x != y]
        if len(apart) == 1:
            x, y = typed[apart[0]], meant[apart[0]]
            return (x, y) in _NEXT or (len(meant) >= 8 and x in "aeiou" and y in "aeiou")
        return True
    if len(typed) > len(meant):
        i = next((i for i, (x, y) in enumerate(zip(typed, meant, strict=False)) if x != y), -1)
        x = typed[i]
        return any(
            (x, y) in _NEXT for y in (typed[i - 1 : i] + typed[i + 1 : i + 2 if i >= 0 else None])
        )
    return True


def raw_tokens(clean: str) -> list[Token]:
    """Tokens of canonical text, without typo correction."""
    tokens = []
    for match in _TOKEN.finditer(clean):
        kind, (a, b), text = str(match.lastgroup), match.span(), match.group()
        if match["num"] is not None:
            unit = match["unit"] or ""
            digits = text.replace("$", "")
            value = float(digits[: len(digits) - len(unit)] if unit else digits)
            unit = "$" if "$" in text and not unit else unit
            tokens.append(Token(digits.lstrip("+-"), a, b, "num", value, unit, text[0] in "+-"))
        elif kind == "word":
            tokens.append(Token(stem(text), a, b, "word"))
        else:
            tokens.append(Token(text, a, b, "foreign" if kind == "accented" else kind))
    return tokens
