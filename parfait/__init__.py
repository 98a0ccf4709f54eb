"""Parfait: from a sentence about a market to OHLCV bars that obey it.

The folders follow the data: ``semantic`` (text -> regimes), ``sde`` (regimes -> guide curves),
``microstructure`` (guide -> bars). ``Pipeline`` runs them in one call. Importing this package loads
none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parfait.pipeline import Basket, Pipeline, Simulation

__version__ = "0.1.0"
__all__ = ["Basket", "Pipeline", "Simulation", "__version__"]


def __getattr__(name: str) -> Any:
    if name in {"Basket", "Pipeline", "Simulation"}:
        return getattr(import_module("parfait.pipeline"), name)
    raise AttributeError(f"module 'parfait' has no attribute {name!r}")
