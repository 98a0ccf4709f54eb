"""The eleven numbers of a regime: units, bounds, and the map to unconstrained coordinates (version
1).

Labels, network heads and teachers all speak in these coordinates, so the map is defined here once.
Each coordinate is strictly increasing in its field, hence quantiles map exactly. Shifted logarithms
are not onto: coordinates whose value would fall below a bound are clamped to it, so zero
round-trips exactly and every Gaussian draw is a valid regime.

| coordinate | map | | coordinate | map |
|---|---|---|---|---|
| drift | asinh(mu / 0.2) | | mean_reversion | ln(kappa + 0.05) |
| volatility | ln sigma | | hurst | logit((H - 0.01) / 0.98) |
| jump_intensity | ln(lambda + 0.05) | | variance_reversion | ln(kappa_v + 0.05) |
| jump_mean | m | | vol_of_vol | ln(xi + 0.01) |
| jump_std | ln(s + 0.01) | | leverage | atanh(rho / 1.001) |
| | | | initial_volatility | ln(sqrt(v0) + 0.001) |
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

COORDINATES_VERSION = 1


@dataclass(frozen=True)
class Field:
    """One field of ``Regime``: its unit, closed bounds, and its strictly increasing map to the real
    line.
    """

    name: str
    symbol: str
    unit: str
    low: float
    high: float
    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


def _shifted_log(shift: float) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    # log(x + shift), written so that zero comes back as exactly zero.
    origin = math.log(shift)
    return lambda x: origin + torch.log1p(x / shift), lambda z: shift * torch.expm1(z - origin)


def _logit(
    low: float, width: float
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    return lambda x: torch.logit((x - low) / width), lambda z: low + width * torch.sigmoid(z)


FIELDS: tuple[Field, ...] = (
    Field(
        "drift",
        "mu",
        "1/year",
        -20.0,
        20.0,
        lambda x: torch.asinh(x / 0.2),
        lambda z: 0.2 * torch.sinh(z),
    ),
    Field("volatility", "sigma", "1/sqrt(year)", 1e-3, 10.0, torch.log, torch.exp),
    Field("jump_intensity", "lambda", "1/year", 0.0, 1000.0, *_shifted_log(0.05)),
    Field("jump_mean", "m", "log-return", -2.0, 2.0, lambda x: x, lambda z: z),
    Field("jump_std", "s", "log-return", 0.0, 2.0, *_shifted_log(0.01)),
    Field("mean_reversion", "kappa", "1/year", 0.0, 1000.0, *_shifted_log(0.05)),
    Field("hurst", "H", "-", 0.02, 0.98, *_logit(0.01, 0.98)),
    Field("variance_reversion", "kappa_v", "1/year", 0.0, 1000.0, *_shifted_log(0.05)),
    Field("vol_of_vol", "xi", "1/year", 0.0, 20.0, *_shifted_log(0.01)),
    Field(
        "leverage",
        "rho",
        "-",
        -1.0,
        1.0,
        lambda x: torch.atanh(x / 1.001),
        lambda z: 1.001 * torch.tanh(z),
    ),
    Field("initial_volatility", "sqrt(v0)", "1/sqrt(year)", 0.0, 10.0, *_shifted_log(1e-3)),
)
FIELD_NAMES: tuple[str, ...] = tuple(field.name for field in FIELDS)
N_FIELDS = len(FIELDS)
INITIAL_VOLATILITY = FIELD_NAMES.index("initial_volatility")


def field_named(name: str) -> Field:
    """The ``Field`` of that name; ``KeyError`` when there is none."""
    return FIELDS[FIELD_NAMES.index(name)] if name in FIELD_NAMES else _unknown(name)


def _unknown(name: str) -> Field:
    raise KeyError(f"no regime field {name!r}; the fields are {', '.join(FIELD_NAMES)}")


def to_coordinate(name: str, value: Tensor) -> Tensor:
    """One field's values in its unconstrained coordinate (float64)."""
    return field_named(name).forward(value.to(torch.float64))


def from_coordinate(name: str, z: Tensor) -> Tensor:
    """Back to natural units, clamped into the field's bounds (float64)."""
    field = field_named(name)
    return field.inverse(z.to(torch.float64)).clamp(field.low, field.high)
