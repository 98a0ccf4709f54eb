"""Rows that are no bars, each dropped under the first reason that applies to it."""

import numpy as np
import polars as pl

from parfait.data.options import LoadOptions
from parfait.data.report import LoadReport
from parfait.data.zones import DAY
from parfait.utils.errors import UserError

_PRICES = ["open", "high", "low", "close"]
TOLERANCE = 1e-3  # relative; vendors round high and low apart from open and close
_UNUSABLE = 0.05
_OUTSIDE = "open or close outside high and low"
_TOO_LONG = "too many cells"
OTHER = "other row for the same time, last kept"
_SUSPENDED = "no volume and no range (suspended)"
# Rows left out as asked, or because nothing was traded yet or then: no sign of a misread file.
_ASKED = (
    "before the first price",
    "after the last price",
    "outside the session",
    "range over max_range",
    "line of text, no bar",
    "dividend or split, no bar",
    _SUSPENDED,
)


def drop_where(frame: pl.DataFrame, reason: str, rule: pl.Expr, report: LoadReport) -> pl.DataFrame:
    bad = frame.select(rule.fill_null(False).alias("bad"))["bad"]
    if bad.any():
        report.count("dropped", reason, frame.filter(bad)["row"].to_list())
        frame = frame.filter(~bad)
    return frame


def drop_unusable(frame: pl.DataFrame, report: LoadReport) -> pl.DataFrame:
    """Rows without a time or without possible prices, each counted under its first reason."""
    prices = [pl.col(name) for name in _PRICES]
    high, low = pl.col("high"), pl.col("low")
    above, below = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    absent = pl.all_horizontal(p.is_null() for p in prices) & ~pl.col("unreadable")
    priced = pl.col("time").filter(~absent)
    reasons = {
        # A series that begins later than its file, or ends earlier, is no fault of its rows.
        "before the first price": absent & (pl.col("time") < priced.min()),
        "after the last price": absent & (pl.col("time") > priced.max()),
        "line of text, no bar": absent & pl.col("time").is_null() & ~pl.col("action"),
        "dividend or split, no bar": pl.col("action"),
        _TOO_LONG: pl.col("too_long"),
        "time skipped by daylight saving": pl.col("skipped"),
        "unreadable time": pl.col("time").is_null(),
        "unreadable number": pl.col("unreadable"),
        "missing price": pl.any_horizontal(p.is_null() for p in prices),
        "price not finite": ~pl.all_horizontal(p.is_finite() for p in prices),
        "negative price": pl.any_horizontal(p < 0 for p in prices),
        "zero price": pl.any_horizontal(p == 0 for p in prices),
        "high below low": high < low * (1 - TOLERANCE),
        _OUTSIDE: (above > high * (1 + TOLERANCE)) | (below < low * (1 - TOLERANCE)),
        "negative volume": pl.col("volume") < 0,
        "volume not finite": ~pl.col("volume").is_finite(),
    }
    broken = frame.select(r.fill_null(False).alias(n) for n, r in reasons.items()).to_numpy()
    bad = broken.any(axis=1)
    if bad.any():
        rows, first = frame["row"].to_numpy(), broken.argmax(axis=1)
        for i, reason in enumerate(reasons):
            report.count("dropped", reason, rows[bad & (first == i)].tolist())
        frame = frame.filter(np.logical_not(bad))
    if frame["volume"].null_count():
        void = frame.filter(pl.col("volume").is_null())["row"].to_list()
        report.count("flagged", "volume missing, set to 0", void)
    return frame.with_columns(
        pl.col("volume").fill_null(0.0), pl.col("volume").is_null().alias("void")
    )


def drop_untraded(frame: pl.DataFrame, options: LoadOptions, report: LoadReport) -> pl.DataFrame:
    """Bars outside the session, with an impossible range, or of days without trading."""
    limits = options.session_limits()
    if limits is not None:
        clock, (start, end) = pl.col("local") % DAY, limits
        after, before = clock >= start, clock < end
        inside = (after & before) if start < end else (after | before)
        frame = drop_where(frame, "outside the session", ~inside, report)
    if options.max_range is not None:
        wide = pl.col("high") > options.max_range * pl.col("low")
        frame = drop_where(frame, "range over max_range", wide, report)
    drop = options.drop_suspended
    if drop is None:
        # Markets open at weekends, and vendors without volumes, say nothing by a volume of 0.
        weekday = (pl.col("time") // DAY + 3) % 7
        drop = frame.select(
            (weekday < 5).all() & ((pl.col("volume") > 0).mean().fill_null(0) > 0.5)
        ).item()
    if drop:
        still = (pl.col("volume") == 0) & ~pl.col("void") & (pl.col("high") == pl.col("low"))
        frame = drop_where(frame, _SUSPENDED, still, report)
    return frame


def _void(report: LoadReport) -> int:
    return sum(
        entry["count"]
        for r, entry in report.dropped.items()
        if r in ("missing price", "zero price")
    )


def refuse_if_mostly_unusable(report: LoadReport, hint: str) -> None:
    asked = sum(entry["count"] for r, entry in report.dropped.items() if r in _ASKED)
    unusable, rows = report.dropped_rows - asked, report.rows_in - asked
    if unusable > _UNUSABLE * rows:
        if report.dropped.get(OTHER, {"count": 0})["count"] > unusable / 2:
            hint = (
                "if it holds several series, name the column that tells them apart with "
                "columns={'symbol': 'NAME'}"
            )
        elif report.dropped.get(_TOO_LONG, {"count": 0})["count"] > unusable / 2:
            hint = (
                "rows hold more cells than the header names; name all in their order, as in "
                "names=['time', 'clock', 'open', 'high', 'low', 'close', 'volume']"
            )
        elif _void(report) > unusable / 2:
            hint = "take open, high and low from the close with close_only=True, or mend the file"
            if "adjusted" in report.columns:
                hint = f"leave {report.columns['adjusted']!r} aside with adjust=False, or {hint}"
        reasons = ", ".join(
            f"{reason} {entry['count']} (first in row {entry['rows'][0]})"
            for reason, entry in report.dropped.items()
            if reason not in _ASKED
        )
        seen = "".join(f" ({note})" for note in report.notes if note.endswith("is no number"))
        raise UserError(
            f"{unusable} of {rows} rows are unusable, more than 5 %: {reasons}{seen}; {hint}"
        )
