"""Which of two mixtures has more of what."""

from collections.abc import Sequence

from parfait.regime import FIELD_NAMES, RegimeDistribution

APART = {"drift": 0.05, "volatility": 0.03}  # smallest difference of means, in coordinates


def contrast_of(targets: Sequence[RegimeDistribution]) -> tuple[str, list[str]] | None:
    """The first field in whose mean two mixtures differ, and the roles "high" and "low"; ``None``
    where they do not.
    """
    for name, least in APART.items():
        a, b = (mean_coordinate(target, name) for target in targets)
        if abs(a - b) > least:
            return name, ["high", "low"] if a > b else ["low", "high"]
    return None


def mean_coordinate(target: RegimeDistribution, field: str) -> float:
    """Mixture mean of a field's coordinate."""
    j = FIELD_NAMES.index(field)
    return sum(c.weight * float(c.mean[j]) for c in target.components)
