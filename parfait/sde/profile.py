"""What the correlation of two assets depends on: variances, jumps, leverage and memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.sde.bates import Bates
from parfait.sde.fgbm import FractionalGBM
from parfait.sde.fractional import power
from parfait.sde.gbm import GBM
from parfait.sde.heston import Heston
from parfait.sde.kou import Kou
from parfait.sde.memory import GRID, factor, on_grid
from parfait.sde.merton import Merton
from parfait.sde.ou import OU
from parfait.sde.process import Process, at_bar, phi
from parfait.sde.regime_sde import Kinds, RegimeSDE
from parfait.sde.rough_bergomi import RoughBergomi
from parfait.utils.errors import UserError

SEGMENTS = 32  # times at which expectations are taken, all bars where there are no more
_MEMORY_ROWS = 128  # bars after which the overlap of two memories no longer changes
_LEVELS = 1000  # more than there are exponents on the grid
_SURE = 1e4  # (mean / sd)^2 of a variance above which its root is as good as known


@dataclass(frozen=True)
class Profile:
    """Expectations of one asset, each of shape (segments or 1, width or 1) where not said else.

    Args:
        variance: E[v], diffusive variance per year.
        root: E[sqrt v].
        leverage: correlation of the price noise and the noise of the variance, as a process has it.
        rate: jumps per year, as a process has it.
        jump_rate, jump_mean, jump_std: of the log jumps.
        hurst: exponent of the memory, (1,) or (width,).
        decay: exp(-kappa dt) of the reversion of the price, (1,) or (width,).
    """

    variance: Float64[Tensor, "segments width"]
    root: Float64[Tensor, "segments width"]
    leverage: Float64[Tensor, "..."]
    rate: Float64[Tensor, "..."]
    jump_rate: Float64[Tensor, "rows width"]
    jump_mean: Float64[Tensor, "rows width"]
    jump_std: Float64[Tensor, "rows width"]
    hurst: Float64[Tensor, " width"]
    decay: Float64[Tensor, " width"]

    @property
    def wobble(self) -> Float64[Tensor, "segments width"]:
        """sqrt of log(E[v] / E[sqrt v]^2), half the deviation of log v if that is normal."""
        ratio = self.variance / (self.root**2).clamp(min=1e-300)
        return torch.where(self.variance > 0, ratio, 1.0).log().clamp(min=0).sqrt()

    @property
    def jump_variance(self) -> Float64[Tensor, "rows width"]:
        """Variance of the jumps per year."""
        return self.jump_rate * (self.jump_mean**2 + self.jump_std**2)


def profile(
    process: Process, width: int, steps: int, years: float, device: torch.device
) -> Profile:
    """The profile of ``width`` paths of a process.

    Raises:
        UserError: a process that is not known here.
    """
    segments = min(steps, SEGMENTS)
    bars = ((torch.arange(segments, device=device) + 0.5) * steps / segments).long()

    def exact(value: object) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64, device=device)

    def rows(value: object) -> Tensor:
        """One row per segment, or one for all of them."""
        table = exact(value)
        return table[bars] if table.ndim == 2 else table.reshape(1, -1)

    zero, none, half = exact(0.0), exact(0.0).reshape(1, 1), exact(0.5).reshape(1)
    leverage, rate, hurst, decay = zero, zero, half, zero.reshape(1) + 1
    jumps = (none, none, none)
    dt = years / steps
    if isinstance(process, RegimeSDE):
        p = process.symbols(width, years, device)
        kinds = Kinds.of(p)
        kappa_v, theta, xi = (rows(p[name]) for name in ("kappa_v", "theta", "xi"))
        variance, root = _square_root_variance(kappa_v, theta, xi, p["v0"], years, segments)
        kappa = rows(p["kappa"])
        variance, root = _scaled(variance, root, phi(2 * kappa * dt))
        decay = torch.exp(-kappa[0] * dt)
        leverage, rate = torch.where(kinds.moves, p["rho"], 0.0), p["lam"]
        jumps = (rows(p["lam"]), rows(p["m"]), rows(p["s"]))
        hurst = at_bar(p["hurst"], 0)  # a memory that changes is taken for its first
    elif isinstance(process, GBM | Merton | Kou | OU | FractionalGBM):
        root = rows(process.sigma)
        if isinstance(process, OU):
            kappa = rows(process.kappa)
            root, decay = root * phi(2 * kappa * dt).sqrt(), torch.exp(-kappa[0] * dt)
        if isinstance(process, FractionalGBM):
            hurst = exact(process.hurst).reshape(-1)
            if process.vol_anchor == "year":
                root = root * power(dt, hurst - 0.5)
        variance = root**2
    elif isinstance(process, Heston):
        kappa_v, theta, xi = (rows(v) for v in (process.kappa, process.theta, process.xi))
        v0 = exact(process.v0).reshape(-1)
        variance, root = _square_root_variance(kappa_v, theta, xi, v0, years, segments)
        leverage = exact(process.rho)
    elif isinstance(process, RoughBergomi):
        time = (exact(range(segments)) + 0.5)[:, None] * (years / segments)
        spread = rows(process.eta) * power(time, rows(process.hurst))
        variance, spread = torch.broadcast_tensors(rows(process.xi0), spread)
        root, leverage = variance.sqrt() * torch.exp(-0.125 * spread**2), exact(process.rho)
    else:
        raise UserError(f"MultiAsset: {type(process).__name__} is not a process it knows")
    if isinstance(process, Merton | Kou | Bates):
        rate = exact(process.lam)
        jumps = (rows(process.lam), *_sizes(process, rows))
    return Profile(variance, root, leverage, rate, *jumps, hurst, decay)


def _sizes(process: Process, rows: Callable[[object], Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the log jumps."""
    if isinstance(process, Merton | Bates):
        return rows(process.jump_mean), rows(process.jump_std)
    assert isinstance(process, Kou)
    p, up, down = rows(process.p_up), rows(process.eta_up), rows(process.eta_down)
    mean = p / up - (1 - p) / down
    return mean, (2 * p / up**2 + 2 * (1 - p) / down**2 - mean**2).sqrt()


