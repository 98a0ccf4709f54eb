"""Segments, aggregation and the split: no window crosses a gap, no bar is on both sides."""

from datetime import datetime, timedelta

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.bars import bar_violations
from parfait.data import (
    Segment,
    WindowIndex,
    aggregate_segment,
    embedded_bars,
    fingerprint,
    make_segments,
    split_windows,
)
from parfait.utils.errors import UserError

DAY = 86_400_000_000


def history(n: int, start: datetime = datetime(2010, 1, 4)) -> pl.DataFrame:
    days = [start + timedelta(days=i) for i in range(2 * n)]
    days = [d for d in days if d.weekday() < 5][:n]
    base = pl.int_range(n, eager=True).cast(pl.Float64) + 100
    columns = {"open": base, "high": base + 2, "low": base - 1, "close": base + 1, "volume": base}
    return pl.DataFrame({"timestamp": pl.Series(days, dtype=pl.Datetime("us"))} | columns)


@pytest.fixture
def market() -> dict[str, pl.DataFrame]:
    whole = history(600)
    return {"A": pl.concat([whole[:150], whole[170:]]), "B": history(500)}


def test_gaps_end_segments_which_share_memory(market: dict[str, pl.DataFrame]) -> None:
    segments = make_segments(market)
    assert [(s.symbol, len(s)) for s in segments] == [("A", 150), ("A", 430), ("B", 500)]
    first, second = segments[:2]
    assert second.bars.data_ptr() == first.bars.data_ptr() + 150 * 5 * 8
    assert [len(s) for s in make_segments(market, max_gap=20)] == [580, 500]
    with pytest.raises(UserError, match="A: low above"):
        make_segments({"A": market["A"].with_columns(low=pl.col("high") + 1)})


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 30), st.integers(1, 20), st.integers(1, 7), st.integers(0, 60), st.integers(0, 9)
)
def test_split_never_shares_a_bar(
    history_bars: int, horizon: int, stride: int, embargo: int, month: int
) -> None:
    frames = {"A": pl.concat([history(600)[:150], history(600)[170:]]), "B": history(500)}
    segments = make_segments(frames)
    cut = datetime(2010, 3 + month, 15)
    train, held = split_windows(segments, history_bars, horizon, cut, stride, embargo)
    length = history_bars + horizon
    moment = (cut - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    wait = max(embargo - 1, 0) * DAY * 7 // 5 - 3 * DAY  # embargo weekdays, at least, in time
    for windows, is_train in ((train, True), (held, False)):
        for s, i in windows.index.tolist():
            times = windows.segments[s].timestamps[i : i + length]
            assert times.shape == (length,)
            assert bool((times.diff() <= 4 * DAY).all())
            if is_train:
                assert times[-1] <= moment
            else:
                assert times[0] > moment + wait
                before = windows.segments[s].timestamps
                if before[0] <= moment:
                    between = (before > moment) & (before < times[0])
                    assert int(between.sum()) >= embargo
    assert len(train) > 0 or length > 40
    if stride == 1 and embargo == 0:
        n = [len(s) for s in segments]
        crossing = length - 1  # windows over the cut are in neither part
        assert len(train) + len(held) >= sum(max(k - length + 1, 0) for k in n) - 3 * crossing - 6


def test_a_date_means_its_whole_day() -> None:
    segments = make_segments({"A": history(300)})
    by_date = split_windows(segments, 5, 5, "2010-06-15")[0]
    assert by_date.last_time([len(by_date) - 1]).item() // DAY == 14775  # 2010-06-15
    earlier = split_windows(segments, 5, 5, "2010-06-14 23:59:59")[0]
    assert len(by_date) == len(earlier) + 1
    with pytest.raises(UserError, match="train_end 'soon'"):
        split_windows(segments, 5, 5, "soon")
    with pytest.raises(UserError, match="stride"):
        split_windows(segments, 5, 5, "2010-06-15", stride=0)


def test_gather_returns_the_bars_of_the_window(market: dict[str, pl.DataFrame]) -> None:
    segments = make_segments(market)
    train, _ = split_windows(segments, 8, 4, "2011-01-31", stride=3)
    rows = torch.tensor([0, 5, len(train) - 1])
    got = train.gather(rows)
    assert got.shape == (3, 12, 5)
    assert got.dtype == torch.float64
    for row, window in zip(rows.tolist(), got, strict=True):
        s, i = train.index[row].tolist()
        assert torch.equal(window, segments[s].bars[i : i + 12])
        assert train.last_time([row]).item() == segments[s].timestamps[i + 11].item()
        assert train.segment_of([row]).item() == s
    assert train.bars_per_year(rows).tolist() == [
        segments[s].bars_per_year for s in train.segment_of(rows)
    ]
    assert train.gather([]).shape == (0, 12, 5)
    assert train.last_time([]).shape == (0,)


def test_later_bars_change_no_training_window() -> None:
    short, long = make_segments({"A": history(300)}), make_segments({"A": history(500)})
    a, _ = split_windows(short, 10, 5, "2010-09-30")
    b, _ = split_windows(long, 10, 5, "2010-09-30")
    assert torch.equal(a.index, b.index)
    assert torch.equal(a.gather([0, 50]), b.gather([0, 50]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 9), st.data())
def test_aggregation(k: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, k - 1))
    segment = make_segments({"A": embedded_bars()["NASDAQ"][: 50 + offset]})[0]
    merged = aggregate_segment(segment, k, offset)
    n = (len(segment) - offset) // k
    assert len(merged) == n
    assert merged.bars_per_year == segment.bars_per_year / k
    used = segment.bars[offset : offset + n * k]
    assert merged.bars[0, 0] == used[0, 0]
    assert merged.bars[-1, 3] == used[-1, 3]
    assert torch.isclose(merged.bars[:, 4].sum(), used[:, 4].sum())
    assert merged.bars[:, 1].max() == used[:, 1].max()
    assert merged.bars[:, 2].min() == used[:, 2].min()
    assert bool(torch.isin(merged.timestamps, segment.timestamps).all())
    frame = pl.DataFrame(merged.bars.numpy(), schema=["open", "high", "low", "close", "volume"])
    time = pl.Series("timestamp", merged.timestamps.numpy()).cast(pl.Datetime("us"))
    assert bar_violations(frame.with_columns(time)) == {}


