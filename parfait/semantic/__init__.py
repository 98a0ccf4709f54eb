"""Semantic layer: a sentence in English or Chinese becomes a distribution over regimes."""

from parfait.semantic.ontology import UNSURE_BELOW, OntologyReader
from parfait.semantic.reader import Reader, load_reader

__all__ = ["UNSURE_BELOW", "OntologyReader", "Reader", "load_reader"]
