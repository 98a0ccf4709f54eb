"""What every model-backed reader owes the text: literal numbers, targets, honest doubt."""

from dataclasses import replace

from parfait.regime import Component, MarketContext, RegimeDistribution, normalise_weights
from parfait.semantic.ontology import OntologyReader
from parfait.semantic.ontology.clauses import PROBABILITY, probability_of
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.directives import read_directives
from parfait.semantic.ontology.normalise import normalise
from parfait.semantic.ontology.overrides import apply_overrides

_RULES = OntologyReader()
QUIET = ("prior", "baseline")  # slots in which nothing happens
_NEAR = 0.02  # probability
_SILENT = 0.02  # below this the rules read nothing, and no model is believed


def rules(instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
    """The reading by the rules, which every other reader is held against."""
    return _RULES.read(instruction, context)


def understood(by_rules: RegimeDistribution) -> bool:
    """Whether the text says anything about a market; else the prior stands, whoever reads."""
    told = any(c.slot != "prior" for c in by_rules.components)  # another language gives that alone
    return (by_rules.confidence >= _SILENT and told) or bool(by_rules.overrides)


def obey(
    components: tuple[Component, ...],
    instruction: str,
    context: MarketContext | None,
    by_rules: RegimeDistribution,
    source: str,
) -> RegimeDistribution:
    """A decoded mixture with what the text states literally and with the doubt it deserves.

    - The stated probability of one event is the weight of all scenarios in which something happens.
    - Explicit numbers replace their fields, targets and drawdowns become conditions of every
      scenario that is no baseline.
    - The confidence is that of the rules, which know how much of the text they could read.

    Args:
        components: of the model, weights that sum to 1.
        instruction: the text.
        context: the present market.
        by_rules: ``rules(instruction, context)``.
        source: name of the reader.
    """
    text = normalise(instruction)
    asset = by_rules.asset_class
    now = Present.of(asset, context)
    targets = tuple(dict.fromkeys(c for part in by_rules.components for c in part.conditions))
    named = [c if c.slot in QUIET else replace(c, conditions=targets) for c in components]
    warnings = list(by_rules.warnings)
    if any(part.phases for part in by_rules.components):
        warnings.append(
            "This reader knows no phases; what follows one another was read as one time."
        )
    directives = read_directives(text.clean, asset)
    weighed = _weighed(tuple(named), by_rules, text.clean)
    changed, overrides, _ = apply_overrides(weighed, directives, text, now)
    return RegimeDistribution(
        normalise_weights(changed),
        source,
        by_rules.confidence,
        overrides,
        tuple(warnings),
        asset,
        by_rules.reading,
    )


def _weighed(
    components: tuple[Component, ...], by_rules: RegimeDistribution, clean: str
) -> tuple[Component, ...]:
    """Scenarios weighed as stated: "a 30 % chance of war" leaves 70 % to no change.

    Only where the rules read it so: one probability, and what is left of it without an event.
    """
    told = {probability_of(m) for pattern in PROBABILITY for m in pattern.finditer(clean)}
    left = sum(c.weight for c in by_rules.components if c.slot in QUIET)
    if len(told) != 1 or abs(left - (1 - (p := told.pop()))) > _NEAR:
        return components
    quiet = [c for c in components if c.slot in QUIET]
    quiet = quiet or [c for c in by_rules.components if c.slot in QUIET]
    events = [c for c in components if c.slot not in QUIET]
    if not events or not quiet:
        return components
    # The lightest events go before the rest is weighed, so that they leave the stated share whole.
    spare = sorted(events, key=lambda c: c.weight)[: max(0, len(events) + len(quiet) - 8)]
    rows = (([c for c in events if all(c is not one for one in spare)], p), (quiet, 1 - p))
    return tuple(
        replace(c, weight=c.weight / sum(x.weight for x in part) * share)
        for part, share in rows
        for c in part
    )
