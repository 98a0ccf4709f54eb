"""Rows of one series with parsed cells -> valid bars, every dropped or repaired row counted."""

import numpy as np
import polars as pl

from parfait.data.drops import (
    OTHER,
    TOLERANCE,
    drop_untraded,
    drop_unusable,
    drop_where,
    refuse_if_mostly_unusable,
)
from parfait.data.factors import find_factors
from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.data.zones import DAY, repeated_hour
from parfait.utils.errors import UserError

_PRICES = ["open", "high", "low", "close"]
_MARKS = ("too_long", "skipped", "unreadable", "grouped", "comma", "suffixed", "crossed")


def clean_rows(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    """Drops, widens, sorts, removes duplicates and adjusts, in this order.

    Adjusting multiplies open, high, low and close of bar i by (A_i / C_i) / (A_n / C_n), with A the
    adjusted close, C the close and n the last bar: the last bar keeps its traded price, whatever
    day the vendor adjusted to, and returns are those of the adjusted closes. A factor file does the
    same with A_i / C_i = price factor x split factor, and divides volume by the split factor.

    Args:
        frame: as ``rows.typed_rows`` returns it, of one symbol.

    Returns:
        Columns row, timestamp, open, high, low, close, volume; quoted, the close as written; ratio
        and split, what the last bar's prices and volume would have been scaled by. Valid bars.

    Raises:
        UserError: more than 5 % of the rows are unusable, or fewer bars than asked for are left.
    """
    if _as_it_stands(frame, options):
        return _finished(frame.with_columns(*_unscaled()))
    _count_readings(frame, options, report)
    frame = _fill(frame, options, report)
    hint = _mixed_prices(frame, report)
    frame = _with_ratio(frame, options, report)
    frame = drop_unusable(frame, report)
    frame = drop_untraded(frame, options, report)
    frame = _widen(frame, report)
    frame = _sort(frame, report)
    frame = _adjust(frame, report)
    refuse_if_mostly_unusable(report, hint)
    if frame.height < options.min_rows:
        raise UserError(
            f"{frame.height} usable bar(s) of {report.rows_in} rows; at least {options.min_rows} "
            "are needed (min_rows)"
        )
    return _finished(frame)


def _finished(frame: pl.DataFrame) -> pl.DataFrame:
    time = pl.col("time").cast(pl.Datetime("us")).alias("timestamp")
    return frame.select("row", time, *_PRICES, "volume", "quoted", "ratio", "split")


def _unscaled() -> list[pl.Expr]:
    one = pl.lit(1.0)
    return [pl.col("close").alias("quoted"), one.alias("ratio"), one.alias("split")]


def _as_it_stands(frame: pl.DataFrame, options: LoadOptions) -> bool:
    """Whether rows are valid bars of traded days in order, and no option asks for a change.

    Then every step below would leave them alone; that costs ten times this look.
    """
    asked = (options.session, options.max_range, options.factors)
    if asked != (None, None, None) or options.price_scale != 1 or options.date_shift:
        return False
    columns = {"time", *_PRICES, "volume"}
    if "adjusted" in frame.columns or not columns <= set(frame.columns):
        return False
    if frame.height < options.min_rows or any(frame[n].null_count() for n in columns):
        return False
    if any(frame[mark].any() for mark in _MARKS):
        return False
    opened, high, low, close = (frame[name].to_numpy() for name in _PRICES)
    volume, time = frame["volume"].to_numpy(), frame["time"].to_numpy()
    return bool(
        low.min() > 0
        and high.max() < np.inf
        and (low <= opened).all()
        and (low <= close).all()
        and (opened <= high).all()
        and (close <= high).all()
        and volume.min() >= 0
        and volume.max() < np.inf
        and (time[1:] > time[:-1]).all()
        and not ((volume == 0) & (high == low)).any()
    )


def _count_readings(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> None:
    row = frame["row"]
    for category, reason, mark in (
        ("repaired", "thousands separators", "grouped"),
        ("repaired", "decimal commas", "comma"),
        ("repaired", "numbers with a suffix", "suffixed"),
        ("repaired", "numbers with a currency", "currency"),
        ("flagged", "bid above ask", "crossed"),
    ):
        if frame[mark].any():
            report.count(category, reason, row.filter(frame[mark]).to_list())
    if options.price_scale != 1:
        report.count("repaired", "prices multiplied by price_scale", row.to_list())
    if options.date_shift:
        report.count("repaired", "dates moved by date_shift", row.to_list())


def _fill(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    """Absent columns: volume 0; open, high and low from the close where that is asked for."""
    if options.close_only:
        absent = [n for n in _PRICES[:3] if n not in frame.columns]
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias(n) for n in absent)
        others = pl.col(_PRICES[:3])
        frame = frame.with_columns(pl.when(others != 0).then(others))
        made = pl.any_horizontal(others.is_null()) & pl.col("close").is_not_null()
        filled = frame.filter(made)["row"].to_list()
        report.count("repaired", "open, high or low taken from the close", filled)
        frame = frame.with_columns(pl.col(_PRICES[:3]).fill_null(pl.col("close")))
    if "volume" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias("volume"))
    return frame


def _mixed_prices(frame: pl.DataFrame, report: LoadReport) -> str:
    """What to say if many closes stand outside their bars: some columns are adjusted, some not."""
    known = pl.col("low").is_not_null() & pl.col("high").is_not_null()
    inside = {
        name: pl.when(known).then(
            (pl.col(name) >= pl.col("low") * (1 - TOLERANCE))
            & (pl.col(name) <= pl.col("high") * (1 + TOLERANCE))
        )
        for name in ("open", "close", "adjusted")
        if name in frame.columns
    }
    shares = frame.select(rule.mean().fill_null(1).alias(n) for n, rule in inside.items()).row(0)
    share = dict(zip(inside, shares, strict=True))
    if share["open"] < 0.9 or share["close"] > 0.95:
        return (
            "mend the file, or name its columns as in columns={'close': 'NAME'}, without a header "
            "as in names=['time', 'open', 'close', 'high', 'low']"
        )
    if share.get("adjusted", 0) > 0.95:
        name = report.columns["adjusted"]
        return (
            "open, high and low are adjusted like the adjusted close and the close is not; use it "
            f"with columns={{'close': {name!r}}}"
        )
    odd = frame.filter(~inside["close"])
    return (
        f"adjusted and raw prices are mixed (row {odd['row'][0]}: close {odd['close'][0]:g}, low "
        f"{odd['low'][0]:g}, high {odd['high'][0]:g}); name another close with "
        "columns={'close': 'NAME'}, or give up the ranges with columns that hold only the close "
        "and close_only=True"
    )


def _with_ratio(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    """Adds ``ratio``, which multiplies prices, and ``split``, which divides volume."""
    frame = frame.with_columns(*_unscaled(), pl.col(_PRICES) * options.price_scale)
    adjusted = "adjusted" in frame.columns
    if options.factors is not None:
        if adjusted and options.adjust:
            raise UserError(
                f"prices could be adjusted by the column {report.columns['adjusted']!r} and by "
                "factors; keep the factors with adjust=False, or leave out factors"
            )
        frame = _with_factors(frame, options, report)
    if not adjusted:
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


def _with_factors(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    symbol = report.symbols[0]
    factors = find_factors(str(options.factors), symbol)
    if factors is None:
        report.notes.append(f"no factor file for {symbol}, prices as traded")
        return frame
    days = frame.select((pl.col("local") // DAY).fill_null(0))["local"].to_numpy()
    price, split = factors.at(days)
    return frame.with_columns(pl.Series("ratio", price * split), pl.Series("split", split))


def _widen(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    high, low = pl.max_horizontal(_PRICES), pl.min_horizontal(_PRICES)
    off = frame.filter((pl.col("high") < high) | (pl.col("low") > low))["row"].to_list()
    if not off:
        return frame
    report.count("repaired", "high or low widened over open and close", off)
    return frame.with_columns(high.alias("high"), low.alias("low"))


def _sort(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    """By time; of equal times exact copies count as repaired, others as dropped."""
    step = frame["time"].diff()
    back = frame.filter((step < 0).fill_null(False))["row"].to_list()
    report.count("repaired", "rows out of order", back)
    if not back and bool((step.drop_nulls() > 0).all()):
        return frame
    content = ["time", *_PRICES, "volume", "ratio", "split"]
    copy = ~frame.select(pl.struct(content).is_last_distinct().alias("last"))["last"]
    report.count("repaired", "exact duplicates", frame.filter(copy)["row"].to_list())
    unique = frame.filter(~copy)
    if (sentence := repeated_hour(unique, report.timezone)) is not None:
        report.notes.append(sentence)
    older = pl.col("time").is_last_distinct().not_()
    return drop_where(unique, OTHER, older, report).sort("time")


def _adjust(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    """Scales every bar to the adjusted closes or the factors, relative to the last bar."""
    if frame.is_empty():
        return frame
    last, split = frame["ratio"][-1], frame["split"][-1]
    factor, shares = pl.col("ratio") / last, pl.col("split") / split
    moved = frame.filter((factor - 1).abs() > 1e-9)["row"].to_list()
    by = "the adjusted close" if "adjusted" in report.columns else "the factors"
    report.count("repaired", f"prices scaled to {by}", moved)
    if abs(last - 1) > 1e-9:
        report.notes.append(
            f"the last adjusted close is {last:.6g} of the close; adjusted prices were divided by "
            "that ratio, so that the last bar keeps its traded price"
        )
    return frame.with_columns(
        pl.col(_PRICES) * factor,
        pl.col("volume") / shares,
        pl.lit(last).alias("ratio"),
        pl.lit(split).alias("split"),
    )
