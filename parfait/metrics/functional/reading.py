"""What a reading says, as numbers that can be compared: mixture means in units of the prior."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.regime import FIELD_NAMES, Component, MarketContext, RegimeDistribution
from parfait.regime.fields import INITIAL_VOLATILITY, from_coordinate
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.naming import prior_component

COMPARED = FIELD_NAMES[:INITIAL_VOLATILITY]  # the initial volatility may be left open
SEEN = 0.02  # prior sd; a smaller difference is none
SAME = 0.25  # prior sd; two ways to say one thing differ by less


@dataclass(frozen=True)
class Yardstick:
    """The wide prior of an asset class: where nothing is known, and the unit of differences.

    Args:
        centre: (11,) coordinates.
        sd: (11,) in coordinates.
    """

    centre: Float64[Tensor, "11"]
    sd: Float64[Tensor, "11"]

    @classmethod
    def of(cls, asset: str, context: MarketContext | None = None) -> "Yardstick":
        """Of ``parfait.semantic.ontology``, the same for every reader."""
        prior = prior_component(Present.of(asset, context), 1.0)
        return cls(prior.mean, prior.sd)


def mixture_mean(told: RegimeDistribution) -> Float64[Tensor, "11"]:
    """sum_k w_k mu_k in coordinates: log for volatility and intensities. NaN where a
    scenario leaves the initial volatility open.
    """
    means = torch.stack([c.mean for c in told.components])
    return (told.weights[:, None] * means).sum(0)


def shift(told: RegimeDistribution, unit: Yardstick) -> dict[str, float]:
    """(mixture mean - prior centre) / prior sd, by field."""
    moved = (mixture_mean(told) - unit.centre) / unit.sd
    return {name: float(moved[FIELD_NAMES.index(name)]) for name in COMPARED}


def difference(
    a: RegimeDistribution, b: RegimeDistribution, unit: Yardstick
) -> Float64[Tensor, "10"]:
    """|mean of a - mean of b| / prior sd by coordinate, the initial volatility left out."""
    apart = (mixture_mean(a) - mixture_mean(b)).abs() / unit.sd
    return apart[:INITIAL_VOLATILITY]


def main_scenario(told: RegimeDistribution) -> Component:
    """The heaviest scenario that the text made; the heaviest one of all when it made none."""
    made = [c for c in told.components if c.slot not in ("prior", "baseline")]
    return max(made or told.components, key=lambda c: c.weight)


def stated_value(told: RegimeDistribution, field: str) -> float:
    """Centre of a field in the main scenario, natural units."""
    centre = main_scenario(told).mean[FIELD_NAMES.index(field)]
    return float(from_coordinate(field, centre))


def share(told: RegimeDistribution, unit: Yardstick, side: str) -> float:
    """Weight of the scenarios on one side of the prior's centre.

    Args:
        told: the reading.
        unit: of its asset.
        side: ``up`` or ``down`` in drift, or ``turbulent``: more volatile. Scenarios in the slots
            ``prior`` and ``baseline`` are never on a side.
    """
    j = FIELD_NAMES.index("volatility" if side == "turbulent" else "drift")
    sign = -1.0 if side == "down" else 1.0
    weight = 0.0
    for c in told.components:
        if c.slot not in ("prior", "baseline"):
            away = sign * float((c.mean[j] - unit.centre[j]) / unit.sd[j])
            weight += c.weight if away > SEEN else 0.0
    return weight
