"""Labels of long histories: rolling windows of one symbol at a time."""

from parfait.labelling.cache import cached_labels, read_series
from parfait.labelling.rolling import Rolling, SymbolLabels, label_symbol

__all__ = ["Rolling", "SymbolLabels", "cached_labels", "label_symbol", "read_series"]
