"""From the clock of a file to UTC, and back to the clock that sessions and days follow."""

import polars as pl

from parfait.data.ambiguity import UNKNOWN_ZONE
from parfait.data.options import LoadOptions
from parfait.data.times import Times

DAY = 86_400_000_000  # microseconds
_KEYS = ["symbol", "day"]


def to_utc(frame: pl.DataFrame, times: Times, options: LoadOptions) -> tuple[pl.DataFrame, str]:
    """Adds ``time`` (UTC) and ``local`` (the clock of sessions), both in microseconds.

    Times that UTC skips are null in ``time`` and true in ``skipped``. An hour that a zone repeats
    is read in the file's order: once times have stepped back, it is the second.

    Args:
        frame: columns ``read`` (microseconds as parsed), ``symbol``.
        times: how they were parsed.
        options: ``timezone`` and ``date_shift`` matter here.

    Returns:
        The frame, and what the clock was taken for.
    """
    shifted = pl.col("read") + options.date_shift * DAY
    frame = frame.with_columns(shifted.alias("time"), shifted.alias("local"))
    frame = frame.with_columns(pl.lit(False).alias("skipped"))
    zone = options.timezone or times.zone
    if zone is None:
        return frame, times.timezone
    moment = pl.col("time").cast(pl.Datetime("us"))
    if times.absolute:
        local = moment.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        local = local.dt.replace_time_zone(None).cast(pl.Int64)
        return frame.with_columns(local.alias("local")), times.timezone
    if (frame["time"].drop_nulls() % DAY == 0).all():
        return frame, f"{zone}, plain dates kept"
    return _resolve(frame, moment, zone), f"{zone}, converted to UTC"


def _resolve(frame: pl.DataFrame, moment: pl.Expr, zone: str) -> pl.DataFrame:
    early, late = (
        moment.dt.replace_time_zone(zone, ambiguous=which, non_existent="null")
        .dt.convert_time_zone("UTC")
        .cast(pl.Int64)
        for which in ("earliest", "latest")
    )
    frame = frame.with_columns(early.alias("early"), late.alias("late")).with_row_index("index")
    skipped = pl.col("time").is_not_null() & pl.col("early").is_null()
    twice = frame.filter(pl.col("early") != pl.col("late"))
    second = pl.Series("index", [], dtype=pl.UInt32)
    if not twice.is_empty():
        # A file that runs backwards is read from its end.
        descending = frame.select((pl.col("time").diff() < 0).sum() > pl.len() / 2).item()
        twice = twice.reverse() if descending else twice
        day = (pl.col("local") // DAY).alias("day")
        step = pl.col("local").diff().over(_KEYS)
        twice = twice.with_columns(day).with_columns(step.alias("step"))
        back = (pl.col("step") < 0).any().over(_KEYS)
        stepped = pl.when(back).then(pl.col("step") < 0).otherwise(pl.col("step") == 0)
        again = stepped.fill_null(False).cum_max().over(_KEYS)
        second = twice.filter(again)["index"]
    chosen = pl.when(pl.col("index").is_in(second.implode())).then("late").otherwise("early")
    frame = frame.with_columns(chosen.alias("time"), skipped.alias("skipped"))
    return frame.drop("index", "early", "late")


def repeated_hour(frame: pl.DataFrame, timezone: str) -> str | None:
    """A sentence where times step back by up to an hour on a Sunday, as when clocks go back.

    Args:
        frame: ``time`` of one series in the file's order, before sorting.
        timezone: what the clock was taken for.
    """
    if timezone != UNKNOWN_ZONE:
        return None
    time = frame["time"].drop_nulls()
    step = time.diff()
    hour = 3_600_000_000
    if int((step < 0).sum()) * 2 > len(step):  # descending
        time = time.reverse()
        step = time.diff()
    monday = (time // DAY + 3) % 7
    back = (step <= 0) & (step > -hour) & (monday == 6) & (time % DAY < 4 * hour) & (time % DAY > 0)
    found = time.filter(back.fill_null(False))
    if found.is_empty():
        return None
    day = found.cast(pl.Datetime("us")).dt.date()[0]
    return (
        f"times step back within the night of Sunday {day}, as where clocks are put back; tell the "
        "two hours apart with timezone='Area/City'"
    )
