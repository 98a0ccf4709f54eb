"""How many sampling errors lie between the facts of generated and of real bars?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from parfait.metrics.functional.suite import SHARES
from parfait.metrics.measured import Measured
from parfait.utils.errors import UserError

WITHIN = 2.0


@dataclass(frozen=True)
class Distances:
    """Distances of all facts, and what they come to. The median alone is blind to a single gross
    miss (a reversed series has a median near 0): read it beside the largest.

    Args:
        each: d of every fact, or why it has none.
        median, largest, within: over those that are known; ``within`` is the share below 2, inside
            the sampling error.
        worst: the fact with the largest distance ("" without any).
        count: how many are known.
    """

    each: dict[str, Measured]
    median: Measured
    largest: Measured
    within: Measured
    worst: str
    count: int


def fact_distances(
    real: Mapping[str, Measured], generated: Mapping[str, Measured]
) -> dict[str, Measured]:
    """d = |generated - real| / sqrt(s_real^2 + s_generated^2) per fact.

    A fact that is unknown on a side, or a share that is 0 or 1 on both, has no distance.

    Raises:
        UserError: the two sides hold different facts, as windows of different lengths do.
    """
    if set(real) != set(generated):
        odd = ", ".join(sorted(set(real) ^ set(generated))[:3])
        raise UserError(
            f"only one side has the facts {odd} ...; compare real and generated windows of equal "
            "length"
        )
    return {name: _distance(name, real[name], generated[name]) for name in real}


def summarise(each: Mapping[str, Measured]) -> Distances:
    """Median, maximum and share below 2 of distances."""
    known = {name: d.value for name, d in each.items() if d.value is not None}
    if not known:
        none = Measured(None, None, "no fact has a distance")
        return Distances(dict(each), none, none, none, "", 0)
    values = torch.tensor(list(known.values()), dtype=torch.float64)
    return Distances(
        dict(each),
        median=Measured(float(values.quantile(0.5))),
        largest=Measured(float(values.max())),
        within=Measured(float((values < WITHIN).double().mean())),
        worst=max(known, key=lambda name: known[name]),
        count=len(known),
    )


def _distance(name: str, real: Measured, generated: Measured) -> Measured:
    for side, fact in (("real", real), ("generated", generated)):
        if fact.value is None or fact.error is None:
            return Measured(None, None, f"{side}: {fact.reason or 'no sampling error'}")
    (a, s), (b, t) = ((fact.value or 0.0, fact.error or 0.0) for fact in (real, generated))
    if name in SHARES and a == b and a in (0.0, 1.0):
        return Measured(None, None, f"{a:g} on both sides")
    error = math.hypot(s, t)
    if error == 0:
        return Measured(None, None, "no sampling error on either side")
    return Measured(abs(b - a) / error)
