"""The default process: reversion, stochastic variance, memory and jumps from one regime."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from parfait.regime import Regime
from parfait.sde.accumulate import fill_reversion
from parfait.sde.columns import pick, put
from parfait.sde.fractional import fractional_noise, reverting_variance
from parfait.sde.jumps import merton_kbar, normal_sizes, scatter_jumps
from parfait.sde.memory import MAX_STEPS, memory
from parfait.sde.process import Chunk, Process, phi
from parfait.sde.qe import fill_qe
from parfait.sde.streams import Purpose
from parfait.utils.errors import UserError

Symbols = dict[str, Tensor]
Index = Tensor | slice
NO_MEMORY = 0.005  # |H - 1/2| below this counts as no memory
NO_REVERSION = 1e-3  # kappa T below this counts as no reversion


@dataclass(frozen=True, kw_only=True, eq=False)
class RegimeSDE(Process):
    """All of a ``Regime`` at once; E[S_t] = S_0 exp(mu t) holds exactly at every bar.

        x_k = mu t_k + sum_j B_kj sqrt(v_j dt) w_j - (1/2) sum_j B_kj^2 v_j dt + J_k - Lambda_k
        B_kj = a B_(k-1)j + sqrt(phi(2 kappa dt)) L_kj,  a = exp(-kappa dt),  L L^T = gamma_H
        J_k = a J_(k-1) + log jumps of bar k
        Lambda_k = lambda dt sum_(l<k) (exp(m a^l + s^2 a^(2l) / 2) - 1)

    v is the variance (kappa_v, sigma^2, xi, v_0) at the left of each bar, w_j = rho Z1_j + sqrt(1 -
    rho^2) Z2_j with Z1_j the normal that moves v_j. Volatility sits on the innovation, inside the
    memory filter: B is then deterministic and v_j known before w_j, so conditional expectations
        telescope to the exact mean whatever the
    memory, reversion, leverage and jumps. Reversion pulls jumps back too: a crash rebounds.

    Every path goes to the cheapest scheme that is exact for it. Without memory and reversion this
    is ``Bates`` (QE-M); with constant variance and no memory ``OU``, with memory and no reversion
    ``FractionalGBM``. Where memory meets a moving variance H is rounded to 0.01; |H - 1/2| < 0.005
    counts as no memory, kappa T < 0.001 as no reversion.

    Args:
        regime: one regime, or a batch of shape ``(paths,)``.
        compensate: ``False`` drops Lambda.
        compile: as in ``Heston``, for all paths whose variance moves.

    Raises:
        UserError: ``sample`` with more than 4096 steps where memory meets a moving variance.
    """

    options: ClassVar[tuple[str, ...]] = ("compensate", "compile")
    expresses: ClassVar[tuple[str, ...]] = ("jump_intensity", "mean_reversion", "hurst")
    has_variance: ClassVar[bool] = True
    has_jumps: ClassVar[bool] = True

    regime: Regime
    compensate: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "regime", self.regime.resolve())

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return {"regime": regime, **options}

    def _rows(self, columns: slice) -> "RegimeSDE":
        return replace(self, regime=self.regime[columns]) if self.regime.shape else self

    def _check_shapes(self, paths: int, steps: int) -> None:
        if self.regime.shape not in ((), (paths,)):
            raise UserError(
                f"RegimeSDE.regime has shape {self.regime.shape}; "
                f"give one regime or a batch of shape ({paths},)"
            )

    def _fill(self, chunk: Chunk) -> None:
        p = self.symbols(chunk.width, chunk.years, chunk.log_price.device)
        scatter_jumps(chunk, p["lam"], normal_sizes(chunk, p["m"], p["s"]))
        z1 = chunk.streams.normal(Purpose.VARIANCE, chunk.steps)
        z2 = chunk.streams.normal(Purpose.PRICE, chunk.steps)
        moving = (p["xi"] > 0) | (p["v0"] != p["theta"])
        remembers, reverting = p["hurst"] != 0.5, p["kappa"] > 0
        for has_memory, moves in product((False, True), repeat=2):
            rows = (remembers == has_memory) & (moving == moves)
            if moves and not has_memory:
                self._on_rows(chunk, rows & ~reverting, p, z1, z2, self._fill_qe)
                rows = rows & reverting
            fill = partial(self._fill_filtered, has_memory=has_memory, moves=moves)
            self._on_rows(chunk, rows, p, z1, z2, fill)

    def symbols(self, width: int, years: float, device: torch.device) -> Symbols:
        """Parameters in paper symbols, float64, one per path; negligible ones neutral."""
        r = self.regime
        assert r.initial_volatility is not None
        values: dict[str, Any] = {
            "mu": r.drift,
            "theta": r.volatility**2,
            "lam": r.jump_intensity,
            "m": r.jump_mean,
            "s": r.jump_std,
            "kappa": r.mean_reversion,
            "hurst": r.hurst,
            "kappa_v": r.variance_reversion,
            "xi": r.vol_of_vol,
            "rho": r.leverage,
            "v0": r.initial_volatility**2,
        }
        exact = {
            n: torch.as_tensor(v, dtype=torch.float64, device=device) for n, v in values.items()
        }
        p = {n: v.expand(width) for n, v in exact.items()}
        still = p["kappa"] * years < NO_REVERSION
        p["kappa"] = p["kappa"].masked_fill(still, 0.0)
        p["hurst"] = p["hurst"].masked_fill((p["hurst"] - 0.5).abs() < NO_MEMORY, 0.5)
        return p

    @staticmethod
    def _on_rows(
        chunk: Chunk,
        rows: Bool[Tensor, " width"],
        p: Symbols,
        z1: Tensor,
        z2: Tensor,
        fill: Callable[..., None],
    ) -> None:
        """Runs a scheme on the paths that need it, in place where that is all of them."""
        index = rows.nonzero().squeeze(1)
        if index.numel() == 0:
            return
        if index.numel() == chunk.width:
            fill(chunk, p, z1, z2, slice(None))
            return
        assert chunk.variance is not None
        assert chunk.jumps is not None
        x = torch.zeros_like(chunk.log_price[:, : index.numel()])
        v = torch.empty_like(x)
        part = replace(chunk, log_price=x, variance=v, jumps=pick(chunk.jumps, index))
        fill(part, {n: v[index] for n, v in p.items()}, pick(z1, index), pick(z2, index), index)
        put(chunk.log_price, index, x)
        put(chunk.variance, index, v)

    def _fill_qe(self, chunk: Chunk, p: Symbols, z1: Tensor, z2: Tensor, index: Index) -> None:
        kbar = merton_kbar(p["m"], p["s"])
        mu = p["mu"] - (p["lam"] * kbar if self.compensate else 0.0)
        values = (p[name] for name in ("kappa_v", "theta", "xi", "rho", "v0"))
        fill_qe(chunk, z1, z2, mu, *values, compiled=self.compile)

    def _fill_filtered(
        self,
        chunk: Chunk,
        p: Symbols,
        z1: Tensor,
        z2: Tensor,
        index: Index,
        *,
        has_memory: bool,
        moves: bool,
    ) -> None:
        assert chunk.variance is not None
        assert chunk.jumps is not None
        dt, kappa = chunk.dt, p["kappa"]
        decay, spread = torch.exp(-kappa * dt), phi(2 * kappa * dt)
        if moves:
            # Without leverage nothing of the price enters the variance; its price is overwritten.
            none = torch.zeros_like(kappa)
            values = (p["kappa_v"], p["theta"], p["xi"], none, p["v0"])
            fill_qe(chunk, z1, z2, none, *values, compiled=self.compile)
            rho = p["rho"]
            w = chunk.cast(rho) * z1 + chunk.cast((1 - rho**2).clamp(min=0).sqrt()) * z2
        else:
            chunk.variance[:] = chunk.cast(p["theta"])
            w = z2
        v_dt = chunk.variance[:-1] * dt
        if has_memory and moves:
            _check_steps(chunk.steps)
            noise, q = memory(w.mul_(v_dt.sqrt()), v_dt, p["hurst"], decay, spread)
        elif has_memory:
            white = chunk.streams.normal(Purpose.PRICE, 2 * chunk.steps)[:, index]
            bar = p["theta"] * dt * spread
            noise = fractional_noise(white, p["hurst"]).mul_(chunk.cast(bar.sqrt()))
            variances = reverting_variance(p["hurst"], decay, chunk.steps)
            q = torch.stack([chunk.cast(bar * row) for row in variances])
        else:
            v_dt.mul_(chunk.cast(spread))
            noise, q = v_dt.sqrt() * w, _sums(v_dt, chunk.cast(decay**2))
        fill_reversion(chunk, kappa, noise.add_(chunk.jumps))
        compensators = _jump_compensators(p, decay, dt, chunk.steps, self.compensate)
        for k, compensator in enumerate(compensators, start=1):
            mean = p["mu"] * (k * dt) - compensator
            chunk.log_price[k].add_(chunk.cast(mean)).sub_(q[k - 1], alpha=0.5)


def _sums(rows: Tensor, weight: Tensor) -> Tensor:
    """Q_k = weight Q_(k-1) + row_k, in place."""
    for k in range(1, rows.shape[0]):
        rows[k].addcmul_(rows[k - 1], weight)
    return rows


def _jump_compensators(
    p: Symbols, decay: Tensor, dt: float, steps: int, compensate: bool
) -> Iterator[Tensor]:
    """Lambda_k for k = 1 .. steps."""
    total, faded = torch.zeros_like(decay), torch.ones_like(decay)
    active = compensate and bool((p["lam"] > 0).any())
    reverting = bool((decay < 1).any())
    term = p["lam"] * dt * merton_kbar(p["m"], p["s"])
    for k in range(steps):
        if active:
            if reverting and k > 0:
                faded = faded * decay
                term = p["lam"] * dt * merton_kbar(p["m"] * faded, p["s"] * faded)
            total = total + term
        yield total


def _check_steps(steps: int) -> None:
    if steps > MAX_STEPS:
        raise UserError(
            f"RegimeSDE: {steps} steps are too many for memory (hurst) with a moving variance; "
            f"use at most {MAX_STEPS}, or sde=bates, which has no memory"
        )
