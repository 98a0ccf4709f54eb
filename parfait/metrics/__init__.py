"""Does it hold? Validity, stylised facts and two-sample tests of generated bars, and the baselines
that stand beside them.

The pure functions are in ``parfait.metrics.functional``. The ``Metric`` classes load on first use:
``torchmetrics`` brings ``transformers`` along, which the functions do not need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parfait.metrics.realism import StylisedFacts, TwoSample, Validity

__all__ = ["StylisedFacts", "TwoSample", "Validity"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from parfait.metrics import realism

    return getattr(realism, name)
