"""The guide: the price path that generated bars must pass through, and where they must."""

from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from parfait.sde.checks import check_shape
from parfait.sde.process import Paths
from parfait.utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Guide:
    """Price levels at the end of every bar, and the bars whose close must equal them.

    Args:
        level: S_0 exp(x) in float64; this very tensor is written to files and pinned by the bar
            generator.
        anchored: where ``close == level`` is required; the last step always is.

    Raises:
        UserError: shapes differ, a level is not a finite positive price, or the last step is not
            anchored.
    """

    level: Float64[Tensor, "paths steps"]
    anchored: Bool[Tensor, "paths steps"]

    def __post_init__(self) -> None:
        if self.level.ndim != 2 or self.level.shape != self.anchored.shape:
            raise UserError(
                f"Guide: level {tuple(self.level.shape)} and anchored {tuple(self.anchored.shape)} "
                "must be tables of one shape (paths, steps)"
            )
        if self.level.dtype != torch.float64 or self.anchored.dtype != torch.bool:
            raise UserError("Guide: level must be float64 and anchored bool")
        bad = ~(torch.isfinite(self.level) & (self.level > 0))
        if bool(bad.any()):
            path, step = (int(i) for i in bad.nonzero()[0])
            raise UserError(
                f"Guide: price {self.level[path, step]:g} of path {path} at step {step} is not "
                "finite and above 0; lower the volatility, the drift or the horizon"
            )
        if not bool(self.anchored[:, -1].all()):
            raise UserError("Guide: the last step of every path must be anchored")


def make_guide(
    paths: Paths,
    spot: float,
    *,
    every: int = 4,
    jump_sigmas: float = 3.0,
    bar_sd: Tensor | float,
) -> tuple[Guide, list[str]]:
    """Anchors every ``every``-th step, the last one, and both sides of every jump bar.

    A jump bar has |log jump| > ``jump_sigmas * bar_sd``. Anchored before and after, it is a segment
    of its own; otherwise the bar generator would smear the jump over the segment.

    Args:
        paths: simulated log prices.
        spot: S_0, the last close of the history.
        every: steps between regular anchors.
        jump_sigmas: threshold in standard deviations of a bar.
        bar_sd: sigma sqrt(dt), one number, ``(paths,)``, or ``(steps, paths)`` like parameters that
            change from bar to bar.

    Returns:
        The guide and sentences for the user (jumps in most bars leave the bar generator little to
        do).

    Raises:
        UserError: an argument out of range, or a price that leaves the range of float64.
    """
    _check_arguments(spot, every, jump_sigmas)
    level = spot * torch.exp(paths.log_price[:, 1:].to(torch.float64))
    anchored = torch.zeros_like(level, dtype=torch.bool)
    if every < anchored.shape[1]:  # slices take no larger number than a machine word
        anchored[:, every - 1 :: every] = True
    anchored[:, -1] = True
    notes: list[str] = []
    if paths.jumps is not None:
        sd = torch.as_tensor(bar_sd, dtype=torch.float64, device=level.device)
        if not bool((torch.isfinite(sd) & (sd > 0)).all()):
            raise UserError("make_guide: bar_sd must be finite and above 0")
        width, steps = level.shape
        check_shape("make_guide: bar_sd", sd, [(width,), (steps, width)])
        by_bar = sd.T if sd.ndim == 2 else sd[..., None]
        jump = paths.jumps.abs().to(torch.float64) > jump_sigmas * by_bar
        anchored |= jump
        anchored[:, :-1] |= jump[:, 1:]
        share = float(jump.double().mean())
        if share > 0.5:
            notes.append(
                f"{share:.0%} of the bars hold a jump above {jump_sigmas:g} bar deviations, so "
                "nearly every close is fixed by the guide; raise sde.guide.jump_sigmas to "
                "leave the bars more freedom"
            )
    return Guide(level, anchored), notes


def _check_arguments(spot: float, every: int, jump_sigmas: float) -> None:
    if not 0 < spot < float("inf"):
        raise UserError(f"make_guide: spot = {spot} must be finite and above 0")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise UserError(f"sde.guide.every = {every!r} must be a whole number of at least 1")
    number = isinstance(jump_sigmas, Real) and not isinstance(jump_sigmas, bool)
    if not number or not jump_sigmas >= 0:
        raise UserError(f"sde.guide.jump_sigmas = {jump_sigmas!r} must be a number of at least 0")
