"""Control as a ``torchmetrics.Metric``: requested regimes against what their bars tell."""

from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from parfait.labels import label_windows
from parfait.metrics.functional.control import Recovery, round_trip
from parfait.metrics.measured import Measured
from parfait.regime import FIELD_NAMES, Regime

NUMBERS = ("bias", "rmse", "spearman", "slope", "coverage")


class Control(Metric):
    """``functional.control.round_trip`` of paths and of their SDE paths, in coordinates.

    ``compute`` gives ``<field>/<number>``, ``<field>/ceiling_<number>`` and ``<field>/loss`` for
    bias, rmse, spearman, slope and coverage; what a sample cannot tell is left out.

    Args:
        bars_per_year: of the windows.
        fields: which fields to report; all by default.
    """

    full_state_update = False
    path: list[Tensor]
    requested: list[Tensor]
    generated: list[Tensor]
    ideal: list[Tensor]

    def __init__(
        self, bars_per_year: float, fields: tuple[str, ...] = FIELD_NAMES, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.bars_per_year, self.fields = bars_per_year, fields
        for name in ("path", "requested", "generated", "ideal"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        path: Int64[Tensor, " paths"],
        requested: Regime,
        generated: Float64[Tensor, "paths points 5"],
        ideal: Float64[Tensor, "paths points 5"],
    ) -> None:
        """Keeps a batch: unique ids, resolved regimes, windows of generated bars and of the SDE
        paths (``probes.Probe.windows``).
        """
        self.path.append(path)
        self.requested.append(requested.to_unconstrained())
        self.generated.append(generated)
        self.ideal.append(ideal)

    def compute(self) -> dict[str, Tensor]:
        """Labels everything kept."""
        order = torch.argsort(_joined(self.path), stable=True)
        regime = Regime.from_unconstrained(_joined(self.requested)[order])
        labels = [
            label_windows(_joined(windows)[order], self.bars_per_year)
            for windows in (self.generated, self.ideal)
        ]
        trips = round_trip(regime, *labels)
        found: dict[str, Tensor] = {}
        for name in self.fields:
            trip = trips[name]
            rows = _numbers(trip.bars, "") | {"loss": trip.loss}
            if trip.path is not None:
                rows |= _numbers(trip.path, "ceiling_")
            for key, value in rows.items():
                if value.value is not None:
                    found[f"{name}/{key}"] = torch.tensor(value.value, dtype=torch.float64)
        return found


def _numbers(recovered: Recovery, prefix: str) -> dict[str, Measured]:
    return {prefix + name: getattr(recovered, name) for name in NUMBERS}


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    return torch.cat(state) if isinstance(state, list) else state
