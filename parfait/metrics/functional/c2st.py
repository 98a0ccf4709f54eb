"""Classifier two-sample test (Lopez-Paz & Oquab 2017): can a trained judge tell generated windows
from real ones?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from parfait.metrics.functional.windows import JUDGE_CHANNELS
from parfait.metrics.judges import JudgeName, train_judges
from parfait.utils.errors import UserError

FOLDS = 4
VIEWS: dict[str, tuple[int, ...]] = {"close": (0, 1), "bar": tuple(range(len(JUDGE_CHANNELS)))}


@dataclass(frozen=True)
class Verdict:
    """What J judges said on their test windows.

    Args:
        score: signed balanced accuracy minus 1/2; 0 is indistinguishable, 1/2 certain, negative =
            worse than chance.
        auc: area under the ROC curve (1/2 is chance).
        standard_error: of the score, from the number of test windows taken as independent. Windows
            overlap, so it is a lower bound; the spread of the null over its repeats is the honest
            scale.
    """

    score: Float64[Tensor, " judges"]
    auc: Float64[Tensor, " judges"]
    standard_error: Float64[Tensor, " judges"]

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(self.score.mean())

    @property
    def sd(self) -> float:
        """Deviation of the score between judges (0 for a single one)."""
        return float(self.score.std()) if len(self.score) > 1 else 0.0

    def __getitem__(self, judges: slice) -> "Verdict":
        return Verdict(self.score[judges], self.auc[judges], self.standard_error[judges])


def balanced_accuracy(
    logits: Float64[Tensor, " windows"], generated: Bool[Tensor, " windows"]
) -> tuple[float, float]:
    """((TPR + TNR)/2, its standard error); a logit of exactly 0 counts half, so that a mute judge
    scores 1/2."""
    hit = (logits > 0).to(torch.float64) + 0.5 * (logits == 0)
    tpr, tnr = float(hit[generated].mean()), float(1 - hit[~generated].mean())
    variance = tpr * (1 - tpr) / int(generated.sum()) + tnr * (1 - tnr) / int((~generated).sum())
    return (tpr + tnr) / 2, 0.5 * variance**0.5


def area_under_roc(
    logits: Float64[Tensor, " windows"], generated: Bool[Tensor, " windows"]
) -> float:
    """P(logit of a generated > of a real) + half the ties (Mann & Whitney 1947)."""
    real = logits[~generated].sort().values
    low = torch.searchsorted(real, logits[generated], right=False)
    high = torch.searchsorted(real, logits[generated], right=True)
    return float((low + high).to(torch.float64).mean() / (2 * len(real)))


def judge_sets(
    windows: Float32[Tensor, "windows steps channels"],
    generated: Bool[Tensor, "judges windows"],
    train: Bool[Tensor, "judges windows"],
    test: Bool[Tensor, "judges windows"],
    *,
    view: str = "bar",
    judge: JudgeName = "cnn",
    seed: int = 0,
    steps: int = 300,
) -> Verdict:
    """Trains a judge per row (own truth, own split) on a common pool and scores it on its test
    windows.

    Raises:
        UserError: an unknown view, or a judge without test windows of both classes.
    """
    if view not in VIEWS:
        raise UserError(f"view {view!r} is unknown; use one of {', '.join(VIEWS)}")
    if bool(((test & generated).sum(1) == 0).any() | ((test & ~generated).sum(1) == 0).any()):
        raise UserError(
            "a judge has no test windows of a class; give more windows or a smaller purge"
        )
    seen = windows[..., list(VIEWS[view])]
    logits = train_judges(seen, generated, train, judge=judge, seed=seed, steps=steps)
    rows = zip(logits, generated, test, strict=True)
    cells = []
    for row, truth, held in rows:
        accuracy, error = balanced_accuracy(row[held], truth[held])
        cells.append((accuracy - 0.5, area_under_roc(row[held], truth[held]), error))
    return Verdict(*torch.tensor(cells, dtype=torch.float64).T)


def purged_folds(
    dates: Int64[Tensor, " windows"], judges: int, purge: int
) -> tuple[Bool[Tensor, "judges windows"], Bool[Tensor, "judges windows"]]:
    """(train, test) of each judge: it is tested on one of ``FOLDS`` stretches of time and learns
    from the others.

    A generated window carries the date of the history it continues, so both classes are cut at the
    same days. Windows nearer than ``purge`` (history + horizon, in the unit of ``dates``) to the
    test stretch share bars with it and serve neither side (purged cross-validation, Lopez de Prado
    2018, chapter 7). Judge j is tested on stretch j mod FOLDS: four judges test every window once,
    which halves the error of a single cut at no cost.
    """
    ordered = dates.sort().values
    edges = torch.arange(FOLDS + 1) * (len(ordered) - 1) // FOLDS
    fold = torch.arange(judges) % FOLDS
    low = torch.where(fold == 0, ordered[0], ordered[edges[fold]] + 1)[:, None]
    high = ordered[edges[fold + 1]][:, None]
    test = (dates >= low) & (dates <= high)
    return (dates <= low - purge) | (dates >= high + purge), test


def c2st(
    real: Float32[Tensor, "real steps channels"],
    generated: Sequence[Float32[Tensor, "generated steps channels"]],
    dates: Int64[Tensor, " real"],
    *,
    purge: int,
    seeds: int = 4,
    **options: object,
) -> Verdict:
    """Scores generated windows against the real ones they replace; judges are ordered by sample,
    then by seed.

    Args:
        real: codes of the real windows (``judge_channels``).
        generated: one set of codes per sampling seed, row i continuing the history of real window
            i.
        dates: of the windows; any integer unit.
        purge: history + horizon in the unit of ``dates``.
        seeds: judges per sample.
        options: ``view``, ``judge``, ``seed``, ``steps`` of ``judge_sets``.
    """
    sets = [real, *generated]
    source = torch.arange(len(sets)).repeat_interleave(len(real))
    sample = torch.arange(1, len(sets)).repeat_interleave(seeds)[:, None]
    train, test = purged_folds(dates.repeat(len(sets)), seeds, purge)
    used = (source == 0) | (source == sample)
    rows = len(generated)
    return judge_sets(
        torch.cat(sets),
        source == sample,
        train.repeat(rows, 1) & used,
        test.repeat(rows, 1) & used,
        **options,  # pyright: ignore[reportArgumentType]
    )


def c2st_null(
    real: Float32[Tensor, "real steps channels"],
    dates: Int64[Tensor, " real"],
    *,
    purge: int,
    block: int,
    repeats: int = 5,
    seeds: int = 4,
    **options: object,
) -> Verdict:
    """Real against real: the windows of every other block of time play the generated ones.

    Repeats shift the grid of blocks by equal parts of a block. Alternation gives both classes every
    year; random halves would share most bars, consecutive halves would differ by their eras. Judges
    are ordered by repeat. With a quarter or more per block the few blocks differ by chance, which
    is what two samples of one market do; a candidate that continues the *same* histories is spared
    that, and blocks of a few days give its floor. The mean over repeats lies a little below 0: what
    one class has more of in a test stretch it has less of elsewhere.

    Args:
        block: length in the unit of ``dates``.
    """
    shift = torch.arange(repeats)[:, None] * block // repeats
    odd = ((dates - dates.min())[None] + shift).div(block, rounding_mode="floor") % 2 == 1
    train, test = purged_folds(dates, seeds, purge)
    return judge_sets(
        real,
        odd.repeat_interleave(seeds, dim=0),
        train.repeat(repeats, 1),
        test.repeat(repeats, 1),
        **options,  # pyright: ignore[reportArgumentType]
    )


def control_rows(
    real: Float32[Tensor, "windows steps channels"],
    jittered: Float32[Tensor, "windows steps channels"],
    generator: torch.Generator,
) -> dict[str, Float32[Tensor, "windows steps channels"]]:
    """Sets that a judge must separate before it may testify, by name.

    Days shuffled inside each window and time reversed, both on the codes, where nothing breaks
    between neighbouring bars; and ``jittered``, the codes of bars whose prices were disturbed by
    1 % (``baselines.jitter_bars``).
    """
    order = torch.rand(real.shape[:2], generator=generator).argsort(1)[..., None].expand_as(real)
    return {
        "days shuffled": real.gather(1, order),
        "time reversed": real.flip(1),
        "1 % jitter": jittered,
    }
