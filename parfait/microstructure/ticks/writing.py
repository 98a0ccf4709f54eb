"""Tables of ticks, written while they are made: memory does not grow with them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from parfait.microstructure.ticks.model import TickModel
from parfait.utils.files import ROW_GROUP, write_through

METADATA = "parfait.ticks"  # key of the parquet file under which the model describes itself
_SCHEMA = {
    "path": pl.Int32(),
    "step": pl.Int32(),
    "tick": pl.Int32(),
    "timestamp": pl.Datetime("us"),
    "price": pl.Float64(),
    "bid": pl.Float64(),
    "ask": pl.Float64(),
    "size": pl.Float64(),
}


def write_ticks(folder: str | Path, parts: Mapping[str, tuple[TickModel, pl.DataFrame]]) -> Path:
    """Writes ``ticks.parquet``: the ticks of every symbol's bars; returns its path.

    With several symbols the first column is ``symbol``. The metadata hold, as JSON under
    ``parfait.ticks``, what ``TickModel.describe`` says of each.

    Args:
        folder: made if missing.
        parts: model and bars by symbol; a single series may have the symbol "".

    Raises:
        UserError: bars that cannot be refined, or a folder that cannot be written.
    """
    several = len(parts) > 1
    said = {symbol: model.describe(bars) for symbol, (model, bars) in parts.items()}
    note = json.dumps(said if several else next(iter(said.values())))
    schema = {"symbol": pl.String(), **_SCHEMA} if several else _SCHEMA

    def frames(*_: object) -> Iterator[pl.DataFrame]:
        for symbol, (model, bars) in parts.items():
            for frame in model.frames(bars):
                yield frame.select(pl.lit(symbol).alias("symbol"), pl.all()) if several else frame

    for model, bars in parts.values():
        model.check(bars)  # before polars would wrap the sentence in its own

    def write(path: Path) -> None:
        register_io_source(frames, schema=schema).sink_parquet(
            path,
            compression="zstd",
            compression_level=3,
            row_group_size=ROW_GROUP,
            maintain_order=True,
            metadata={METADATA: note},
        )

    return write_through(folder, "ticks.parquet", write)
