"""How far generated windows lie from the real ones, in sampling errors of facts and in distances to
the training set, as ``torchmetrics``."""

from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.metrics.functional.cont import Reference
from parfait.metrics.functional.distance import Distances, fact_distances, summarise
from parfait.metrics.functional.memorisation import Closeness, Shapes, memorisation
from parfait.metrics.functional.memorisation import Memorisation as Result
from parfait.metrics.functional.suite import DRAWS, Sampling, fact_code, measure_facts
from parfait.metrics.functional.windows import encode_window
from parfait.metrics.realism import DatedWindows, known_values


class FactDistances(DatedWindows):
    """``functional.distance``: ``median``, ``largest``, ``within`` (share of distances below 2),
    ``count``, and ``distance/<fact>`` of every fact that has one.

    Args:
        block: of the bootstrap of the real windows, in the unit of the dates: about a year.
        draws, seed: of both bootstraps.
    """

    def __init__(self, block: int, *, draws: int = DRAWS, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block, self.draws, self.seed = block, draws, seed

    def result(self) -> Distances:
        """Everything, with the reasons of what is unknown."""
        history, real, generated, date = self.sorted()
        code = fact_code(history, real)
        sampling = Sampling(date, self.block, self.draws, self.seed)
        reference = Reference.of(code)
        truth = measure_facts(code, sampling, reference=reference)
        made = measure_facts(
            fact_code(history, generated),
            Sampling(date, self.block, self.draws, self.seed),
            reference=reference,
        )
        return summarise(fact_distances(truth, made))

    def compute(self) -> dict[str, Tensor]:
        """What is known of ``result`` as float64 scalars."""
        found = self.result()
        summary = {"median": found.median, "largest": found.largest, "within": found.within}
        each = {f"distance/{name}": distance for name, distance in found.each.items()}
        count = {"count": torch.tensor(found.count, dtype=torch.float64)}
        return known_values(summary | each) | count


class Memorisation(DatedWindows):
    """``functional.memorisation``: ``share``, ``ratio``, ``copies`` of generated windows, the same
    of the real ones as ``null/...``; the held-out set is the real windows kept.

    Args:
        train_history, train, train_date: the training windows.
        purge: history + horizon in the unit of the dates.
        piece, most, seed: see ``functional.memorisation``.
    """

    def __init__(
        self,
        train_history: Float64[Tensor, "train bars 5"],
        train: Float64[Tensor, "train steps 5"],
        train_date: Int64[Tensor, " train"],
        purge: int,
        *,
        piece: int | None = None,
        most: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.train_shapes = Shapes.of(encode_window(train_history, train), train_date)
        self.options: dict[str, Any] = {"purge": purge, "piece": piece, "most": most, "seed": seed}

    def result(self) -> Result:
        """Everything, with the reasons of what is unknown."""
        history, real, generated, date = self.sorted()
        made, held = (Shapes.of(encode_window(history, x), date) for x in (generated, real))
        return memorisation(made, self.train_shapes, held, **self.options)

    def compute(self) -> dict[str, Tensor]:
        """What is known of ``result`` as float64 scalars."""
        found = self.result()
        return known_values(_cells(found.generated, "") | _cells(found.null, "null/"))


def _cells(closeness: Closeness, prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": getattr(closeness, name) for name in ("share", "ratio", "copies")}
