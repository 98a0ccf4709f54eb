"""A teacher's examples as a reader is judged by them, and rivals that learnt from the same."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.distill.ontology import PART, Shares, ontology_part
from parfait.metrics.functional.mixtures import Mixtures
from parfait.metrics.functional.reading import Yardstick
from parfait.metrics.rivals.ngrams import NGramRidge
from parfait.regime import RegimeDistribution
from parfait.regime.component import SLOTS
from parfait.regime.context import ASSET_CLASSES
from parfait.semantic import Reader
from parfait.semantic.examples import FILE, SPLITS, Example, read_examples
from parfait.utils.errors import UserError

MADE, SEED = 2000, 0  # sentences that are made where no folder is given
HELD_OUT = SPLITS[1:]
_LEARNS = 20_000  # examples that the ridge learns from at most
_DRAWS = 4  # of every teacher's mixture, for the width of the ridge


@dataclass(frozen=True, eq=False)
class Lesson:
    """Examples by what they are for.

    Args:
        train: what rivals may learn from.
        held: held-out examples by split, those without any left out.
    """

    train: Sequence[Example]
    held: Mapping[str, Sequence[Example]]

    @property
    def every(self) -> list[Example]:
        """The held-out examples of all splits."""
        return [one for split in self.held.values() for one in split]


def load_lesson(folder: str | None, most: int) -> Lesson:
    """The examples of a folder of ``parfait distill``, or sentences of the grammar made now, read
    by the rules.

    Args:
        folder: of the examples; ``None`` makes ``MADE`` of them.
        most: examples of each held-out split.

    Raises:
        UserError: the folder cannot be read, or holds nothing that is held out.
    """
    if folder is None:
        shares = Shares(held_out=0.1)
        parts = [ontology_part(k, PART, SEED, shares)[0] for k in range(MADE // PART)]
        found = [one for part in parts for one in part]
    else:
        found = read_examples(folder)
    held = {s: [one for one in found if one.split == s][:most] for s in HELD_OUT}
    held = {split: examples for split, examples in held.items() if examples}
    if not held:
        raise UserError(f"{folder}: no example is held out; make more with parfait distill")
    return Lesson([one for one in found if one.split == "train"][:_LEARNS], held)


def examples_key(folder: str) -> str:
    """SHA-256 of the examples of a folder.

    Raises:
        UserError: there are none.
    """
    file = Path(folder) / FILE
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read; make it with parfait distill") from error


@dataclass(frozen=True, eq=False)
class Answers:
    """What somebody says to a list of examples.

    Args:
        mixtures: in units of the prior of the teacher's asset class.
        slots: weight of every typed slot.
        told: whole readings, where it is a reader that answers.
    """

    mixtures: Mixtures
    slots: Float64[Tensor, "examples slots"]
    told: Sequence[RegimeDistribution] = ()


class Pupil(Protocol):
    """Whoever answers to examples."""

    def __call__(self, examples: Sequence[Example]) -> Answers:
        """The answers."""
        ...


def answers(told: Sequence[RegimeDistribution], examples: Sequence[Example]) -> Answers:
    """Readings of examples, in units of the asset class that the teacher took them for."""
    units = [Yardstick.of(one.target.asset_class, one.context) for one in examples]
    slots = torch.zeros(len(told), len(SLOTS), dtype=torch.float64)
    for i, one in enumerate(told):
        for c in one.components:
            slots[i, SLOTS.index(c.slot)] += c.weight
    return Answers(Mixtures.of(told, units), slots, told)


def teacher(examples: Sequence[Example]) -> Answers:
    """The teacher's own answers."""
    return answers([one.target for one in examples], examples)


def reading(reader: Reader) -> Pupil:
    """A reader as a pupil."""
    return lambda examples: answers([reader.read(e.text, e.context) for e in examples], examples)


class RidgePupil:
    """Ridge regression of the teacher's means and slot weights on character n-grams and the asset
    class: one Gaussian, with the covariance of what it misses in the last tenth of its examples.

    Raises:
        UserError: scikit-learn is not installed, or there is too little to learn from.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        cut = len(examples) * 9 // 10
        known = teacher(examples)
        self.d = known.mixtures.mean.shape[-1]
        if len(examples) - cut < 2 * self.d:
            raise UserError(
                f"{len(examples)} training examples are too few for the n-gram ridge; give a "
                "folder of parfait distill with more"
            )
        targets = torch.cat([known.mixtures.centre, known.slots], 1)
        texts, beside = [one.text for one in examples], _assets(examples)
        self.ridge = NGramRidge(texts[:cut], beside[:cut], targets[:cut])
        told = self.ridge.predict(texts[cut:], beside[cut:])[:, : self.d]
        last = known.mixtures[torch.arange(cut, len(examples))]
        draws = last.draw(_DRAWS, torch.Generator().manual_seed(SEED))
        gap = (draws - told[:, None]).flatten(0, 1)
        self.root = torch.linalg.cholesky(gap.mT @ gap / len(gap))

    def __call__(self, examples: Sequence[Example]) -> Answers:
        """One Gaussian for each."""
        told = self.ridge.predict([one.text for one in examples], _assets(examples))
        slots = told[:, self.d :].clamp_min(0)
        slots = slots / slots.sum(1, keepdim=True).clamp_min(1e-9)
        return Answers(Mixtures.normal(told[:, : self.d], self.root[None]), slots)


def _assets(examples: Sequence[Example]) -> Tensor:
    kinds = [ASSET_CLASSES.index(one.target.asset_class) for one in examples]
    return torch.eye(len(ASSET_CLASSES), dtype=torch.float64)[kinds]
