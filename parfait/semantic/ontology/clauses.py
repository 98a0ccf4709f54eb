# ruff: noqa: E501  (patterns read better in one piece)
"""Tokens into clauses: what is mentioned, which link joins a clause to the one before, and which
numbers it holds.
"""

import re
from dataclasses import dataclass, field

from parfait.semantic.ontology.constructions import read_constructions
from parfait.semantic.ontology.cues import cues
from parfait.semantic.ontology.lexicon import Entry, Lexicon, Mention, Token, tokenise

_UNITS_OF_TIME = {
    "minute": 1 / 525600, "hour": 1 / 8760, "day": 1 / 365, "session": 1 / 252, "week": 7 / 365, "month": 1 / 12,
    "quarter": 0.25, "year": 1.0, "小时": 1 / 8760, "天": 1 / 365, "日": 1 / 365, "交易日": 1 / 252, "周": 7 / 365,
    "星期": 7 / 365, "月": 1 / 12, "季度": 0.25, "年": 1.0,
}  # fmt: skip
DURATION = r"(?:(?P<n>\d+(?:\.\d+)?)|(?:a|an|one|the\s+(?:next|coming|space\s+of\s+a)|a\s+single))?[\s-]*(?P<trading>trading[\s-]+)?(?P<unit>minute|hour|day|session|week|month|quarter|year)s?\b"
HAN_DURATION = (
    r"(?P<n>\d+(?:\.\d+)?|一|两|几)?\s*个?\s*(?P<unit>交易日|小时|星期|季度|天|日|周|月|年)"
)
_HORIZON = re.compile(
    rf"\b(?:in|within|over|inside|during|for|by\s+the\s+end\s+of|after)\s+(?:the\s+)?(?:next\s+|coming\s+|course\s+of\s+)?{DURATION}(?!\s+ago|\s+of\b)"
)
_HAN_HORIZON = re.compile(
    rf"(?:在|未来|接下来)?\s*(?<!天){HAN_DURATION}(?:之?内|以内|里|时间内|后|(?=下跌|上涨|暴跌|大跌|跌|涨))"
)
_BARRELS = re.compile(r"\s*(?:桶|barrels?\b|bpd\b|b/d\b)")
_SESSION = re.compile(
    r"\b(?:overnight|in\s+a\s+single\s+session|intraday|in\s+one\s+day)\b|(?:单日|一夜之间|盘中|一天内)"
)
_HAN_CHANCE = r"(?:发生)?的?(?:概率|可能性?|几率|机率|机会|把握|胜算|希望)"
PROBABILITY = (
    re.compile(r"(?:\b(?:a|an|the|with|at|there\s+is)\s+)*(?P<p>(?:(?<![\w%.])-)?\d+(?:\.\d+)?)%[\s-]+(?:chance|probability|likelihood|odds|risk)\b(?:\s+(?:of|that))?"),
    re.compile(r"\b(?:probability|chance|likelihood|odds)(?:\s+of\s+(?P<keep>[^,.;:]{0,60}?))?\s*(?:is|are|at|=|:|of|stands\s+at)\s*(?P<p>-?\d+(?:\.\d+)?)%"),
    re.compile(r"\b(?:probability|chance|likelihood|odds)\s+(?P<p>-?\d+(?:\.\d+)?)%"),
    re.compile(r"\b(?:with\s+)?(?:a\s+)?probability\s*(?:of|=|is)?\s*(?P<q>-?\d+(?:\.\d+)?)(?!\.?\d|%)(?:\s+(?:of|that)\b)?"),
    re.compile(r"\b(?:a\s+)?(?P<a>one|two|three|four|1|2|3|4)[\s-]+(?:in|out\s+of)[\s-]+(?P<b>two|three|four|five|ten|twenty|2|3|4|5|6|10|20|100)\b(?:\s+chance)?(?:\s+(?:of|that))?"),
    re.compile(rf"(?:大约|大概|约)?有?(?:大约|大概|约|近|超过|超)?(?P<p>-?\d+(?:\.\d+)?)%(?:左右|以上)?的?{_HAN_CHANCE}(?:会|将)?"),
    re.compile(rf"{_HAN_CHANCE}(?:大约|大概|估计|预计|约)*(?:为|是|在|达到|高达|达|有|只有|不到|超过)?(?:大约|大概|约)*(?P<p>-?\d+(?:\.\d+)?)%(?:左右|以上)?"),
    re.compile(rf"{_HAN_CHANCE}(?:大约|大概|约)*(?:为|是|在|达到|达|有|只有)?(?:大约|大概|约)*(?P<q>-?0\.\d+)(?![\d%])"),
    re.compile(rf"(?P<q>-?0\.\d+)的?{_HAN_CHANCE}(?:会|将)?"),
)  # fmt: skip
_SMALL = {
    w: i
    for i, w in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"twenty": 20}
