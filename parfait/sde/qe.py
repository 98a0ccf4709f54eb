"""Andersen's quadratic exponential scheme for the square-root variance, with the martingale
correction.

One formula has three bodies: the dense one evaluates both branches everywhere (for GPUs and
autograd), the sparse one the exponential branch only on the paths that need it, which on a CPU
costs a third; the compiled one is in ``fused``.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from parfait.sde.columns import pick, put
from parfait.sde.fused import fill_compiled
from parfait.sde.process import Chunk, SdeWarning, phi
from parfait.sde.qe_step import (
    H_SWITCH,
    TINY_MEAN,
    TINY_VARIANCE,
    Constants,
    constants,
    exact_tail,
    step,
)
from parfait.sde.streams import Draw

T = TypeVar("T")
# Below these values of xi the correction's terms in rho/xi drown in rounding, and the variance is
# deterministic.
_MIN_XI = {torch.float32: 1e-3, torch.float64: 1e-6}
_MISSING_SHARE = 0.01


class Calm(NamedTuple):
    """Constants of paths whose variance is deterministic: its integral is level + share v."""

    rows: Tensor
    level: Tensor
    share: Tensor
    rho: Tensor
    orthogonal: Tensor


def fill_qe(
    chunk: Chunk,
    z1: Tensor | Draw,
    z2: Tensor | Draw,
    mu: Tensor,
    kappa: Tensor,
    theta: Tensor,
    xi: Tensor,
    rho: Tensor,
    v0: Tensor,
    *,
    compiled: bool = False,
    price: bool = True,
) -> None:
    """Writes log price and variance of QE-M paths.

    Args:
        chunk: where to; jumps it holds are added to the price.
        z1, z2: normals of the variance and of the orthogonal part of the price, (steps, width).
            The compiled body draws its ``Draw`` when it needs it, and never holds a table of it.
        mu, kappa, theta, xi, rho: float64, scalar, one per path, or (steps, width) where they
            change; those of bar k hold between points k and k + 1.
        v0: float64, scalar or one per path.
        compiled: run the compiled body, on a CPU, where parameters do not change and want no
            gradients.
        price: ``False`` leaves the price undefined, for those who need the variance alone.

    Raises:
        UserError: ``compiled`` where torch cannot compile.
    """
    assert chunk.variance is not None
    parameters = (mu, kappa, theta, xi, rho)
    chunk.variance[0] = chunk.cast(v0)
    floor = _MIN_XI[chunk.log_price.dtype]
    calm = (xi < floor).expand(*xi.shape[:-1], chunk.width)
    rows = (calm.any(dim=0) if calm.ndim == 2 else calm).nonzero().squeeze(1)
    on_cpu = chunk.log_price.device.type == "cpu"
    graded = any(p.requires_grad for p in (*parameters, v0))
    compiled = compiled and on_cpu and not graded and all(p.ndim < 2 for p in parameters)
    floored, missing = (mu, kappa, theta, xi.clamp(min=floor), rho), 0
    if compiled and rows.numel() < chunk.width:
        missing = fill_compiled(chunk, floored, z1, z2, price)
    if not compiled or rows.numel() > 0:
        n1, n2 = (z.table() if isinstance(z, Draw) else z for z in (z1, z2))
        if graded or not on_cpu:
            missing = _fill_dense(chunk, parameters, n1, n2)
        else:
            if not compiled and rows.numel() < chunk.width:
                missing = _fill_sparse(chunk, floored, n1, n2, price)
            _refill(chunk, rows, parameters, n1, n2)
    if missing > _MISSING_SHARE * chunk.steps * chunk.width:
        share = missing / (chunk.steps * chunk.width)
        text = f"QE-M: no martingale correction on {share:.1%} of the steps; take shorter steps"
        warnings.warn(text, SdeWarning, stacklevel=2)


def _each_step(
    parameters: Sequence[Tensor], steps: int, make: Callable[[list[Tensor]], T]
) -> Iterator[T]:
    """``make(parameters of step k)`` for every step, made anew only when they change."""
    known = [p[0] if p.ndim == 2 else p for p in parameters]
    made = make(known)
    for k in range(steps):
        if k > 0 and any(p.ndim == 2 for p in parameters):
            rows = [p[k] if p.ndim == 2 else p for p in parameters]
            if not all(map(torch.equal, rows, known)):
                known, made = rows, make(rows)
        yield made


def _fill_dense(chunk: Chunk, parameters: Sequence[Tensor], z1: Tensor, z2: Tensor) -> int:
    """Both branches everywhere, out of place, deterministic variances included.

    Returns how often no correction existed.
    """
    assert chunk.variance is not None
    floor = _MIN_XI[chunk.log_price.dtype]
    some = bool((parameters[3] < floor).any())

    def make(rows: list[Tensor]) -> tuple[Constants, Calm | None]:
        mu, kappa, theta, xi, rho = rows
        safe = constants(chunk, (mu, kappa, theta, xi.clamp(min=floor), rho))
        return safe, _calm(chunk, rows, floor) if some else None

    x, v = chunk.log_price[0].clone(), chunk.variance[0].clone()
    missing = torch.zeros((), dtype=torch.int64, device=x.device)
    for k, (c, calm) in enumerate(_each_step(parameters, chunk.steps, make)):
        x_next, v_next, exists = step(c, x, v, z1[k], z2[k], exact_tail)
        if calm is not None:
            integrated = calm.level + calm.share * v
            noise = calm.rho * z1[k] + calm.orthogonal * z2[k]
            root = integrated.clamp(min=TINY_VARIANCE).sqrt()
            x_calm = x + c.drift - 0.5 * integrated + root * noise
            x_next = torch.where(calm.rows, x_calm, x_next)
            v_next = torch.where(calm.rows, c.gain - TINY_MEAN + v * c.decay, v_next)
            exists = exists | calm.rows
        missing += (~exists).sum()
        x, v = x_next if chunk.jumps is None else x_next + chunk.jumps[k], v_next
        chunk.log_price[k + 1] = x
        chunk.variance[k + 1] = v
    return int(missing)


def _calm(chunk: Chunk, rows: list[Tensor], floor: float) -> Calm:
    """The limit xi -> 0: I = dt (theta + (v - theta) phi(kappa dt)), exact."""
    _, kappa, theta, xi, rho = rows
    mean_weight = phi(kappa * chunk.dt)
    exact = (theta * (1 - mean_weight) * chunk.dt, mean_weight * chunk.dt)
    noise = (rho, (1 - rho**2).clamp(min=0).sqrt())
    values = (chunk.cast(value).expand(chunk.width) for value in (*exact, *noise))
    return Calm((xi < floor).expand(chunk.width), *values)


def _refill(
    chunk: Chunk, index: Tensor, parameters: Sequence[Tensor], z1: Tensor, z2: Tensor
) -> None:
    """Some paths again, by the body that knows deterministic variances."""
    if index.numel() == 0:
        return
    if index.numel() == chunk.width:
        _fill_dense(chunk, parameters, z1, z2)
        return
    assert chunk.variance is not None
    jumps = None if chunk.jumps is None else pick(chunk.jumps, index)
    part = replace(
        chunk,
        log_price=pick(chunk.log_price, index),
        variance=pick(chunk.variance, index),
        jumps=jumps,
    )
    own = [p.expand(*p.shape[:-1], chunk.width)[..., index] for p in parameters]
    _fill_dense(part, own, pick(z1, index), pick(z2, index))
    assert part.variance is not None
    put(chunk.log_price, index, part.log_price)
    put(chunk.variance, index, part.variance)


def _fill_sparse(
    chunk: Chunk, parameters: Sequence[Tensor], z1: Tensor, z2: Tensor, price: bool
) -> int:
    """The quadratic branch everywhere in place, then the exponential one where needed. CPU only."""
    assert chunk.variance is not None

    def make(rows: list[Tensor]) -> tuple[Constants, bool]:
        c = constants(chunk, rows)
        return c, bool((c.minus_two_a < 0).any())

    x, v = chunk.log_price[0], chunk.variance[0]
    mean, share, h, r, a, m, gap = torch.empty((7, chunk.width), dtype=x.dtype)
    missing = 0
    for k, (c, may_fail) in enumerate(_each_step(parameters, chunk.steps, make)):
        z, v_next, x_next = z1[k], chunk.variance[k + 1], chunk.log_price[k + 1]
        torch.addcmul(c.gain, v, c.decay, out=mean)
        torch.addcmul(c.half_0, v, c.half_v, out=share).div_(mean)  # m h
        torch.div(share, mean, out=h)
        highest = float(h.max())
        hot = (h > H_SWITCH).nonzero().squeeze(1) if highest > H_SWITCH else None
        torch.sub(1, h, out=r)
        if highest > 1:
            r.clamp_(min=0)
        r.sqrt_()
        torch.add(r, 1, out=a)
        torch.div(share, a, out=a)
        torch.mul(mean, r, out=m)  # a b^2
        torch.sqrt(m, out=v_next).addcmul_(torch.sqrt(a, out=r), z).square_()
        few = None
        if hot is not None:
            few = _exponential(mean[hot], h[hot], z[hot], c.minus_two_a[hot])
            v_next[hot] = few[0]
        if not price:
            v = v_next
            continue
        torch.mul(c.minus_two_a, a, out=gap).add_(1)
        failed = (gap <= 0) if may_fail else None
        if failed is not None:
            gap.masked_fill_(failed, 1)
        m.mul_(c.minus_two_a).div_(gap).add_(gap.log_()).mul_(0.5)
        if few is not None:
            m[hot] = few[1]
            if failed is not None:
                failed[hot] = ~few[2]
        if failed is not None and bool(failed.any()):
            rows = failed.nonzero().squeeze(1)
            missing += rows.numel()
            m[rows] = (c.plain_0 + c.plain_v * v)[rows]
        torch.add(v, v_next, out=a).mul_(c.k3).sqrt_()
        torch.add(x, c.drift, out=x_next).add_(m)
        x_next.addcmul_(c.slope, v).addcmul_(c.k2, v_next).addcmul_(a, z2[k])
        if chunk.jumps is not None:
            x_next.add_(chunk.jumps[k])
        x, v = x_next, v_next
    return missing


def _exponential(
    mean: Tensor, h: Tensor, z: Tensor, minus_two_a: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """v', M and whether M exists for large psi: see ``step``."""
    w = 2 * h + 1
    v = (exact_tail(z) + torch.log(2 / w)).clamp(min=0) * (0.5 * mean * w)
    gap = 1 + minus_two_a * (0.25 * mean * w)
    exists = gap > 0
    gap = torch.where(exists, gap, 1.0)
    return v, -torch.log(1 - 2 / w + 2 / (w * gap)), exists
