"""``load_reader(name).read(instruction, context)``: a sentence becomes a distribution over
regimes.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from parfait.regime import MarketContext, RegimeDistribution
from parfait.utils.errors import UserError


class Reader(Protocol):
    """Whatever turns an instruction into a ``RegimeDistribution``."""

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """The distribution over regimes that the instruction describes, relative to the context."""
        ...


# Name -> module below this package, class, options that go with the name. Imported when asked for:
# a reader without a language model needs none of its libraries.
_READERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ontology": ("ontology.reader", "OntologyReader", {}),
    "student": ("lm.reader", "LanguageModelReader", {"source": "student"}),
    "json_lm": ("spoken.json_lm", "JsonReader", {}),
    "openai": ("spoken.openai", "OpenAIReader", {}),
    "qwen2": ("lm.reader", "LanguageModelReader", {"source": "qwen2"}),
}


def load_reader(name: str = "ontology", **options: Any) -> Reader:
    """The reader of that name; ``UserError`` for an unknown name or option."""
    if name not in _READERS:
        raise UserError(f"semantic reader {name!r} is unknown; use one of {', '.join(_READERS)}")
    module, kind, fixed = _READERS[name]
    make: Callable[..., Reader] = getattr(import_module(f"parfait.semantic.{module}"), kind)
    known = set(inspect.signature(make).parameters) - set(fixed)
    unknown = sorted(set(options) - known)
    if unknown:
        told = f"; it has {', '.join(sorted(known))}" if known else ""
        raise UserError(f"the semantic reader {name!r} has no option {unknown[0]!r}{told}")
    return make(**fixed, **options)
