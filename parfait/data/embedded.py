"""The real data that ships with Parfait, and the fingerprint of any data."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import polars as pl

from parfait.bars import BAR_COLUMNS

EMBEDDED_SYMBOLS = ("SP500", "NASDAQ")


def embedded_folder() -> Path:
    """Where the files of the embedded data lie."""
    return Path(__file__).parent / "embedded"


def embedded_bars() -> dict[str, pl.DataFrame]:
    """Daily bars of the S&P 500 and the NASDAQ composite, 1999-01-04 to 2018-12-31, 5,031 each.

    Beware: opens of the S&P 500 before 2009 repeat the previous close, so its overnight gaps are
    an artefact (0.5 % of its variance, against 25 % for the NASDAQ). Two dependent indices of one
    country are a default to start from and no basis for claims about single stocks. Licence and
    disclaimer: ``parfait/data/embedded/NOTICE``.
    """
    folder = resources.files("parfait.data") / "embedded"
    frames = {}
    for symbol in EMBEDDED_SYMBOLS:
        with resources.as_file(folder / f"{symbol}.parquet") as path:
            frames[symbol] = pl.read_parquet(path)
    return frames


def fingerprint(frames: Mapping[str, pl.DataFrame]) -> str:
    """SHA-256 of the content: symbols, row counts and the bytes of every bar column.

    Equal for equal bars whatever file they came from, and independent of the symbols' order.
    """
    digest = hashlib.sha256()
    for symbol in sorted(frames):
        frame = frames[symbol]
        digest.update(f"{symbol}:{frame.height}:".encode())
        for name in BAR_COLUMNS:
            column = frame[name].cast(pl.Int64) if name == "timestamp" else frame[name]
            digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()
