"""What a parameter or a request may be, and the sentences for what it may not."""

import math
from numbers import Integral, Real
from typing import NamedTuple

import torch
from torch import Tensor

from parfait.utils.errors import UserError

Value = float | Tensor
# Expected jumps of a path: 4,000 on each of 32,768 paths take 1.1 GB at their peak, 1.6 GB where
# the rate changes.
MOST_JUMPS = 4000


class Bound(NamedTuple):
    """Allowed range of a parameter; ``above`` excludes the lower end."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def __str__(self) -> str:
        left = "(" if self.above or math.isinf(self.low) else "["
        right = ")" if math.isinf(self.high) else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


# Far beyond any market; within them no scheme overflows single precision.
DRIFT = Bound(-1e6, 1e6)
VOLATILITY = Bound(0.0, 1e3)
VARIANCE = Bound(0.0, 1e6)
VOL_OF_VOL = Bound(0.0, 1e4)
REVERSION = Bound(0.0, 1e6)
INTENSITY = Bound(0.0, 1e9)
JUMP_MEAN = Bound(-20.0, 20.0)
JUMP_STD = Bound(0.0, 6.0)
MOST_YEARS = 10_000.0


def check_bound(process: str, name: str, value: Value | None, bound: Bound) -> None:
    """``UserError`` naming process, field, value and bound when some value is out of it."""
    if not isinstance(value, Real | Tensor) or isinstance(value, bool):
        raise UserError(f"{process}.{name} = {value!r} is not a number or a tensor")
    if isinstance(value, Tensor) and (value.is_complex() or value.dtype == torch.bool):
        raise UserError(f"{process}.{name} holds {value.dtype}; give a tensor of real numbers")
    try:
        exact = value if isinstance(value, Tensor) else float(value)
    except OverflowError:
        raise UserError(f"{process}.{name} = {str(value)[:9]}... is outside {bound}") from None
    tensor = torch.as_tensor(exact, dtype=torch.float64).detach()
    low = tensor > bound.low if bound.above else tensor >= bound.low
    bad = ~(low & (tensor <= bound.high) & torch.isfinite(tensor))
    if bool(bad.any()):
        first = tensor[bad].flatten()[0].item()
        raise UserError(f"{process}.{name} = {first:g} is outside {bound}")


def check_shape(field: str, value: Value | None, allowed: list[tuple[int, ...]]) -> None:
    """``UserError`` naming field and the allowed shapes when a tensor has another one."""
    if isinstance(value, Tensor) and value.ndim and tuple(value.shape) not in allowed:
        shapes = " or ".join(str(shape) for shape in allowed)
        raise UserError(
            f"{field} has shape {tuple(value.shape)}; give a number or a tensor of shape {shapes}"
        )


def check_jumps(process: str, lam: Value, years: float) -> None:
    """``UserError`` when a path expects more jumps than memory is meant for."""
    rate = torch.as_tensor(lam, dtype=torch.float64).detach()
    expected = float((rate.mean(dim=0) if rate.ndim == 2 else rate).max()) * years
    if expected > MOST_JUMPS:
        raise UserError(
            f"{process}: {expected:,.6g} expected jumps per path (lambda times years) are above "
            f"{MOST_JUMPS:,}; lower the jump intensity, or put it into the volatility"
        )


def check_request(paths: int, steps: int, years: float, dtype: torch.dtype) -> None:
    """``UserError`` naming what ``sample`` cannot do."""
    for name, number in (("paths", paths), ("steps", steps)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
            raise UserError(f"sample: {name} = {number!r} must be a whole number of at least 1")
    if isinstance(years, bool) or not isinstance(years, Real):
        raise UserError(f"sample: years = {years!r} must be a number")
    if not 0 < years <= MOST_YEARS:
        raise UserError(f"sample: years = {years!r} must be above 0 and at most {MOST_YEARS:,.0f}")
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"sample: dtype = {dtype} must be torch.float32 or torch.float64")