def test_aggregating_twice_is_aggregating_once() -> None:
    segment = make_segments({"A": embedded_bars()["SP500"]})[0]
    twice, once = aggregate_segment(aggregate_segment(segment, 2), 3), aggregate_segment(segment, 6)
    assert torch.equal(twice.bars, once.bars)
    assert torch.equal(twice.timestamps, once.timestamps)
    with pytest.raises(UserError, match="offset 3"):
        aggregate_segment(segment, 3, 3)
    assert len(aggregate_segment(segment, 10_000)) == 0


def test_embedded_data_is_what_it_says() -> None:
    frames = embedded_bars()
    assert list(frames) == ["SP500", "NASDAQ"]
    for frame in frames.values():
        assert bar_violations(frame) == {}
        assert frame.height == 5031
        assert str(frame["timestamp"][0].date()) == "1999-01-04"
        assert str(frame["timestamp"][-1].date()) == "2018-12-31"
    assert frames["SP500"]["close"].tail(1).item() == pytest.approx(2506.85, abs=0.005)
    segments = make_segments(frames)
    assert [s.bars_per_year for s in segments] == [252.0, 252.0]
    crash = frames["SP500"]["close"].log().diff().abs().max()
    assert crash == pytest.approx(0.110, abs=5e-4)  # 2008-10-13


def test_fingerprint_sees_every_value_and_no_order() -> None:
    frames = embedded_bars()
    mark = fingerprint(frames)
    assert mark == fingerprint(dict(reversed(frames.items())))
    assert mark != fingerprint({"X": frames["SP500"], "NASDAQ": frames["NASDAQ"]})
    last = pl.int_range(pl.len()) == 5030
    for name in ("close", "volume"):
        changed = frames["SP500"].with_columns(
            pl.when(last)
            .then(pl.col(name) * (1 + 1e-15) + 1e-9)
            .otherwise(pl.col(name))
            .alias(name)
        )
        assert mark != fingerprint(frames | {"SP500": changed})
    assert isinstance(split_windows(make_segments(frames), 1, 1, "2014-12-31")[0], WindowIndex)
    assert isinstance(make_segments(frames)[0], Segment)
