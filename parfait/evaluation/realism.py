"""Cells on realism: possible bars, stylised facts and their distances, judges, copies."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from parfait.evaluation.candidates import Ingredients
from parfait.evaluation.cells import Cell, Found, Score, cell, measured_score
from parfait.evaluation.results import NULLS
from parfait.evaluation.suites import Suite
from parfait.evaluation.windows import Windows
from parfait.metrics.baselines import jitter_bars
from parfait.metrics.functional.c2st import FOLDS, Verdict, c2st, c2st_null, control_rows
from parfait.metrics.functional.cont import CONT_STEPS, Reference
from parfait.metrics.functional.distance import fact_distances, summarise
from parfait.metrics.functional.memorisation import PIECE, Shapes, memorisation
from parfait.metrics.functional.suite import Sampling, fact_code, measure_facts
from parfait.metrics.functional.validity import guide_error, validity
from parfait.metrics.functional.windows import WindowCode, encode_window, judge_channels
from parfait.metrics.measured import Measured

BLOCKS = (63, 5)  # bars of the nulls: a quarter and a week of daily ones
COPY = "copy of training windows"
CONTROLS = ("days shuffled", "time reversed", "1 % jitter")
HELD, TRAIN = "real, held out", "real, training period"


def validity_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """Share of valid bars, largest miss of an anchored close."""

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
        yield cell("validity", row, compute)


def facts_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """Every fact with its block-bootstrap error, and d = difference / error of both sides."""
    yield from paired_facts(
        "facts", lambda: i.held, suite, lambda row, seed: i.draw(row, seed)[0], suite.rows, i.train
    )


def paired_facts(
    question: str,
    held: Callable[[], Windows],
    suite: Suite,
    draw: Callable[[str, int], Tensor],
    rows: tuple[str, ...],
    train: Windows | None = None,
) -> Iterator[Cell]:
    """Facts of the real windows and of every row, and the distances of these.

    Args:
        question: name of the table; that of the distances is the same with "distance".
        held: the real windows.
        suite: seeds and draws of the bootstrap.
        draw: bars of a row with a seed.
        rows: candidates.
        train: further real windows, for comparison.
    """

    def facts(code: WindowCode, time: Tensor, windows: Windows) -> dict[str, Measured]:
        w = held()
        long = w.future.shape[1] >= CONT_STEPS
        reference = Reference.of(fact_code(w.history, w.future)) if long else None
        sampling = Sampling(time, year_or_quarter(windows), suite.draws)
        return measure_facts(code, sampling, reference=reference)

    def told(row: str, values: Mapping[str, Measured], n: int) -> list[Score]:
        return [measured_score(question, row, name, value, n) for name, value in values.items()]

    def real(row: str) -> Found:
        w = held() if row == HELD or train is None else train
        return Found(told(row, facts(fact_code(w.history, w.future), w.time, w), len(w)))

    def compute(row: str) -> Found:
        w, samples = held(), len(suite.seeds)
        made = torch.cat([draw(row, seed) for seed in suite.seeds])
        code = fact_code(w.history.repeat(samples, 1, 1), made)
        values = facts(code, w.time.repeat(samples), w)
        each = fact_distances(facts(fact_code(w.history, w.future), w.time, w), values)
        found = summarise(each)
        summary = {"median": found.median, "largest": found.largest, "share below 2": found.within}
        scores = told(row, values, len(made))
        for name, value in (summary | dict(each)).items():
            note = found.worst if name == "largest" else ""
            score = measured_score(f"{question} distance", row, name, value, len(made), note=note)
            scores.append(score)
        return Found(scores, suite.seeds)

    for row in (TRAIN, HELD) if train is not None else (HELD,):
        yield cell(question, row, real)
    for row in rows:
        yield cell(question, row, compute)


def year_or_quarter(windows: Windows) -> int:
    """Block of the bootstrap: a year, or a quarter of the time covered where that is shorter."""
    covered = int(windows.time.max() - windows.time.min())
    return max(min(windows.span(round(windows.bars_per_year)), covered // 4), 1)


def memory_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """Are windows copies of the training set? Whole, and in pieces of 8 bars."""
    held, train = i.held, i.train

    def compute(row: str) -> Found:
        if row == COPY:
            code, time = encode_window(train.history, train.future), train.time
        else:
            code, time = encode_window(held.history, i.draw(row, suite.seeds[0])[0]), held.time
        sets = [Shapes.of(encode_window(w.history, w.future), w.time) for w in (train, held)]
        how = {"purge": held.purge, "most": suite.windows}
        made, scores = Shapes.of(code, time), []
        if row == COPY:  # copies of the very windows that are left in sets of equal size
            made = made.thinned(memorisation(made, *sets, **how).sets)
        for piece in (None, PIECE) if held.future.shape[1] > PIECE else (None,):
            found = memorisation(made, *sets, piece=piece, **how)
            suffix = "" if piece is None else f", {piece} bars"
            for name, column in COLUMNS.items():
                value, null = (getattr(x, name) for x in (found.generated, found.null))
                score = measured_score("memorisation", row, column + suffix, value, len(made.dates))
                scores.append(score.beside(null))
        return Found(scores, suite.seeds[:1])

    for row in (COPY, *suite.rows):
        yield cell("memorisation", row, compute)


COLUMNS = {"share": "nearer to training", "ratio": "distance ratio", "copies": "copy rate"}


def judge_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """Classifier two-sample tests: nulls, control rows, candidates."""
    held = i.held

    def ask(row: str, question: Callable[..., Verdict], n: int, seeds: range) -> Found:
        scores, judged = [], {}
        for view in suite.views:
            for judge in suite.judges:
                told = question(view=view, judge=judge, purge=held.purge, steps=suite.steps)
                column = f"{view} {judge}"
                error = standard_error(told)
                scores.append(Score("c2st", row, column, told.mean, error=error, n=n))
                judged[column] = {
                    "judges": told.score.tolist(),
                    "sd": told.sd,
                    "auc": float(told.auc.mean()),
                    "test_error": float(told.standard_error.mean()),
                }
        return Found(scores, seeds, judged)

    def code(bars: Tensor) -> Tensor:
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
        n = len(held) * len(suite.seeds)
        return ask(row, lambda **how: c2st(real, made, held.time, **how), n, suite.seeds)

    for row, repeats in zip(NULLS, suite.repeats, strict=True):
        if repeats:
            yield cell("c2st", row, null)
    if suite.controls:
        for name in CONTROLS:
            yield cell("c2st", f"control: {name}", control)
    for row in suite.rows:
        yield cell("c2st", row, compute)


def standard_error(told: Verdict) -> float:
    """Of the mean score: the spread over judges or the test error, whichever is larger, over
    sqrt(``FOLDS``), since each judge of four is tested on windows of its own."""
    return max(told.sd, float(told.standard_error.mean())) / FOLDS**0.5
