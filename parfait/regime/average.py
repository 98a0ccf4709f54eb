"""What a regime amounts to over a stretch of bars."""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime.regime import Regime
from parfait.regime.rows import mean_of_rows


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
    steady = _steadily(theta, kappa)
    if not bool(steady.all()):
        changing = mean_of_rows(_changing(theta, kappa, v0[0], begin, end, dt))
        mean = torch.where(steady, mean, changing)
    return mean.clamp_min(1e-8).sqrt()


def volatility_course(
    regime: Regime, begin: int, end: int, dt: float
) -> Float64[Tensor, "bars paths"]:
    """Volatility expected in every bar of [begin, end) over that of them together
    (``mean_volatility``); exactly 1 on paths whose level and reversion never change.

    Args:
        regime: of shape (steps, paths).
        begin, end: bars counted from now.
        dt: length of a bar in years.
    """
    theta = torch.as_tensor(regime.volatility, dtype=torch.float64).square()
    kappa = torch.as_tensor(regime.variance_reversion, dtype=torch.float64)
    if regime.initial_volatility is None:
        course = theta[begin:end]
    else:
        v0 = torch.as_tensor(regime.initial_volatility, dtype=torch.float64)[0].square()
        course = _changing(theta, kappa, v0, begin, end, dt)
    course = course.clamp_min(1e-8)
    return torch.where(_steadily(theta, kappa), 1.0, (course / mean_of_rows(course)).sqrt())


def _steadily(theta: Tensor, kappa: Tensor) -> Tensor:
    """Which paths keep level and reversion."""
    return (theta == theta[0]).all(0) & (kappa == kappa[0]).all(0)


def _steady(theta: Tensor, kappa: Tensor, v0: Tensor, start: float, stop: float) -> Tensor:
    return theta + (v0 - theta) * torch.exp(-kappa * start) * _decay(kappa * (stop - start))


def _changing(theta: Tensor, kappa: Tensor, v: Tensor, begin: int, end: int, dt: float) -> Tensor:
    """Expected mean variance of every bar of [begin, end)."""
    course = []
    for k in range(end):
        gap, y = v - theta[k], kappa[k] * dt
        if k >= begin:
            course.append(theta[k] + gap * _decay(y))
        v = theta[k] + gap * torch.exp(-y)
    return torch.stack(course)


def _decay(y: Tensor) -> Tensor:
    return torch.where(y > 1e-8, -torch.expm1(-y) / y.clamp_min(1e-8), 1.0)


def _mean(rows: Tensor) -> Tensor:
    """Mean over bars; exactly the value where it is constant."""
    return torch.where((rows == rows[0]).all(0), rows[0], mean_of_rows(rows))
