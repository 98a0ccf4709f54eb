"""Rebuilds ``parfait/data/embedded`` from the index data shipped inside the ``arch`` package.

Needs the development extras; run ``python scripts/embed_data.py`` where parfait is importable.
"""

from importlib.metadata import distribution
from pathlib import Path

import arch.data.nasdaq
import arch.data.sp500
import polars as pl

from parfait.bars import BAR_COLUMNS, check_bars

FOLDER = Path(__file__).parents[1] / "parfait" / "data" / "embedded"
SOURCES = {"SP500": arch.data.sp500, "NASDAQ": arch.data.nasdaq}

NOTICE = """\
The files SP500.parquet and NASDAQ.parquet hold daily open, high, low, close and volume of the
S&P 500 and of the NASDAQ composite, 1999-01-04 to 2018-12-31. They were converted without other
change from the modules arch.data.sp500 and arch.data.nasdaq of the Python package arch {version}
(https://github.com/bashtage/arch), whose licence and disclaimer follow. That package does not
state from which vendor the data come.

"""


def main() -> None:
    """Writes one parquet file per index and the notice beside them."""
    package = distribution("arch")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for symbol, module in SOURCES.items():
        table = module.load()
        columns = {name.lower(): table[name].to_numpy(dtype=float) for name in table.columns}
        time = pl.Series("timestamp", table.index.to_numpy()).cast(pl.Datetime("us"))
        frame = pl.DataFrame([time]).with_columns(
            pl.Series(name, columns[name]) for name in BAR_COLUMNS[1:]
        )
        check_bars(frame, symbol)
        frame.write_parquet(FOLDER / f"{symbol}.parquet", compression="zstd")
        print(f"{symbol}: {frame.height} bars, {frame['timestamp'][0]} to {frame['timestamp'][-1]}")
    licence = next(file for file in package.files or [] if file.name.startswith("LICENSE"))
    text = NOTICE.format(version=package.version) + licence.read_text()
    (FOLDER / "NOTICE").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
