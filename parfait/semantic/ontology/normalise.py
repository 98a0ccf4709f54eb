"""Instruction text in canonical form, every character tied to the place it came from so that
warnings can quote.

Order: cap the length, drop control tokens and embedded JSON, NFKC and casefold, contractions, then
numerals and units
(``numerals.canonical_numbers``). Whatever is thrown away is reported in a warning, never silently
read.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from parfait.semantic.ontology.lexicon import load_data
from parfait.semantic.ontology.numerals import canonical_numbers

MAX_BYTES = 4096

_CONTROL = re.compile(
    r"<\|[^<>|]{0,60}\|>(?:\s{0,3}(?:system|user|assistant|tool)\b)?|</?[a-z][a-z0-9]{0,15}(?:\s[^<>]{0,80})?/?>|\[/?(?:INST|SYS)\]|<</?SYS>>"
    r"|```.*?```",
    re.IGNORECASE | re.DOTALL,
)
_BRACES = re.compile(r"\{[^{}]*\}|\[[\s,]*\]")
# Queries are capital letters or have a clause that no English sentence has.
_QUERY = re.compile(
    r"\bSELECT\s[^;]{1,400}?\bFROM\s[^;]{1,400}"
    r"|\b(?:INSERT\s+INTO|DELETE\s+FROM|CREATE\s+TABLE|DROP\s+TABLE|ALTER\s+TABLE)\s[^;]{1,400}"
    r"|\bUPDATE\s+\w+\s+SET\s[^;]{1,400}"
    r"|\bselect\s[^;]{1,400}?\bfrom\s+\w+\s+(?:where|group\s+by|order\s+by|limit|join)\s[^;]{1,400}"
)
_BLANKS = re.compile(r"\s{2,}")
_DIGITS = re.compile(r"\d{16,}")
_HAN_DIGITS = re.compile(r"[零〇一二两三四五六七八九十百千万]{16,}")
_SENTENCE = re.compile(r"[^.!?。！？\n;；]+")
_COMMAND = re.compile(
    r"\b(?:ignore|disregard|forget|override)\s{1,9}(?:(?:all|any|the|your|everything)\s{1,9}){0,4}"
    r"(?:previous|prior|above|earlier|preceding|instructions?|rules)"
    r"|system\s{1,9}prompt|you\s{1,9}are\s{1,9}now\b|developer\s{1,9}mode|jailbreak"
    r"|respond\s{1,9}only\s{1,9}with"
    r"|(?:忽略|无视|忘记)[^。！？\n]{0,12}(?:指令|指示|提示|规则|要求)",
    re.IGNORECASE,
)
_CONTRACTIONS: tuple[tuple[str, str], ...] = (
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"n't\b", " not"),
    (r"\b(is|are|was|were|do|does|did|has|have|had|would|could|should)nt\b", r"\1 not"),
    (r"\bu\.\s?s\.(?:\s?a\.)?", "usa"),
    (r"\b([a-z])\.([a-z])\.(?=\s|$|,)", r"\1\2"),
    (r"\b(vs|approx|inc|corp|co|ltd|mr|dr|est)\.(?=\s)", r"\1"),
    (
        r"\bthan\s+(?:any(?:body|one)|every(?:body|one)|(?:most\s+|many\s+|the\s+|our\s+)?(?:analysts?|economists?|"
        r"markets?|traders?|investors?|forecasters?|street|experts?|wall\s+street|bears|bulls|desks?|pundits|"
        r"s[kc]eptics|critics|doubters|consensus|city|press|model)|most|many|we|i|they)\s+"
        r"(?:on\s+the\s+desk\s+|at\s+the\s+\w+\s+)?(?:had\s+|have\s+|dared\s+(?:to\s+)?)?"
        r"(?:expected|forecast|thought|predicted|hoped?|imagined|anticipated|reckoned|figured|guessed|"
        r"bargained|pencilled\s+in|it|said)(?:\s+for)?\b",
        "than expected",
    ),
    (
        r"\bthan\s+(?:any(?:body|one)|every(?:body|one)|(?:the\s+)?(?:analysts?|economists?|markets?|traders?|"
        r"investors?|street)|most|many)\s+(?:had\s+)?feared\b",
        "than feared",
    ),
    (r"\br&d\b", "research"),
    (r"'s\b|'(?=\s|$)", ""),
)


@dataclass(frozen=True)
class Text:
    """Canonical text; ``starts[i]``/``ends[i]`` say which span of ``raw`` the character
    ``clean[i]`` came from.
    """

    raw: str
    clean: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    def quote(self, start: int, end: int) -> str:
        """The user's own words behind ``clean[start:end]``, on one line."""
        if start >= end or not self.clean:
            return ""
        words = self.raw[self.starts[start] : self.ends[end - 1]]
        return " ".join(words.split())


@cache
def _traditional() -> dict[int, int]:
    """Traditional characters that the lexicon writes in simplified form."""
    table = {k: "".join(str(v).split()) for k, v in load_data("lexicon/traditional.yaml").items()}
    return str.maketrans(table["traditional"], table["simplified"])


