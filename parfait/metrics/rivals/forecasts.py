"""Classical forecasts of returns, which a neutral simulation must not lose to.

All have one signature: ``(returns, origins, steps, paths, train=, generator=)`` gives log returns
of ``steps`` bars after each origin, (origins, paths, steps) float64. ``returns`` is one series of
log returns, ``origins`` the row of the last return that is known, and the first ``train`` returns
alone may choose parameters. A forecast reads nothing after its origin.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.utils.errors import UserError

WINDOW = 20  # returns that HistVol looks back on
LEAST_TRAIN = 250

Forecast = Callable[..., Float64[Tensor, "origins paths steps"]]


@dataclass(frozen=True)
class Garch:
    """v_t = omega + alpha e_{t-1}^2 + beta v_{t-1}, r_t = mu + e_t, e_t = sqrt(v_t) z_t, and z
    Student's t with nu degrees of freedom scaled to unit variance (Bollerslev 1987).
    """

    mu: float
    omega: float
    alpha: float
    beta: float
    nu: float

    def variance(
        self, returns: Float64[Tensor, " bars"], first: float
    ) -> Float64[Tensor, " points"]:
        """v of every bar and of the one after the last, from v_0 = ``first``."""
        v, found = first, [first]
        for e in (returns - self.mu).tolist():
            v = self.omega + self.alpha * e * e + self.beta * v
            found.append(v)
        return torch.tensor(found, dtype=torch.float64)


def histvol_normal(
    returns: Float64[Tensor, " bars"],
    origins: Int64[Tensor, " origins"],
    steps: int,
    paths: int,
    *,
    train: int,
    generator: torch.Generator,
) -> Float64[Tensor, "origins paths steps"]:
    """Independent N(0, s^2), s the sample deviation of the last 20 returns."""
    _check(returns, origins, train)
    window = origins[:, None] + torch.arange(1 - WINDOW, 1)
    deviation = returns[window].std(dim=1)
    shape = (len(origins), paths, steps)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return noise.mul_(deviation[:, None, None])


def bootstrap(
    returns: Float64[Tensor, " bars"],
    origins: Int64[Tensor, " origins"],
    steps: int,
    paths: int,
    *,
    train: int,
    generator: torch.Generator,
) -> Float64[Tensor, "origins paths steps"]:
    """Returns of the training part drawn independently: the law without any present."""
    _check(returns, origins, train)
    rows = torch.randint(train, (len(origins), paths, steps), generator=generator)
    return returns[rows]


def garch_t(
    returns: Float64[Tensor, " bars"],
    origins: Int64[Tensor, " origins"],
    steps: int,
    paths: int,
    *,
    train: int,
    generator: torch.Generator,
) -> Float64[Tensor, "origins paths steps"]:
    """GARCH(1,1) with Student's t fitted on the training part and filtered forward.

    Raises:
        UserError: the package ``arch`` is missing, or fewer than 250 training returns.
    """
    _check(returns, origins, train)
    model, variance = _filtered(returns, train)
    shape = (len(origins), paths, steps)
    # A t variate is N / sqrt(chi^2 / nu); torch's gamma sampler takes no generator.
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    chi = _chi_square(model.nu, shape, generator)
    z = normal / (chi / (model.nu - 2)).sqrt()
    return _run(model, variance[origins + 1], z)


def filtered_historical(
    returns: Float64[Tensor, " bars"],
    origins: Int64[Tensor, " origins"],
    steps: int,
    paths: int,
    *,
    train: int,
    generator: torch.Generator,
) -> Float64[Tensor, "origins paths steps"]:
    """Filtered historical simulation: the same GARCH, driven by its own standardised residuals of
    the training part, centred and of unit variance (Barone-Adesi, Giannopoulos and Vosper 1999).

    Raises:
        UserError: as ``garch_t``.
    """
    _check(returns, origins, train)
    model, variance = _filtered(returns, train)
    residual = (returns[:train] - model.mu) / variance[:train].sqrt()
    residual = (residual - residual.mean()) / residual.std()
    rows = torch.randint(train, (len(origins), paths, steps), generator=generator)
    return _run(model, variance[origins + 1], residual[rows])


FORECASTS: dict[str, Forecast] = {
    "HistVol20": histvol_normal,
    "bootstrap": bootstrap,
    "GARCH-t": garch_t,
    "FHS": filtered_historical,
}


def fit_garch(returns: Float64[Tensor, " bars"]) -> Garch:
    """Maximum likelihood by ``arch`` (Sheppard).

    Raises:
        UserError: ``arch`` is not installed, too few returns, or the fit did not converge.
    """
    if len(returns) < LEAST_TRAIN:
        raise UserError(
            f"GARCH needs at least {LEAST_TRAIN} training returns, {len(returns)} were given"
        )
    return _fit(tuple(returns.tolist()))


@lru_cache(maxsize=64)
def _fit(returns: tuple[float, ...]) -> Garch:
    try:
        from arch import arch_model
    except ImportError as error:
        raise UserError(
            "the GARCH rivals need the package arch, which is not installed; run pip install arch"
        ) from error
    import numpy as np

    values = np.asarray(returns)
    scale = 1 / float(values.std())
    fit: Any = arch_model(values * scale, mean="Constant", vol="GARCH", dist="t").fit(
        disp="off", show_warning=False
    )
    p = fit.params
    nu = float(np.clip(p["nu"], 2.1, 200.0))
    found = Garch(p["mu"] / scale, p["omega"] / scale**2, p["alpha[1]"], p["beta[1]"], nu)
    if not math.isfinite(sum(vars(found).values())):
        raise UserError("GARCH could not be fitted to the training returns; are they all alike?")
    return found


def _filtered(returns: Tensor, train: int) -> tuple[Garch, Tensor]:
    model = fit_garch(returns[:train])
    return model, model.variance(returns, float(returns[:train].var()))


def _run(model: Garch, start: Tensor, z: Tensor) -> Tensor:
    """The recursion of the variance through the innovations z, which become the returns."""
    v = start[:, None].expand(z.shape[:2])
    for k in range(z.shape[2]):
        e = v.sqrt() * z[..., k]
        z[..., k] = model.mu + e
        v = model.omega + model.alpha * e.square() + model.beta * v
    return z


def _chi_square(nu: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Chi square with nu degrees of freedom by Marsaglia and Tsang (2000), seeded."""
    d = nu / 2 - 1 / 3
    c = 1 / math.sqrt(9 * d)
    flat = torch.empty(math.prod(shape), dtype=torch.float64)
    open_rows = torch.arange(flat.numel())
    while open_rows.numel():
        x = torch.randn(open_rows.numel(), generator=generator, dtype=torch.float64)
        u = torch.rand(open_rows.numel(), generator=generator, dtype=torch.float64)
        v = (1 + c * x).clamp_min(1e-300).pow(3)
        accepted = (x > -1 / c) & (u.log() < x.square() / 2 + d - d * v + d * v.log())
        flat[open_rows[accepted]] = 2 * d * v[accepted]
        open_rows = open_rows[~accepted]
    return flat.reshape(shape)


def _check(returns: Tensor, origins: Tensor, train: int) -> None:
    if not bool(torch.isfinite(returns).all()):
        raise UserError("returns must be finite; leave out bars without a price")
    if not 2 <= train <= len(returns):
        raise UserError(f"train = {train} must be within [2, {len(returns)}], the returns given")
    if len(origins) and (int(origins.min()) < WINDOW - 1 or int(origins.max()) >= len(returns)):
        raise UserError(
            f"origins run from {int(origins.min())} to {int(origins.max())}; they must be rows of "
            f"the returns with {WINDOW - 1} before them, {WINDOW - 1} to {len(returns) - 1}"
        )
