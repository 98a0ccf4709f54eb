"""Cells on understanding: is an instruction read as a professional would read it?"""

import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from parfait.evaluation.battery import KINDS, LANGUAGES, Expectation, met
from parfait.evaluation.cells import Cell, Found, Score, cell
from parfait.metrics.functional.reading import SEEN, Yardstick, mixture_mean
from parfait.regime import FIELD_NAMES, MarketContext, RegimeDistribution
from parfait.semantic import Reader

READER, PRIOR = "reader", "prior only"
# What is asked of every kind, as a row of the table.
ROWS = {
    "sign": "the right side of no news",
    "order": "the stronger one is stronger",
    "same": "two ways to say it, one answer",
    "none": "nonsense is flagged",
    "real": "instructions are not flagged",
    "literal": "stated parameters, within 1 %",
    "weight": "stated probabilities, within .05",
}
DIRECTED = ("sign", "order")
# A text with {}, its asset, and the field that must rise or fall with the dose.
GRIDS = (
    ("The central bank unexpectedly raises rates by {} bps", "equity", "drift", -1),
    ("The central bank unexpectedly raises rates by {} bps", "bond", "drift", -1),
    ("The central bank unexpectedly cuts rates by {} bps", "equity", "drift", 1),
    ("Tariffs are raised by {}%", "equity", "drift", -1),
    ("Oil supply falls by {}%", "oil", "drift", 1),
    ("央行意外加息{}个基点", "equity", "drift", -1),
    ("央行意外降息{}个基点", "equity", "drift", 1),
    ("央行意外加息{}个基点", "bond", "drift", -1),
)
_DOSES = tuple(range(5, 205, 5))


class PriorOnly:
    """The rival that knows nothing: whatever is said, what an unread text gives."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """The reading of a text that says nothing."""
        return self.reader.read("zzqx vvkp", context)


def understanding_cells(reader: Reader, battery: Sequence[Expectation]) -> Iterator[Cell]:
    """Rates of met expectations by kind, language and topic, monotone grids, and speed."""
    rivals = {READER: reader, PRIOR: PriorOnly(reader)}

    @cache
    def verdicts(rival: str) -> dict[str, bool]:
        return {one.id: met(one, rivals[rival]) for one in battery}

    def rate(cell: tuple[str, str, str], rival: str, entries: list[Expectation]) -> list[Score]:
        """Share of entries whose expectation is met; no score without entries."""
        good = sum(verdicts(rival)[one.id] for one in entries)
        return [_rate(*cell, good, len(entries))] if entries else []

    def rates(question: str, row: str, entries: list[Expectation]) -> list[Score]:
        scores = rate((question, row, "all"), READER, entries)
        for lang in LANGUAGES:
            mine = [one for one in entries if one.lang == lang]
            scores += rate((question, row, lang), READER, mine)
        return scores + rate((question, row, PRIOR), PRIOR, entries)

    def by_kind(row: str) -> Found:
        kind = next(k for k, name in ROWS.items() if name == row)
        mine = [one for one in battery if one.kind == kind]
        missed = [one.id for one in mine if not verdicts(READER)[one.id]]
        return Found(rates("understanding", row, mine), extra={"missed": missed})

    def by_topic(row: str) -> Found:
        mine = [one for one in battery if one.topic == row and one.kind in DIRECTED]
        return Found(rates("topics", row, mine))

    def grid(row: str) -> Found:
        text, asset, field, sign = next(g for g in GRIDS if _named(g) == row)
        context = MarketContext(asset_class=asset, bars_per_year=252.0)
        j, unit = FIELD_NAMES.index(field), float(Yardstick.of(asset).sd[FIELD_NAMES.index(field)])
        told = [mixture_mean(reader.read(text.format(d), context))[j] for d in _DOSES]
        steps = [sign * float(b - a) for a, b in pairwise(told)]
        whole = sign * float(told[-1] - told[0]) / unit
        broken = sum(step <= 0 for step in steps)
        return Found(
            [
                Score("monotone", row, "steps that go wrong", float(broken), n=len(steps)),
                Score("monotone", row, "whole effect / prior sd", whole, note=f"seen from {SEEN}"),
            ]
        )

    def speed(row: str) -> Found:
        texts = [(text, one.context) for one in battery for text in one.texts]
        reader.read(*texts[0])
        spent = []
        for text, context in texts:
            start = time.perf_counter()
            reader.read(text, context)
            spent.append(1000 * (time.perf_counter() - start))
        spent.sort()
        columns = {"median": spent[len(spent) // 2], "95 %": spent[int(0.95 * len(spent))]}
        columns["largest"] = spent[-1]
        return Found([Score("speed", row, c, v, n=len(spent)) for c, v in columns.items()])

    for kind in KINDS:
        if any(one.kind == kind for one in battery):
            yield cell("understanding", ROWS[kind], by_kind)
    for topic in sorted({one.topic for one in battery if one.kind in DIRECTED}):
        yield cell("topics", topic, by_topic)
    for one in GRIDS:
        yield cell("monotone", _named(one), grid)
    yield cell("speed", "milliseconds per instruction, warm", speed)


def _named(grid: tuple[str, str, str, int]) -> str:
    return f"{grid[0].format('x')} ({grid[1]})"


def _rate(question: str, row: str, column: str, good: int, n: int) -> Score:
    """A share with the standard error of Agresti and Coull (1998), which never is 0."""
    share = (good + 2) / (n + 4)
    return Score(question, row, column, good / n, (share * (1 - share) / (n + 4)) ** 0.5, n=n)
