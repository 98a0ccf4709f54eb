"""Paths that pass given points, or fall by a given amount: pinned, weighted, or found by search."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from parfait.sde.drawdown import impose_drawdown, log_drawdown, turning_points
from parfait.sde.freedom import freedom
from parfait.sde.process import Paths, Process
from parfait.sde.streams import draw_root
from parfait.utils.errors import UserError

Mode = Literal["pinned", "conditional", "rejection"]
MODES = ("pinned", "conditional", "rejection")
POOL = 200_000  # paths that rejection draws at most
TOLERANCE = 0.01  # a fall or a price within one point of the asked one is accepted
LOW_ESS = 0.1  # share of the paths below which weights are called uneven


@dataclass(frozen=True)
class Target:
    """What the paths shall do.

    Args:
        waypoints: (step, log(S / S_0)), steps counted from 1; the last step makes it terminal.
        drawdown: largest fall of the price below its running maximum, in (0, 1).
        until: the step at which the drawdown is measured; ``None`` is the last one.

    Raises:
        UserError: a step below 1 or given twice, a level that is not finite, a fall out of (0, 1),
            or no target at all.
    """

    waypoints: tuple[tuple[int, float], ...] = ()
    drawdown: float | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.waypoints]
        if any(step < 1 for step in steps) or len(set(steps)) < len(steps):
            raise UserError(f"Target.waypoints: steps {steps} must be distinct and at least 1")
        if not all(math.isfinite(level) for _, level in self.waypoints):
            raise UserError("Target.waypoints: every level must be finite")
        if self.drawdown is not None and not 0 < self.drawdown < 1:
            raise UserError(f"Target.drawdown = {self.drawdown:g} must be inside (0, 1)")
        if self.until is not None and self.until < 1:
            raise UserError(f"Target.until = {self.until} must be at least 1")
        if not self.waypoints and self.drawdown is None:
            raise UserError("Target: give waypoints or a drawdown")

    @property
    def last(self) -> int:
        """The last step that it speaks of."""
        return max(*(step for step, _ in self.waypoints), self.until or 1, 1)


@dataclass(frozen=True, eq=False)
class Conditioned:
    """Paths that meet a ``Target``, and how they were come by.

    Args:
        paths: log weights are 0 unless ``mode`` is ``conditional``.
        anchored: steps that were aimed at: waypoints, and peak and trough of a drawdown.
        rows: which row of the process's parameters every path has.
        mode: ``pinned`` paths all meet the target and are not the law given the target.
        ess: (sum w)^2 / sum w^2 of the weights, ``None`` without weights.
        acceptance: accepted share of the paths drawn, ``None`` unless ``rejection``.
        drawn: number of paths drawn.
        notes: sentences about uneven weights or a pool that was too small.
    """

    paths: Paths
    anchored: Bool[Tensor, "paths steps"]
    rows: Int64[Tensor, " paths"]
    mode: Mode
    ess: float | None
    acceptance: float | None
    drawn: int
    notes: tuple[str, ...] = ()


def conditioned(
    process: Process,
    target: Target,
    paths: int,
    steps: int,
    years: float,
    *,
    generator: torch.Generator,
    mode: Mode = "pinned",
    dtype: torch.dtype = torch.float32,
    wanted: int | None = None,
    tolerance: float = TOLERANCE,
    pool: int = POOL,
) -> Conditioned:
    """Samples paths that meet a target.

    ``pinned`` moves every path onto the target; ``conditional`` adds log N(gap; 0, C(tau, tau)),
    the density of the target given variance, jumps and parameters of the path, so that weighted
    paths have the law given the target, parameters included; ``rejection`` draws until ``wanted``
    paths come within ``tolerance`` (relative price, or points of drawdown).

    Args:
        process, paths, steps, years, generator, dtype: as ``Process.sample`` takes them; rejection
            draws rounds of ``paths`` paths.
        wanted: accepted paths to find, ``paths`` unless given; at most so many are returned.
        pool: rejection begins no further round once it has drawn so many paths.

    Raises:
        UserError: an unknown mode, a target beyond the last step, weights asked for a drawdown or
            for a process whose Gaussian part is not known.
    """
    if mode not in MODES:
        raise UserError(f"sde.condition={mode} is unknown; use one of {', '.join(MODES)}")
    if target.last > steps:
        raise UserError(f"Target: step {target.last} lies beyond the {steps} steps of the paths")
    if mode == "rejection":
        size = (paths, steps, years)
        return _reject(process, target, size, generator, dtype, wanted or paths, tolerance, pool)
    if mode == "conditional" and target.drawdown is not None:
        raise UserError("a drawdown has no density to weigh paths by; use rejection or pinned")
    request = (paths, steps, years, draw_root(generator), generator.device, dtype)
    sampled = process.replay(*request)
    pinned, anchored = pin(process, sampled, years, target)
    rows = torch.arange(paths, device=anchored.device)
    if mode == "pinned":
        return Conditioned(pinned, anchored, rows, mode, None, None, paths)
    mean = process.replay(*request, still=True)
    weight = log_density(process, mean, years, target)
    ess = effective_size(weight)
    notes = ()
    if ess < LOW_ESS * paths:
        notes = (
            f"the weights of {paths:,} paths are worth {ess:,.1f} equal ones: the target is "
            "unlikely under most of them",
        )
    weighted = replace(pinned, log_weight=weight)
    return Conditioned(weighted, anchored, rows, mode, ess, None, paths, notes)


def pin(
    process: Process, paths: Paths, years: float, target: Target
) -> tuple[Paths, Bool[Tensor, "paths steps"]]:
    """Moves every path onto the target: x_t += C(t, tau) C(tau, tau)^-1 (b - x_tau).

    C is the covariance of the part of the price that is Gaussian given variance, jumps and
    parameters. Where it is not known (``Freedom.exact``), or has no variance (leverage of +-1), the
    gap is closed evenly in accumulated variance or time. The update is made in float64; the pinned
    points are then set, not computed. For drawdowns see ``impose_drawdown``.

    Source: Journel (1974), the update known as Matheron's.
    """
    x = paths.log_price.double()
    free = freedom(process, paths, years)
    anchored = torch.zeros_like(x[:, 1:], dtype=torch.bool)
    if target.drawdown is not None:
        if target.waypoints:
            raise UserError("pinned paths take waypoints or a drawdown; rejection takes both")
        until = target.until or x.shape[1] - 1
        x = impose_drawdown(x, free, target.drawdown, until)
        anchored = turning_points(x, until)
    else:
        at, gap = _gaps(x, target)
        x = x + free.move(at, gap)
        anchored.scatter_(1, at - 1, True)
    x = x.to(paths.log_price.dtype)
    for step, level in target.waypoints:
        x[:, step] = level
    return replace(paths, log_price=x), anchored


def _gaps(x: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """The steps aimed at and what lacks there, (paths, targets) both."""
    at = torch.tensor([step for step, _ in target.waypoints], device=x.device)
    wished = torch.tensor([level for _, level in target.waypoints], dtype=x.dtype, device=x.device)
    return at.expand(len(x), -1), wished - x[:, at]


def log_density(
    process: Process, mean: Paths, years: float, target: Target
) -> Float64[Tensor, " paths"]:
    """log N(b - mean; 0, C(tau, tau)) of the waypoints.

    Args:
        mean: paths without the noise of their price, everything else drawn.

    Raises:
        UserError: the Gaussian part of the process is not known.
    """
    free = freedom(process, mean, years)
    if not free.exact:
        raise UserError(
            f"{type(process).__name__} has no density of the target that is known here; "
            "use sde.condition=pinned or sde.condition=rejection"
        )
    return free.log_density(*_gaps(mean.log_price.double(), target))


def effective_size(log_weight: Float64[Tensor, " paths"]) -> float:
    """(sum w)^2 / sum w^2, from logarithms (Kong 1992)."""
    total = torch.logsumexp(log_weight, 0)
    return float(torch.exp(2 * total - torch.logsumexp(2 * log_weight, 0)))


def _reject(
    process: Process,
    target: Target,
    size: tuple[int, int, float],
    generator: torch.Generator,
    dtype: torch.dtype,
    wanted: int,
    tolerance: float,
    pool: int,
) -> Conditioned:
    batch, steps, _ = size
    kept, rows, drawn = [], [], 0
    while drawn == 0 or (drawn < pool and sum(map(len, rows)) < wanted):
        sampled = process.sample(*size, generator=generator, dtype=dtype)
        met = _meets(sampled.log_price.double(), target, tolerance).nonzero().squeeze(1)
        kept.append(_take(sampled, met))
        rows.append(met)
        drawn += batch
    found = sum(map(len, rows))
    notes = ()
    if found < wanted:
        notes = (
            f"only {found:,} of {drawn:,} paths came within {tolerance:.0%} of the target, "
            f"and {wanted:,} were wanted",
        )
    paths = Paths(
        torch.cat([p.log_price for p in kept])[:wanted],
        _joined([p.variance for p in kept], wanted),
        _joined([p.jumps for p in kept], wanted),
        torch.cat([p.log_weight for p in kept])[:wanted],
    )
    anchored = torch.zeros_like(paths.log_price[:, 1:], dtype=torch.bool)
    anchored[:, [step - 1 for step, _ in target.waypoints]] = True
    if target.drawdown is not None:
        anchored |= turning_points(paths.log_price.double(), target.until or steps)
    return Conditioned(
        paths, anchored, torch.cat(rows)[:wanted], "rejection", None, found / drawn, drawn, notes
    )


def _meets(x: Tensor, target: Target, tolerance: float) -> Tensor:
    met = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for step, level in target.waypoints:
        met &= torch.expm1(x[:, step] - level).abs() < tolerance
    if target.drawdown is not None:
        depth, _, _ = log_drawdown(x, target.until or x.shape[1] - 1)
        met &= (-torch.expm1(-depth) - target.drawdown).abs() < tolerance
    return met


def _take(paths: Paths, rows: Tensor) -> Paths:
    variance = None if paths.variance is None else paths.variance[rows]
    jumps = None if paths.jumps is None else paths.jumps[rows]
    return Paths(paths.log_price[rows], variance, jumps, paths.log_weight[rows])


def _joined(parts: list[Tensor | None], wanted: int) -> Tensor | None:
    present = [p for p in parts if p is not None]
    return torch.cat(present)[:wanted] if present else None
