"""What of a price stays Gaussian once everything else of its path is known."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.sde.columns import TILE
from parfait.sde.fgbm import FractionalGBM
from parfait.sde.fractional import HURST_GRID, power
from parfait.sde.gbm import GBM
from parfait.sde.heston import Heston
from parfait.sde.kou import Kou
from parfait.sde.memory import GRID, MAX_STEPS, factor
from parfait.sde.merton import Merton
from parfait.sde.ou import OU
from parfait.sde.process import Paths, Process, phi
from parfait.sde.regime_sde import Kinds, RegimeSDE
from parfait.sde.rough_bergomi import RoughBergomi

# Where the price has no noise of its own (rho = +-1, v = 0), time decides where a gap is closed.
_FLOOR = 1e-12  # 1/year, a volatility of one in a million
_RELATIVE_FLOOR = 1e-8
_LEAST_LOG = -700.0  # of a decay that counts; less is none
_ROWS = 4096  # paths whose covariances are held at a time
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Freedom:
    """The noise F_k = sum_j B_kj e_j of a price given its variance, jumps and parameters.

        B_kj = a B_(k-1)j + sqrt(phi) L_kj,   e_j ~ N(0, q_j) independent,   L L^T = gamma_H

    a, phi and H have one column, or one per bar where they change: row k of L is then that of H_k.

    Args:
        variance: q, of every bar.
        decay: a, 1 without reversion of the price.
        spread: phi(2 kappa dt), 1 without reversion; any other scale of a bar's noise too.
        hurst: H of the memory; 1/2 is none.
        exact: ``False`` where the process is not known here, and q is only a clock.
    """

    variance: Float64[Tensor, "paths steps"]
    decay: Float64[Tensor, "paths #steps"]
    spread: Float64[Tensor, "paths #steps"]
    hurst: Float64[Tensor, "paths #steps"]
    exact: bool = True

    def rows(self, rows: slice | Tensor) -> "Freedom":
        """The same for some paths."""
        columns = (self.variance, self.decay, self.spread, self.hurst)
        return Freedom(*(c[rows] for c in columns), exact=self.exact)

    def covariance(
        self, at: Int64[Tensor, "paths targets"]
    ) -> tuple[Float64[Tensor, "paths targets points"], Float64[Tensor, "paths targets targets"]]:
        """C(tau, t) = sum_j B_tau,j B_tj q_j at every point t = 0 ... n, and C(tau, tau).

        Args:
            at: tau, the steps that are aimed at, counted from 1.
        """
        paths, steps = self.variance.shape
        age = at[..., None] - 1 - torch.arange(steps, device=at.device)
        # The noise of a bar has faded by the decays after it.
        logs = self.decay.log().clamp(min=_LEAST_LOG).expand(-1, steps).cumsum(dim=1)[:, None, :]
        logs = logs.expand(-1, at.shape[1], -1)
        faded = (logs.gather(2, at[..., None] - 1) - logs).exp()
        root = self.spread.sqrt()[:, None, :]
        weights = self._filter(torch.where(age >= 0, faded, 0.0) * root, transposed=True)
        noise = self._filter(weights * self.variance[:, None, :], transposed=False) * root
        total = noise.new_zeros((paths, at.shape[1], steps + 1))
        if bool((self.decay == 1).all()):
            total[..., 1:] = noise.cumsum(dim=-1)
        else:
            decay = self.decay.expand(-1, steps)
            for k in range(steps):
                total[..., k + 1] = decay[:, k, None] * total[..., k] + noise[..., k]
        return total, total.gather(2, at[:, None, :].expand(-1, at.shape[1], -1))

    def move(
        self, at: Int64[Tensor, "paths targets"], gap: Float64[Tensor, "paths targets"]
    ) -> Float64[Tensor, "paths points"]:
        """C(t, tau) C(tau, tau)^-1 gap: how every point moves when those at tau move by a gap."""
        parts = []
        for start in range(0, len(at), _ROWS):
            rows = slice(start, start + _ROWS)
            everywhere, here = self.rows(rows).covariance(at[rows])
            gain = torch.linalg.solve(here, gap[rows][..., None])
            parts.append((gain * everywhere).sum(dim=1))
        return torch.cat(parts)

    def log_density(
        self, at: Int64[Tensor, "paths targets"], gap: Float64[Tensor, "paths targets"]
    ) -> Float64[Tensor, " paths"]:
        """log N(gap; 0, C(tau, tau))."""
        parts = []
        for start in range(0, len(at), _ROWS):
            rows = slice(start, start + _ROWS)
            root = torch.linalg.cholesky(self.rows(rows).covariance(at[rows])[1])
            z = torch.linalg.solve_triangular(root, gap[rows][..., None], upper=False)[..., 0]
            spread = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
            parts.append(-0.5 * z.square().sum(dim=-1) - spread - at.shape[1] * _LOG_ROOT_2_PI)
        return torch.cat(parts)

    def _filter(self, rows: Tensor, *, transposed: bool) -> Tensor:
        """L applied to the last axis, path by path; its transpose where asked."""
        levels = torch.unique(self.hurst).tolist()
        if levels == [0.5]:
            return rows
        out = torch.zeros_like(rows)
        for hurst in levels:
            bars = self.hurst == hurst
            members = bars.any(dim=1)
            own = bars[members][:, None, :]
            lower = factor(hurst, rows.shape[-1]).to(rows.device)
            some = rows[members]
            if transposed:
                out[members] += _product(some * own, lower)
            else:
                out[members] += _product(some, lower.T) * own
        return out


def freedom(process: Process, paths: Paths, years: float) -> Freedom:
    """The Gaussian part of ``paths`` given variance, jumps and parameters.

    Stochastic variance leaves the part (1 - rho^2) of every bar's variance, in the quadrature of
    the scheme that made the paths. A process that is not known here gets the left-point variance,
    or time where it has none, as a clock and ``exact=False``; so does memory beyond 4096 steps.
    """
    x = paths.log_price
    width, steps = x.shape[0], x.shape[1] - 1
    dt = years / steps

    def exact(value: object) -> Tensor:
        return _columns(torch.as_tensor(value, dtype=torch.float64, device=x.device), width)

    def bars(value: Tensor) -> Tensor:
        return _floored(value.expand(width, steps), dt)

    one, half = exact(1.0), exact(0.5)
    if isinstance(process, RegimeSDE):
        return _of_regime(process, paths, years)
    if isinstance(process, GBM | Merton | Kou):
        return Freedom(bars(exact(process.sigma) ** 2 * dt), one, one, half)
    if isinstance(process, OU):
        kappa = exact(process.kappa)
        decay, spread = torch.exp(-kappa * dt), phi(2 * kappa * dt)
        return Freedom(bars(exact(process.sigma) ** 2 * dt), decay, spread, half)
    if isinstance(process, FractionalGBM) and steps <= MAX_STEPS:
        hurst = _rounded(exact(process.hurst), HURST_GRID)
        unit = dt if process.vol_anchor == "bar" else power(dt, 2 * hurst)
        # Volatility scales the noise after its memory, hence the place of the spread.
        scale = bars(exact(process.sigma) ** 2 * unit)
        return Freedom(torch.ones_like(scale), one, scale, hurst)
    known = isinstance(process, Heston | RoughBergomi)
    if paths.variance is None:
        clock = torch.ones((width, steps), dtype=torch.float64, device=x.device) * dt
        return Freedom(clock, one, one, half, exact=False)
    v = paths.variance.double()
    left = v[:, :-1] * dt
    if isinstance(process, Heston) and process.scheme == "qe_m":
        left = 0.5 * (v[:, :-1] + v[:, 1:]) * dt
    if known:
        left = left * (1 - exact(process.rho) ** 2)
    return Freedom(bars(left), one, one, half, exact=known)


def _of_regime(process: RegimeSDE, paths: Paths, years: float) -> Freedom:
    """``RegimeSDE`` class by class, as its schemes are: see its ``_fill``."""
    assert paths.variance is not None
    v = paths.variance.double()
    steps = v.shape[1] - 1
    dt = years / steps
    p = process.symbols(v.shape[0], years, v.device)
    kinds = Kinds.of(p)
    hurst, kappa, rho = (_columns(p[name], v.shape[0]) for name in ("hurst", "kappa", "rho"))
    left, middle = v[:, :-1] * dt, 0.5 * (v[:, :-1] + v[:, 1:]) * dt
    own = torch.where(kinds.moves[:, None], 1 - rho**2, 1.0)
    rounded = torch.where(
        kinds.on_grid[:, None], _rounded(hurst, GRID), _rounded(hurst, HURST_GRID)
    )
    hurst = torch.where(kinds.remembers[:, None], rounded, 0.5)
    known = steps <= MAX_STEPS or not bool(kinds.remembers.any())
    return Freedom(
        _floored(torch.where(kinds.by_qe[:, None], middle, left) * own, dt),
        torch.exp(-kappa * dt),
        phi(2 * kappa * dt),
        hurst if known else torch.full_like(hurst, 0.5),
        exact=known,
    )


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    """rows @ matrix in tiles of one size, since products of other sizes round differently."""
    flat = rows.flatten(0, -2)
    padded = torch.nn.functional.pad(flat, (0, 0, 0, -len(flat) % TILE)).unflatten(0, (-1, TILE))
    product = torch.bmm(padded, matrix.expand(len(padded), -1, -1))
    return product.flatten(0, 1)[: len(flat)].view_as(rows)


def _columns(value: Tensor, paths: int) -> Float64[Tensor, "paths columns"]:
    """A parameter with paths first, and one column for every bar where it changes."""
    return value.T if value.ndim == 2 else value.expand(paths)[:, None]


def _rounded(hurst: Tensor, grid: float) -> Tensor:
    return (hurst / grid).round() * grid


def _floored(variance: Tensor, dt: float) -> Tensor:
    mean = variance.mean(dim=1, keepdim=True)
    return variance + _RELATIVE_FLOOR * mean + _FLOOR * dt
