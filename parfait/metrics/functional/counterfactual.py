"""Paired counterfactuals: the same seed, one field changed. What follows, and what else moves?"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.measured import Measured
from parfait.utils.errors import UserError


@dataclass(frozen=True)
class Counterfactual:
    """The response to a grid of one field.

    Args:
        monotone: share of seeds whose response rises (falls) strictly along the whole grid.
        effect: mean change from the first to the last point of the grid, paired by seed.
    """

    monotone: Measured
    effect: Measured


def counterfactual(
    response: Float64[Tensor, "grid seeds"], *, falls: bool = False
) -> Counterfactual:
    """Monotonicity and paired effect of a response over an ascending grid.

    Args:
        response: what was measured at every point of the grid, for every seed.
        falls: the response should fall.

    Raises:
        UserError: fewer than two points or seeds, or values that are not finite.
    """
    _check(response)
    steps = response.diff(dim=0) * (-1 if falls else 1)
    seeds = response.shape[1]
    share = float((steps > 0).all(0).to(torch.float64).mean())
    change = response[-1] - response[0]
    return Counterfactual(
        Measured(share, math.sqrt(max(share * (1 - share), 1 / seeds) / seeds)),
        Measured(float(change.mean()), float(change.std()) / math.sqrt(seeds)),
    )


def cross_talk(
    requested: Float64[Tensor, "fields grid"],
    recovered: Float64[Tensor, "fields grid seeds measured"],
    sd: Float64[Tensor, " measured"],
    requested_sd: Float64[Tensor, " fields"] | None = None,
) -> tuple[Float64[Tensor, "fields measured"], Float64[Tensor, "fields measured"]]:
    """d recovered_j / d requested_i, both in sd units, and standard errors over seeds.

    Row i: field i was moved along its grid with everything else, seed included, as it was; the
    entry is the mean over seeds of the least-squares slope. A perfect generator under a perfect
    estimator is diagonal; compare with the matrix of the SDE paths.

    Args:
        requested: grids, in coordinates.
        recovered: estimates of all measured fields at every point, for every seed.
        sd: unit of every measured field, such as its prior sd.
        requested_sd: unit of every moved field; ``sd`` where moved and measured are the same.

    Raises:
        UserError: a grid that does not move, shapes that do not fit, or values that are not finite.
    """
    fields, grid = requested.shape
    if recovered.shape[:2] != (fields, grid) or recovered.shape[3] != len(sd):
        raise UserError(
            f"cross talk: grids {tuple(requested.shape)}, estimates {tuple(recovered.shape)} and "
            f"{len(sd)} units do not fit"
        )
    unit = sd if requested_sd is None else requested_sd
    if len(unit) != fields:
        raise UserError(f"cross talk: {len(unit)} units of {fields} moved fields")
    _check(recovered[0, :, :, 0])
    x = (requested - requested.mean(1, keepdim=True)) / unit[:, None]
    square = x.square().sum(1)
    if not bool((square > 0).all()) or not bool(torch.isfinite(recovered).all()):
        raise UserError("cross talk: every grid must move, and every estimate must be finite")
    slopes = torch.einsum("fg,fgsm->fsm", x, recovered / sd) / square[:, None, None]
    return slopes.mean(1), slopes.std(1) / math.sqrt(slopes.shape[1])


def _check(response: Tensor) -> None:
    if response.ndim != 2 or response.shape[0] < 2 or response.shape[1] < 2:
        raise UserError(
            f"a counterfactual of shape {tuple(response.shape)}: give at least two points of the "
            "grid and two seeds"
        )
    if not bool(torch.isfinite(response).all()):
        raise UserError("counterfactual responses must be finite")
