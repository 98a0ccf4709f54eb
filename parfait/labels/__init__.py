"""From windows of bars to posteriors over regimes."""

from parfait.labels.estimate import total_variance
from parfait.labels.label import label_windows
from parfait.labels.posterior import FLAGS, Labels, RegimeSd
from parfait.labels.volatility import yang_zhang

__all__ = ["FLAGS", "Labels", "RegimeSd", "label_windows", "total_variance", "yang_zhang"]
