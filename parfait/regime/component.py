"""``Component``: one scenario, and the statements about paths and numbers that came with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime.fields import FIELD_NAMES, INITIAL_VOLATILITY, N_FIELDS, from_coordinate
from parfait.regime.regime import Regime
from parfait.utils.errors import MISFITS, UserError

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

_FARTHEST = 1e6  # coordinates; no field's bounds are near, and far beyond it sums overflow


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
        if not isinstance(self.absolute, bool) or not isinstance(self.quote, str):
            raise UserError("Condition: absolute must be true or false, and quote a text")
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

    def __post_init__(self) -> None:
        if not isinstance(self.field, str) or not isinstance(self.quote, str):
            raise UserError("Override: field and quote must be texts")
        if not math.isfinite(self.new) or not math.isfinite(self.old or 0.0):
            raise UserError(f"Override of {self.field}: {self.old} and {self.new} must be finite")


@dataclass(frozen=True, eq=False)
class Phase:
    """A later stretch of a scenario: from ``after`` on its parameters are drawn from
    N(mean, cholesky cholesky^T).

    Only parameters switch. Price and variance go on, so the initial volatility among the
    coordinates is never used and may be NaN.

    Args:
        after: years from now when it begins.
        name: what a person reads, "rebound".
        mean: (11,) float64, unconstrained coordinates.
        cholesky: (11, 11) float64, lower triangular.

    Two phases are equal when all they hold is.

    Raises:
        UserError: names the argument that is out of range or misshapen.
    """

    after: float
    name: str
    mean: Float64[Tensor, "11"]
    cholesky: Float64[Tensor, "11 11"]

    def __post_init__(self) -> None:
        where = f"phase {self.name!r}"
        if not (math.isfinite(self.after) and self.after > 0):
            raise UserError(f"{where}: after = {self.after} must be finite and above 0 [years]")
        _check_gaussian(where, self.mean, self.cholesky)

    @classmethod
    def around(
        cls, after: float, name: str, regime: Regime, sd: Mapping[str, float] | None = None
    ) -> "Phase":
        """Independent coordinates centred on a single regime, as ``Component.around``."""
        return cls(after, name, regime.to_unconstrained(), _diagonal(sd))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Phase):
            return NotImplemented
        return self.to_dict() == other.to_dict()

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
        """Plain data."""
        return {"after": self.after, "name": self.name, **_gaussian_to_dict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Phase":
        """Inverse of ``to_dict``."""
        return cls(float(data["after"]), str(data["name"]), *_gaussian_from_dict(data))


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
        phases: what follows, in ascending order of time; the last one stays. ``mean`` and
            ``cholesky`` are those of the time before.

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
    phases: tuple[Phase, ...] = ()

    def __post_init__(self) -> None:
        where = f"scenario {self.name!r}"
        if self.slot not in SLOTS:
            raise UserError(f"{where}: slot {self.slot!r} must be one of {', '.join(SLOTS)}")
        if not (math.isfinite(self.weight) and 0 <= self.weight <= 1):
            raise UserError(f"{where}: weight {self.weight} must be within [0, 1]")
        _check_gaussian(where, self.mean, self.cholesky)
        for before, later in pairwise(self.phases):
            if later.after <= before.after:
                raise UserError(
                    f"{where}: phase {later.name!r} begins after {later.after:g} years, not later "
                    f"than {before.name!r} before it ({before.after:g}); put them in order"
                )

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
        return cls(slot, name, weight, regime.to_unconstrained(), _diagonal(sd), **kw)

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

    def starts(self, dt: float) -> list[int]:
        """The bar each later phase begins with, counted from 0: rounded, and every phase lasts one
        bar at least. ``dt`` is the length of a bar in years.
        """
        starts: list[int] = []
        for phase in self.phases:
            earliest = starts[-1] + 1 if starts else 1
            starts.append(max(earliest, round(min(phase.after / dt, 1e12))))
        return starts

    def to_dict(self) -> dict[str, Any]:
        """Plain data; an unresolved initial volatility is ``None``, ``phases`` only where there are
        some.
        """
        conditions = [asdict(c) for c in self.conditions]
        plain = {name: getattr(self, name) for name in ("slot", "name", "weight", "rationale")}
        plain |= {**_gaussian_to_dict(self), "conditions": conditions}
        if self.phases:
            plain["phases"] = [phase.to_dict() for phase in self.phases]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Component":
        """Inverse of ``to_dict``; whatever does not fit raises ``UserError``."""
        try:
            conditions = tuple(Condition(**c) for c in data.get("conditions", ()))
            phases = tuple(Phase.from_dict(p) for p in data.get("phases", ()))
            texts = (str(data["slot"]), str(data["name"]), float(data["weight"]))
            gaussian, why = _gaussian_from_dict(data), str(data.get("rationale", ""))
            return cls(*texts, *gaussian, why, conditions, phases)
        except UserError:
            raise
        except MISFITS as error:
            raise UserError(f"scenario JSON does not fit: {error!r}") from error


def collapse(components: Sequence[Component]) -> Component:
    """One Gaussian with the mean and covariance of a mixture, in unconstrained coordinates.

        m = sum_k w_k mu_k,    C = sum_k w_k (L_k L_k^T + (mu_k - m)(mu_k - m)^T)

    Slot, name, rationale and conditions are those of the most probable scenario, the weight is
    theirs together. An initial volatility that one of them leaves open stays open.

    Args:
        components: at least one, none with phases.

    Raises:
        UserError: no component, one with phases, or weights that are all 0.
    """
    if not components or sum(c.weight for c in components) <= 0:
        raise UserError("collapse needs scenarios with a positive weight")
    if any(c.phases for c in components):
        raise UserError("collapse: scenarios with phases have no single Gaussian")
    main = max(components, key=lambda c: c.weight)
    weights = torch.tensor([c.weight for c in components], dtype=torch.float64)
    shares = weights / weights.sum()
    centres = torch.stack([c.mean for c in components])
    mean = (shares[:, None] * centres).sum(0)
    apart = (centres - mean).nan_to_num(0.0)
    roots = [torch.cat([c.cholesky, d[:, None]], 1) for c, d in zip(components, apart, strict=True)]
    root = torch.cat([s.sqrt() * r for s, r in zip(shares, roots, strict=True)], dim=1)
    root[torch.isnan(mean)] = 0.0
    # C = root root^T = R^T R: no squares, so fields known exactly do no harm.
    upper = torch.linalg.qr(root.T).R
    cholesky = (upper * upper.diagonal().sign().masked_fill(upper.diagonal() == 0, 1)[:, None]).T
    return replace(main, weight=float(weights.sum()), mean=mean, cholesky=cholesky.tril())


def _diagonal(sd: Mapping[str, float] | None) -> Float64[Tensor, "11 11"]:
    scale = [(sd or {}).get(name, 0.0) for name in FIELD_NAMES]
    return torch.diag(torch.tensor(scale, dtype=torch.float64))


def _check_gaussian(where: str, mean: Tensor, cholesky: Tensor) -> None:
    if tuple(mean.shape) != (N_FIELDS,) or tuple(cholesky.shape) != (N_FIELDS, N_FIELDS):
        raise UserError(
            f"{where}: mean must have {N_FIELDS} entries and cholesky {N_FIELDS} x {N_FIELDS}"
        )
    far = mean.abs() > _FARTHEST
    if bool(far.any()) or bool(torch.isnan(mean[:INITIAL_VOLATILITY]).any()):
        raise UserError(f"{where}: mean must be finite, and within {_FARTHEST:g}")
    if not bool((cholesky.abs() <= _FARTHEST).all()) or bool(cholesky.triu(1).any()):
        raise UserError(f"{where}: cholesky must be finite and lower triangular")


def _gaussian_to_dict(of: Phase | Component) -> dict[str, Any]:
    mean = [None if math.isnan(value) else value for value in of.mean.tolist()]
    return {"mean": mean, "cholesky": of.cholesky.tolist()}


def _gaussian_from_dict(data: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    mean = [math.nan if v is None else v for v in data["mean"]]
    return (
        torch.tensor(mean, dtype=torch.float64),
        torch.tensor(data["cholesky"], dtype=torch.float64),
    )


def marginal(name: str, component: Component | Phase, z: float) -> float:
    """The field's value z marginal standard deviations from a component's centre, in natural
    units.
    """
    j = FIELD_NAMES.index(name)
    return float(from_coordinate(name, component.mean[j] + z * component.sd[j]))
