"""The short roads of clean data give what the long ones give: same bars, same account."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfait.data import clean, load_bars, rows
from parfait.utils.errors import UserError
from tests.fuzzing import examples

PRICES = ("open", "high", "low", "close")
MOMENTS = {
    "date": pl.Date(),
    "us": pl.Datetime("us"),
    "ms": pl.Datetime("ms"),
    "ns": pl.Datetime("ns"),
    "zone": pl.Datetime("us", "America/New_York"),
    "text": pl.String(),
    "epoch": pl.Int64(),
}
NUMBERS = [pl.Float64(), pl.Float32(), pl.Int64(), pl.UInt16(), pl.Int8(), pl.Decimal(12, 3)]
NUMBERS += [pl.String(), pl.Boolean()]
BAD: list[Any] = [None, float("nan"), float("inf"), -float("inf"), -0.0, 0.0, -3.5, 1e300, 2.0**60]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"timezone": "America/New_York"},
    {"timezone": "America/New_York", "session": "09:30-16:00"},
    {"date_shift": 1},
    {"price_scale": 1e-2},
    {"close_only": True},
    {"adjust": False},
    {"drop_suspended": True},
    {"drop_suspended": False},
    {"max_range": 1.5},
    {"decimal": ","},
    {"decimal": "."},
    {"columns": {"close": "low"}},
    {"symbol": "B"},
    {"min_rows": 30},
    {"start": "2020-01-02", "frequency": "1bd"},
]


def bars(n: int, seed: int) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    close = (40 * np.exp(np.cumsum(0.02 * rng.standard_normal(n)))).round(2)
    opened = np.append(close[:1], close[:-1])
    return {
        "open": opened.tolist(),
        "high": (np.maximum(opened, close) + 0.25).tolist(),
        "low": (np.minimum(opened, close) - 0.25).tolist(),
        "close": close.tolist(),
        "volume": rng.integers(1, 9, n).astype(float).tolist(),
    }


def moments(kind: str, n: int, spacing: timedelta, odd: int | None) -> pl.Series:
    times: list[Any] = [datetime(1969, 12, 26, 14, 30, 0, 999) + i * spacing for i in range(n)]
    if odd is not None:
        strange = [None, datetime(1700, 1, 1), datetime(2260, 1, 1), times[0], times[-1]]
        times[odd % n] = strange[odd % 5]
    series = pl.Series("time", times, dtype=pl.Datetime("us"))
    if kind == "epoch":
        return series.dt.epoch("ms")
    zoned = kind == "zone"
    return (
        series.dt.replace_time_zone("UTC").cast(MOMENTS[kind])
        if zoned
        else series.cast(MOMENTS[kind], strict=False)
    )


@st.composite
def files(draw: st.DrawFn) -> pl.DataFrame:
    n = draw(st.integers(2, 40))
    data = bars(n, draw(st.integers(0, 9)))
    data["volume"] = draw(st.sampled_from([data["volume"], [0.0] * n]))
    for _ in range(draw(st.integers(0, 2))):
        name, row = draw(st.sampled_from(sorted(data))), draw(st.integers(0, n - 1))
        data[name][row] = draw(st.sampled_from(BAD))
    spacing = draw(st.sampled_from([timedelta(days=1), timedelta(minutes=7), timedelta(0)]))
    kind = draw(st.sampled_from(sorted(MOMENTS)))
    odd = draw(st.none() | st.integers(0, 200))
    columns = {"time": moments(kind, n, spacing, odd)}
    for name, values in data.items():
        wanted = draw(st.sampled_from(NUMBERS)) if draw(st.booleans()) else pl.Float64()
        columns[name] = pl.Series(name, values, dtype=pl.Float64).cast(wanted, strict=False)
    if draw(st.booleans()):
        columns["symbol"] = pl.Series(["A ", "B"] * n)[:n]
    if draw(st.booleans()):
        columns["Adj Close"] = columns["close"]
    frame = pl.DataFrame(columns)
    left_out = draw(st.sampled_from(["", "", "volume", "open", "time"]))
    frame = frame.drop(left_out) if left_out else frame
    return frame.reverse() if draw(st.booleans()) else frame


def outcome(path: Path, options: dict[str, Any]) -> tuple[pl.DataFrame | None, Any]:
    try:
        frame, report = load_bars(path, **options)
    except UserError as error:
        return None, str(error)
    return frame, report.to_dict()


@settings(
    max_examples=examples(100),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(frame=files(), options=st.sampled_from(OPTIONS))
def test_the_short_roads_agree_with_the_long_ones(
    frame: pl.DataFrame, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    compare(tmp_path_factory.getbasetemp() / "typed.parquet", frame, options)


def compare(path: Path, frame: pl.DataFrame, options: dict[str, Any]) -> None:
    frame.write_parquet(path)
    short, told = outcome(path, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "typed_columns", lambda *_: None)
        patch.setattr(clean, "_as_it_stands", lambda *_: False)
        long, account = outcome(path, options)
    assert told == account
    assert (short is None) == (long is None)
    if short is not None and long is not None:
        assert short.equals(long)
        signs = [np.signbit(f.select(*PRICES, "volume").to_numpy()) for f in (short, long)]
        np.testing.assert_array_equal(*signs)


def changed(**values: Any) -> pl.DataFrame:
    """Forty valid bars of weekdays with other values in row 7."""
    days = [datetime(2021, 1, 4) + timedelta(days=i // 5 * 7 + i % 5) for i in range(40)]
    frame = pl.DataFrame({"time": days} | bars(40, 3)).with_row_index("i")
    put = [pl.when(pl.col("i") == 7).then(v).otherwise(n).alias(n) for n, v in values.items()]
    return frame.with_columns(put).drop("i")


TYPED = changed()
CASES = {
    "nothing": TYPED,
    "single precision": TYPED.with_columns(pl.col("close", "volume").cast(pl.Float32)),
    "whole volume": TYPED.with_columns(pl.col("volume").cast(pl.UInt64)),
    "whole prices": TYPED.with_columns(pl.col(PRICES).cast(pl.Int64) * 100),
    "suspended": changed(high=30.0, low=30.0, open=30.0, close=30.0, volume=0.0),
    "flat": changed(high=30.0, low=30.0, open=30.0, close=30.0),
    "widened": changed(high=pl.col("close") * 0.9999),
    "below": changed(high=pl.col("low") - 1),
    "outside": changed(open=pl.col("high") + 5),
    "zero": changed(low=0.0),
    "negative": changed(low=-1.0),
    "no volume": changed(volume=None),
    "negative volume": changed(volume=-1.0),
    "endless volume": changed(volume=float("inf")),
    "too many digits": changed(volume=pl.lit("1e999")),
    "no price": changed(close=None),
    "no number": changed(close=float("nan")),
    "endless": changed(high=float("inf")),
    "no time": changed(time=None),
    "early": changed(time=datetime(1700, 1, 1)),
    "late": changed(time=datetime(2300, 1, 1)),
    "twice": pl.concat([TYPED, TYPED[7:8]]),
    "again": pl.concat([TYPED, changed(volume=99.0)[7:8]]),
    "backwards": TYPED.reverse(),
    "split": changed(close=pl.col("close") / 2, low=pl.col("low") / 2),
    "adjusted": TYPED.with_columns((pl.col("close") / 2).alias("Adj Close")),
    "quotes": TYPED.select(
        "time", (pl.col("close") - 1).alias("bid"), pl.col("close").alias("ask")
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", [{}, {"close_only": True}], ids=["plain", "close_only"])
def test_every_fault_is_found_on_the_short_roads(
    tmp_path: Path, case: str, options: dict[str, Any]
) -> None:
    compare(tmp_path / "a.parquet", CASES[case], options)


@pytest.mark.parametrize("kind", ["date", "us", "ms", "ns", "zone"])
def test_clean_columns_are_taken_by_the_short_roads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    frame = pl.DataFrame({"time": moments(kind, 40, timedelta(days=1), None)} | bars(40, 1))
    frame = frame.with_columns(pl.col("volume").cast(pl.Int64))
    path = tmp_path / "clean.parquet"
    frame.write_parquet(path)

    def refused(*_: object) -> None:
        raise AssertionError("the long road was taken")

    monkeypatch.setattr(rows, "parse_numbers", refused)
    monkeypatch.setattr(rows, "bar_times", refused)
    monkeypatch.setattr(clean, "drop_unusable", refused)
    taken, report = load_bars(path)
    assert (report.rows_out, report.repaired, report.dropped) == (40, {}, {})
    assert report.time_format.startswith("YYYY-MM-DD")
    in_utc = frame["time"].cast(pl.Datetime("us", "UTC")) if kind == "zone" else frame["time"]
    exact = in_utc.dt.replace_time_zone(None) if kind == "zone" else in_utc
    assert taken["timestamp"].to_list() == exact.cast(pl.Datetime("us")).to_list()
    for name in (*PRICES, "volume"):
        assert taken[name].to_list() == frame[name].cast(pl.Float64).to_list()
