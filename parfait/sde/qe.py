"""Andersen's quadratic exponential scheme for the square-root variance, with the martingale
correction.

Andersen (2008), "Simple and efficient simulation of the Heston stochastic volatility model", eqs.
17-33 and 2.4, with gamma_1 = gamma_2 = 1/2. With h = psi/2 and r = sqrt(1 - h) his a and a b^2 are
m h / (1 + r) and m r, which loses no digits where psi is small. One formula has two bodies here:
``step`` evaluates both branches everywhere (for GPUs, autograd and compilation), the sparse body
the exponential branch only on the paths that need it, which on a CPU costs a third.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from parfait.sde.columns import pick, put
from parfait.sde.process import Chunk, SdeWarning, phi

T = TypeVar("T")
H_SWITCH = 0.75  # psi = 1.5; any value of psi in [1, 2] is valid (Andersen, section 3.2.3)
# Below these values of xi the correction's terms in rho/xi drown in rounding, and the variance is
# deterministic.
_MIN_XI = {torch.float32: 1e-3, torch.float64: 1e-6}
_TINY_MEAN, _TINY_SQUARE = 1e-15, 1e-30  # keep psi defined where v = theta = 0
_TINY_VARIANCE = 1e-20  # keeps the gradient of the square root finite where v = 0 twice in a row
_MISSING_SHARE = 0.01


class Constants(NamedTuple):
    """Per-path constants of one step, computed in float64 and cast."""

    decay: Tensor  # e = exp(-kappa dt)
    gain: Tensor  # theta (1 - e): mean m = v e + gain
    half_v: Tensor  # s^2 / 2 = v half_v + half_0
    half_0: Tensor
    drift: Tensor  # mu dt
    slope: Tensor  # -K3 / 2, all that v itself adds to the price
    k2: Tensor
    k3: Tensor
    minus_two_a: Tensor  # A = K2 + K4/2; the correction exists while A is small enough
    plain_0: Tensor  # without a correction, M = plain_0 + plain_v v
    plain_v: Tensor


class Calm(NamedTuple):
    """Constants of paths whose variance is deterministic: its integral is level + share v."""

    rows: Tensor
    level: Tensor
    share: Tensor
    rho: Tensor
    orthogonal: Tensor


def fill_qe(
    chunk: Chunk,
    z1: Tensor,
    z2: Tensor,
    mu: Tensor,
    kappa: Tensor,
    theta: Tensor,
    xi: Tensor,
    rho: Tensor,
    v0: Tensor,
    *,
    compiled: bool = False,
) -> None:
    """Writes log price and variance of QE-M paths.

    Args:
        chunk: where to; jumps it holds are added to the price.
        z1, z2: normals of the variance and of the orthogonal part of the price, (steps, width).
        mu, kappa, theta, xi, rho: float64, scalar, one per path, or (steps, width) where they
            change; those of bar k hold between points k and k + 1.
        v0: float64, scalar or one per path.
        compiled: run the compiled body where parameters do not change and want no gradients.

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
    if not on_cpu or any(p.requires_grad for p in (*parameters, v0)):
        missing = _fill_dense(chunk, parameters, z1, z2)
    else:
        missing = 0
        if rows.numel() < chunk.width:
            body = _fill_sparse
            if compiled and all(p.ndim < 2 for p in parameters):
                from parfait.sde.fused import fill_compiled as body
            missing = body(chunk, (mu, kappa, theta, xi.clamp(min=floor), rho), z1, z2)
        if rows.numel() > 0:
            _refill(chunk, rows, parameters, z1, z2)
    if missing > _MISSING_SHARE * chunk.steps * chunk.width:
        share = missing / (chunk.steps * chunk.width)
        text = f"QE-M: no martingale correction on {share:.1%} of the steps; take shorter steps"
        warnings.warn(text, SdeWarning, stacklevel=2)


