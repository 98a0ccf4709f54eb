"""What a small language model learnt of its teacher, on every held-out split, beside rivals.

    python -m parfait distill n=60000 output_dir=outputs/examples
    python train.py experiment=student data.path=outputs/examples output_dir=outputs/student
    python benchmarks/student.py --examples outputs/examples --run outputs/student

Targets are the teacher's mixtures in units of the prior. Error: root mean square of the mean over
six fields. NLL: of draws of the teacher's mixture. Sign: of the drift, where the teacher's differs
from the prior's by a tenth of its sd. Rivals: the prior, the same architecture untrained, and a
ridge on character n-grams (TF-IDF, 1 to 4) with the asset class beside them, whose Gaussian has the
covariance of what it misses in a tenth of its examples.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]
from torch import Tensor

from parfait.evaluation.lessons import RidgePupil
from parfait.metrics.functional.mixtures import Mixtures
from parfait.regime.fields import INITIAL_VOLATILITY
from parfait.semantic.examples import SPLITS, read_examples
from parfait.semantic.lm.datamodule import Examples, plan
from parfait.semantic.lm.head import combine
from parfait.semantic.lm.losses import draw, mixture_nll
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.reader import STUDENT, model_folder
from parfait.semantic.lm.tokens import load_tokenizer

FIELDS = (0, 1, 2, 3, 5, 6)  # drift, volatility, jumps, reversion, Hurst
DRAWS = 16
MEANT = 0.1  # prior sd
Told = tuple[Tensor, Tensor]  # means (n, 10 or 11), NLL (n,)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--examples", required=True, help="folder of parfait distill")
    parser.add_argument("--run", default=str(STUDENT), help="run of train.py, or a model folder")
    parser.add_argument("--ridge", type=int, default=20000, help="examples the ridge learns from")
    parser.add_argument("--output", default="outputs/benchmarks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = model_folder(args.run)
    tokenizer = load_tokenizer(folder / "tokenizer")
    student = ScenarioModel.load(folder)
    torch.manual_seed(0)
    untrained = ScenarioModel(student.design).eval()
    ridge = RidgePupil(read_examples(args.examples, "train")[: args.ridge])
    table = Table(
        "Students on held-out splits",
        ("split", "rows", "model", "error", "NLL", "sign of drift", "s.e."),
    )
    found = {}
    for split in SPLITS[1:]:
        examples = read_examples(args.examples, split)
        if not examples:
            continue
        known = Examples(tokenizer, examples, student.told_of)
        draws = draw(known.target, DRAWS, torch.Generator().manual_seed(0))
        rows: dict[str, Callable[[], Told]] = {
            "student": lambda k=known, d=draws: answers(student, k, d),
            "untrained": lambda k=known, d=draws: answers(untrained, k, d),
            "n-gram ridge": lambda e=examples, d=draws: told_by(ridge(e).mixtures, d),
            "prior only": lambda k=known, d=draws: told_by(prior(len(k.ids)), d),
        }
        for name, answer in rows.items():
            scores = judged(*answer(), known)
            table.add(split, len(examples), name, *(f"{x:.3f}" for x in scores))
            found[f"{split}/{name}"] = scores
    table.print()
    write_results(args.output, "student", [table], found)


def judged(mean: Tensor, nll: Tensor, known: Examples) -> tuple[float, float, float, float]:
    """Error, NLL, share of right signs and its standard error."""
    wanted = (known.target.weights[..., None] * known.target.mean).sum(1)
    error = (mean[:, FIELDS] - wanted[:, FIELDS]).square().mean().sqrt()
    meant = wanted[:, 0].abs() > MEANT
    right = (mean[meant, 0].sign() == wanted[meant, 0].sign()).double()
    se = (float(right.mean()) * (1 - float(right.mean())) / max(len(right), 1)) ** 0.5
    return float(error), float(nll.mean()), float(right.mean()), se


def answers(model: ScenarioModel, known: Examples, draws: Tensor) -> Told:
    """Means and NLL of a model."""
    mean, nll = torch.zeros(len(known.ids), 11, dtype=torch.float64), torch.zeros(len(known.ids))
    for rows in plan(known, 4096, 0):
        batch = known.batch(rows)
        with torch.no_grad():
            told = model(batch.ids, batch.lengths)
            weights, centre, *_ = combine(told)
            density = torch.stack([-mixture_nll(m, draws[rows].float()) for m in told])
        mean[rows] = (weights[..., None] * centre).sum(1).double()
        nll[rows] = -(density.logsumexp(0) - np.log(len(told))).mean(1)
    return mean, nll


def prior(n: int) -> Mixtures:
    """The prior in its own units."""
    zero = torch.zeros(n, INITIAL_VOLATILITY, dtype=torch.float64)
    return Mixtures.normal(zero, torch.eye(INITIAL_VOLATILITY, dtype=torch.float64)[None])


def told_by(told: Mixtures, draws: Tensor) -> Told:
    """Means and NLL of mixtures."""
    return told.centre, told.nll(draws[..., :INITIAL_VOLATILITY]).mean(1)


if __name__ == "__main__":
    run(main)
