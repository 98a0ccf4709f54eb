"""``load_reader(name).read(instruction, context)``: a sentence becomes a distribution over
regimes.
"""

from collections.abc import Callable
from typing import Any, Protocol

from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic.ontology import OntologyReader
from parfait.utils.errors import UserError


class Reader(Protocol):
    """Whatever turns an instruction into a ``RegimeDistribution``."""

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """The distribution over regimes that the instruction describes, relative to the context."""
        ...


_READERS: dict[str, Callable[..., Reader]] = {"ontology": OntologyReader}


def load_reader(name: str = "ontology", **options: Any) -> Reader:
    """The reader of that name; ``UserError`` for an unknown name or option."""
    if name not in _READERS:
        raise UserError(f"semantic reader {name!r} is unknown; use one of {', '.join(_READERS)}")
    if options:
        raise UserError(f"the semantic reader {name!r} has no option {sorted(options)[0]!r}")
    return _READERS[name](**options)
