"""What a regime amounts to over a stretch of bars."""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime.regime import Regime


def mean_volatility(
    regime: Regime, start: float, stop: float, dt: float | None = None
) -> Float64[Tensor, " paths"]:
    """Root of the expected mean variance from ``start`` to ``stop`` [1/sqrt(year)].

    The labels of training are realised over a window too, so this is what a volatility means there.
    E v_t = theta + (v0 - theta) e^{-kappa_v t} while the regime is constant. Where theta or kappa_v
    changes from bar to bar, E v is carried from one bar to the next by the same formula:

        mean over bar k = theta_k + (E v_k - theta_k) (1 - e^{-kappa_k dt}) / (kappa_k dt)

    A variance that starts nowhere in particular (``initial_volatility`` is ``None``) is at its
    level in every bar.

    Args:
        regime: of shape (paths,), or (steps, paths).
        start, stop: years from now; where the regime has steps, they are rounded to bars.
        dt: length of a bar in years; needed where the regime has steps.
    """
    theta = torch.as_tensor(regime.volatility, dtype=torch.float64).square()
    changes = theta.ndim == 2
    begin, end = (round(start / dt), round(stop / dt)) if changes and dt else (0, 0)
    if regime.initial_volatility is None:
        return _mean(theta[begin:end]).sqrt() if changes else theta.sqrt()
    v0 = torch.as_tensor(regime.initial_volatility, dtype=torch.float64).square()
    kappa = torch.as_tensor(regime.variance_reversion, dtype=torch.float64)
    if not changes:
        return _steady(theta, kappa, v0, start, stop).clamp_min(1e-8).sqrt()
    mean = _steady(theta[0], kappa[0], v0[0], start, stop)
    assert dt is not None
    steady = (theta == theta[0]).all(0) & (kappa == kappa[0]).all(0)
    if not bool(steady.all()):
        mean = torch.where(steady, mean, _changing(theta, kappa, v0[0], begin, end, dt))
    return mean.clamp_min(1e-8).sqrt()


def _steady(theta: Tensor, kappa: Tensor, v0: Tensor, start: float, stop: float) -> Tensor:
    return theta + (v0 - theta) * torch.exp(-kappa * start) * _decay(kappa * (stop - start))


def _changing(theta: Tensor, kappa: Tensor, v: Tensor, begin: int, end: int, dt: float) -> Tensor:
    total = torch.zeros_like(v)
    for k in range(end):
        gap, y = v - theta[k], kappa[k] * dt
        if k >= begin:
            total = total + theta[k] + gap * _decay(y)
        v = theta[k] + gap * torch.exp(-y)
    return total / (end - begin)


def _decay(y: Tensor) -> Tensor:
    return torch.where(y > 1e-8, -torch.expm1(-y) / y.clamp_min(1e-8), 1.0)


def _mean(rows: Tensor) -> Tensor:
    """Mean over bars; exactly the value where it is constant."""
    return torch.where((rows == rows[0]).all(0), rows[0], rows.mean(0))
