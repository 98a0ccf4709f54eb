"""What theory says of the log price: exact moments, characteristic functions and quantiles.

They hold for the equations, not for a scheme, and are known for the processes whose parameters do
not change over time: GBM, Merton, Kou, OU, Heston, Bates and fractional GBM. The drift of every
process, E[S_T] = S_0 exp(mu T), needs no law.
"""

import math
from functools import singledispatch
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

from parfait.sde.bates import Bates
from parfait.sde.fgbm import FractionalGBM
from parfait.sde.fractional import HURST_GRID
from parfait.sde.gbm import GBM
from parfait.sde.heston import Heston
from parfait.sde.jumps import merton_kbar
from parfait.sde.kou import Kou
from parfait.sde.merton import Merton
from parfait.sde.ou import OU
from parfait.sde.process import Process, phi
from parfait.utils.errors import UserError

_NODES = 40  # of the Gauss-Legendre rule; the integrands are entire functions of time
_CALM = 1e-4  # below this vol-of-vol its transform cancels; the variance is then deterministic
_STEP, _POINTS = 0.02, 10_000  # of the inversion, in 1/sd: aliases lie 314 sd away
_BISECTIONS = 60


class LogMoments(NamedTuple):
    """Mean and variance of log(S_T / S_0)."""

    mean: Float64[Tensor, "*paths"]
    variance: Float64[Tensor, "*paths"]


def log_moments(process: Process, steps: int, years: float) -> LogMoments:
    """Exact mean and variance of log(S_T/S_0) for T = ``years``.

    Args:
        process: with numbers or ``(paths,)`` tensors for parameters.
        steps: number of bars, which matters to memory anchored at the bar alone.
        years: T.

    Raises:
        UserError: no closed form is known, or a parameter changes over time.

    Source: moments of the compound Poisson process and of Gaussian processes; for the square-root
        variance the Ito isometry, with g(s) = (1 - exp(-kappa (T - s)))/kappa:
        Var x = int_0^T E[v_s] (1 - rho xi g + xi^2 g^2 / 4) ds.
    """
    _refuse_changing(process)
    return LogMoments(*torch.broadcast_tensors(*_moments(process, steps, years)))


def characteristic_function(
    process: Process,
    u: Float64[Tensor, " points"] | Complex128[Tensor, " points"],
    steps: int,
    years: float,
) -> Complex128[Tensor, "*paths points"]:
    """E[exp(iu log(S_T/S_0))], arguments as in ``log_moments``; u = -i gives the expected price.

    Source: Heston (1993) in the form of Albrecher et al. (2007), which has no branch cuts; Merton
        (1976); Kou (2002).
    """
    _refuse_changing(process)
    return torch.exp(_exponent(process, u.to(_device(process), torch.complex128), steps, years))


def quantile(process: Process, q: float, steps: int, years: float) -> Float64[Tensor, "*paths"]:
    """The q-quantile of log(S_T/S_0), by inversion of the characteristic function.

    F(x) = 1/2 - (1/pi) int_0^infinity Im[exp(-iux) cf(u)] / u du, absolute error of F below 1e-5
    where a bar has diffusive noise (sigma > 0).

    Raises:
        UserError: as ``log_moments``, or ``q`` outside (0, 1).

    Source: Gil-Pelaez (1951).
    """
    if not 0 < q < 1:
        raise UserError(f"quantile: q = {q:g} must be inside (0, 1)")
    mean, variance = log_moments(process, steps, years)
    sd = variance.sqrt()
    if bool((sd == 0).any()):
        raise UserError("quantile: a process without noise has no distribution to invert")
    grid = (torch.arange(_POINTS, dtype=torch.float64, device=sd.device) + 0.5) * _STEP
    u = (grid / sd[..., None]).to(torch.complex128)  # every path on a grid of its own scale
    transform = torch.exp(_exponent(process, u, steps, years) - 1j * u * mean[..., None]) / grid
    low, high = torch.full_like(sd, -40.0), torch.full_like(sd, 40.0)
    for _ in range(_BISECTIONS):
        z = 0.5 * (low + high)
        turned = (torch.exp(-1j * grid * z[..., None]) * transform).imag.sum(-1)
        below = 0.5 - turned * _STEP / math.pi < q
        low, high = torch.where(below, z, low), torch.where(below, high, z)
    return mean + sd * 0.5 * (low + high)


