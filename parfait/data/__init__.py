"""From raw files to clean segments and windows."""

from parfait.data.conversion import Conversion, convert
from parfait.data.embedded import embedded_bars, fingerprint
from parfait.data.load import load_bars
from parfait.data.report import LoadReport
from parfait.data.windows import (
    Segment,
    WindowIndex,
    aggregate_segment,
    make_segments,
    split_windows,
)

__all__ = [
    "Conversion",
    "LoadReport",
    "Segment",
    "WindowIndex",
    "aggregate_segment",
    "convert",
    "embedded_bars",
    "fingerprint",
    "load_bars",
    "make_segments",
    "split_windows",
]
