"""Stretches of a text that follow one another in time: "panic for two weeks, then recovery".

What comes later is told by the links of the lexicon (then, followed by, before, 随后 ...), how long
by the durations of ``clauses``. Only an explicit duration makes a stretch: "panic, then recovery"
has none and stays one reading.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from parfait.semantic.ontology.clauses import DURATION, HAN_DURATION, Parsed, years_of
from parfait.semantic.ontology.lexicon import Lexicon

_ABOUT = r"(?:(?:about|around|roughly|some|nearly|almost|at\s+least|up\s+to|another)\s+)?"
_NEXT = r"(?:the\s+(?:next|first|coming|following)\s+)?"
_LASTS = re.compile(
    rf"\b(?:for|last(?:s|ed|ing)?(?:\s+for)?|persist(?:s|ing)?(?:\s+for)?)\s+{_ABOUT}{_NEXT}{DURATION}"
)
_OF = re.compile(rf"\b{_ABOUT}{_NEXT}{DURATION}\s+of\s+(?!age\b|the\b|data\b|history\b)")
_AFTER_OF = re.compile(rf"\bafter\s+{_ABOUT}{DURATION}\s+of\b")
_ADJECTIVE = re.compile(
    r"\b(?:a|an|the)\s+(?P<n>\d+)[\s-](?P<trading>trading[\s-])?(?P<unit>day|session|week|month)[\s-](?!high|low|average|mean|moving|note|bond|bill|yield|treasur|gilt|rate|future|option|contract|record|peak|trough)"
)
_HAN = rf"(?:约|大约|了)?{HAN_DURATION}"
_HAN_LASTS = re.compile(rf"(?:持续|维持|延续|长达|历时|为期|经历|经过|历经)\s*{_HAN}")
_HAN_OF = re.compile(rf"{HAN_DURATION}的(?!高|低|均|新|国债|收益)")
_HAN_AFTER_OF = re.compile(rf"(?:在|经历|经过|历经)\s*{_HAN}的")
_HAN_ENDS = re.compile(rf"{HAN_DURATION}(?=\s*(?:[,。;.!?]|$))")
_HAN_BEGINS = re.compile(
    rf"(?:^|(?<=[,。;.!?]))\s*{HAN_DURATION}(?!内|以内|之内|里|后|以后|之后|的|时间|前|底|初|份)"
)
_LATER = re.compile(r"(?:之|以)?后(?=\s*,)|\bafter\s+(?:which|that)\b")
_CUTS = frozenset(",.;:!?。;！？；\n")


@dataclass(frozen=True)
class Stretch:
    """One part of the text and how long it lasts.

    Args:
        start, end: its place in the canonical text.
        years: its duration; ``None`` for a last one that stays.
        duration: where the duration stands; empty where there is none.
    """

    start: int
    end: int
    years: float | None
    duration: tuple[int, int]


@dataclass(frozen=True)
class _Duration:
    start: int
    end: int
    years: float
    opens: bool  # "a month of X": what lasts stands after it
    after: bool  # "after a month of X, Y": Y begins at the comma


def read_stretches(parsed: Parsed, lexicon: Lexicon) -> list[Stretch]:
    """The stretches of a text in their order; empty when it has no schedule.

    A stretch without a duration belongs to the one that follows it. Alternatives ("either ... or")
    have no order in time, hence no schedule.
    """
    if any({"or", "whether"} & {c.link, *c.lead} for c in parsed.clauses):
        return []
    found = _durations(parsed.clean)
    if not found:
        return []
    cuts = sorted({*_links(parsed, lexicon), *_commas(parsed.clean, found)})
    stretches: list[Stretch] = []
    start = 0
    for cut in cuts:
        inside = [d for d in found if start <= d.start and d.end <= cut]
        if inside:
            stretches += _divided(parsed.clean, start, cut, inside)
            start = cut
    if not stretches or not parsed.clean[start:].strip(" ,.;:!?。！？；\n"):
        return []
    inside = [d for d in found if start <= d.start]
    rest = _divided(parsed.clean, start, len(parsed.clean), inside)
    return stretches + rest


def _durations(clean: str) -> list[_Duration]:
    """Every explicit duration of something, in the order of the text."""
    found: list[_Duration] = []
    rules = (
        (_AFTER_OF, True, True),
        (_HAN_AFTER_OF, True, True),
        (_LASTS, False, False),
        (_OF, True, False),
        (_ADJECTIVE, True, False),
        (_HAN_LASTS, False, False),
        (_HAN_OF, True, False),
        (_HAN_ENDS, False, False),
        (_HAN_BEGINS, True, False),
    )
    for pattern, opens, after in rules:
        for match in pattern.finditer(clean):
            taken = any(d.start < match.end() and match.start() < d.end for d in found)
            if taken or not _explicit(match) or not years_of(match) > 0:
                continue
            if after and not _begins(clean, match.start()):
                continue
            found.append(_Duration(*match.span(), years_of(match), opens, after))
    return sorted(found, key=lambda d: d.start)


def _explicit(match: re.Match[str]) -> bool:
    """Whether it says how many: "for weeks" does not, 3月 is March and 2024年 a date."""
    words, unit = match.group(), match["unit"]
    if unit.isascii():
        return match["n"] is not None or bool(
            re.search(rf"\b(?:an?|one|single|the)[\s-]+(?:\w+[\s-]+)?{unit}\b", words)
        )
    if match["n"] is None or (unit == "月" and "个" not in words) or unit == "日":
        return False
    return not (unit == "年" and match["n"].isdigit() and int(match["n"]) > 50)


def _begins(clean: str, at: int) -> bool:
    """Whether nothing but a link stands between this place and the last punctuation."""
    before = re.split(r"[,.;:!?。！？；\n]", clean[:at])[-1].strip()
    return before in ("", "then", "and", "and then", "but", "然后", "随后")


def _links(parsed: Parsed, lexicon: Lexicon) -> list[int]:
    """Where something later begins: the links "then" of the lexicon, 后 before a comma, and "after
    which", whose "after" turns the order around elsewhere.
    """
    found, i = [], 0
    while i < len(parsed.tokens):
        mention = lexicon.find(parsed.tokens, i)
        if mention is not None and mention.entry.kind == "link" and mention.entry.id == "then":
            found.append(parsed.tokens[i].start)
        i = mention.j if mention is not None else i + 1
    return found + [m.start() for m in _LATER.finditer(parsed.clean)]


def _commas(clean: str, found: list[_Duration]) -> list[int]:
    """The first comma after "after a month of X"."""
    cuts = []
    for d in found:
        stop = next((i for i in range(d.end, len(clean)) if clean[i] in _CUTS), None)
        if d.after and stop is not None:
            cuts.append(stop)
    return cuts


def _divided(clean: str, start: int, end: int, inside: list[_Duration]) -> list[Stretch]:
    """One stretch for every duration: "panic for two weeks, calm for a month" are two."""
    if not inside:
        return [Stretch(start, end, None, (start, start))]
    edges = [start]
    kept = inside[:1]
    for before, later in pairwise(inside):
        between = [i for i in range(before.end, later.start) if clean[i] in _CUTS]
        if between:
            edges.append(between[-1] if later.opens else between[0])
            kept.append(later)
    edges.append(end)
    return [
        Stretch(a, b, d.years, (d.start, d.end))
        for a, b, d in zip(edges, edges[1:], kept, strict=False)
    ]