ENDERS = frozenset(".!?;。！？；\n")
BREAKS = frozenset(',:()[]，："')


@dataclass(frozen=True)
class Number:
    """A magnitude in the text and how it is introduced."""

    value: float
    unit: str
    i: int
    level: bool = False
    origin: float | None = None
    expected: bool = False


@dataclass
class Clause:
    """Mentions between two links. ``link`` relates it to the clause before in the same sentence
    ("" for the first).
    """

    link: str
    start: int
    sentence: int
    lead: list[str] = field(default_factory=list)
    end: int = 0
    mentions: list[Mention] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    probability: float | None = None
    horizon: float | None = None

    def of(self, *kinds: str) -> list[Mention]:
        return [m for m in self.mentions if m.entry.kind in kinds]


@dataclass
class Parsed:
    """Clauses of a text with the tokens that something was made of (``used``)."""

    tokens: list[Token]
    clauses: list[Clause]
    used: set[int]
    clean: str


def probability_of(match: re.Match[str]) -> float:
    """The probability a pattern of this module matched, held within [0, 1]."""
    return min(max(stated_probability(match), 0.0), 1.0)


def stated_probability(match: re.Match[str]) -> float:
    """The number as it stands in the text, which may be no probability; 30 without a unit is 30 %,
    1.4 is 1.4.
    """
    groups = match.groupdict()
    if groups.get("p") is not None:
        return float(groups["p"]) / 100
    if groups.get("q") is not None:
        value = float(groups["q"])
        return value / 100 if value > 2 else value
    a, b = groups["a"], groups["b"]
    return (_SMALL[a] if a in _SMALL else float(a)) / (_SMALL[b] if b in _SMALL else float(b))


def years_of(match: re.Match[str]) -> float:
    """Length of time of a duration match, in calendar years."""
    number = {None: 1.0, "一": 1.0, "两": 2.0, "几": 3.0}.get(match["n"])
    number = float(match["n"]) if number is None else number
    unit = match["unit"]
    if "trading" in match.groupdict() and match["trading"] and unit == "day":
        unit = "session"
    return number * _UNITS_OF_TIME[unit]


def segment(clean: str, taken: list[tuple[int, int]], lexicon: Lexicon) -> Parsed:
    """Tokens, mentions and clauses of the text outside the spans ``taken`` by directives."""
    spans: list[tuple[int, int, str, float]] = []
    for pattern in PROBABILITY:
        for match in pattern.finditer(clean):
            p = probability_of(match)
            if any(a < match.end() and match.start() < b for a, b, *_ in spans):
                continue
            keep = match.span("keep") if "keep" in match.re.groupindex else (-1, -1)
            if (
                keep[0] >= 0
            ):  # "the probability of a crash is 30 %": the event in the middle is still to be read
                spans += [
                    (match.start(), keep[0], "quiet", p),
                    (keep[1], match.end(), "probability", p),
                ]
            else:
                spans.append((*match.span(), "probability", p))
    for pattern in (_HORIZON, _HAN_HORIZON):
        spans += [
            (*m.span(), "horizon", years_of(m)) for m in pattern.finditer(clean) if m.group("unit")
        ]
    spans += [(*m.span(), "horizon", 1 / 365) for m in _SESSION.finditer(clean)]
    spans += [(a, b, "taken", 0.0) for a, b in taken]
    tokens = tokenise(clean, lexicon, cues().words)
    owner = [next((s for s in spans if s[0] <= t.start < s[1]), None) for t in tokens]
    used = {i for i, s in enumerate(owner) if s is not None}
    return _split(clean, tokens, owner, used, lexicon)