def _exact(process: Process, *names: str) -> list[Tensor]:
    """Parameters in float64, all of them where one of them is a tensor."""
    device = _device(process)
    return [
        torch.as_tensor(getattr(process, name), dtype=torch.float64, device=device)
        for name in names
    ]


def _device(process: Process) -> torch.device:
    values = (getattr(process, name) for name in process.bounds)
    return next((v.device for v in values if isinstance(v, Tensor)), torch.device("cpu"))


def _refuse_changing(process: Process) -> None:
    for name in process.bounds:
        value = getattr(process, name)
        if isinstance(value, Tensor) and value.ndim > 1:
            raise UserError(
                f"{type(process).__name__}.{name} changes over time; laws are known for numbers "
                "and (paths,) tensors"
            )


def _unknown(process: Process) -> UserError:
    return UserError(f"no closed form of the law of {type(process).__name__} is known")


@singledispatch
def _moments(process: Process, steps: int, years: float) -> tuple[Tensor, Tensor]:
    raise _unknown(process)


@_moments.register
def _(process: GBM, steps: int, years: float) -> tuple[Tensor, Tensor]:
    return _diffusion_moments(process, years)


@_moments.register(Merton)
@_moments.register(Kou)
def _(process: Merton | Kou, steps: int, years: float) -> tuple[Tensor, Tensor]:
    mean, variance = _diffusion_moments(process, years)
    return _with_jumps(process, mean, variance, years)


@_moments.register
def _(process: OU, steps: int, years: float) -> tuple[Tensor, Tensor]:
    mu, sigma, kappa = _exact(process, "mu", "sigma", "kappa")
    variance = sigma**2 * years * phi(2 * kappa * years)
    if process.theta is None:
        return mu * years - 0.5 * variance, variance
    return _exact(process, "theta")[0] * -torch.expm1(-kappa * years), variance


@_moments.register
def _(process: FractionalGBM, steps: int, years: float) -> tuple[Tensor, Tensor]:
    mu, sigma, hurst = _exact(process, "mu", "sigma", "hurst")
    hurst = (hurst / HURST_GRID).round() * HURST_GRID
    unit = years / steps * steps ** (2 * hurst)
    variance = sigma**2 * (unit if process.vol_anchor == "bar" else years ** (2 * hurst))
    return mu * years - 0.5 * variance, variance


@_moments.register
def _(process: Heston, steps: int, years: float) -> tuple[Tensor, Tensor]:
    mu, kappa, theta, xi, rho, v0 = (
        p[..., None] for p in _exact(process, "mu", "kappa", "theta", "xi", "rho", "v0")
    )
    nodes, weights = (
        torch.from_numpy(a).to(mu.device) for a in np.polynomial.legendre.leggauss(_NODES)
    )
    s, ds = 0.5 * years * (nodes + 1), 0.5 * years * weights
    expected = theta + (v0 - theta) * torch.exp(-kappa * s)
    g = (years - s) * phi(kappa * (years - s))
    mean = mu[..., 0] * years - 0.5 * (expected * ds).sum(-1)
    variance = (expected * (1 - rho * xi * g + 0.25 * (xi * g) ** 2) * ds).sum(-1)
    return _with_jumps(process, mean, variance, years)


def _diffusion_moments(process: GBM | Merton | Kou, years: float) -> tuple[Tensor, Tensor]:
    mu, sigma = _exact(process, "mu", "sigma")
    variance = sigma**2 * years
    return mu * years - 0.5 * variance, variance


