"""The default process: reversion, stochastic variance, memory and jumps from one regime."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from parfait.regime import Regime
from parfait.sde.accumulate import ever, fading_compensators, fill_reversion
from parfait.sde.checks import check_jumps
from parfait.sde.columns import pick, put
from parfait.sde.fractional import fractional_noise, reverting_variance
from parfait.sde.jumps import merton_kbar, normal_sizes, scatter_jumps
from parfait.sde.memory import MAX_STEPS, causal_noise, memory, on_grid
from parfait.sde.process import Chunk, Process, at_bar, at_start, phi
from parfait.sde.qe import fill_qe
from parfait.sde.streams import Purpose
from parfait.utils.errors import UserError

Symbols = dict[str, Tensor]
Index = Tensor | slice
NO_MEMORY = 0.005  # |H - 1/2| below this counts as no memory
NEARLY_ALL = 0.75  # picking paths out and putting them back costs as much as a third of a scheme
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
    telescope to the exact mean whatever the memory, reversion, leverage and jumps. Reversion pulls
    jumps back too: a crash rebounds.

    All of it may change from bar to bar, the mean staying exact: a is that of bar k in the two
    recursions, row k of L is that of the factor of H_k, and a jump of bar l has faded by the
    product of the later a when Lambda_k compensates it. The variance goes on from one regime to the
    next.

    Every path goes to the cheapest scheme that is exact for it. Without memory and reversion this
    is ``Bates`` (QE-M); with constant variance and no memory ``OU``, with memory and no reversion
    ``FractionalGBM``. Where memory meets a moving variance, or itself or the reversion changes, H
    is rounded to 0.01; |H - 1/2| < 0.005 counts as no memory, kappa T < 0.001 as no reversion.

    Args:
        regime: one regime, a batch of shape ``(paths,)``, or of shape ``(steps, paths)``, a regime
            for every bar; its initial volatility is that of the first bar.
        compensate: ``False`` drops Lambda.
        compile: as in ``Heston``, for all paths whose variance moves; it gains where they have
            neither memory nor reversion.

    Raises:
        UserError: ``sample`` with more than 4096 steps where H is rounded to 0.01.
    """

    options: ClassVar[tuple[str, ...]] = ("compensate", "compile")
    expresses: ClassVar[tuple[str, ...]] = ("jump_intensity", "mean_reversion", "hurst")
    has_variance: ClassVar[bool] = True
    has_jumps: ClassVar[bool] = True

    regime: Regime = field(kw_only=False)
    compensate: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.regime, Regime):
            raise UserError(f"RegimeSDE.regime: {type(self.regime).__name__} is not a Regime")
        object.__setattr__(self, "regime", self.regime.resolve())

    @classmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        return {"regime": regime, **options}

    def _rows(self, columns: slice) -> "RegimeSDE":
        return replace(self, regime=self.regime[..., columns]) if self.regime.shape else self

    def _changes(self) -> bool:
        return len(self.regime.shape) == 2

    def _check_grid(self, paths: int, steps: int, years: float) -> None:
        if self.regime.shape not in ((), (paths,), (steps, paths)):
            raise UserError(
                f"RegimeSDE.regime has shape {self.regime.shape}; give one regime or a batch of "
                f"shape ({paths},) or ({steps}, {paths})"
            )
        check_jumps("RegimeSDE", self.regime.jump_intensity, years)

    def _fill(self, chunk: Chunk) -> None:
        p = self.symbols(chunk.width, chunk.years, chunk.log_price.device)
        scatter_jumps(chunk, p["lam"], normal_sizes(chunk, p["m"], p["s"]))
        z1 = chunk.streams.normal(Purpose.VARIANCE, chunk.steps)
        z2 = chunk.streams.normal(Purpose.PRICE, chunk.steps)
        kinds = Kinds.of(p)
        schemes: list[tuple[Tensor, Callable[..., None]]] = [(kinds.by_qe, self._fill_qe)]
        for memory_kind, moves in product(("none", "steady", "changing"), (False, True)):
            rows = kinds.rows(memory_kind, moves) & ~kinds.by_qe
            schemes.append((rows, partial(self._fill_filtered, kind=memory_kind, moves=moves)))
        # The largest class first, in place: the paths of the others are overwritten afterwards.
        for rows, fill in sorted(schemes, key=lambda scheme: -int(scheme[0].sum())):
            self._on_rows(chunk, rows, p, z1, z2, fill)

    def symbols(self, width: int, years: float, device: torch.device) -> Symbols:
        """Parameters in paper symbols, float64, ``(width,)`` or ``(steps, width)``; negligible ones
        neutral.
        """
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
            "v0": at_start(r.initial_volatility) ** 2,
        }
        exact = {
            n: torch.as_tensor(v, dtype=torch.float64, device=device) for n, v in values.items()
        }
        p = {n: _steady_table(v) if v.ndim == 2 else v.expand(width) for n, v in exact.items()}
        fastest = p["kappa"].amax(dim=0) if p["kappa"].ndim == 2 else p["kappa"]
        p["kappa"] = p["kappa"].masked_fill(fastest * years < NO_REVERSION, 0.0)
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
        """Runs a scheme on the paths that need it, in place where that is nearly all of them."""
        index = rows.nonzero().squeeze(1)
        if index.numel() == 0:
            return
        if index.numel() > NEARLY_ALL * chunk.width:
            fill(chunk, p, z1, z2, slice(None))
            return
        assert chunk.variance is not None
        assert chunk.jumps is not None
        x = torch.zeros_like(chunk.log_price[:, : index.numel()])
        v = torch.empty_like(x)
        part = replace(chunk, log_price=x, variance=v, jumps=pick(chunk.jumps, index))
        fill(
            part, {n: v[..., index] for n, v in p.items()}, pick(z1, index), pick(z2, index), index
        )
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
        kind: str,
        moves: bool,
    ) -> None:
        assert chunk.variance is not None
        assert chunk.jumps is not None
        dt = chunk.dt
        hurst, kappa = p["hurst"], p["kappa"]
        if kind == "steady":
            hurst, kappa = at_bar(hurst, 0), at_bar(kappa, 0)
        decay, spread = torch.exp(-kappa * dt), phi(2 * kappa * dt)
        if moves:
            none = torch.zeros_like(p["v0"])
            values = (p["kappa_v"], p["theta"], p["xi"], none, p["v0"])
            fill_qe(chunk, z1, z2, none, *values, compiled=self.compile, price=False)
            rho = p["rho"]
            w = chunk.cast(rho) * z1
            w.addcmul_(chunk.cast((1 - rho**2).clamp(min=0).sqrt()), z2)
        else:
            chunk.variance[:] = chunk.cast(p["v0"])
            w = z2
        v_dt = chunk.variance[:-1] * dt
        if kind == "none":
            v_dt.mul_(chunk.cast(spread))
            noise, q = v_dt.sqrt() * w, _sums(v_dt, chunk.cast(decay**2))
        elif kind == "steady" and not moves:
            bar = p["v0"] * dt * spread
            if chunk.streams.joint:
                hurst = on_grid(hurst)
                noise = causal_noise(w, hurst)
            else:
                white = chunk.streams.normal(Purpose.PRICE, 2 * chunk.steps)[:, index]
                noise = fractional_noise(white, hurst)
            noise = noise.mul_(chunk.cast(bar.sqrt()))
            variances = reverting_variance(hurst, decay, chunk.steps)
            q = torch.stack([chunk.cast(bar * row) for row in variances])
        else:
            _check_steps(chunk.steps)
            by_bar = torch.broadcast_tensors(hurst, decay, spread)
            noise, q = memory(w.mul_(v_dt.sqrt()), v_dt, *by_bar)
        fill_reversion(chunk, kappa, noise.add_(chunk.jumps))
        rate = p["lam"] * dt * float(self.compensate)
        compensators = fading_compensators(
            rate, p["m"], p["s"], decay, chunk.steps, chunk.log_price.dtype
        )
        drift, trend = p["mu"] * dt, torch.zeros_like(p["v0"])
        for k, compensator in enumerate(compensators):
            trend = trend + at_bar(drift, k)
            mean = chunk.cast(trend - compensator)
            chunk.log_price[k + 1].add_(mean).sub_(q[k], alpha=0.5)


