"""From windows of bars to posteriors over regimes."""

from parfait.labels.estimate import label_windows
from parfait.labels.posterior import Labels, RegimeSd
from parfait.labels.volatility import yang_zhang

__all__ = ["Labels", "RegimeSd", "label_windows", "yang_zhang"]
