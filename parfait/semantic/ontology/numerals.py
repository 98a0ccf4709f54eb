# ruff: noqa: E501  (tables read better in long rows)
"""Numbers and units in one spelling: "fifty basis points", "50-bp", "五十个基点" all become ``50bps``.

Canonical units: ``bps`` basis points, ``%``, ``pp`` percentage points, ``pts`` index points, ``x``
multiples; ``k``,
``mn``, ``bn``, ``tn`` magnitudes. Only numbers that stand before a unit (or a period of time, a
count of jumps ...) are
rewritten, so that "one" and "second" in running text stay words.
"""

import re
from collections.abc import Callable
from typing import Protocol

from parfait.semantic.ontology.han_numerals import HAN_STEPS

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: i for i, word in enumerate(_ONES)}
_VALUES |= {word: 10 * i for i, word in enumerate(_TENS, start=2)}
_WORD = "|".join(sorted([*_VALUES, "hundred", "thousand", "dozen"], key=len, reverse=True))
_ENGLISH = re.compile(
    rf"\b(?:a\s+(?=hundred|thousand|dozen))?(?:{_WORD})(?:(?:[\s-]+|\s+and\s+)(?:{_WORD}))*\b"
    r"(?=[\s-]*(?:basis|bps?\b|%|per\s?cent|pct|percentage|points?\b|times\b|fold\b|(?:trading\s+)?"
    r"(?:day|week|month|quarter|year|session|hour|minute)s?\b|jumps?\b|in\s+(?:\d|ten|five|four|three|two)"
    r"|chances?\b|million|billion|trillion|dollars?|and\s+a\s+half))"
)
_PLAIN = r"\d+(?:\.\d+)?|\.\d+"


class _Rewriter(Protocol):
    text: str

    def rewrite(
        self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str]
    ) -> int: ...


def english_number(words: str) -> float:
    """ "one hundred and twenty-five" -> 125."""
    total = current = 0
    for word in re.split(r"[\s-]+", words.strip()):
        if word in ("and", "a", ""):
            continue
        if word == "hundred":
            current = max(current, 1) * 100
        elif word == "dozen":
            current = max(current, 1) * 12
        elif word == "thousand":
            total, current = total + max(current, 1) * 1000, 0
        else:
            current += _VALUES[word]
    return float(total + current)


def plain(value: float) -> str:
    """Shortest decimal spelling without exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _decimal(match: re.Match[str]) -> str:
    """1.5e3 -> 1500; what is too large for the patterns that follow ends at fifteen nines."""
    return plain(min(float(match.group()), 1e15 - 1))


def _midpoint(match: re.Match[str]) -> str:
    low, high = float(match["a"]), float(match["b"])
    return f"{plain((low + high) / 2)}{match['u']}" if low < high else match.group()


_STEPS = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
        (r"(?<![\w.])\d+(?:\.\d+)?e[+-]?\d{1,9}(?![\w.])", _decimal),
        (r"(?<![\d.])\.(?=\d)", "0."),
        *HAN_STEPS,
        (r"\b(?:a\s+)?quarter(?:\s+of\s+a)?(?:[\s-]+(?:percentage|per\s?cent))?[\s-]+points?\b", "25bps"),
        (r"\b(?:a\s+)?quarter\s+of\s+(?:a|one)\s+per\s?cent\b", "0.25%"),
        (r"\bhalf[\s-]+(?:of\s+)?(?:a[\s-]+|an?\s+)?(?:percentage[\s-]+|per\s?cent[\s-]+)?points?\b", "50bps"),
        (r"\b(?:a\s+)?half\s+(?:of\s+)?(?:a\s+|one\s+)?per\s?cent\b", "0.5%"),
        (r"\bthree[\s-]quarters?(?:[\s-]+of\s+a)?(?:[\s-]+percentage)?[\s-]+points?\b", "75bps"),
        (r"\b(?:a\s+)?full\s+(?:percentage\s+)?point\b", "100bps"),
        (r"\b(?:one|a|1)\s+and\s+a\s+half\b", "1.5"),
        (_ENGLISH.pattern, lambda m: plain(english_number(m.group()))),
        (r"\b(?:a|one)\s+(?=(?:percentage\s+point|per\s?cent)\b)", "1 "),
        (r"\b(?:a|one)\s+third\b", "33.333%"),
        (r"\btwo[\s-]thirds\b", "66.667%"),
        (r"\b(?:half|50%)\s+(?:of\s+)?(?:its|their|the)\s+value\b", "50%"),
        (r"\b(?:a|one)\s+quarter\s+of\s+(?:its|their)\s+value\b|(?<=\bby )(?:a|one)\s+quarter\b", "25%"),
        (r"(?<=\bby )(?:a|one)\s+fifth\b", "20%"),
        (r"(?<=\bby )(?:a|one)\s+tenth\b", "10%"),
        (r"\bthree[\s-]quarters?\s+of\s+(?:its|their|the)\s+value\b|(?<=\bby )three[\s-]quarters\b", "75%"),
        (rf"({_PLAIN})[\s-]*(?:basis[\s-]*points?|bps?\b|b\.p\.)", r"\1bps"),
        (rf"({_PLAIN})[\s-]*(?:percentage[\s-]*points?|ppts?\b|pps?\b|per\s?cent(?:age)?[\s-]+points?)", r"\1pp"),
        (rf"({_PLAIN})[\s-]*(?:%|per\s?cent\b|pct\b)", r"\1%"),
        (rf"({_PLAIN})[\s-]*(?:points?\b|pts\b|点(?!位))", r"\1pts"),
        (rf"({_PLAIN})[\s-]*(?:times\b|fold\b|×|x\b)", r"\1x"),
        (rf"({_PLAIN})\s*(?:thousand|k)\b", r"\1k"),
        (rf"({_PLAIN})\s*(?:million|mn|mln|m)\b", r"\1mn"),
        (rf"({_PLAIN})\s*(?:billion|bn|bln|b)\b", r"\1bn"),
        (rf"({_PLAIN})\s*(?:trillion|tn|trn|t)\b", r"\1tn"),
        (
            r"(?<![\d.$-])(?<!from )(?<!从)(?P<a>\d+(?:\.\d+)?)(?:bps|%|pp)?\s*(?:-|to|~|至|到)\s*(?P<b>\d+(?:\.\d+)?)(?P<u>bps|%|pp)",
            _midpoint,
        ),
        (r"\bbetween\s+(?P<a>\d+(?:\.\d+)?)(?:bps|%|pp)?\s+and\s+(?P<b>\d+(?:\.\d+)?)(?P<u>bps|%|pp)", _midpoint),
        (r"(?:usd|eur|gbp|€|£|¥)\s?(?=\d)", "$"),
        (r"\$\s+(?=\d)", "$"),
        (r"(?<=\d)\s*(?:us\s+)?(?:dollars?|usd|美元)(?:/桶|/盎司|/barrel|/oz)?", "$"),
        (r"(?<![a-z0-9])minus\s+(?=\d)", "-"),
    )
)  # fmt: skip


def canonical_numbers(canvas: _Rewriter) -> None:
    """Rewrites every number of the canvas in place, in an order where each step may rely on the
    ones before.
    """
    for pattern, new in _STEPS:
        canvas.rewrite(pattern, new)


def canonical_text(text: str) -> str:
    """A short text, such as a surface form of the lexicon, with its numbers in canonical form."""
    for pattern, new in _STEPS:
        text = pattern.sub(new, text)
    return text
