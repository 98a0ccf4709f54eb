"""The task ``microstructure``: are the bars of the network possible, realistic, its own?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from parfait.evaluation.candidates import CANDIDATES, NEUTRAL, Ingredients
from parfait.evaluation.cells import Cell, Found, Score
from parfait.evaluation.results import NULLS
from parfait.metrics.baselines import jitter_bars
from parfait.metrics.functional.c2st import FOLDS, Verdict, c2st, c2st_null, control_rows
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.validity import guide_error, validity
from parfait.metrics.functional.windows import encode_window, judge_channels

BLOCKS = (63, 5)  # bars of the nulls: a quarter and a week of daily ones
FACTS = (
    "std",
    "kurtosis",
    "acf_abs_1",
    "acf_abs_1_10",
    "acf_abs_1_within",
    "leverage_1_5",
    "range_ratio",
    "volume_abs",
    "volume_range",
    "acf_volume",
    "zero_wick",
    "zero_gap",
    "zero_volume",
)


@dataclass(frozen=True)
class Suite:
    """How much is computed.

    Args:
        windows: held-out windows at most.
        rows: candidates.
        views, judges: of the C2ST.
        steps: of a judge.
        samples: sampling seeds.
        repeats: of the null, by blocks of 63 and of 5 bars.
        controls: whether the control rows are judged.
    """

    windows: int
    rows: tuple[str, ...]
    views: tuple[str, ...] = ("bar", "close")
    judges: tuple[str, ...] = ("cnn", "gru")
    steps: int = 300
    samples: int = 2
    repeats: tuple[int, int] = (5, 2)
    controls: bool = True

    @property
    def seeds(self) -> range:
        """Sampling seeds."""
        return range(1, self.samples + 1)


SUITES = {
    "smoke": Suite(
        windows=300,
        rows=(NEUTRAL, "block bootstrap projected on guide", "Brownian bridge on guide"),
        views=("bar",),
        steps=60,
        samples=1,
        repeats=(0, 2),
        controls=False,
    ),
    "full": Suite(windows=850, rows=tuple(CANDIDATES)),
}


def microstructure_cells(i: Ingredients, suite: Suite) -> list[Cell]:
    """Every cell of a suite, in the order of its tables."""
    questions = (_validity, _facts, _c2st)
    return [cell for question in questions for cell in question(i, suite)]


def _validity(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    def compute(row: str) -> Found:
        made = [i.draw(row, seed) for seed in suite.seeds]
        n = sum(len(bars) for bars, _ in made)
        valid = min(validity(bars)["valid"] for bars, _ in made)
        scores = [Score("validity", row, "valid bars", valid, ceiling=1.0, n=n)]
        misses = [guide_error(bars, g.level, g.anchored) for bars, g in made if g is not None]
        miss = max(misses) if misses else None
        note = "" if misses else "no guide"
        scores.append(Score("validity", row, "guide error", miss, n=n, note=note))
        return Found(scores, suite.seeds)

    for row in suite.rows:
        yield _cell("validity", row, compute)


def _facts(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    def told(row: str, history: torch.Tensor, bars: torch.Tensor) -> list[Score]:
        values = stylised_facts(encode_window(history, bars))
        return [Score("facts", row, name, values[name], n=len(bars)) for name in FACTS]

    def compute(row: str) -> Found:
        if row in real:
            return Found(told(row, real[row].history, real[row].future))
        bars = torch.cat([i.draw(row, seed)[0] for seed in suite.seeds])
        history = i.held.history.repeat(suite.samples, 1, 1)
        return Found(told(row, history, bars), suite.seeds)

    real = {"real, training period": i.train, "real, held out": i.held}
    for row in (*real, *suite.rows):
        yield _cell("facts", row, compute)


def _c2st(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    held = i.held

    def ask(row: str, question: Callable[..., Verdict], n: int, seeds: range) -> Found:
        scores, judged = [], {}
        for view in suite.views:
            for judge in suite.judges:
                told = question(view=view, judge=judge, purge=held.purge, steps=suite.steps)
                column = f"{view} {judge}"
                scores.append(
                    Score("c2st", row, column, told.mean, error=standard_error(told), n=n)
                )
                judged[column] = {
                    "judges": told.score.tolist(),
                    "sd": told.sd,
                    "auc": float(told.auc.mean()),
                    "test_error": float(told.standard_error.mean()),
                }
        return Found(scores, seeds, judged)

    def code(bars: torch.Tensor) -> torch.Tensor:
        return judge_channels(encode_window(held.history, bars))

    def null(row: str) -> Found:
        which = NULLS.index(row)
        repeats, block = suite.repeats[which], held.span(BLOCKS[which])
        real = code(held.future)
        return ask(
            row,
            lambda **how: c2st_null(real, held.time, block=block, repeats=repeats, **how),
            len(held),
            range(repeats),
        )

    def control(row: str) -> Found:
        g = torch.Generator().manual_seed(0)
        real = code(held.future)
        made = control_rows(real, code(jitter_bars(held.future, 0.01, g)), g)
        given = made[row.removeprefix("control: ")]
        return ask(row, lambda **how: c2st(real, [given], held.time, **how), len(held), range(1))

    def compute(row: str) -> Found:
        made = [code(i.draw(row, seed)[0]) for seed in suite.seeds]
        real = code(held.future)
        return ask(
            row,
            lambda **how: c2st(real, made, held.time, **how),
            len(held) * suite.samples,
            suite.seeds,
        )

    for row, repeats in zip(NULLS, suite.repeats, strict=True):
        if repeats:
            yield _cell("c2st", row, null)
    if suite.controls:
        for name in ("days shuffled", "time reversed", "1 % jitter"):
            yield _cell("c2st", f"control: {name}", control)
    for row in suite.rows:
        yield _cell("c2st", row, compute)


def standard_error(told: Verdict) -> float:
    """Of the mean score: the spread over judges or the test error, whichever is larger, over
    sqrt(``FOLDS``), since each judge of four is tested on windows of its own."""
    return max(told.sd, float(told.standard_error.mean())) / FOLDS**0.5


def _cell(question: str, row: str, compute: Callable[[str], Found]) -> Cell:
    return Cell(f"{question}/{row}", lambda: compute(row))
