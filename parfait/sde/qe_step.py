"""One step of the quadratic exponential scheme: its constants, and both branches for every path.

Andersen (2008), "Simple and efficient simulation of the Heston stochastic volatility model", eqs.
17-33 and 2.4, with gamma_1 = gamma_2 = 1/2. With h = psi/2 and r = sqrt(1 - h) his a and a b^2 are
m h / (1 + r) and m r, which loses no digits where psi is small.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from parfait.sde.process import Chunk, phi

H_SWITCH = 0.75  # psi = 1.5; any value of psi in [1, 2] is valid (Andersen, section 3.2.3)
TINY_MEAN, TINY_SQUARE = 1e-15, 1e-30  # keep psi defined where v = theta = 0
TINY_VARIANCE = 1e-20  # keeps the gradient of the square root finite where v = 0 twice in a row


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
        theta * pull + TINY_MEAN,
        half_spread * decay,
        half_spread * 0.5 * theta * pull + TINY_SQUARE,
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
    root = (c.k3 * (v + v_next)).clamp(min=TINY_VARIANCE).sqrt()
    return x + c.drift + m + c.slope * v + c.k2 * v_next + root * z2, v_next, exists


def exact_tail(z: Tensor) -> Tensor:
    """-log(1 - Phi(z)): grows with the same normal that moves the quadratic branch."""
    return -torch.log(0.5 * torch.special.erfc(z * math.sqrt(0.5)))