def _split(
    clean: str,
    tokens: list[Token],
    owner: list[tuple[int, int, str, float] | None],
    used: set[int],
    lexicon: Lexicon,
) -> Parsed:
    clauses: list[Clause] = []
    clause = Clause("", 0, 0)
    sentence, i, n = 0, 0, len(tokens)
    seen: set[tuple[int, int, str, float]] = set()
    begun: dict[int, Mention] = {}
    inside: set[int] = set()
    for phrase, own in read_constructions(tokens, lexicon):
        if all(owner[k] is None for k in own):
            begun[phrase.i] = phrase
            inside |= own
    used |= inside
    blocked = inside | {k for k in range(n) if owner[k] is not None}

    def close(link: str, at: int) -> None:
        nonlocal clause
        clause.end = at
        if clause.mentions or clause.numbers or clause.probability is not None or clause.horizon:
            clauses.append(clause)
            clause = Clause(link, at, sentence)
        else:  # an empty clause lends its link to the next one
            lead = [*clause.lead, clause.link] if clause.link else clause.lead
            clause = Clause(link or clause.link, at, sentence, lead)

    while i < n:
        token, span = tokens[i], owner[i]
        if span is not None:
            if span not in seen:
                seen.add(span)
                if span[2] == "probability":
                    if clause.probability is not None:
                        close("and", i)
                    clause.probability = span[3]
                elif span[2] == "horizon":
                    clause.horizon = span[3]
            i += 1
            continue
        if token.kind == "punct":
            if token.key in ENDERS:
                sentence += 1
                close("", i)
                clause.sentence, clause.link, clause.lead = sentence, "", []
            elif token.key in BREAKS:
                close(",", i)
            i += 1
            continue
        if i in inside:
            clause.mentions += [begun[i]] if i in begun else []
            i += 1
            continue
        mention = lexicon.find(tokens, i, blocked)
        cue = cues().find(tokens, i)
        if cue is not None and not blocked & set(range(i, cue.j)):
            event = cue.cue.event
            if event is not None and (mention is None or cue.j > mention.j):
                mention = Mention(event, i, cue.j)  # the longest form wins
        if token.kind == "num" and (mention is None or mention.j == i + 1):
            if not _is_year(tokens, i):
                clause.numbers.append(_number(clean, tokens, i))
            used.add(i)
            i += 1
            continue
        if cue is not None and (mention is None or mention.entry.kind in ("neutral", "carriers")):
            # a clause of cues alone is a clause
            clause.mentions.append(Mention(synthetic("cue", token.key), i, cue.j))
        if mention is None:
            i += 1
            continue
        entry = mention.entry
        if entry.kind not in ("neutral", "carriers"):
            used.update(range(mention.i, mention.j))
        if entry.kind == "link":
            pair = entry.id == "and" and any(t.key == "between" for t in tokens[max(0, i - 4) : i])
            follower = tokens[mention.j] if mention.j < n else None
            amount = entry.id == "because" and follower is not None and follower.kind == "num"
            if not pair and not amount:  # "falls by 50 %";  "talks between A and B" stays together
                close(entry.id, i)
        elif entry.kind not in ("neutral", "carriers"):
            clause.mentions.append(mention)
        else:
            used.update(range(mention.i, mention.j) if entry.kind == "carriers" else ())
        i = mention.j
    close("", n)
    return Parsed(tokens, clauses, used, clean)


_BEFORE_LEVEL = frozenset(
    [
        "to",
        "at",
        "above",
        "below",
        "past",
        "reach",
        "hit",
        "reaches",
        "reached",
        "beyond",
        "toward",
        "至",
        "到",
        "达",
        "破",
    ]
)


def _is_year(tokens: list[Token], i: int) -> bool:
    """Whether a bare number is a date: "since 1969", "in 2008"."""
    token = tokens[i]
    before = tokens[i - 1].key if i else ""
    dated = before in ("sinc", "in", "of", "from", "until", "by", "befor", "after", "自", "在")
    return not token.unit and token.value.is_integer() and 1900 <= token.value <= 2100 and dated


def _number(clean: str, tokens: list[Token], i: int) -> Number:
    token = tokens[i]
    before = [t.key for t in tokens[max(0, i - 3) : i]]
    level = bool(before) and before[-1] in _BEFORE_LEVEL
    origin = None
    if level and i >= 3 and tokens[i - 2].kind == "num" and tokens[i - 3].key in ("from", "从"):
        origin = tokens[i - 2].value
    value = (
        -token.value
        if token.signed and clean[token.start] == "-" and token.value > 0
        else token.value
    )
    unit = token.unit
    if _BARRELS.match(clean, token.end):
        value, unit = value * {"k": 1e3, "mn": 1e6, "bn": 1e9}.get(unit, 1.0), "bbl"
    return Number(value, unit, i, level, origin)


def entry_key(tokens: list[Token], mention: Mention) -> str:
    """The matched stems, for the few rules that depend on the word itself."""
    return " ".join(t.key for t in tokens[mention.i : mention.j])


def synthetic(kind: str, name: str, language: str = "en") -> Entry:
    """An entry for something understood without a word for it ("the Fed hikes" means the policy
    rate).
    """
    return Entry(kind, name, language)


_DREAD = ("威胁", "fear", "worri", "worry", "concern", "jitter", "threat", "risk", "hop", "担忧")


def is_dread(parsed: Parsed, clause: Clause) -> bool:
    """Whether the clause speaks of fear or risk of an event rather than of the event."""
    return any(dreads(parsed, m) for m in clause.of("modal"))


def dreads(parsed: Parsed, modal: Mention) -> bool:
    """Modals that are nouns ("fears of") bind only what follows them."""
    return any(w in entry_key(parsed.tokens, modal).replace(" ", "") for w in _DREAD)
