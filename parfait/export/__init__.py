"""Generated bars for other tools: pandas, backtesting.py, vectorbt, CSV, Lean and zipline."""

from parfait.export.files import to_csv, to_zipline
from parfait.export.frames import to_backtesting, to_pandas, to_vectorbt
from parfait.export.lean import to_lean

__all__ = ["to_backtesting", "to_csv", "to_lean", "to_pandas", "to_vectorbt", "to_zipline"]
