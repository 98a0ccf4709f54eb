"""Rough Bergomi: log variance driven by rough noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime import Regime
from parfait.sde.accumulate import fill_sums
from parfait.sde.checks import DRIFT, VARIANCE, Bound, check_bound
from parfait.sde.columns import pad_width
from parfait.sde.fractional import HURST_GRID, hurst_levels, power
from parfait.sde.process import Chunk, Process, Value, at_bar, at_start
from parfait.sde.streams import Purpose

MONTH = 1 / 12  # horizon at which a derived eta matches the log-variance of the regime


@dataclass(frozen=True, kw_only=True, eq=False)
class RoughBergomi(Process):
    """dS = mu S dt + sqrt(v) S dW, v_t = xi0 exp(eta Y_t - eta^2 Var(Y_t)/2), Y_t = sqrt(2H) int
    (t-s)^(H-1/2) dZ_s.

    Hybrid scheme with the singular cell integrated exactly; the price steps at the left point,
    hence an exact martingale. The roughness H of the variance is not the memory ``Regime.hurst`` of
    the price.

    Args:
        mu: total drift [1/year].
        hurst: roughness H in (0, 1/2], rounded to 0.001; typically 0.05 to 0.15; one per path.
        eta: volatility of log variance [year^-H], at least 0; 0 is GBM; one per path.
        rho: corr(dW, dZ), in [-1, 1].
        xi0: forward variance [1/year], at least 0: E[v_t] = xi0. As ``(steps, paths)`` it is the
            forward curve: row k is that at point k, and the last one also that of the last point.

    Source: Bayer, Friz & Gatheral (2016); scheme of Bennedsen, Lunde & Pakkanen (2017, kappa = 1).
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "mu": DRIFT,
        "hurst": Bound(HURST_GRID, 0.5),
        "eta": Bound(0.0, 1e6),
        "rho": Bound(-1.0, 1.0),
        "xi0": VARIANCE,
    }
    options: ClassVar[tuple[str, ...]] = ("roughness", "eta")
    whole_path: ClassVar[tuple[str, ...]] = ("hurst", "eta")
    has_variance: ClassVar[bool] = True

    mu: Value
    hurst: Value
    eta: Value
    rho: Value
    xi0: Value

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        """``eta=None`` matches the sd of log v over a month: eta tau^H = (xi / sigma) sqrt(tau).

        The forward variance starts at v0 and moves in proportion with the long-run variance.
        """
        roughness, eta = options.get("roughness", 0.1), options.get("eta")
        check_bound(cls.__name__, "roughness", roughness, cls.bounds["hurst"])
        assert regime.initial_volatility is not None
        assert regime.vol_of_vol is not None
        if eta is None:
            relative = at_start(regime.vol_of_vol) / at_start(regime.volatility)
            eta = relative * power(MONTH, 0.5 - torch.as_tensor(roughness, dtype=torch.float64))
        growth = regime.volatility / at_start(regime.volatility)
        forward = (at_start(regime.initial_volatility) * growth) ** 2
        if isinstance(forward, Tensor):
            forward = forward.clamp(max=VARIANCE.high)
        return {
            "mu": regime.drift,
            "hurst": roughness,
            "eta": eta,
            "rho": regime.leverage,
            "xi0": forward,
        }

    def _fill(self, chunk: Chunk) -> None:
        assert chunk.variance is not None
        mu, hurst, eta, rho, xi0 = (
            chunk.exact(v) for v in (self.mu, self.hurst, self.eta, self.rho, self.xi0)
        )
        n, dt = chunk.steps, chunk.dt
        dz = chunk.streams.normal(Purpose.VARIANCE, n)  # in units of sqrt(dt), like all noise here
        y, variance_of_y = volterra(chunk, hurst.expand(chunk.width), dz)
        chunk.variance[0] = chunk.cast(at_bar(xi0, 0))
        if xi0.ndim == 2:
            xi0 = torch.cat([xi0[1:], xi0[-1:]])
        y.mul_(chunk.cast(eta)).sub_(chunk.cast(0.5 * eta**2 * variance_of_y)).exp_()
        chunk.variance[1:] = y.mul_(chunk.cast(xi0))
        v = chunk.variance[:-1]
        noise = chunk.streams.normal(Purpose.PRICE, n).mul_(chunk.cast((1 - rho**2).sqrt()))
        noise.addcmul_(dz, chunk.cast(rho)).mul_((v * dt).sqrt_())
        fill_sums(chunk, noise.add_(v, alpha=-0.5 * dt).add_(chunk.cast(mu * dt)))


def volterra(
    chunk: Chunk, hurst: Float64[Tensor, " width"], dz: Tensor
) -> tuple[Tensor, Float64[Tensor, "steps width"]]:
    """Y at the end of every bar, (steps, width), and the scheme's own variance of it.

    The newest cell of int (t-s)^alpha dZ is drawn jointly with its increment, the older ones carry
    the kernel's average over the cell (alpha = H - 1/2). Using this variance, and not t^2H, keeps
    E[v] = xi0 at any step.
    """
    n, dt = chunk.steps, chunk.dt
    levels, which = hurst_levels(hurst)
    h = levels[:, None]
    alpha = h - 0.5
    i = torch.arange(1, n + 1, dtype=torch.float64, device=h.device)
    cells = power(dt, alpha) * (power(i, alpha + 1) - power(i - 1, alpha + 1)) / (alpha + 1)
    c12, c22 = power(dt, alpha + 1) / (alpha + 1), power(dt, 2 * h) / (2 * h)
    older = cells.clone()
    older[:, 0] = 0
    variance = 2 * h * (c22 + dt * torch.cumsum(older**2, dim=1))
    # First cell: regression on its increment, plus what the increment does not explain.
    cells[:, 0] = c12[:, 0] / dt
    kernel = chunk.cast((2 * h).sqrt() * cells * dt**0.5)
    residual = chunk.cast((2 * h * (c22 - c12**2 / dt).clamp(min=0)).sqrt())[:, 0]
    spectrum = torch.fft.rfft(kernel, n=2 * n, dim=1)[pad_width(which)]
    spectrum *= torch.fft.rfft(pad_width(dz).T.contiguous(), n=2 * n, dim=1)
    y = torch.fft.irfft(spectrum, n=2 * n, dim=1)[: dz.shape[1], :n].T.contiguous()
    y.addcmul_(chunk.streams.normal(Purpose.FINE_NOISE, n), residual[which])
    return y, variance[which].T
