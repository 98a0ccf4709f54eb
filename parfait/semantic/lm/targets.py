"""Mixtures as tensors by typed slot, in units of the prior: what the head predicts.

A coordinate z is told as u = (z - prior centre) / prior sd, where the prior is that of the asset
class in the present market (``parfait.semantic.ontology``). So "twice the present volatility" is
one number whatever the present is.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from parfait.regime import Component, MarketContext, RegimeDistribution
from parfait.regime.component import SLOTS, collapse
from parfait.regime.fields import INITIAL_VOLATILITY, N_FIELDS, to_coordinate
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.naming import prior_component

N_SLOTS = len(SLOTS)
SD_FLOOR = 0.05  # prior sd; what is stated exactly is put back after decoding
INITIAL_SD = 0.45  # of ln sqrt(v0), which the prior leaves open


@dataclass(frozen=True)
class SlotTargets:
    """A batch of mixtures, one Gaussian per slot.

    Args:
        weights: they sum to 1; 0 where a mixture has no such slot.
        mean: in prior units; 0 in empty slots.
        cholesky: lower triangular, in prior units; the floor in empty slots.
        open: the initial volatility is left to the history.
    """

    weights: Float[Tensor, "batch slots"]
    mean: Float[Tensor, "batch slots fields"]
    cholesky: Float[Tensor, "batch slots fields fields"]
    open: Bool[Tensor, "batch slots"]

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "SlotTargets":
        """On a device, in a floating type."""
        parts = (self.weights, self.mean, self.cholesky)
        weights, mean, cholesky = (p.to(device, dtype) for p in parts)
        return SlotTargets(weights, mean, cholesky, self.open.to(device))

    def __getitem__(self, rows: Tensor | slice) -> "SlotTargets":
        return SlotTargets(
            self.weights[rows], self.mean[rows], self.cholesky[rows], self.open[rows]
        )


def prior_units(
    asset: str, context: MarketContext | None
) -> tuple[Float[Tensor, "11"], Float[Tensor, "11"]]:
    """Centre and sd of the prior in coordinates, float64. The initial volatility, which the prior
    leaves open, has the present one as its centre.
    """
    now = Present.of(asset, context)
    prior = prior_component(now, 1.0)
    centre, sd = prior.mean.clone(), prior.sd.clone()
    present = torch.tensor(now.volatility, dtype=torch.float64)
    centre[INITIAL_VOLATILITY] = to_coordinate("initial_volatility", present)
    sd[INITIAL_VOLATILITY] = INITIAL_SD
    return centre, sd.clamp(min=1e-3)


def slot_targets(
    told: list[RegimeDistribution], contexts: list[MarketContext | None]
) -> SlotTargets:
    """Mixtures as tensors. Scenarios of one slot become the Gaussian with their mean and
    covariance; phases and conditions are not told.
    """
    n = len(told)
    weights = torch.zeros(n, N_SLOTS, dtype=torch.float64)
    mean = torch.zeros(n, N_SLOTS, N_FIELDS, dtype=torch.float64)
    floor = SD_FLOOR * torch.eye(N_FIELDS, dtype=torch.float64)
    cholesky = floor.repeat(n, N_SLOTS, 1, 1)
    is_open = torch.ones(n, N_SLOTS, dtype=torch.bool)
    for i, (one, context) in enumerate(zip(told, contexts, strict=True)):
        centre, sd = prior_units(one.asset_class, context)
        for k, slot in enumerate(SLOTS):
            mine = [replace(c, phases=()) for c in one.components if c.slot == slot]
            mine = [c for c in mine if c.weight > 0]
            if mine:
                whole = collapse(mine)
                weights[i, k] = whole.weight
                mean[i, k], cholesky[i, k], is_open[i, k] = _in_units(whole, centre, sd)
    return SlotTargets(weights / weights.sum(1, keepdim=True), mean, cholesky, is_open)


def _in_units(c: Component, centre: Tensor, sd: Tensor) -> tuple[Tensor, Tensor, bool]:
    is_open = bool(torch.isnan(c.mean[INITIAL_VOLATILITY]))
    mean = ((c.mean - centre) / sd).nan_to_num(0.0)
    root = c.cholesky / sd[:, None]
    covariance = root @ root.T + SD_FLOOR**2 * torch.eye(N_FIELDS, dtype=torch.float64)
    return mean, torch.linalg.cholesky(covariance), is_open


def from_units(
    weights: Tensor,
    mean: Tensor,
    cholesky: Tensor,
    is_open: Tensor,
    asset: str,
    context: MarketContext | None,
    least: float = 0.01,
) -> tuple[Component, ...]:
    """Scenarios of one predicted mixture, the heaviest first, those below ``least`` left out."""
    centre, sd = prior_units(asset, context)
    found = []
    for k in torch.argsort(weights, descending=True).tolist():
        if float(weights[k]) < least and found:
            break
        z = centre + sd * mean[k].to(torch.float64)
        root = (sd[:, None] * cholesky[k].to(torch.float64)).tril()
        if bool(is_open[k]):
            z[INITIAL_VOLATILITY] = float("nan")
            root[INITIAL_VOLATILITY] = 0.0
        name = SLOTS[k].replace("_", " ")
        found.append(Component(SLOTS[k], name, float(weights[k]), z, root))
    total = sum(c.weight for c in found)
    return tuple(replace(c, weight=c.weight / total) for c in found)