def constants(chunk: Chunk, parameters: Sequence[Tensor]) -> Constants:
    """Those of one step, from (mu, kappa, theta, xi, rho) with at most one value per path."""
    mu, kappa, theta, xi, rho = parameters
    dt = chunk.dt
    decay, pull = torch.exp(-kappa * dt), -torch.expm1(-kappa * dt)
    half_spread = 0.5 * xi**2 * dt * phi(kappa * dt)
    half, ratio = 0.5 * dt * (kappa * rho / xi - 0.5), rho / xi
    k3 = 0.5 * dt * (1 - rho**2)
    values = (
        decay,
        theta * pull + _TINY_MEAN,
        half_spread * decay,
        half_spread * 0.5 * theta * pull + _TINY_SQUARE,
        mu * dt,
        -0.5 * k3,
        half + ratio,
        k3,
        -2 * (half + ratio) - k3,
        -ratio * kappa * theta * dt,
        half - ratio + 0.5 * k3,
    )
    return Constants(*(chunk.cast(value).expand(chunk.width) for value in values))


def step(
    c: Constants,
    x: Tensor,
    v: Tensor,
    z1: Tensor,
    z2: Tensor,
    tail: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of every path with both branches: x', v' and where the correction exists.

    Each branch sees harmless values where the other one is taken, so that its gradient there is
    finite. ``tail`` is -log(1 - Phi(z)).
    """
    mean = c.gain + v * c.decay
    share = (c.half_0 + v * c.half_v) / mean  # m h
    h = share / mean
    hot = h > H_SWITCH
    r = (1 - torch.where(hot, 0.5, h)).sqrt()
    a = share / (1 + r)
    ab2 = mean * r
    v_quadratic = (ab2.sqrt() + a.sqrt() * z1) ** 2
    # psi + 1 = 2 h + 1 = w: p = 1 - 2/w, beta = 2/(m w), beta/(beta - A) = 1/(1 - A m w/2).
    w = 2 * torch.where(hot, h, 1.0) + 1
    v_exponential = (tail(z1) + torch.log(2 / w)).clamp(min=0) * (0.5 * mean * w)
    v_next = torch.where(hot, v_exponential, v_quadratic)
    gap = 1 + c.minus_two_a * torch.where(hot, 0.25 * mean * w, a)
    exists = gap > 0
    gap = torch.where(exists, gap, 1.0)
    logarithm = torch.log(torch.where(hot, 1 - 2 / w + 2 / (w * gap), gap))
    m = torch.where(hot, -logarithm, 0.5 * (c.minus_two_a * ab2 / gap + logarithm))
    m = torch.where(exists, m, c.plain_0 + c.plain_v * v)
    root = (c.k3 * (v + v_next)).clamp(min=_TINY_VARIANCE).sqrt()
    return x + c.drift + m + c.slope * v + c.k2 * v_next + root * z2, v_next, exists


def _tail(z: Tensor) -> Tensor:
    """-log(1 - Phi(z)): grows with the same normal that moves the quadratic branch."""
    return -torch.log(0.5 * torch.special.erfc(z * math.sqrt(0.5)))


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
        x_next, v_next, exists = step(c, x, v, z1[k], z2[k], _tail)
        if calm is not None:
            integrated = calm.level + calm.share * v
            noise = calm.rho * z1[k] + calm.orthogonal * z2[k]
            root = integrated.clamp(min=_TINY_VARIANCE).sqrt()
            x_calm = x + c.drift - 0.5 * integrated + root * noise
            x_next = torch.where(calm.rows, x_calm, x_next)
            v_next = torch.where(calm.rows, c.gain - _TINY_MEAN + v * c.decay, v_next)
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


def _fill_sparse(chunk: Chunk, parameters: Sequence[Tensor], z1: Tensor, z2: Tensor) -> int:
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
        torch.mul(c.minus_two_a, a, out=gap).add_(1)
        failed = (gap <= 0) if may_fail else None
        if failed is not None:
            gap.masked_fill_(failed, 1)
        m.mul_(c.minus_two_a).div_(gap).add_(gap.log_()).mul_(0.5)
        if hot is not None:
            v_next[hot], m[hot], exists = _exponential(
                mean[hot], h[hot], z[hot], c.minus_two_a[hot]
            )
            if failed is not None:
                failed[hot] = ~exists
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
    v = (_tail(z) + torch.log(2 / w)).clamp(min=0) * (0.5 * mean * w)
    gap = 1 + minus_two_a * (0.25 * mean * w)
    exists = gap > 0
    gap = torch.where(exists, gap, 1.0)
    return v, -torch.log(1 - 2 / w + 2 / (w * gap)), exists
