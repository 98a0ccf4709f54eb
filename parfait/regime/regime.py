"""``Regime``: one market regime is one annualised stochastic differential equation."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime.context import VARIANCE_DEFAULTS, check_asset_class
from parfait.regime.fields import (
    FIELD_NAMES,
    FIELDS,
    INITIAL_VOLATILITY,
    N_FIELDS,
    from_coordinate,
    to_coordinate,
)
from parfait.regime.rows import mean_of_rows
from parfait.utils.errors import UserError
from parfait.utils.strict_json import parse_object

Value = float | Tensor
_OPTIONAL = ("variance_reversion", "vol_of_vol", "leverage", "initial_volatility")


@dataclass(frozen=True, eq=False)
class Regime:
    """SDE parameters of one regime, or of a batch of them (all fields tensors of one shape,
    float64): (paths,), or (steps, paths) where they change from bar to bar.

    With x = log S, unit-variance noise W^H of Hurst exponent H anchored at the bar, and jumps
    log J ~ N(m, s^2) arriving lambda times a year, the default process is

        dx = [mu - v/2 - lambda (E[J] - 1)] dt - kappa (x - trend) dt + sqrt(v) dW^H + log J dN
        dv = kappa_v (sigma^2 - v) dt + xi sqrt(v) dZ
        corr(dW, dZ) = rho,    v(0) = initial_volatility^2

    Args:
        drift: mu [1/year], *total* expected return: E[S_T] = S_0 exp(mu T) whatever else the regime
            holds.
        volatility: sigma [1/sqrt(year)], diffusive, jumps excluded; the long-run level.
        jump_intensity, jump_mean, jump_std: lambda [1/year], m and s [log-return]; neutral 0.
        mean_reversion: kappa [1/year], pull of the log price to its trend line; neutral 0.
        hurst: H, memory of the price noise at the bar; neutral 0.5.
        variance_reversion, vol_of_vol, leverage: kappa_v [1/year], xi [1/year], rho; ``None`` takes
            the defaults of the "equity" class (``VARIANCE_DEFAULTS``; ``Regime.for_asset`` takes
            those of another class).
        initial_volatility: sqrt(v0) [1/sqrt(year)]; ``None`` until a history resolves it
            (``resolve``).

    Raises:
        UserError: a field is not finite, out of its bounds, or shaped unlike the others; names
            field, value, bound.
    """

    drift: Value
    volatility: Value
    jump_intensity: Value = 0.0
    jump_mean: Value = 0.0
    jump_std: Value = 0.0
    mean_reversion: Value = 0.0
    hurst: Value = 0.5
    variance_reversion: Value | None = None
    vol_of_vol: Value | None = None
    leverage: Value | None = None
    initial_volatility: Value | None = None

    def __post_init__(self) -> None:
        kappa_v, relative_xi, rho = VARIANCE_DEFAULTS["equity"]
        if self.variance_reversion is None:
            object.__setattr__(self, "variance_reversion", kappa_v)
        if self.leverage is None:
            object.__setattr__(self, "leverage", rho)
        self._unify_shapes()
        if self.vol_of_vol is None:
            object.__setattr__(self, "vol_of_vol", _scaled_vol_of_vol(relative_xi, self.volatility))
        for field in FIELDS:
            value = getattr(self, field.name)
            if value is not None:
                _check_bounds(field.name, value, field.low, field.high)

    def _unify_shapes(self) -> None:
        """Floats beside tensors become tensors of the batch's shape, so that every field can be
        indexed alike.
        """
        shapes = {tuple(v.shape) for v in self._values() if isinstance(v, Tensor)}
        if len(shapes - {()}) > 1:
            raise UserError(
                f"Regime fields have different shapes: {sorted(shapes)}; give all the same"
            )
        shape = max(shapes, key=len) if shapes else None
        for name in FIELD_NAMES:
            value = getattr(self, name)
            if value is None:
                if name not in _OPTIONAL:
                    raise UserError(f"Regime.{name} has no value; give a number")
                continue
            if shape is None:
                object.__setattr__(self, name, _plain_float(name, value))
            else:
                given = value if isinstance(value, Tensor) else _plain_float(name, value)
                tensor = torch.as_tensor(given, dtype=torch.float64)
                object.__setattr__(self, name, tensor.expand(shape))

    def _values(self) -> list[Value | None]:
        return [getattr(self, name) for name in FIELD_NAMES]

    @classmethod
    def for_asset(cls, asset_class: str, **values: Value) -> "Regime":
        """A regime whose unset variance fields take the defaults of ``asset_class`` (``UserError``
        if unknown).
        """
        kappa_v, relative_xi, rho = VARIANCE_DEFAULTS[check_asset_class(asset_class)]
        values.setdefault("variance_reversion", kappa_v)
        values.setdefault("leverage", rho)
        values.setdefault("vol_of_vol", _scaled_vol_of_vol(relative_xi, values["volatility"]))
        return cls(**values)

    @property
    def shape(self) -> tuple[int, ...]:
        """``()`` for a single regime of floats, else the common shape of the fields."""
        return tuple(self.volatility.shape) if isinstance(self.volatility, Tensor) else ()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single Regime has no length; Regime.stack makes a batch of one")
        return self.shape[0]

    def __getitem__(self, index: Any) -> "Regime":
        """Indexes every field of a batch, paths last (``regime[..., rows]``); an integer gives a
        single regime of floats.
        """
        if not self.shape:
            raise TypeError("a single Regime cannot be indexed")
        picked: dict[str, Value | None] = {}
        for name, value in zip(FIELD_NAMES, self._values(), strict=True):
            item = value[index] if isinstance(value, Tensor) else None
            picked[name] = float(item) if item is not None and item.ndim == 0 else item
        return Regime(**picked)  # pyright: ignore[reportArgumentType]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Regime) or self.shape != other.shape:
            return NotImplemented if not isinstance(other, Regime) else False
        return all(_same(a, b) for a, b in zip(self._values(), other._values(), strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # batches hold tensors

    @classmethod
    def stack(cls, regimes: Sequence["Regime"]) -> "Regime":
        """A batch of shape (n,) from n single regimes; unresolved initial volatilities must be all
        or none.
        """
        if not regimes:
            raise UserError("Regime.stack needs at least one regime")
        missing = [r.initial_volatility is None for r in regimes]
        if any(missing) and not all(missing):
            raise UserError(
                "Regime.stack: initial_volatility is resolved in some regimes only; "
                "call resolve first"
            )
        columns: dict[str, Any] = {}
        for name in FIELD_NAMES:
            values = [getattr(r, name) for r in regimes]
            columns[name] = None if values[0] is None else torch.tensor(values, dtype=torch.float64)
        return cls(**columns)

    def over(self, begin: int, end: int) -> "Regime":
        """The average of bars [begin, end) of a regime of shape (steps, paths), of shape (paths,);
        any other is the same in every bar and comes back as it is.

        Drift and jump intensity are arithmetic means, the volatility is a root mean square, the
        other fields are means of their coordinates. The initial volatility is that of the first
        bar. What is constant keeps its very bytes.

        Raises:
            UserError: the bars are not within the regime.
        """
        if len(self.shape) < 2:
            return self
        if not 0 <= begin < end <= self.shape[0]:
            raise UserError(f"bars {begin} to {end} are not within the regime's {self.shape[0]}")
        columns: dict[str, Any] = {}
        for name, value in zip(FIELD_NAMES, self._values(), strict=True):
            if value is None or name == "initial_volatility":
                columns[name] = None if value is None else torch.as_tensor(value)[0]
                continue
            rows = torch.as_tensor(value)[begin:end]
            if name == "volatility":
                mean = mean_of_rows(rows.square()).sqrt()
            elif name in ("drift", "jump_intensity"):
                mean = mean_of_rows(rows)
            else:
                mean = from_coordinate(name, mean_of_rows(to_coordinate(name, rows)))
            columns[name] = torch.where((rows == rows[0]).all(0), rows[0], mean)
        return Regime(**columns)

    def first(self, bars: int) -> "Regime":
        """The first bars of a regime of shape (steps, paths); any other as it is."""
        return self[:bars] if len(self.shape) == 2 and self.shape[0] > bars else self

    def expand(self, n: int) -> "Regime":
        """A batch of n copies of a single regime."""
        if self.shape:
            raise UserError(f"Regime.expand needs a single regime, this one has shape {self.shape}")
        return Regime.stack([self] * n)

    def replace(self, **changes: Value | None) -> "Regime":
        """A copy with the named fields changed and everything validated again."""
        unknown = sorted(set(changes) - set(FIELD_NAMES))
        if unknown:
            raise UserError(
                f"Regime has no field {unknown[0]!r}; the fields are {', '.join(FIELD_NAMES)}"
            )
        return replace(self, **changes)  # pyright: ignore[reportArgumentType]

    def resolve(self, initial_volatility: float | None = None) -> "Regime":
        """Sets a missing ``initial_volatility`` to the given value, or to the long-run level when
        that is ``None``.
        """
        if self.initial_volatility is not None:
            return self
        return self.replace(
            initial_volatility=self.volatility if initial_volatility is None else initial_volatility
        )

    def to_unconstrained(self) -> Float64[Tensor, "*batch 11"]:
        """The eleven coordinates of ``parfait.regime.fields`` (float64); an unresolved initial
        volatility is NaN.
        """
        columns = []
        for name, value in zip(FIELD_NAMES, self._values(), strict=True):
            value = torch.full(self.shape, math.nan) if value is None else value
            columns.append(to_coordinate(name, torch.as_tensor(value, dtype=torch.float64)))
        return torch.stack(columns, dim=-1)

    @classmethod
    def from_unconstrained(cls, z: Float64[Tensor, "*batch 11"]) -> "Regime":
        """The regime at these coordinates, clamped into bounds.

        NaN in the last column means "initial volatility unresolved": ``None`` when the whole batch
        has it, otherwise those rows start at their own long-run level.
        """
        if z.shape[-1] != N_FIELDS:
            raise UserError(
                f"unconstrained coordinates have {z.shape[-1]} columns, a regime has {N_FIELDS}"
            )
        values = {name: from_coordinate(name, z[..., j]) for j, name in enumerate(FIELD_NAMES)}
        unresolved = torch.isnan(z[..., INITIAL_VOLATILITY])
        columns: dict[str, Any] = values
        if bool(unresolved.all()):
            columns["initial_volatility"] = None
        else:
            columns["initial_volatility"] = torch.where(
                unresolved, values["volatility"], values["initial_volatility"]
            )
        if z.ndim == 1:
            columns = {
                name: None if value is None else float(value) for name, value in columns.items()
            }
        return cls(**columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain floats (or nested lists for a batch) by field name; ``None`` for an unresolved
        initial volatility.
        """
        return {
            name: value.tolist() if isinstance(value, Tensor) else value
            for name, value in zip(FIELD_NAMES, self._values(), strict=True)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Regime":
        """Inverse of ``to_dict``; unknown or missing names and non-numbers raise ``UserError``."""
        known = {f.name for f in fields(cls)}
        unknown, missing = sorted(set(data) - known), sorted({"drift", "volatility"} - set(data))
        if unknown:
            raise UserError(
                f"Regime has no field {unknown[0]!r}; the fields are {', '.join(FIELD_NAMES)}"
            )
        if missing:
            raise UserError(f"Regime needs the field {missing[0]!r}")
        return cls(**{n: _tensor(n, v) if isinstance(v, list) else v for n, v in data.items()})

    def to_json(self) -> str:
        """Strict JSON (no NaN or Infinity)."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Regime":
        """Inverse of ``to_json``; malformed text raises ``UserError``."""
        return cls.from_dict(parse_object(text, "Regime JSON"))


def _plain_float(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UserError(f"Regime.{name} = {value!r} is not a number")
    try:
        return float(value)
    except OverflowError as error:
        raise UserError(f"Regime.{name} has more digits than a number here can hold") from error


def _tensor(name: str, values: list[Any]) -> Tensor:
    try:
        return torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"Regime.{name} is no table of numbers: {error}") from error


def _check_bounds(name: str, value: Value, low: float, high: float) -> None:
    tensor = torch.as_tensor(value, dtype=torch.float64)
    bad = ~((tensor >= low) & (tensor <= high))  # NaN fails both comparisons
    if bool(bad.any()):
        first = tensor[bad].reshape(-1)[0].item()
        raise UserError(f"Regime.{name} = {first:g} is outside [{low:g}, {high:g}]")


def _scaled_vol_of_vol(relative: float, volatility: Value) -> Value:
    scaled = torch.as_tensor(volatility, dtype=torch.float64).mul(relative).clamp(max=20.0)
    return scaled if isinstance(volatility, Tensor) else float(scaled)


def _same(a: Value | None, b: Value | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool(torch.equal(torch.as_tensor(a), torch.as_tensor(b)))
