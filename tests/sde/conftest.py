"""Shared references: batches of regimes, and call prices from characteristic functions."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from parfait.regime import Regime
from parfait.sde import Paths


def batch(n: int, seed: int = 1, **fixed: float) -> Regime:
    """n different moderate regimes, no memory and no price reversion unless given."""
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    values = {
        "drift": between(-0.3, 0.5),
        "volatility": between(0.1, 0.4),
        "jump_intensity": between(0.0, 8.0),
        "jump_mean": between(-0.04, 0.02),
        "jump_std": between(0.05, 0.07),
        "variance_reversion": between(1.0, 6.0),
        "vol_of_vol": between(0.1, 0.9),
        "leverage": between(-0.9, 0.2),
        "initial_volatility": between(0.1, 0.4),
    }
    for name, value in fixed.items():
        values[name] = torch.full((n,), value, dtype=torch.float64)
    return Regime(**values)


def mixed(n: int, seed: int = 1, **fixed: float) -> Regime:
    """``batch`` with memory, reversion and constant variance, each in half of the paths."""
    regime = batch(n, seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    memory, pull, still = torch.rand((3, n), generator=generator, dtype=torch.float64)
    sigma = torch.as_tensor(regime.volatility)
    changes = {
        "hurst": torch.where(memory < 0.5, 0.5, 0.25 + 0.6 * (memory - 0.5) / 0.5),
        "mean_reversion": torch.where(pull < 0.5, 0.0, 16 * (pull - 0.5)),
        "vol_of_vol": torch.as_tensor(regime.vol_of_vol) * (still < 0.5),
        "initial_volatility": torch.where(
            still < 0.5, torch.as_tensor(regime.initial_volatility), sigma
        ),
    }
    changes |= {name: torch.full_like(sigma, value) for name, value in fixed.items()}
    return regime.replace(**changes)


def martingale_z(paths: Paths, mu: Tensor | float, years: float, points: int = 4) -> list[float]:
    """z-scores of E[S_t exp(-mu t)] = S_0 at some points along the path."""
    steps = paths.log_price.shape[1] - 1
    scores = []
    for k in sorted({max(1, steps * j // points) for j in range(1, points + 1)}):
        w = torch.exp(paths.log_price[:, k].double() - mu * years * k / steps)
        scores.append(float((w.mean() - 1) / (w.std() / math.sqrt(len(w)))))
    return scores


def call_price(cf: Callable[[Tensor], Tensor], strike: float, r: float, years: float) -> float:
    """Lewis (2001): S_0 = 1, cf(u) = E[exp(iu ln(S_T/F))], F the forward."""
    du = 0.005
    u = torch.arange(du / 2, 250, du, dtype=torch.float64).to(torch.complex128)
    h = -math.log(strike) + r * years
    integrand = (torch.exp(1j * u * h) * cf(u - 0.5j) / (u**2 + 0.25)).real
    return 1 - math.sqrt(strike) * math.exp(-r * years / 2) / math.pi * float(integrand.sum()) * du


def heston_cf(
    years: float, kappa: float, theta: float, xi: float, rho: float, v0: float
) -> Callable[[Tensor], Tensor]:
    """Heston (1993) in the form without branch cuts (Albrecher et al. 2007)."""

    def cf(u: Tensor) -> Tensor:
        beta = kappa - 1j * rho * xi * u
        d = torch.sqrt(beta**2 + xi**2 * (u**2 + 1j * u))
        g, decay = (beta - d) / (beta + d), torch.exp(-d * years)
        level = (beta - d) * years - 2 * torch.log((1 - g * decay) / (1 - g))
        slope = (beta - d) * (1 - decay) / (1 - g * decay)
        return torch.exp(kappa * theta / xi**2 * level + v0 / xi**2 * slope)

    return cf


def merton_jumps_cf(years: float, lam: float, m: float, s: float) -> Callable[[Tensor], Tensor]:
    """Compensated lognormal jumps."""
    kbar = math.exp(m + s * s / 2) - 1
    return lambda u: torch.exp(
        lam * years * (torch.exp(1j * u * m - 0.5 * u**2 * s**2) - 1 - 1j * u * kbar)
    )


def kou_jumps_cf(
    years: float, lam: float, p: float, up: float, down: float
) -> Callable[[Tensor], Tensor]:
    """Compensated double exponential jumps."""
    kbar = p * up / (up - 1) + (1 - p) * down / (down + 1) - 1
    return lambda u: torch.exp(
        lam
        * years
        * (p * up / (up - 1j * u) + (1 - p) * down / (down + 1j * u) - 1 - 1j * u * kbar)
    )


def diffusion_cf(years: float, sigma: float) -> Callable[[Tensor], Tensor]:
    """Constant volatility."""
    return lambda u: torch.exp(-0.5 * sigma**2 * years * (u**2 + 1j * u))


def matrix(*above: float) -> Tensor:
    """A correlation matrix from its entries above the diagonal."""
    size = round((1 + math.sqrt(1 + 8 * len(above))) / 2)
    out = torch.eye(size, dtype=torch.float64)
    rows, columns = torch.triu_indices(size, size, 1)
    out[rows, columns] = out[columns, rows] = torch.tensor(above, dtype=torch.float64)
    return out


def realised(first: Paths, second: Paths) -> tuple[float, float]:
    """Correlation of bar returns pooled over bars, its standard error over paths."""
    a, b = (p.log_price.double().diff(dim=1) for p in (first, second))
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    aa, bb, ab = ((x * y).mean(dim=1) for x, y in ((a, a), (b, b), (a, b)))
    scale = (aa.mean() * bb.mean()).sqrt()
    r = float(ab.mean() / scale)
    influence = ab / scale - 0.5 * r * (aa / aa.mean() + bb / bb.mean())
    return r, float(influence.std()) / math.sqrt(len(aa))


class References:
    """The functions above, since test files cannot import each other."""

    batch = staticmethod(batch)
    mixed = staticmethod(mixed)
    martingale_z = staticmethod(martingale_z)
    call_price = staticmethod(call_price)
    heston_cf = staticmethod(heston_cf)
    merton_jumps_cf = staticmethod(merton_jumps_cf)
    kou_jumps_cf = staticmethod(kou_jumps_cf)
    diffusion_cf = staticmethod(diffusion_cf)
    matrix = staticmethod(matrix)
    realised = staticmethod(realised)

    @staticmethod
    def generator(seed: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def ref() -> type[References]:
    return References
