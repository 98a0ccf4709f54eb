"""``Component``: one scenario, and the statements about paths and numbers that came with it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime.fields import FIELD_NAMES, INITIAL_VOLATILITY, N_FIELDS, from_coordinate
from parfait.regime.regime import Regime
from parfait.utils.errors import UserError

SLOTS = (
    "crash",
    "shock_and_recover",
    "trend_up",
    "grind_down",
    "calm",
    "squeeze",
    "baseline",
    "prior",
)


@dataclass(frozen=True)
class Condition:
    """A statement about the path itself: "falls 30 % in two weeks" is a terminal of -0.3 after
    14/365 years.

    Args:
        kind: ``terminal`` and ``waypoint`` set the price at ``years``; ``drawdown`` its largest
            fall until then.
        level: a relative move (-0.3 is minus 30 %), or a price when ``absolute``.
        years: time from now in years; ``None`` means the end of the horizon.
        quote: the words it was read from.
    """

    kind: Literal["terminal", "waypoint", "drawdown"]
    level: float
    years: float | None = None
    absolute: bool = False
    quote: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("terminal", "waypoint", "drawdown"):
            raise UserError(
                f"Condition.kind = {self.kind!r} must be terminal, waypoint or drawdown"
            )
        if not math.isfinite(self.level) or (self.absolute and self.level <= 0) or self.level <= -1:
            raise UserError(
                f"Condition.level = {self.level} must be a move above -1, or a price above 0"
            )
        if self.years is not None and not (math.isfinite(self.years) and self.years > 0):
            raise UserError(f"Condition.years = {self.years} must be finite and above 0")


@dataclass(frozen=True)
class Override:
    """A number taken literally from the instruction: which field, what it replaced, and the words
    it came from.
    """

    field: str
    old: float | None
    new: float
    quote: str


@dataclass(frozen=True, eq=False)
class Component:
    """One scenario: N(mean, cholesky cholesky^T) in unconstrained coordinates, with a weight and a
    name.

    Args:
        slot: one of ``SLOTS``, the typed role of the scenario.
        name: what a person reads, "flash crash and rebound".
        weight: probability in [0, 1].
        mean: (11,) float64; NaN in the last place leaves the initial volatility to the history.
        cholesky: (11, 11) float64, lower triangular.
        rationale: one sentence on why this scenario is there.
        conditions: statements about the path (targets, drawdowns).

    Two scenarios are equal when all they hold is, two open initial volatilities among it.

    Raises:
        UserError: names the argument that is out of range or misshapen.
    """

    slot: str
    name: str
    weight: float
    mean: Float64[Tensor, "11"]
    cholesky: Float64[Tensor, "11 11"]
    rationale: str = ""
    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        where = f"scenario {self.name!r}"
        if self.slot not in SLOTS:
            raise UserError(f"{where}: slot {self.slot!r} must be one of {', '.join(SLOTS)}")
        if not (math.isfinite(self.weight) and 0 <= self.weight <= 1):
            raise UserError(f"{where}: weight {self.weight} must be within [0, 1]")
        if tuple(self.mean.shape) != (N_FIELDS,) or tuple(self.cholesky.shape) != (
            N_FIELDS,
            N_FIELDS,
        ):
            raise UserError(
                f"{where}: mean must have {N_FIELDS} entries and cholesky {N_FIELDS} x {N_FIELDS}"
            )
        if not bool(torch.isfinite(self.mean[:INITIAL_VOLATILITY]).all()) or bool(
            torch.isinf(self.mean).any()
        ):
            raise UserError(f"{where}: mean must be finite")
        if not bool(torch.isfinite(self.cholesky).all()) or bool(self.cholesky.triu(1).any()):
            raise UserError(f"{where}: cholesky must be finite and lower triangular")

    @classmethod
    def around(
        cls,
        slot: str,
        name: str,
        weight: float,
        regime: Regime,
        sd: Mapping[str, float] | None = None,
        **kw: Any,
    ) -> "Component":
        """Independent coordinates centred on a single regime; ``sd`` by field name in unconstrained
        units, default 0.
        """
        scale = torch.tensor([(sd or {}).get(n, 0.0) for n in FIELD_NAMES], dtype=torch.float64)
        return cls(slot, name, weight, regime.to_unconstrained(), torch.diag(scale), **kw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Component):
            return NotImplemented
        return self.to_dict() == other.to_dict()  # where an open initial volatility is None

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # holds tensors

    @property
    def sd(self) -> Float64[Tensor, "11"]:
        """Marginal standard deviations in unconstrained coordinates."""
        return self.cholesky.square().sum(dim=1).sqrt()

    @property
    def regime(self) -> Regime:
        """The regime at the centre."""
        return Regime.from_unconstrained(self.mean)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; an unresolved initial volatility is ``None``."""
        mean = [None if math.isnan(value) else value for value in self.mean.tolist()]
        conditions = [asdict(c) for c in self.conditions]
        plain = {name: getattr(self, name) for name in ("slot", "name", "weight", "rationale")}
        return plain | {"mean": mean, "cholesky": self.cholesky.tolist(), "conditions": conditions}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Component":
        """Inverse of ``to_dict``; whatever does not fit raises ``UserError``."""
        try:
            mean = torch.tensor(
                [math.nan if v is None else v for v in data["mean"]], dtype=torch.float64
            )
            cholesky = torch.tensor(data["cholesky"], dtype=torch.float64)
            conditions = tuple(Condition(**c) for c in data.get("conditions", ()))
            texts = (str(data["slot"]), str(data["name"]), float(data["weight"]))
            return cls(*texts, mean, cholesky, str(data.get("rationale", "")), conditions)
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"scenario JSON does not fit: {error!r}") from error


def marginal(name: str, component: Component, z: float) -> float:
    """The field's value z marginal standard deviations from a component's centre, in natural
    units.
    """
    j = FIELD_NAMES.index(name)
    return float(from_coordinate(name, component.mean[j] + z * component.sd[j]))
