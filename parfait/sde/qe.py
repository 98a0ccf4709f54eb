"""Andersen's quadratic exponential scheme for the square-root variance, with the martingale
correction.

Andersen (2008), "Simple and efficient simulation of the Heston stochastic volatility model", eqs.
17-33 and 2.4, with gamma_1 = gamma_2 = 1/2. Two bodies compute one formula: the branchless one
evaluates both branches everywhere (for GPUs and autograd), the sparse one evaluates the exponential
branch only on the paths that need it, which on a CPU costs a third.
"""

import math
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from parfait.sde.process import Chunk, SdeWarning, at_bar, phi

PSI_SWITCH = 1.5  # any value in [1, 2] is valid (Andersen, section 3.2.3)
# Below these values of xi the correction's terms in rho/xi drown in rounding, and the variance is
# deterministic.
_MIN_XI = {torch.float32: 1e-3, torch.float64: 1e-6}
_TINY_MEAN, _TINY_SQUARE = 1e-15, 1e-30  # keep psi defined where v = theta = 0
_TINY_VARIANCE = 1e-20  # keeps the gradient of the square root finite where v = 0 twice in a row
_MISSING_SHARE = 0.01


@dataclass(frozen=True)
class Constants:
    """Per-path constants of one step, computed in float64 and cast."""

    decay: Tensor  # e = exp(-kappa dt)
    gain: Tensor  # theta (1 - e): mean m = v e + gain
    spread_v: Tensor  # s^2 = v spread_v + spread_0
    spread_0: Tensor
    drift: Tensor  # mu dt
    k0: Tensor
    k1: Tensor
    k2: Tensor
    k3: Tensor
    a: Tensor  # A = K2 + K4/2, where the correction exists while A is small enough
    may_fail: bool  # some A > 0

    @classmethod
    def of(
        cls, chunk: Chunk, mu: Tensor, kappa: Tensor, theta: Tensor, xi: Tensor, rho: Tensor
    ) -> "Constants":
        dt = chunk.dt
        decay, pull = torch.exp(-kappa * dt), -torch.expm1(-kappa * dt)
        spread = xi**2 * dt * phi(kappa * dt)
        slope, ratio = 0.5 * dt * (kappa * rho / xi - 0.5), rho / xi
        k3 = 0.5 * dt * (1 - rho**2)
        a = slope + ratio + 0.5 * k3
        values = (
            decay,
            theta * pull,
            spread * decay,
            spread * 0.5 * theta * pull,
            mu * dt,
            -ratio * kappa * theta * dt,
            slope - ratio,
            slope + ratio,
            k3,
            a,
        )
        cast = [chunk.cast(value).expand(chunk.width) for value in values]
        return cls(*cast, may_fail=bool((a > 0).any()))

    def rows(self, index: Tensor) -> "Constants":
        """The constants of some paths."""
        columns = (getattr(self, name)[index] for name in list(self.__dataclass_fields__)[:-1])
        return Constants(*columns, may_fail=self.may_fail)


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
) -> None:
    """Writes log price and variance of QE-M paths.

    Args:
        chunk: where to; jumps it holds are added to the price.
        z1, z2: normals of the variance and of the orthogonal part of the price, (steps, width).
        mu, kappa, theta, xi, rho, v0: float64, scalar, one per path, or (but v0) one per bar and
            path.
    """
    assert chunk.variance is not None
    changing = (mu, kappa, theta, xi, rho)
    if any(p.ndim == 2 for p in changing):
        chunk.variance[0] = chunk.cast(v0)
        for k in range(chunk.steps):
            x, v = chunk.log_price[k : k + 2], chunk.variance[k : k + 2]
            jumps = None if chunk.jumps is None else chunk.jumps[k : k + 1]
            bar = replace(chunk, log_price=x, variance=v, jumps=jumps, years=chunk.dt)
            now = (at_bar(mu, k), at_bar(kappa, k), at_bar(theta, k), at_bar(xi, k), at_bar(rho, k))
            fill_qe(bar, z1[k : k + 1], z2[k : k + 1], *now, v[0].double())
        return
    floor = _MIN_XI[chunk.log_price.dtype]
    constants = Constants.of(chunk, mu, kappa, theta, xi.clamp(min=floor), rho)
    chunk.variance[0] = chunk.cast(v0)
    parameters = (mu, kappa, theta, xi, rho, v0)
    on_cpu = chunk.log_price.device.type == "cpu"
    sparse = on_cpu and not any(p.requires_grad for p in parameters)
    missing = (_fill_sparse if sparse else _fill_branchless)(chunk, constants, z1, z2)
    if missing > _MISSING_SHARE * chunk.steps * chunk.width:
        share = missing / (chunk.steps * chunk.width)
        text = f"QE-M: no martingale correction on {share:.1%} of the steps; take shorter steps"
        warnings.warn(text, SdeWarning, stacklevel=2)
    calm = (xi < floor).expand(chunk.width)
    if bool(calm.any()):
        x, v = _deterministic_variance(chunk, mu, kappa, theta, rho, v0, z1, z2)
        chunk.log_price[1:] = torch.where(calm, x, chunk.log_price[1:])
        chunk.variance[1:] = torch.where(calm, v, chunk.variance[1:])


