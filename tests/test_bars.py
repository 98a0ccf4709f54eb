"""What a valid bar is, rule by rule."""

from datetime import datetime, timedelta

import polars as pl
import pytest
import torch

from parfait.bars import BAR_COLUMNS, bar_violations, bars_to_tensor, check_bars
from parfait.utils.errors import UserError


@pytest.fixture
def bars() -> pl.DataFrame:
    days = [datetime(2020, 1, 1) + timedelta(days=i) for i in range(6)]
    prices = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0}
    columns = {name: [value + i for i in range(6)] for name, value in prices.items()}
    time = pl.Series(days, dtype=pl.Datetime("us"))
    return pl.DataFrame({"timestamp": time} | columns)


def broken(bars: pl.DataFrame, row: int, **values: float | None) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == row
    return bars.with_columns(
        pl.when(here).then(pl.lit(value, dtype=pl.Float64)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def test_valid_bars_break_nothing(bars: pl.DataFrame) -> None:
    assert bar_violations(bars) == {}
    check_bars(bars)
    flat = bars.with_columns(high=pl.col("close"), low=pl.col("close"), open=pl.col("close"))
    assert bar_violations(flat.with_columns(volume=pl.lit(0.0))) == {}
    assert bar_violations(bars.clear()) == {}


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ({"close": None}, {"null values"}),
        ({"volume": float("nan")}, {"numbers that are not finite"}),
        ({"high": float("inf")}, {"numbers that are not finite"}),
        ({"low": 0.0}, {"prices not above 0"}),
        ({"low": 12.5}, {"low above open or close"}),
        ({"high": 12.5}, {"high below open or close"}),
        ({"volume": -1e-9}, {"negative volume"}),
    ],
)
def test_each_rule_counts_its_row(bars: pl.DataFrame, values: dict, rules: set) -> None:
    bad = broken(bars, 2, **values)
    assert bar_violations(bad) == dict.fromkeys(rules, 1)
    with pytest.raises(UserError, match=r"prices: .* in 1 row\(s\), first in row 2: timestamp="):
        check_bars(bad, "prices")


def test_times_increase_within_each_series_only(bars: pl.DataFrame) -> None:
    rule = {"timestamps not strictly increasing": 1}
    assert bar_violations(pl.concat([bars[:3], bars[2:]])) == rule
    assert bar_violations(pl.concat([bars[:3], bars[:1], bars[4:]])) == rule
    twice = pl.concat([bars, bars]).with_columns(symbol=pl.Series(["a"] * 6 + ["b"] * 6))
    assert bar_violations(twice) == {}
    assert bar_violations(twice.drop("symbol")) == rule
    paths = twice.with_columns(path=pl.Series([0] * 3 + [1] * 3 + [0] * 6))
    assert bar_violations(paths) == {}


def test_columns_and_types_are_named(bars: pl.DataFrame) -> None:
    with pytest.raises(UserError, match="column 'low' is missing"):
        check_bars(bars.drop("low"))
    with pytest.raises(UserError, match="column 'volume' is Int64 instead of Float64"):
        check_bars(bars.with_columns(pl.col("volume").cast(pl.Int64)))
    zoned = bars.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC"))
    assert list(bar_violations(zoned).values()) == [6]


def test_tensor_keeps_order_and_precision(bars: pl.DataFrame) -> None:
    precise = broken(bars, 0, close=10.1234567890123456)
    tensor = bars_to_tensor(precise.select(reversed(BAR_COLUMNS)))
    assert tensor.dtype == torch.float64
    assert tensor.shape == (6, 5)
    assert tensor[0].tolist() == [10.0, 12.0, 9.0, 10.1234567890123456, 5.0]
