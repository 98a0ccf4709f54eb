"""Windows of bars as scenarios: a Gaussian of each label, and few of many."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels import Labels
from parfait.regime import FIELD_NAMES, N_FIELDS, Component, Regime, collapse
from parfait.regime.fields import INITIAL_VOLATILITY, to_coordinate

_DRAWS = 8192
_SIZES = [FIELD_NAMES.index("volatility")]
_SIZES += [FIELD_NAMES.index(f"jump_{name}") for name in ("intensity", "mean", "std")]


def window_component(label: Labels, weight: float) -> Component:
    """The posterior of one window as a scenario.

    A label's fields are independent, and what it says of jumps that did not come is mostly their
    prior: drawn so, a calm quarter has twice the volatility that it had. But the label knows the
    total volatility v of the window, jumps included. So sigma, lambda, m and s have the first two
    moments of their label's draws, each weighed by

        exp(-(ln sqrt(sigma^2 + lambda (m^2 + s^2)) - ln v)^2 / (2 spread^2)),

    spread that of ln v. The variance starts at its level: v_0 is sigma^2 in every draw, since a
    path begins in the midst of the window and not before it.

    Args:
        label: of one window.
        weight: probability of the scenario, which has no name yet.
    """
    mean, cholesky = label.loc[0].clone(), torch.diag(label.scale[0])
    centre, covariance = _sizes(label)
    mean[_SIZES] = centre
    rows = torch.tensor(_SIZES)
    cholesky[rows[:, None], rows] = torch.linalg.cholesky(covariance)
    level = mean[_SIZES[0]].exp()
    mean[INITIAL_VOLATILITY] = to_coordinate("initial_volatility", level)
    cholesky[INITIAL_VOLATILITY] = cholesky[_SIZES[0]]
    return Component("baseline", "", weight, mean, cholesky)


def merge_neighbours(
    components: Sequence[Component], most: int
) -> list[tuple[Component, list[int]]]:
    """At most so many scenarios, each with the numbers of those it is made of.

    Neighbours are replaced by one Gaussian with their mean and covariance, first those where that
    loses least: the bound (w_i + w_j) ln det C_ij - w_i ln det C_i - w_j ln det C_j of Runnalls
    (2007).
    """
    found, members = list(components), [[k] for k in range(len(components))]
    joint = [collapse(found[k : k + 2]) for k in range(len(found) - 1)]
    while len(found) > most:
        spread = [_weighted_volume(c) for c in found]
        losses = [_weighted_volume(c) - spread[k] - spread[k + 1] for k, c in enumerate(joint)]
        k = min(range(len(losses)), key=losses.__getitem__)
        found[k : k + 2] = [joint[k]]
        members[k : k + 2] = [members[k] + members[k + 1]]
        pairs = [i for i in (k - 1, k) if 0 <= i < len(found) - 1]
        joint[max(k - 1, 0) : k + 2] = [collapse(found[i : i + 2]) for i in pairs]
    return list(zip(found, members, strict=True))


def _sizes(label: Labels) -> tuple[Float64[Tensor, "4"], Float64[Tensor, "4 4"]]:
    """Mean and covariance of the coordinates that make the total volatility."""
    noise = torch.randn(_DRAWS, N_FIELDS, generator=_generator(), dtype=torch.float64)
    z = label.loc + label.scale * noise
    r = Regime.from_unconstrained(z)
    jumps = r.jump_intensity * (r.jump_mean**2 + r.jump_std**2)
    total = torch.as_tensor(r.volatility**2 + jumps)
    gap = (total.log() / 2 - label.total_volatility.log()) / label.total_spread
    weights = torch.softmax(-gap.square() / 2, dim=0)[:, None]
    drawn = z[:, _SIZES]
    centre = (weights * drawn).sum(0)
    apart = drawn - centre
    return centre, (weights * apart).T @ apart


def _generator() -> torch.Generator:
    """Always the same draws: a stretch of history has one reading."""
    return torch.Generator().manual_seed(0)


def _weighted_volume(component: Component) -> float:
    """w ln det C / 2, but for the initial volatility, which follows the level."""
    diagonal = component.cholesky.diagonal()[:INITIAL_VOLATILITY]
    return component.weight * float(diagonal.abs().clamp_min(1e-12).log().sum())
