"""The data folder of Lean, the engine of QuantConnect."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from parfait.export.files import bar_size, new_folder, tickers, whole_volumes, write_all
from parfait.export.source import Given, Paths, Series, Source
from parfait.utils.errors import UserError

PRICE_SCALE = 10_000  # prices are whole ten-thousandths
_PRICES = ("open", "high", "low", "close")
_HIGHEST = 2**53 / PRICE_SCALE  # beyond, a float64 has no ten-thousandths
_INT64 = 2**63 - 1


def to_lean(
    given: Given,
    folder: str | Path,
    paths: Paths = None,
    timezone: str | None = None,
    volume_scale: float = 1.0,
) -> int:
    """US equities of Lean's data folder, as ``Data/equity/readme.md`` (QuantConnect/Lean) has them.

        equity/usa/daily/p000012.zip                    p000012.csv, 20190102 00:00, ...
        equity/usa/hour/p000012.zip                     p000012.csv, 20190102 09:00, ...
        equity/usa/minute/p000012/20190102_trade.zip    20190102_p000012_minute_trade.csv,
                                                        milliseconds since midnight, ...

    The zip files hold one CSV file each without a header: time, open, high, low, close, volume.
    Prices are whole ten-thousandths and volumes whole, both half to even. ``p000012spx`` for
    several assets. Bars of seconds are like those of minutes, in ``second``.

    Args:
        given, folder, paths: as ``to_csv``; the folder is Lean's data folder.
        timezone: intraday times are written on its clock, such as America/New_York, which Lean
            expects; ``None`` leaves them as they are.
        volume_scale: factor on volumes.

    Returns:
        How many series were written.

    Raises:
        UserError: as ``to_csv``; an unknown time zone, bars between the seconds, prices that
            ten-thousandths cannot hold, or volumes above an int64.
    """
    with new_folder(folder) as place:
        return write_lean(Source.of(given), place, paths, timezone, volume_scale)


def write_lean(
    source: Source,
    folder: Path,
    paths: Paths = None,
    timezone: str | None = None,
    volume_scale: float = 1.0,
) -> int:
    """As ``to_lean``, into a folder that is there."""
    name, root = tickers(source), folder / "equity" / "usa"
    _check_zone(timezone)

    def put(one: Series) -> Path:
        ticker = name(one).lower()
        size = bar_size(one.bars["timestamp"])
        bars = _whole(one, volume_scale)
        if size in ("daily", "hour"):
            file = root / size / f"{ticker}.zip"
            day = pl.col("timestamp").dt.truncate("1d")
            time = day if size == "daily" else _local(timezone)
            _write_zip(file, f"{ticker}.csv", bars, time.dt.strftime("%Y%m%d %H:%M"))
            return file
        for date, part in _days(bars.with_columns(_local(timezone))):
            entry = f"{date}_{ticker}_{size}_trade.csv"
            clock = pl.col("timestamp") - pl.col("timestamp").dt.truncate("1d")
            place = root / size / ticker / f"{date}_trade.zip"
            _write_zip(place, entry, part, clock.dt.total_milliseconds())
        return root / size / ticker

    return write_all(source, folder, paths, put)


def _whole(one: Series, volume_scale: float) -> pl.DataFrame:
    low, high = one.bars.select(pl.col("low").min(), pl.col("high").max()).row(0)
    if low * PRICE_SCALE <= 0.5 or high > _HIGHEST:
        odd = low if high <= _HIGHEST else high
        raise UserError(
            f"path {one.path} has a price of {odd:g}, and Lean's files hold ten-thousandths up to "
            f"{_HIGHEST:.3g}; export format=csv"
        )
    scaled = (pl.col(_PRICES) * PRICE_SCALE).round(0, mode="half_to_even")
    return whole_volumes(one, volume_scale, _INT64, "an int64").with_columns(scaled.cast(pl.Int64))


def _local(timezone: str | None) -> pl.Expr:
    time = pl.col("timestamp")
    if timezone is None:
        return time
    return (
        time.dt.replace_time_zone("UTC").dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    )


def _days(bars: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    date = pl.col("timestamp").dt.strftime("%Y%m%d").alias("date")
    dated = bars.with_columns(date)
    for part in dated.partition_by("date", maintain_order=True):
        yield part["date"][0], part.drop("date")


def _write_zip(file: Path, entry: str, bars: pl.DataFrame, time: pl.Expr) -> None:
    """Dated 1980, so that equal bars give equal bytes."""
    text = bars.with_columns(time.alias("timestamp")).write_csv(include_header=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(zipfile.ZipInfo(entry), text, zipfile.ZIP_DEFLATED)


def _check_zone(timezone: str | None) -> None:
    try:
        if timezone is not None:
            ZoneInfo(timezone)
    except (ValueError, OSError, LookupError) as error:
        raise UserError(
            f"timezone={timezone!r} is unknown; give one such as America/New_York, or leave it out"
        ) from error
