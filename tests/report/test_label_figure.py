"""Lines of a labelled history end where there is nothing to draw."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from parfait.data.windows import make_segments
from parfait.report.labels import draw_labels


def lines_of(times: list[datetime]) -> list[int]:
    """Points of each line of closes that ``draw_labels`` draws for bars at these times."""
    n = len(times)
    close = 100 * np.exp(np.cumsum(0.001 * np.random.default_rng(0).standard_normal(n)))
    bars = pl.DataFrame(
        {"timestamp": pl.Series(times, dtype=pl.Datetime("us")), "open": close}
        | {"high": close * 1.001, "low": close * 0.999, "close": close, "volume": np.ones(n)}
    )
    quantiles = {f"{f}_q{q}": 0.5 for f in ("volatility", "hurst") for q in ("05", "50", "95")}
    labels = bars.select("timestamp").with_columns(
        *(pl.lit(value).alias(name) for name, value in quantiles.items()),
        pl.lit(0).alias("segment"),
        pl.lit(0.5).alias("total_volatility"),
        pl.lit(value=False).alias("flag_closes"),
    )
    figure = draw_labels("X", make_segments({"X": bars}, 5), labels, 20, 1.0)
    price, _, memory = figure.axes
    solid = [np.size(line.get_xdata()) for line in memory.lines[:-1]]  # the last is at one half
    assert solid == [
        np.size(line.get_xdata()) for line in price.lines if line.get_linestyle() == "-"
    ]
    return solid


def test_nights_break_the_lines_of_minutes_and_weekends_leave_those_of_days() -> None:
    opening = datetime(2024, 1, 8, 9, 30)
    minutes = [opening + timedelta(days=d, minutes=m) for d in range(4) for m in range(0, 390, 5)]
    assert lines_of(minutes) == [78] * 4
    days = [datetime(2024, 1, 8) + timedelta(days=d) for d in range(140)]
    assert lines_of([d for d in days if d.weekday() < 5]) == [100]


@pytest.mark.parametrize("n", [21, 22])
def test_few_bars_are_one_line(n: int) -> None:
    assert lines_of([datetime(2024, 1, 8) + timedelta(days=d) for d in range(n)]) == [n]
