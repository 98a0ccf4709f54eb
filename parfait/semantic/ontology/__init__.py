"""The compositional ontology: lexicon, frames, effects. No network, no weights, no chance."""

from parfait.semantic.ontology.coverage import UNSURE_BELOW
from parfait.semantic.ontology.reader import OntologyReader

__all__ = ["UNSURE_BELOW", "OntologyReader"]
