"""Semantic layer: a sentence in English or Chinese becomes a distribution over regimes."""

from parfait.semantic.coverage import UNSURE_BELOW
from parfait.semantic.reader import OntologyReader, Reader, load_reader

__all__ = ["UNSURE_BELOW", "OntologyReader", "Reader", "load_reader"]
