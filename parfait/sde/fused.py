"""The step of ``qe_step.step`` compiled: some bars of one block of paths in a single loop.

Everything between drawing normals and storing prices then stays in registers. Blocks are padded to
one width and passes to one number of bars, so a process compiles once for all numbers of paths and
steps, and path i is the same whatever comes along.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from parfait.sde.process import Chunk
from parfait.sde.qe_step import Constants, constants, exact_tail, step
from parfait.sde.streams import BLOCK, Draw
from parfait.utils.errors import UserError

BARS = 8  # of one pass; compilation takes seconds for each
_DEGREE = 11


def fill_compiled(
    chunk: Chunk,
    parameters: Sequence[Tensor],
    z1: Tensor | Draw,
    z2: Tensor | Draw,
    price: bool,
) -> int:
    """QE-M with constant parameters. Returns how often no correction existed.

    Raises:
        UserError: torch cannot compile here.
    """
    assert chunk.variance is not None
    like = chunk.log_price
    kernel = compiled_step(like.dtype)
    rows = torch.stack(constants(chunk, parameters))
    few = like.new_ones((len(rows), BLOCK))
    first, second, jumps, x, v = like.new_zeros((5, BARS, BLOCK))
    missing = 0
    # Not the blocks of the streams: a chunk may hold some of their paths only, its noise in tables.
    for block, start in enumerate(range(0, chunk.width, BLOCK)):
        columns = slice(start, min(start + BLOCK, chunk.width))
        width = columns.stop - start
        few[:, :width] = rows[:, columns]
        x[-1, :width], v[-1, :width] = like[0, columns], chunk.variance[0, columns]
        readers = [_reader(z, block, columns) for z in (z1, z2)]
        failed = like.new_zeros(BLOCK)
        for k in range(0, chunk.steps, BARS):
            now = slice(k, min(k + BARS, chunk.steps))
            bars = now.stop - k
            for reader, out in zip(readers, (first, second), strict=True):
                reader(now, out[:bars])
            if chunk.jumps is not None and price:
                jumps[:bars, :width] = chunk.jumps[now, columns]
            kernel(few, first, second, jumps, x, v, failed, _mask(bars, like.dtype))
            if price:
                chunk.log_price[k + 1 : k + bars + 1, columns] = x[:bars, :width]
            chunk.variance[k + 1 : k + bars + 1, columns] = v[:bars, :width]
        missing += int(failed[:width].sum())
    return missing


def _reader(source: Tensor | Draw, block: int, columns: slice) -> Callable[[slice, Tensor], None]:
    """Copies or draws the normals of some bars."""
    if isinstance(source, Draw) and source.by_block:
        draw = source.reader(block)
        single = torch.empty((BARS, BLOCK))

        def read(bars: slice, out: Tensor) -> None:
            if out.dtype == single.dtype:
                draw(out)
            else:
                out.copy_(draw(single[: out.shape[0]]))

        return read
    table = source.table() if isinstance(source, Draw) else source

    def copy(bars: slice, out: Tensor) -> None:
        out[:, : columns.stop - columns.start] = table[bars, columns]

    return copy


@lru_cache(maxsize=32)
def _mask(bars: int, dtype: torch.dtype) -> Tensor:
    """1 for the bars that count, 0 for those that fill up a pass."""
    return (torch.arange(BARS) < bars).to(dtype)


@lru_cache(maxsize=4)
def compiled_step(dtype: torch.dtype) -> Callable[..., None]:
    """The kernel, compiled and run once on neutral values."""
    tail = exact_tail if dtype == torch.float64 else fast_tail
    ones = torch.ones((len(Constants._fields), BLOCK), dtype=dtype)
    z1, z2, jumps, x, v = ones.new_zeros((5, BARS, BLOCK))
    try:
        kernel = torch.compile(partial(_bars, tail), fullgraph=True, dynamic=False)
        kernel(ones, z1, z2, jumps, x, v, ones.new_zeros(BLOCK), _mask(BARS, dtype))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"compile=true: torch cannot compile here ({reason}); "
            "install a C++ compiler such as g++, or set sde.compile=false"
        ) from error
    return kernel


def _bars(
    tail: Callable[[Tensor], Tensor],
    rows: Tensor,
    z1: Tensor,
    z2: Tensor,
    jumps: Tensor,
    xs: Tensor,
    vs: Tensor,
    failed: Tensor,
    mask: Tensor,
) -> None:
    """One pass; ``xs`` and ``vs`` hold the point it starts from in their last row."""
    c = Constants(*rows.unbind(0))
    x, v = xs[-1], vs[-1]
    made = []
    for k in range(BARS):
        x, v, exists = step(c, x, v, z1[k], z2[k], tail)
        x = x + jumps[k]
        failed += torch.where(exists, 0.0, mask[k])
        made.append((x, v))
    for k, (x, v) in enumerate(made):
        xs[k], vs[k] = x, v


def _coefficients() -> tuple[float, ...]:
    """P(s) = log erfc(y) + y^2 - log t at t = 1/(1 + y/2) = s + 3/4, by interpolation.

    The form is that of Press et al., "Numerical Recipes", erfcc. y >= -0.65 is all that matters:
    below it the exponential branch is at zero whatever psi is.
    """
    low, high = 1 / (1 + 9 / 2), 1 / (1 - 0.65 / 2)
    angle = math.pi * (torch.arange(_DEGREE + 1, dtype=torch.float64) + 0.5) / (_DEGREE + 1)
    t = (low + high) / 2 + (high - low) / 2 * torch.cos(angle)
    y = 2 / t - 2
    log_erfc = math.log(2) + torch.special.log_ndtr(-y * math.sqrt(2))
    powers = torch.linalg.vander(t - 0.75, N=_DEGREE + 1)
    return tuple(torch.linalg.solve(powers, log_erfc + y * y - t.log()).tolist())


_COEFFICIENTS = _coefficients()


def fast_tail(z: Tensor) -> Tensor:
    """``exact_tail`` within 4e-6 for z > -0.9; erfc would take a third of the whole step."""
    y = (z * math.sqrt(0.5)).clamp(min=-0.65)
    t = 1 / (1 + 0.5 * y)
    polynomial = torch.zeros_like(t)
    for coefficient in reversed(_COEFFICIENTS):
        polynomial = polynomial * (t - 0.75) + coefficient
    return y * y - polynomial - torch.log(0.5 * t)
