"""Turn a sentence into OHLCV bars: ``python simulate.py "A calm market" [overrides]``."""

from parfait.cli import main

if __name__ == "__main__":  # worker processes import this file too
    main("simulate")