class Canvas:
    """A string under rewriting that remembers where each character came from."""

    def __init__(self, raw: str) -> None:
        self.text = raw
        self.starts = list(range(len(raw)))
        self.ends = [i + 1 for i in range(len(raw))]

    def rewrite(self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str]) -> int:
        """``re.sub`` with memory: every new character points at the whole replaced span. Returns
        the count.
        """
        text, starts, ends, at, count = [], [], [], 0, 0
        for match in pattern.finditer(self.text):
            a, b = match.span()
            if a == b:
                continue
            replacement = match.expand(new) if isinstance(new, str) else new(match)
            if replacement == match.group():
                continue
            count += 1
            text += [self.text[at:a], replacement]
            starts += self.starts[at:a] + [self.starts[a]] * len(replacement)
            ends += self.ends[at:a] + [self.ends[b - 1]] * len(replacement)
            at = b
        if count:
            text.append(self.text[at:])
            self.starts, self.ends = starts + self.starts[at:], ends + self.ends[at:]
            self.text = "".join(text)
        return count

    def fold(self) -> None:
        """NFKC, casefold and simplified characters, character by character so that offsets
        survive.
        """
        if self.text.isascii():
            self.text = self.text.lower()
            return
        text, starts, ends = [], [], []
        for char, a, b in zip(self.text, self.starts, self.ends, strict=True):
            folded = unicodedata.normalize("NFKC", char).casefold().translate(_traditional())
            folded = _PUNCTUATION.get(folded, folded)
            text.append(folded)
            starts += [a] * len(folded)
            ends += [b] * len(folded)
        self.text, self.starts, self.ends = "".join(text), starts, ends


_PUNCTUATION = {
    "’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "−": "-", "‐": "-",
    "‑": "-",     "⁄": "/", "、": ",", "\u200b": "", "\ufeff": "", "\u00ad": "", "…": "...",
}  # fmt: skip


def cap_bytes(text: str) -> tuple[str, bool]:
    """Head and tail of a text beyond ``MAX_BYTES`` (UTF-8), joined by a full stop so that they do
    not fuse.
    """
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_BYTES:
        return text, False
    half = MAX_BYTES // 2 - 2
    head = data[:half].decode("utf-8", "ignore")
    tail = data[-half:].decode("utf-8", "ignore")
    return f"{head} . {tail}", True


def _drop_json(match: re.Match[str]) -> str:
    inside = match.group()
    is_json = ":" in inside and ('"' in inside or "'" in inside)
    return " " if is_json or inside[0] == "[" or not inside[1:-1].strip() else inside


def _drop_command(match: re.Match[str]) -> str:
    return " " if _COMMAND.search(match.group()) else match.group()


def plain_sentences(raw: str) -> str:
    """The text without markup, JSON and commands, its words as they were typed: what a model may
    see of it. Never raises.
    """
    canvas = Canvas(cap_bytes(_encodable(raw))[0])
    return canvas.text.strip() if _drop_all(canvas) else raw


def _encodable(raw: str) -> str:
    return "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in raw)


def _drop_all(canvas: Canvas) -> int:
    """Markup, JSON and commands out of the text; how many pieces."""
    dropped = canvas.rewrite(_CONTROL, " ") + canvas.rewrite(_QUERY, " ")
    for _ in range(6):  # nested objects close from the inside out
        found = canvas.rewrite(_BRACES, _drop_json)
        dropped += found
        if not found:
            break
    return dropped + canvas.rewrite(_SENTENCE, _drop_command)


def normalise(raw: str) -> Text:
    """Canonical form of any Unicode string; never raises."""
    warnings: list[str] = []
    raw, cut = cap_bytes(_encodable(raw))
    if cut:
        warnings.append(
            f"The instruction is longer than {MAX_BYTES} bytes; "
            "only its beginning and its end were read."
        )
    canvas = Canvas(raw)
    if _drop_all(canvas):
        warnings.append(
            "Markup, JSON or commands inside the instruction were ignored; "
            "only plain sentences are read."
        )
    canvas.fold()
    if (
        "'" in canvas.text
        or "." in canvas.text
        or "nt" in canvas.text
        or any(c in canvas.text for c in ("&", "than ", "cannot"))
    ):
        for pattern, new in _COMPILED_CONTRACTIONS:
            canvas.rewrite(pattern, new)
    # Long runs would make the patterns that follow quadratic, and say nothing.
    canvas.rewrite(_BLANKS, lambda m: "\n" if "\n" in m.group() else " ")
    canvas.rewrite(_DIGITS, lambda m: m.group()[:15])
    canvas.rewrite(_HAN_DIGITS, lambda m: m.group()[:15])
    canonical_numbers(canvas)
    return Text(raw, canvas.text, tuple(canvas.starts), tuple(canvas.ends), tuple(warnings))


_COMPILED_CONTRACTIONS = tuple((re.compile(p), new) for p, new in _CONTRACTIONS)
