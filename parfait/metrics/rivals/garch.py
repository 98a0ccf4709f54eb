"""GARCH(1,1) with Student t shocks and GJR with skewed t shocks: the econometric bar. Fitted by the
``arch`` package on training returns, filtered forward through each history.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.baselines import bars_between
from parfait.microstructure.codec import MAX_LOG_RETURN
from parfait.sde import Guide
from parfait.utils.errors import UserError

GarchName = Literal["garch-t", "gjr-skewt"]
MISSING = "needs the package arch: pip install 'parfait[evaluate]'"
LEAST = 250


@dataclass(frozen=True)
class Garch:
    """h_t = omega + (alpha + gamma 1{e_{t-1} < 0}) e_{t-1}^2 + beta h_{t-1}, r_t = mean + e_t,
    e_t = sqrt(h_t) z_t, z a (skewed) Student t of unit variance; all in units of ``deviation``.

    Bollerslev (1987); Glosten, Jagannathan & Runkle (1993); Hansen (1994).

    Args:
        mean, omega, alpha, gamma, beta: the recursion.
        degrees: of freedom of the shocks.
        skew: Hansen's lambda in (-1, 1), None for a symmetric t.
        deviation: of training returns per bar.
    """

    mean: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    degrees: float
    skew: float | None
    deviation: float

    @property
    def persistence(self) -> float:
        """alpha + beta + gamma / 2, the decay of variance for symmetric shocks."""
        return self.alpha + self.beta + self.gamma / 2

    def bars(
        self,
        history: Float64[Tensor, "windows bars 5"],
        steps: int,
        *,
        guide: Guide | None = None,
        generator: torch.Generator,
    ) -> Float64[Tensor, "windows steps 5"]:
        """Bars that continue each history; closes by the recursion, the rest by a Brownian bridge
        (``bars_between``)."""
        past = history[..., 3].log().diff(dim=1) / self.deviation
        variance = (past - self.mean).square().mean(1)
        for column in past.unbind(1):
            variance = self._next(variance, column - self.mean)
        shock = self._shocks(len(history), steps, generator)
        returns, variances = [], []
        for z in shock.unbind(1):
            e = variance.sqrt() * z
            returns.append(self.mean + e)
            variances.append(variance)
            variance = self._next(variance, e)
        limit = MAX_LOG_RETURN
        r = (torch.stack(returns, dim=1) * self.deviation).clamp(-limit, limit)
        deviation = torch.stack(variances, dim=1).sqrt() * self.deviation
        return bars_between(history, r, deviation, guide=guide, generator=generator)

    def _next(self, variance: Tensor, e: Tensor) -> Tensor:
        pressure = self.alpha + self.gamma * (e < 0)
        return self.omega + pressure * e.square() + self.beta * variance

    def _shocks(self, windows: int, steps: int, generator: torch.Generator) -> Tensor:
        """By quantiles of uniforms, so that ``generator`` decides them all."""
        univariate = _arch("univariate")
        uniform = torch.rand((windows, steps), generator=generator, dtype=torch.float64)
        flat = uniform.clamp(1e-12, 1 - 1e-12).flatten().numpy()
        if self.skew is None:
            shock = univariate.StudentsT().ppf(flat, np.array([self.degrees]))
        else:
            shock = univariate.SkewStudent().ppf(flat, np.array([self.degrees, self.skew]))
        return torch.from_numpy(np.asarray(shock)).reshape(windows, steps)


def fit_garch(returns: Sequence[Float64[Tensor, " n"]], model: GarchName = "garch-t") -> Garch:
    """Maximum likelihood on training returns, one contiguous series per asset; each is brought to
    unit deviation, then they follow each other.

    Raises:
        UserError: ``arch`` is not installed, fewer than 250 returns, a series that does not move,
            or a fit that did not converge.
    """
    univariate = _arch("univariate")
    total = sum(len(series) for series in returns)
    if total < LEAST:
        raise UserError(f"{model} needs {LEAST} training returns and has {total}")
    deviations = [float(series.std()) for series in returns]
    if not all(d > 0 for d in deviations):
        raise UserError(f"{model}: a training series has returns that do not move")
    scaled = [series / d for series, d in zip(returns, deviations, strict=True)]
    asymmetric = model == "gjr-skewt"
    specification = univariate.arch_model(
        torch.cat(scaled).numpy(),
        mean="Constant",
        vol="GARCH",
        p=1,
        o=1 if asymmetric else 0,
        q=1,
        dist="skewt" if asymmetric else "t",
        rescale=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = specification.fit(disp="off", show_warning=False)
    if result.convergence_flag != 0:
        raise UserError(f"{model} did not converge on {total} returns; give more of them")
    found = {name: float(value) for name, value in result.params.items()}
    pooled = sum(len(s) * d * d for s, d in zip(returns, deviations, strict=True)) / total
    return Garch(
        mean=found["mu"],
        omega=found["omega"],
        alpha=found["alpha[1]"],
        gamma=found.get("gamma[1]", 0.0),
        beta=found["beta[1]"],
        degrees=found["eta" if asymmetric else "nu"],
        skew=found["lambda"] if asymmetric else None,
        deviation=pooled**0.5,
    )


def _arch(part: str) -> Any:
    if find_spec("arch") is None:
        raise UserError(f"GARCH {MISSING}")
    return import_module(f"arch.{part}")
