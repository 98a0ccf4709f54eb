"""Cells on a teacher's examples: how near a reader comes to mixtures it has not seen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from parfait.evaluation.battery import flagged
from parfait.evaluation.cells import Cell, Found, Score, cell
from parfait.evaluation.lessons import (
    HELD_OUT,
    Answers,
    Lesson,
    Pupil,
    RidgePupil,
    answers,
    reading,
    teacher,
)
from parfait.evaluation.understanding import PRIOR, READER, PriorOnly
from parfait.metrics.functional.calibration import ks_uniform
from parfait.metrics.functional.mixtures import auroc, expected_energy, inside, reliability
from parfait.metrics.functional.reading import COMPARED, SAME, SEEN
from parfait.semantic import Reader
from parfait.semantic.examples import Example

RIDGE = "n-gram ridge"
LEVELS = (0.5, 0.8, 0.95)
CORE = tuple(range(7))  # drift, volatility, jumps, reversion, Hurst: the energy is of these
BINS = 10
_PITS = ("drift", "volatility")  # with a histogram
_DRAWS, _SAMPLES = 16, 64  # of the teacher's mixture, of the one that is judged
_MEANT = 0.1  # prior sd; a smaller drift of the teacher has no sign
_CEILING = ("NLL", "energy")


def taught_cells(reader: Reader, load: Callable[[], Lesson]) -> Iterator[Cell]:
    """Scores of a reader and its rivals against a teacher, by held-out split; of single fields;
    of contrast pairs and paraphrases; of nonsense.

    Args:
        reader: who is judged.
        load: the examples, called when the first cell is computed.
    """
    lesson = cache(load)

    @cache
    def pupil(name: str) -> Pupil:
        if name == RIDGE:
            return RidgePupil(lesson().train)
        return reading(reader if name == READER else PriorOnly(reader))

    @cache
    def told(name: str, split: str) -> Answers:
        return pupil(name)(lesson().held[split])

    def by_split(row: str) -> Found:
        split, name = row.split(", ")
        split = f"test_{split}" if split != "val" else split
        examples = lesson().held.get(split, ())
        if not examples:
            return Found([Score("taught", row, "all", None, note="no example of this split")])
        known = teacher(examples)
        scores = judged(told(name, split), known)
        best = judged(known, known)
        ece, _ = reliability(told(name, split).slots.flatten(), known.slots.flatten(), BINS)
        found = [_mean("taught", row, column, each) for column, each in scores.items()]
        found = [
            s.under(float(best[s.column].mean())) if s.column in _CEILING else s for s in found
        ]
        return Found([*found, Score("taught", row, "ECE of weights", ece, n=len(examples))], [0])

    @cache
    def joined(name: str) -> Answers:
        if name == RIDGE:
            return pupil(name)(lesson().every)
        parts = [told(name, split) for split in lesson().held]
        return answers([one for part in parts for one in part.told], lesson().every)

    @cache
    def known_whole() -> tuple[Answers, Tensor]:
        known = teacher(lesson().every)
        return known, _draws(known)

    def by_field(row: str) -> Found:
        field, name = row.split(", ")
        (_, point), mine = known_whole(), joined(name)
        j, scores = COMPARED.index(field), []
        transform = mine.mixtures.cdf(point)[..., j]
        crps = mine.mixtures.crps(point)[..., j].mean(1)
        scores.append(_mean("taught fields", row, "CRPS", crps))
        for level in LEVELS:
            column = f"cover {100 * level:.0f} %"
            scores.append(_mean("taught fields", row, column, inside(transform, level).mean(1)))
        ks = ks_uniform(transform.flatten())
        scores.append(Score("taught fields", row, "PIT-KS", ks, n=len(crps)))
        extra = {}
        if field in _PITS:
            bins = torch.histc(transform.float(), BINS, 0.0, 1.0)
            extra["pit"] = bins.int().tolist()
        return Found(scores, [0], extra)

    def by_weight(row: str) -> Found:
        (known, _), mine = known_whole(), joined(row)
        ece, diagram = reliability(mine.slots.flatten(), known.slots.flatten(), BINS)
        n = len(known.slots)
        score = Score("taught weights", row, "ECE of weights", ece, n=n)
        off = (mine.slots - known.slots).abs().sum(1) / 2
        far = _mean("taught weights", row, "weight in other slots", off)
        return Found([score, far], extra={"reliability": [list(point) for point in diagram]})

    def pairs(row: str) -> Found:
        return Found(_pair_scores(row, lesson().every, joined(row)))

    def abstention(row: str) -> Found:
        return Found(_abstention(row, lesson().every, joined(row)))

    for split in HELD_OUT:
        for name in (READER, PRIOR, RIDGE):
            yield cell("taught", f"{split.removeprefix('test_')}, {name}", by_split)
    for j in CORE:
        for name in (READER, PRIOR, RIDGE):
            yield cell("taught fields", f"{COMPARED[j]}, {name}", by_field)
    for name in (READER, PRIOR, RIDGE):
        yield cell("taught weights", name, by_weight)
    for name in (READER, PRIOR, RIDGE):
        yield cell("pairs", name, pairs)
    yield cell("abstention", READER, abstention)


def judged(mine: Answers, known: Answers) -> Mapping[str, Tensor]:
    """Scores of every example; those of the sign of the drift alone where the teacher has one.

    NLL of draws of the teacher's mixture [nats, ten fields], energy score of its seven first
    [prior sd], distance of the means [prior sd, root mean square over these], share of right signs.
    """
    points = _draws(known)
    samples = mine.mixtures.draw(_SAMPLES, torch.Generator().manual_seed(1))
    gap = (mine.mixtures.centre - known.mixtures.centre)[:, CORE]
    drift, wanted = mine.mixtures.centre[:, 0], known.mixtures.centre[:, 0]
    meant = wanted.abs() > _MEANT
    right = (drift.sign() == wanted.sign()) & (drift.abs() > SEEN)
    return {
        "NLL": mine.mixtures.nll(points).mean(1),
        "energy": expected_energy(samples[..., CORE], points[..., CORE]),
        "error of mean": gap.square().mean(1).sqrt(),
        "sign of drift": right[meant].double(),
    }


def _draws(known: Answers) -> Tensor:
    return known.mixtures.draw(_DRAWS, torch.Generator().manual_seed(0))


def _mean(question: str, row: str, column: str, each: Tensor) -> Score:
    """A mean over examples with its standard error."""
    n = len(each)
    if not n:
        return Score(question, row, column, None, note="no such example")
    error = float(each.std()) / n**0.5 if n > 1 else None
    return Score(question, row, column, float(each.mean()), error, n=n)


def _pair_scores(row: str, examples: Sequence[Example], mine: Answers) -> list[Score]:
    """Contrast pairs in the right order, and paraphrases with one answer."""
    families: dict[str, dict[str, list[int]]] = {}
    for i, one in enumerate(examples):
        if one.pair:
            families.setdefault(one.pair, {}).setdefault(one.role, []).append(i)
    centre = mine.mixtures.centre
    order, apart = [], []
    for roles in families.values():
        if {"high", "low"} <= set(roles):
            (high,), (low,) = roles["high"], roles["low"]
            j = COMPARED.index(examples[high].tags.get("contrast", "drift"))
            order.append(float(centre[high, j] - centre[low, j]) > SEEN)
        elif len(roles.get("same", ())) == 2:
            a, b = roles["same"]
            apart.append(float((centre[a] - centre[b]).abs().max()) < SAME)
    told = {"the stronger one is stronger": order, "two ways to say it, one answer": apart}
    return [_mean("pairs", row, c, torch.tensor(v).double()) for c, v in told.items()]


def _abstention(row: str, examples: Sequence[Example], mine: Answers) -> list[Score]:
    """Nonsense that is flagged, instructions that are, and whether confidence parts the two."""
    nonsense = torch.tensor([one.kind == "nonsense" for one in examples])
    doubt = torch.tensor([flagged(one) for one in mine.told]).double()
    confidence = torch.tensor([one.confidence for one in mine.told], dtype=torch.float64)
    area = None
    if 0 < int(nonsense.sum()) < len(nonsense):
        area = auroc(confidence[nonsense], confidence[~nonsense])
    return [
        _mean("abstention", row, "nonsense flagged", doubt[nonsense]),
        _mean("abstention", row, "instructions flagged", doubt[~nonsense]),
        Score("abstention", row, "AUROC of confidence", area, n=len(nonsense)),
    ]
