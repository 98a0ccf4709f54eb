"""Does it hold? Validity, stylised facts, two-sample tests and memorisation of generated bars,
calibration of forecasts, control of regimes, and the baselines and rivals that stand beside them.

The pure functions are in ``parfait.metrics.functional``. The ``Metric`` classes load on first use:
``torchmetrics`` brings ``transformers`` along, which the functions do not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parfait.metrics.calibration import ForecastCalibration
    from parfait.metrics.closeness import FactDistances, Memorisation
    from parfait.metrics.control import Control
    from parfait.metrics.realism import StylisedFacts, TwoSample, Validity

__all__ = [
    "Control",
    "FactDistances",
    "ForecastCalibration",
    "Memorisation",
    "StylisedFacts",
    "TwoSample",
    "Validity",
]

_MODULES = {
    "Control": "control",
    "FactDistances": "closeness",
    "ForecastCalibration": "calibration",
    "Memorisation": "closeness",
    "StylisedFacts": "realism",
    "TwoSample": "realism",
    "Validity": "realism",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"parfait.metrics.{_MODULES[name]}"), name)