def _square_root_variance(
    kappa: Tensor, theta: Tensor, xi: Tensor, v0: Tensor, years: float, segments: int
) -> tuple[Tensor, Tensor]:
    """E[v] and E[sqrt v] of a square-root process at the middle of every segment.

    Mean and variance are exact, between their values at the ends of a segment; the root is that of
    the gamma law with these two moments.
    """
    dt = years / segments
    decay, pull = torch.exp(-kappa * dt), -torch.expm1(-kappa * dt)
    noise, gain = xi**2 * dt * phi(kappa * dt), theta * pull
    mean, square = v0.expand(decay.shape[-1]) if v0.numel() == 1 else v0, torch.zeros_like(v0)
    means, squares = [mean], [square]
    for k in range(segments):
        e, n, g = (t[min(k, len(t) - 1)] for t in (decay, noise, gain))
        square = e**2 * square + n * (e * mean + 0.5 * g)
        mean = e * mean + g
        means.append(mean)
        squares.append(square)
    width = max(mean.shape[-1], square.shape[-1])
    m, s = (torch.stack([row.expand(width) for row in table]) for table in (means, squares))
    m, s = 0.5 * (m[1:] + m[:-1]), 0.5 * (s[1:] + s[:-1])
    shape = (m**2 / s.clamp(min=1e-300)).clamp(1e-6, _SURE)
    ratio = torch.exp(torch.lgamma(shape + 0.5) - torch.lgamma(shape)) / shape.sqrt()
    return m, m.sqrt() * torch.where(s > 0, ratio, 1.0)


def _scaled(variance: Tensor, root: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    return variance * factor, root * factor.sqrt()


def overlap(
    hurst: Float64[Tensor, " width"], other: Float64[Tensor, " width"], steps: int
) -> Float64[Tensor, " width"]:
    """Correlation of the noise of two memories that are driven by the same innovations.

    The mean over the bars k of sum_j L_kj L'_kj, 1 where the exponents are equal.
    """
    level, other_level = ((on_grid(h) / GRID).round().long() for h in (hurst, other))
    known, which = torch.unique(level * _LEVELS + other_level, return_inverse=True)
    rows = min(steps, _MEMORY_ROWS)
    pairs = (divmod(code, _LEVELS) for code in known.tolist())
    values = [_overlap(min(pair), max(pair), rows) for pair in pairs]
    return torch.tensor(values, dtype=torch.float64, device=hurst.device)[which]


def reversion(
    a: Float64[Tensor, " width"], b: Float64[Tensor, " width"], steps: int
) -> Float64[Tensor, " width"]:
    """Correlation of the changes of two reverting sums of the same noise, 1 for equal speeds.

    Change k of y_k = a y_(k-1) + e_k is e_k - (1 - a) (e_(k-1) + a e_(k-2) + ...).
    """

    if bool((a == 1).all()) and bool((b == 1).all()):
        return torch.ones_like(a)

    def covariance(a: Tensor, b: Tensor) -> Tensor:
        """Mean over k of 1 + (1 - a)(1 - b)(1 - (ab)^(k-1)) / (1 - ab)."""
        still = (a == 1) | (b == 1)
        q = torch.where(still, 0.0, a * b)
        past = 1 - (1 - power(q, torch.full_like(q, steps))) / (steps * (1 - q))
        return 1 + torch.where(still, 0.0, (1 - a) * (1 - b) * past / (1 - q))

    return covariance(a, b) / (covariance(a, a) * covariance(b, b)).sqrt()


@lru_cache(maxsize=8192)
def _overlap(low: int, high: int, rows: int) -> float:
    if low == high:
        return 1.0
    return float((factor(low * GRID, rows) * factor(high * GRID, rows)).sum() / rows)