def _with_jumps(
    process: Process, mean: Tensor, variance: Tensor, years: float
) -> tuple[Tensor, Tensor]:
    if isinstance(process, Kou):
        lam, p, up, down = _exact(process, "lam", "p_up", "eta_up", "eta_down")
        first = p / up - (1 - p) / down
        second = 2 * p / up**2 + 2 * (1 - p) / down**2
    elif isinstance(process, Merton | Bates):
        lam, first, s = _exact(process, "lam", "jump_mean", "jump_std")
        second = first**2 + s**2
    else:
        return mean, variance
    paid = lam * _kbar(process) if process.compensate else 0.0
    return mean + (lam * first - paid) * years, variance + lam * second * years


def _kbar(process: Merton | Kou | Bates) -> Tensor:
    if isinstance(process, Kou):
        p, up, down = _exact(process, "p_up", "eta_up", "eta_down")
        return p * up / (up - 1) + (1 - p) * down / (down + 1) - 1
    return merton_kbar(*_exact(process, "jump_mean", "jump_std"))


@singledispatch
def _exponent(process: Process, u: Tensor, steps: int, years: float) -> Tensor:
    """log E[exp(iu x)], (*paths, points)."""
    raise _unknown(process)


@_exponent.register(GBM)
@_exponent.register(OU)
@_exponent.register(FractionalGBM)
def _(process: GBM | OU | FractionalGBM, u: Tensor, steps: int, years: float) -> Tensor:
    mean, variance = (m[..., None] for m in _moments(process, steps, years))
    return 1j * u * mean - 0.5 * u**2 * variance


@_exponent.register(Merton)
@_exponent.register(Kou)
def _(process: Merton | Kou, u: Tensor, steps: int, years: float) -> Tensor:
    mean, variance = (m[..., None] for m in _diffusion_moments(process, years))
    return 1j * u * mean - 0.5 * u**2 * variance + _jump_exponent(process, u, years)


@_exponent.register
def _(process: Heston, u: Tensor, steps: int, years: float) -> Tensor:
    mu, kappa, theta, xi, rho, v0 = (
        p[..., None] for p in _exact(process, "mu", "kappa", "theta", "xi", "rho", "v0")
    )
    calm = xi < _CALM
    xi = torch.where(calm, 1.0, xi)
    w = u**2 + 1j * u
    beta = kappa - 1j * rho * xi * u
    d = torch.sqrt(beta**2 + xi**2 * w)
    # Without g = (beta - d)/(beta + d), which is 0/0 where both vanish.
    waned = years * _phi(d * years)
    total = beta * waned + 1 + torch.exp(-d * years)
    level = (beta - d) * years - 2 * torch.log(0.5 * total)
    moving = kappa * theta / xi**2 * level - v0 * w * waned / total
    expected = years * (theta + (v0 - theta) * phi(kappa * years))
    exponent = torch.where(calm, -0.5 * expected * w, moving) + 1j * u * mu * years
    return exponent + _jump_exponent(process, u, years) if isinstance(process, Bates) else exponent


def _phi(y: Tensor) -> Tensor:
    """``phi`` of complex numbers."""
    small = y.abs() < 1e-4
    safe = torch.where(small, 1.0, y)
    return torch.where(small, 1 - y / 2 + y * y / 6, (1 - torch.exp(-safe)) / safe)


def _jump_exponent(process: Merton | Kou | Bates, u: Tensor, years: float) -> Tensor:
    if isinstance(process, Kou):
        p, up, down = (v[..., None] for v in _exact(process, "p_up", "eta_up", "eta_down"))
        size = p * up / (up - 1j * u) + (1 - p) * down / (down + 1j * u)
    else:
        m, s = (v[..., None] for v in _exact(process, "jump_mean", "jump_std"))
        size = torch.exp(1j * u * m - 0.5 * u**2 * s**2)
    lam = _exact(process, "lam")[0][..., None]
    paid = 1j * u * _kbar(process)[..., None] if process.compensate else 0.0
    return lam * years * (size - 1 - paid)
