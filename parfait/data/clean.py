"""Rows with parsed cells -> valid bars, every dropped or repaired row counted."""

import polars as pl

from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.utils.errors import UserError

_PRICES = ["open", "high", "low", "close"]
_TOLERANCE = 1e-3  # relative; vendors round high and low apart from open and close
_UNUSABLE = 0.05


def clean_rows(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    """Drops, widens, sorts, removes duplicates and adjusts, in this order.

    Adjusting multiplies open, high, low and close of bar i by (A_i / C_i) / (A_n / C_n), with A the
    adjusted close, C the close and n the symbol's last bar: the last bar keeps its traded price,
    whatever day the vendor adjusted to, and returns are those of the adjusted closes.

    Args:
        frame: columns row, time (microseconds), open, high, low, close, volume, symbol, too_long,
            unreadable, and adjusted where the file has it; null marks an absent value.

    Returns:
        Columns row, timestamp, open, high, low, close, volume, symbol; valid bars by symbol.

    Raises:
        UserError: more than 5 % of the rows are unusable, or the asked symbol is absent.
    """
    frame = _one_symbol(frame, options, report)
    frame = _with_ratio(frame, options, report)
    frame = _drop_unusable(frame, report)
    frame = _widen(frame, report)
    frame = _sort(frame, report)
    frame = _adjust(frame, report)
    _refuse_if_mostly_unusable(report)
    if frame.height < 2:
        raise UserError(f"{frame.height} usable bar(s); at least 2 are needed")
    time = pl.col("time").cast(pl.Datetime("us")).alias("timestamp")
    return frame.select("row", time, *_PRICES, "volume", "symbol")


def _one_symbol(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    if options.symbol is None or "symbol" not in report.columns:
        return frame
    mine = frame.filter(pl.col("symbol") == options.symbol)
    if mine.is_empty():
        held = ", ".join(frame["symbol"].unique().sort().head(10).to_list())
        raise UserError(f"symbol {options.symbol!r} is not in the file; it holds {held}")
    report.rows_in = mine.height
    report.notes.append(f"{frame.height - mine.height} rows of other symbols left out")
    return mine


def _with_ratio(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    """Adds ``ratio``, adjusted close over close; 1 where prices stay as traded."""
    frame = frame.with_columns(pl.col(_PRICES) * options.price_scale, pl.lit(1.0).alias("ratio"))
    if "adjusted" not in frame.columns:
        return frame
    if not options.adjust:
        report.notes.append("adjusted closes ignored, prices as traded")
        return frame
    frame = frame.with_columns(
        (pl.col("adjusted") * options.price_scale / pl.col("close")).alias("ratio")
    )
    # An unusable ratio makes its row's prices unusable in the same way: absent, zero, negative.
    usable = pl.col("ratio").is_finite() & (pl.col("ratio") > 0)
    prices = pl.col(_PRICES)
    return frame.with_columns(pl.when(usable).then(prices).otherwise(prices * pl.col("ratio")))


def _drop_unusable(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    prices = [pl.col(name) for name in _PRICES]
    opened, high, low, close = prices
    above, below = pl.max_horizontal(opened, close), pl.min_horizontal(opened, close)
    absent = pl.all_horizontal(p.is_null() for p in prices)
    first = pl.col("row").filter(~absent).min().over("symbol")
    reasons = {
        # A column that begins later than the file is no fault of its rows.
        "before the first price": absent & (pl.col("row") < first),
        "too many cells": pl.col("too_long"),
        "unreadable time": pl.col("time").is_null(),
        "unreadable number": pl.col("unreadable"),
        "missing price": pl.any_horizontal(p.is_null() for p in prices),
        "price not finite": ~pl.all_horizontal(p.is_finite() for p in prices),
        "negative price": pl.any_horizontal(p < 0 for p in prices),
        "zero price": pl.any_horizontal(p == 0 for p in prices),
        "high below low": high < low * (1 - _TOLERANCE),
        "open or close outside high and low": (above > high * (1 + _TOLERANCE))
        | (below < low * (1 - _TOLERANCE)),
        "negative volume": pl.col("volume") < 0,
        "volume not finite": ~pl.col("volume").is_finite(),
    }
    for reason, rule in reasons.items():
        bad = frame.select(rule.fill_null(False).alias("bad"))["bad"]
        report.count("dropped", reason, frame.filter(bad)["row"].to_list())
        frame = frame.filter(~bad)
    void = frame.filter(pl.col("volume").is_null())["row"].to_list()
    report.count("flagged", "volume missing, set to 0", void)
    return frame.with_columns(pl.col("volume").fill_null(0.0))


def _widen(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    high, low = pl.max_horizontal(_PRICES), pl.min_horizontal(_PRICES)
    off = frame.filter((pl.col("high") < high) | (pl.col("low") > low))["row"].to_list()
    report.count("repaired", "high or low widened over open and close", off)
    return frame.with_columns(high.alias("high"), low.alias("low"))


def _sort(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    """By symbol and time; of equal times exact copies count as repaired, others as dropped."""
    step = frame.select(pl.col("time").diff().over("symbol").alias("step"), "row")
    report.count("repaired", "rows out of order", step.filter(pl.col("step") < 0)["row"].to_list())
    order = frame["symbol"].unique(maintain_order=True)
    rank = pl.col("symbol").replace_strict(order, pl.Series(range(len(order))), default=0)
    content = ["symbol", "time", *_PRICES, "volume", "ratio"]
    unique = frame.unique(content, keep="last", maintain_order=True)
    copies = frame.join(unique.select("row"), on="row", how="anti")["row"].to_list()
    report.count("repaired", "exact duplicates", copies)
    last = unique.unique(["symbol", "time"], keep="last", maintain_order=True)
    older = unique.join(last.select("row"), on="row", how="anti")["row"].to_list()
    report.count("dropped", "other row for the same time, last kept", older)
    return last.sort(rank, "time")


def _adjust(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    """Scales every bar to the adjusted closes, relative to the last bar of its symbol."""
    last = pl.col("ratio").last().over("symbol")
    frame = frame.with_columns(last.alias("last_ratio"), (pl.col("ratio") / last).alias("factor"))
    moved = frame.filter((pl.col("factor") - 1).abs() > 1e-9)["row"].to_list()
    report.count("repaired", "prices scaled to the adjusted close", moved)
    rebased = frame.filter((pl.col("last_ratio") - 1).abs() > 1e-9)
    if not rebased.is_empty():
        report.notes.append(
            f"the last adjusted close is {rebased['last_ratio'][-1]:.6g} of the close; adjusted "
            "prices were divided by that ratio, so that the last bar keeps its traded price"
        )
    return frame.with_columns(pl.col(_PRICES) * pl.col("factor"))


def _refuse_if_mostly_unusable(report: LoadReport) -> None:
    late = report.dropped.get("before the first price", {"count": 0})["count"]
    unusable, rows = report.dropped_rows - late, report.rows_in - late
    if unusable > _UNUSABLE * rows:
        reasons = ", ".join(
            f"{reason} {entry['count']} (first in row {entry['rows'][0]})"
            for reason, entry in report.dropped.items()
            if reason != "before the first price"
        )
        raise UserError(
            f"{unusable} of {rows} rows are unusable, more than 5 %: {reasons}; "
            "mend the file, or name its columns as in columns={'close': 'NAME'}"
        )