def _moments(c: Constants, v: Tensor) -> tuple[Tensor, Tensor]:
    """Mean m of the next variance and u = 2/psi = 2 m^2/s^2."""
    mean = torch.addcmul(c.gain, v, c.decay).clamp_(min=_TINY_MEAN)
    square = torch.addcmul(c.spread_0, v, c.spread_v).add_(_TINY_SQUARE)
    return mean, (mean * mean).div_(square).mul_(2)


def _exponential(c: Constants, mean: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """v', M and whether M exists for large psi: mass p at zero, a tail of rate beta above it."""
    psi = 2 / u
    beta = 2 / (mean * (psi + 1))
    p = (psi - 1) / (psi + 1)
    # -log(1 - Phi(z)) grows with the same normal that moves the quadratic branch, without
    # cancelling in 1 - Phi.
    tail = -torch.log(0.5 * torch.special.erfc(z * math.sqrt(0.5)))
    v = (tail + torch.log(2 / (psi + 1))).clamp(min=0) / beta
    exists = beta > c.a
    gap = torch.where(exists, beta - c.a, beta)
    return v, -torch.log(p + beta * (1 - p) / gap), exists


def _fill_branchless(chunk: Chunk, c: Constants, z1: Tensor, z2: Tensor) -> int:
    """Both branches everywhere, out of place. Returns how often no correction existed."""
    assert chunk.variance is not None
    x, v = chunk.log_price[0].clone(), chunk.variance[0].clone()
    missing = torch.zeros((), dtype=torch.int64, device=x.device)
    for k in range(chunk.steps):
        mean, u = _moments(c, v)
        hot = u < 2 / PSI_SWITCH
        # Each branch sees harmless values where the other one is taken, so that its gradient there
        # is finite.
        u_quad = torch.where(hot, torch.full_like(u, 2.0), u)
        b2 = u_quad - 1 + (u_quad * (u_quad - 1)).sqrt()
        a = mean / (1 + b2)
        v_quad = a * (b2.sqrt() + z1[k]) ** 2
        gap = 1 - 2 * c.a * a
        exists_quad = gap > 0
        safe = torch.where(exists_quad, gap, torch.ones_like(gap))
        m_quad = 0.5 * torch.log(safe) - c.a * b2 * a / safe
        u_exp = torch.where(hot, u, torch.ones_like(u))
        v_exp, m_exp, exists_exp = _exponential(c, mean, u_exp, z1[k])
        v_next = torch.where(hot, v_exp, v_quad)
        exists = torch.where(hot, exists_exp, exists_quad)
        plain = c.k0 + (c.k1 + 0.5 * c.k3) * v
        m = torch.where(exists, torch.where(hot, m_exp, m_quad), plain)
        missing += (~exists).sum()
        root = (c.k3 * (v + v_next)).clamp(min=_TINY_VARIANCE).sqrt()
        x = x + c.drift + m - 0.5 * c.k3 * v + c.k2 * v_next + root * z2[k]
        if chunk.jumps is not None:
            x = x + chunk.jumps[k]
        v = v_next
        chunk.log_price[k + 1] = x
        chunk.variance[k + 1] = v
    return int(missing)


def _fill_sparse(chunk: Chunk, c: Constants, z1: Tensor, z2: Tensor) -> int:
    """The quadratic branch everywhere in place, then the exponential one where needed. CPU only."""
    assert chunk.variance is not None
    x, v = chunk.log_price[0], chunk.variance[0]
    half_k3, minus_two_a = 0.5 * c.k3, -2 * c.a
    missing = 0
    for k in range(chunk.steps):
        z, v_next, x_next = z1[k], chunk.variance[k + 1], chunk.log_price[k + 1]
        mean, u = _moments(c, v)
        lowest = float(u.min())
        hot = (u < 2 / PSI_SWITCH).nonzero().squeeze(1) if lowest < 2 / PSI_SWITCH else None
        u_quad = u.clamp(min=1) if lowest < 1 else u
        b2 = torch.sub(u_quad, 1)
        b2 += (u_quad * b2).sqrt_()
        a = mean.div(b2 + 1)
        torch.mul((b2.sqrt() + z).square_(), a, out=v_next)
        gap = torch.mul(minus_two_a, a).add_(1)
        failed = (gap <= 0) if c.may_fail else None
        if failed is not None:
            gap.masked_fill_(failed, 1)
        m = a.mul_(b2).mul_(minus_two_a).div_(gap).add_(gap.log_()).mul_(0.5)
        if hot is not None:
            few = c.rows(hot)
            v_hot, m_hot, exists = _exponential(few, mean[hot], u[hot], z[hot])
            v_next[hot], m[hot] = v_hot, m_hot
            if failed is not None:
                failed[hot] = ~exists
        if failed is not None and bool(failed.any()):
            rows = failed.nonzero().squeeze(1)
            missing += rows.numel()
            m[rows] = (c.k0 + (c.k1 + half_k3) * v)[rows]
        root = torch.add(v, v_next).mul_(c.k3).sqrt_().mul_(z2[k])
        torch.add(x, c.drift, out=x_next)
        x_next.add_(m).addcmul_(half_k3, v, value=-1).addcmul_(c.k2, v_next).add_(root)
        if chunk.jumps is not None:
            x_next.add_(chunk.jumps[k])
        x, v = x_next, v_next
    return missing


def _deterministic_variance(
    chunk: Chunk,
    mu: Tensor,
    kappa: Tensor,
    theta: Tensor,
    rho: Tensor,
    v0: Tensor,
    z1: Tensor,
    z2: Tensor,
) -> tuple[Tensor, Tensor]:
    """The limit xi -> 0, exact: v_k = theta + (v0 - theta) e^k, and its integral over each step."""
    dt = chunk.dt
    step = torch.arange(chunk.steps + 1, dtype=torch.float64, device=z1.device)[:, None]
    v = theta + (v0 - theta) * torch.exp(-kappa * dt * step)
    integrated = chunk.cast(dt * (theta + (v[:-1] - theta) * phi(kappa * dt)))
    noise = chunk.cast(rho) * z1 + chunk.cast((1 - rho**2).clamp(min=0).sqrt()) * z2
    root = integrated.clamp(min=_TINY_VARIANCE).sqrt()
    increments = chunk.cast(mu * dt) - 0.5 * integrated + root * noise
    if chunk.jumps is not None:
        increments = increments + chunk.jumps
    return chunk.log_price[0] + torch.cumsum(increments, dim=0), chunk.cast(v[1:])
