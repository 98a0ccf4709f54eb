"""Does it hold? Validity, stylised facts and two-sample tests of generated bars, calibration of
forecasts, control of regimes, and the baselines and rivals that stand beside them.

The pure functions are in ``parfait.metrics.functional``. The ``Metric`` classes load on first use:
``torchmetrics`` brings ``transformers`` along, which the functions do not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parfait.metrics.calibration import ForecastCalibration
    from parfait.metrics.control import Control
    from parfait.metrics.realism import StylisedFacts, TwoSample, Validity

__all__ = ["Control", "ForecastCalibration", "StylisedFacts", "TwoSample", "Validity"]

_FILES = {"Control": "control", "ForecastCalibration": "calibration"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"parfait.metrics.{_FILES.get(name, 'realism')}")
    return getattr(module, name)
