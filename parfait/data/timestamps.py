"""When each row of a table is: from one time column, from two, or from none."""

from dataclasses import replace

import numpy as np
import polars as pl

from parfait.data.ambiguity import UNKNOWN_ZONE, zone_in_header
from parfait.data.columns import listed
from parfait.data.forms import PLAIN_DATES, padded_clock
from parfait.data.options import LoadOptions
from parfait.data.times import Times, parse_times
from parfait.utils.errors import UserError


def bar_times(
    text: dict[str, pl.Series],
    rows: pl.DataFrame,
    options: LoadOptions,
    file_names: tuple[str, ...],
    header: list[str],
    roles: dict[str, int],
) -> Times:
    """The times of the rows: of the time column, with a clock beside it, or regular ones.

    Args:
        text: cells by role; "epoch" is a second time column.
        rows: columns row and bars, whether a row holds any price, as a footer does not.
        options: what the user knows.
        file_names: where the date of times of day may stand.
        header: names of the columns.
        roles: positions of the columns.

    Raises:
        UserError: there is no time column, it leaves a question open, or two contradict each other.
    """
    if options.start is not None and options.frequency is not None:
        values = regular_times(options.start, options.frequency, rows.height)
        return Times(values, f"none: {options.start} and every {options.frequency}", UNKNOWN_ZONE)
    if "time" not in text:
        raise UserError(
            f"no time column; the columns are {listed(header)}: name it with "
            "columns={'time': 'NAME'}, or give start='YYYY-MM-DD' and frequency='1bd' "
            "(business days; also 1d, 1h, 5m, 1w, 1mo)"
        )
    cells = text["time"]
    if "month" in text:
        cells = cells + "-" + text["month"] + "-" + text["day"]
    if "clock" in text:
        cells = (
            cells.str.replace(r"[T ]00:00(:00)?(\.0+)?$", "") + " " + padded_clock(text["clock"])
        )
    called = [header[roles[role]] for role in ("time", "clock") if role in roles]
    try:
        times = parse_times(cells, rows["row"], options, file_names, rows["bars"])
        if not times.absolute and times.form not in PLAIN_DATES and zone_in_header(called, options):
            times = replace(times, timezone="UTC", absolute=True)
    except UserError as error:
        raise UserError(f"column {header[roles['time']][:40]!r}: {error}") from error
    if "epoch" in text and "time" not in (options.columns or {}) and options.timezone is None:
        _refuse_contradiction(times, text["epoch"], rows, header, roles)
    return times


def _refuse_contradiction(
    times: Times, epoch: pl.Series, rows: pl.DataFrame, header: list[str], roles: dict[str, int]
) -> None:
    """A date that is not UTC shows where an epoch stands beside it."""
    try:
        apart = times.values - parse_times(epoch, rows["row"], LoadOptions(), ()).values
    except UserError:
        return
    hours = float(apart.abs().median() or 0) / 3_600_000_000  # pyright: ignore[reportArgumentType]
    if hours >= (24 if times.form in PLAIN_DATES else 1 / 60):
        date, unix = header[roles["time"]], header[roles["epoch"]]
        raise UserError(
            f"the columns {date!r} and {unix!r} are {hours:.4g} hours apart; choose one, as in "
            f"columns={{'time': {unix!r}}}, or give the zone of {date!r}, as in "
            "timezone='America/New_York'"
        )


def regular_times(start: str, frequency: str, n: int) -> pl.Series:
    """n times from ``start``, ``frequency`` apart ("1bd", "1d", "1h", "5m", "1w", "1mo").

    Raises:
        UserError: an unreadable start or frequency, or times beyond the calendar.
    """
    try:
        first = pl.Series([start]).str.to_datetime(time_unit="us")
        if frequency.endswith("bd"):
            days = np.busday_offset(
                first.dt.date().to_numpy().astype("datetime64[D]"),
                np.arange(n) * int(frequency[:-2]),
                roll="forward",
            )
            clock = first.cast(pl.Int64)[0] % 86_400_000_000
            return pl.Series("time", days.astype("datetime64[us]").astype(np.int64) + clock)
        steps = pl.DataFrame({"first": first}).select(pl.col("first").repeat_by(n).explode())
        counts = pl.Series("i", np.arange(n))
        amount, unit = (
            int(frequency.rstrip("abcdefghijklmnopqrstuvwxyz")),
            frequency.lstrip("0123456789"),
        )
        offsets = (counts * amount).cast(pl.String) + unit
        times = steps.with_columns(offsets.alias("offset")).select(
            pl.col("first").dt.offset_by(pl.col("offset")).alias("time")
        )["time"]
    except (pl.exceptions.PolarsError, ValueError, OverflowError) as error:
        raise UserError(
            f"start={start!r} and frequency={frequency!r} give no times; use for example "
            "start='2010-01-04', frequency='1bd'"
        ) from error
    return times.cast(pl.Int64)
