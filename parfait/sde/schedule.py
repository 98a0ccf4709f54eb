"""Regimes one after another, as one regime per bar."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from parfait.regime import FIELD_NAMES, Regime
from parfait.sde.process import SdeWarning
from parfait.utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Schedule:
    """Regimes with durations: "panic for two weeks, then recovery" is
    ``Schedule(((panic, 14 / 365), (recovery, None)))``.

    Only the parameters switch: price and variance go on from one phase to the next, so the initial
    volatility of the schedule is that of its first phase.

    Args:
        phases: (regime, duration in years) in their order; each regime single or of shape
            ``(paths,)``. The last one stays until the horizon, whatever its duration; ``None`` says
            so.

    Raises:
        UserError: no phase, a duration that is not a positive number, or regimes of different
            batches; names the phase.
    """

    phases: tuple[tuple[Regime, float | None], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(self.phases))
        if not self.phases:
            raise UserError("Schedule.phases: give at least one (regime, duration)")
        for number, phase in enumerate(self.phases):
            where = f"Schedule.phases[{number}]"
            if not (isinstance(phase, tuple | list) and len(phase) == 2):
                raise UserError(f"{where} must be a pair (regime, duration in years)")
            regime, duration = phase
            if not isinstance(regime, Regime):
                raise UserError(f"{where}: {type(regime).__name__} is not a Regime")
            if len(regime.shape) > 1:
                raise UserError(f"{where}: regime has shape {regime.shape}; give (paths,) or one")
            if duration is None and number == len(self.phases) - 1:
                continue
            if (
                isinstance(duration, bool)
                or not isinstance(duration, int | float)
                or not 0 < duration < math.inf
            ):
                raise UserError(
                    f"{where}: duration = {duration!r} must be a number of years above 0"
                    + ("; only the last phase may be open" if duration is None else "")
                )
        if len({regime.shape for regime, _ in self.phases} - {()}) > 1:
            shapes = ", ".join(str(regime.shape) for regime, _ in self.phases)
            raise UserError(f"Schedule.phases: regimes have shapes {shapes}; give all the same")

    def starts(self, steps: int, years: float) -> list[int]:
        """The bar each phase begins with: ends are rounded to bars, and every phase has one at
        least.
        """
        starts, end = [0], 0.0
        for _, duration in self.phases[:-1]:
            assert duration is not None
            end += duration
            starts.append(max(starts[-1] + 1, round(end * steps / years)))
        return starts

    def regime(self, paths: int, steps: int, years: float) -> Regime:
        """One regime for every bar, of shape (steps, paths), as every process takes it.

        A field that never changes is a view and takes no memory.

        Raises:
            UserError: a batch of another size than ``paths``.

        Warns:
            SdeWarning: phases that begin after the horizon.
        """
        starts = self.starts(steps, years)
        shown = [number for number, start in enumerate(starts) if start < steps]
        if len(shown) < len(starts):
            text = f"Schedule: phases from number {len(shown) + 1} on begin after the horizon"
            warnings.warn(text, SdeWarning, stacklevel=2)
        regimes = [self.phases[number][0] for number in shown]
        for number, regime in enumerate(regimes):
            if regime.shape not in ((), (paths,)):
                raise UserError(
                    f"Schedule.phases[{number}]: regime has shape {regime.shape}; "
                    f"give one regime or a batch of shape ({paths},)"
                )
        ends = [starts[number] for number in shown[1:]] + [steps]
        bars = torch.tensor([end - starts[number] for number, end in zip(shown, ends, strict=True)])
        columns: dict[str, Any] = {}
        for name in FIELD_NAMES:
            held = regimes[:1] if name == "initial_volatility" else regimes
            columns[name] = _by_bar([getattr(regime, name) for regime in held], bars, paths)
        return Regime(**columns)


def _by_bar(values: list[Any], bars: Tensor, paths: int) -> Tensor | None:
    if values[0] is None:
        return None
    rows = [torch.as_tensor(value, dtype=torch.float64).expand(paths) for value in values]
    if all(torch.equal(row, rows[0]) for row in rows[1:]):
        return rows[0].expand(int(bars.sum()), paths)
    return torch.stack(rows).repeat_interleave(bars.to(rows[0].device), dim=0)
