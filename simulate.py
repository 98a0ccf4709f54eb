"""Turn a sentence into OHLCV bars: ``python simulate.py "A calm market" [overrides]``."""

from parfait.cli import main

main("simulate")
