"""Realism of generated windows as ``torchmetrics``: thin states over the pure functions."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.cont import Reference
from parfait.metrics.functional.suite import fact_code, measure_facts
from parfait.metrics.functional.validity import guide_error, validity_counts
from parfait.metrics.functional.windows import encode_window, judge_channels
from parfait.metrics.judges import JudgeName
from parfait.metrics.measured import Measured

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


class WindowsMetric(Metric):
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

    def keep(self, window: Tensor, history: Tensor, real: Tensor, generated: Tensor) -> None:
        """Appends a batch."""
        self.window.append(window)
        self.history.append(history)
        self.real.append(real)
        self.generated.append(generated)

    def order(self) -> Tensor:
        """Rows by their ids."""
        return torch.argsort(joined(self.window), stable=True)


class StylisedFacts(WindowsMetric):
    """``functional.suite.measure_facts`` of both sets: ``real/<fact>`` and ``generated/<fact>``;
    facts that these bars do not identify are left out.

    Thresholds are those of the real set. Windows of 252 bars and more get the long facts.
    """

    def update(
        self,
        window: Int64[Tensor, " windows"],
        history: Float64[Tensor, "windows bars 5"],
        real: Float64[Tensor, "windows steps 5"],
        generated: Float64[Tensor, "windows steps 5"],
    ) -> None:
        """Keeps a batch of histories and what followed them; ``window`` ids are unique."""
        self.keep(window, history, real, generated)

    def compute(self) -> dict[str, Tensor]:
        """The facts as float64 scalars."""
        order = self.order()
        history = joined(self.history)[order]
        codes = [fact_code(history, joined(x)[order]) for x in (self.real, self.generated)]
        reference = Reference.of(codes[0])
        facts = {}
        for name, code in zip(("real", "generated"), codes, strict=True):
            measured = measure_facts(code, reference=reference)
            facts |= known_values({f"{name}/{fact}": value for fact, value in measured.items()})
        return facts


class DatedWindows(WindowsMetric):
    """Windows with the dates of their histories' ends."""

    date: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("date", [], dist_reduce_fx="cat")

    def update(
        self,
        window: Int64[Tensor, " windows"],
        history: Float64[Tensor, "windows bars 5"],
        real: Float64[Tensor, "windows steps 5"],
        generated: Float64[Tensor, "windows steps 5"],
        date: Int64[Tensor, " windows"],
    ) -> None:
        """Keeps a batch; ``window`` ids are unique, ``date`` is in any integer unit."""
        self.keep(window, history, real, generated)
        self.date.append(date)

    def sorted(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """History, real, generated and date by window id."""
        order = self.order()
        parts = (self.history, self.real, self.generated, self.date)
        history, real, generated, date = (joined(part)[order] for part in parts)
        return history, real, generated, date


class TwoSample(DatedWindows):
    """Classifier two-sample test: signed balanced accuracy - 1/2 (``score``), its deviation
    between judges (``score_sd``), and ``auc``.

    Args:
        purge: history + horizon in the unit of the dates.
        view, judge, seeds, seed, steps: see ``functional.c2st``.
    """

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
        self.options: dict[str, Any] = {
            "purge": purge,
            "view": view,
            "judge": judge,
            "seeds": seeds,
            "seed": seed,
            "steps": steps,
        }

    def compute(self) -> dict[str, Tensor]:
        """Trains the judges on everything kept."""
        history, *windows, date = self.sorted()
        real, generated = (judge_channels(encode_window(history, bars)) for bars in windows)
        verdict = c2st(real, [generated], date, **self.options)
        return {
            "score": verdict.score.mean(),
            "score_sd": torch.tensor(verdict.sd, dtype=torch.float64),
            "auc": verdict.auc.mean(),
        }


def joined(state: list[Tensor] | Tensor) -> Tensor:
    """A list state; after a sync between ranks it is one tensor already."""
    return torch.cat(state) if isinstance(state, list) else state


def known_values(measured: Mapping[str, Measured]) -> dict[str, Tensor]:
    """Float64 scalars of what has a value."""
    return {
        name: torch.tensor(cell.value, dtype=torch.float64)
        for name, cell in measured.items()
        if cell.value is not None
    }