@dataclass(frozen=True)
class Kinds:
    """Which schemes the paths need, one flag per path.

    Args:
        remembers: H differs from 1/2 in some bar.
        moves: the variance is not constant.
        steady: neither H nor kappa changes.
        by_qe: no memory, no reversion and a moving variance.
    """

    remembers: Bool[Tensor, " width"]
    moves: Bool[Tensor, " width"]
    steady: Bool[Tensor, " width"]
    by_qe: Bool[Tensor, " width"]

    @classmethod
    def of(cls, p: Symbols) -> "Kinds":
        remembers, reverting = ever(p["hurst"] != 0.5), ever(p["kappa"] > 0)
        moves = ever(p["xi"] > 0) | ever(p["theta"] != p["v0"])
        changes = [ever(p[name] != at_bar(p[name], 0)) for name in ("hurst", "kappa")]
        return cls(remembers, moves, ~(changes[0] | changes[1]), moves & ~remembers & ~reverting)

    def rows(self, kind: str, moves: bool) -> Bool[Tensor, " width"]:
        """The paths with this kind of memory and variance."""
        remembers = self.remembers & (self.steady if kind == "steady" else ~self.steady)
        return (~self.remembers if kind == "none" else remembers) & (self.moves == moves)

    @property
    def on_grid(self) -> Bool[Tensor, " width"]:
        """The paths whose H is rounded to the grid of ``memory``."""
        return self.remembers & (self.moves | ~self.steady)


def _steady_table(table: Tensor) -> Tensor:
    """One row for a table whose rows are all the same: the same paths for less."""
    repeated = table.stride(0) == 0 or bool((table == table[0]).all())
    return table[0] if repeated else table


def _sums(rows: Tensor, weight: Tensor) -> Tensor:
    """Q_k = weight Q_(k-1) + row_k, in place."""
    for k in range(1, rows.shape[0]):
        rows[k].addcmul_(rows[k - 1], at_bar(weight, k))
    return rows


def _check_steps(steps: int) -> None:
    if steps > MAX_STEPS:
        raise UserError(
            f"RegimeSDE: {steps} steps are too many for memory (hurst) with a moving variance; "
            f"use at most {MAX_STEPS}, or sde=bates, which has no memory"
        )
