"""Realism of generated windows as ``torchmetrics``: thin states over the pure functions."""

from typing import Any

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.validity import guide_error, validity_counts
from parfait.metrics.functional.windows import encode_window, judge_channels
from parfait.metrics.judges import JudgeName

RULES = ("finite", "positive", "low", "high", "volume", "valid")


class Validity(Metric):
    """Share of bars that keep each rule, and the largest miss of an anchored close.

    ``compute`` gives ``finite, positive, low, high, volume, valid`` in [0, 1] and ``guide_error``
    in log units (0 without a guide).
    """

    full_state_update = False
    counts: Tensor
    error: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(len(RULES) + 1, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        self.add_state("error", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")

    def update(
        self,
        bars: Float64[Tensor, "paths steps 5"],
        level: Float64[Tensor, "paths steps"] | None = None,
        anchored: Bool[Tensor, "paths steps"] | None = None,
    ) -> None:
        """Counts a batch of bars, with their guide where there is one."""
        counts = validity_counts(bars)
        self.counts += torch.tensor([counts[name] for name in (*RULES, "bars")])
        if level is not None and anchored is not None:
            miss = torch.tensor(guide_error(bars, level, anchored), dtype=torch.float64)
            self.error = torch.maximum(self.error, miss)

    def compute(self) -> dict[str, Tensor]:
        """Shares and the guide error."""
        shares = self.counts[:-1].to(torch.float64) / self.counts[-1].clamp_min(1)
        return dict(zip(RULES, shares, strict=True)) | {"guide_error": self.error}


class _Windows(Metric):
    """Keeps windows by id; ids decide their order, so that batches and ranks do not."""

    full_state_update = False
    window: list[Tensor]
    history: list[Tensor]
    real: list[Tensor]
    generated: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("window", "history", "real", "generated"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def _keep(self, window: Tensor, history: Tensor, real: Tensor, generated: Tensor) -> None:
        self.window.append(window)
        self.history.append(history)
        self.real.append(real)
        self.generated.append(generated)

    def _order(self) -> Tensor:
        return torch.argsort(_joined(self.window), stable=True)


class StylisedFacts(_Windows):
    """``functional.facts.stylised_facts`` of both sets: ``real/<fact>`` and
    ``generated/<fact>``."""

    def update(
        self,
        window: Int64[Tensor, " windows"],
        history: Float64[Tensor, "windows bars 5"],
        real: Float64[Tensor, "windows steps 5"],
        generated: Float64[Tensor, "windows steps 5"],
    ) -> None:
        """Keeps a batch of histories and what followed them; ``window`` ids are unique."""
        self._keep(window, history, real, generated)

    def compute(self) -> dict[str, Tensor]:
        """The facts as float64 scalars."""
        order = self._order()
        history = _joined(self.history)[order]
        facts = {}
        for name, bars in (("real", self.real), ("generated", self.generated)):
            code = encode_window(history, _joined(bars)[order])
            for fact, value in stylised_facts(code).items():
                facts[f"{name}/{fact}"] = torch.tensor(value, dtype=torch.float64)
        return facts


class TwoSample(_Windows):
    """Classifier two-sample test: signed balanced accuracy - 1/2 (``score``), its deviation
    between judges (``score_sd``), and ``auc``.

    Args:
        purge: history + horizon in the unit of the dates.
        view, judge, seeds, seed, steps: see ``functional.c2st``.
    """

    date: list[Tensor]

    def __init__(
        self,
        purge: int,
        *,
        view: str = "bar",
        judge: JudgeName = "cnn",
        seeds: int = 4,
        seed: int = 0,
        steps: int = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.add_state("date", [], dist_reduce_fx="cat")
        self.options: dict[str, Any] = {
            "purge": purge,
            "view": view,
            "judge": judge,
            "seeds": seeds,
            "seed": seed,
            "steps": steps,
        }

    def update(
        self,
        window: Int64[Tensor, " windows"],
        history: Float64[Tensor, "windows bars 5"],
        real: Float64[Tensor, "windows steps 5"],
        generated: Float64[Tensor, "windows steps 5"],
        date: Int64[Tensor, " windows"],
    ) -> None:
        """Keeps a batch; ``date`` is that of the history's end, in any integer unit."""
        self._keep(window, history, real, generated)
        self.date.append(date)

    def compute(self) -> dict[str, Tensor]:
        """Trains the judges on everything kept."""
        order = self._order()
        history = _joined(self.history)[order]
        real, generated = (
            judge_channels(encode_window(history, _joined(bars)[order]))
            for bars in (self.real, self.generated)
        )
        verdict = c2st(real, [generated], _joined(self.date)[order], **self.options)
        return {
            "score": verdict.score.mean(),
            "score_sd": torch.tensor(verdict.sd, dtype=torch.float64),
            "auc": verdict.auc.mean(),
        }


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """A list state; after a sync between ranks it is one tensor already."""
    return torch.cat(state) if isinstance(state, list) else state
