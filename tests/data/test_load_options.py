"""Archives, quotes, factors, zones, sessions and suspended days: each option does one thing."""

import gzip
import io
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from parfait.bars import BAR_COLUMNS
from parfait.data import load_bars
from parfait.utils.errors import UserError

N = 60
HEADER = "Date,Open,High,Low,Close,Volume"


@pytest.fixture
def bars() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    close = (50 * np.exp(np.cumsum(0.02 * rng.standard_normal(N)))).round(2)
    opened = (close * np.exp(0.005 * rng.standard_normal(N))).round(2)
    days = [datetime(2021, 1, 4) + timedelta(days=i) for i in range(110)]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(
                [d for d in days if d.weekday() < 5][:N], dtype=pl.Datetime("us")
            ),
            "open": opened,
            "high": np.maximum(opened, close) + 0.5,
            "low": np.minimum(opened, close) - 0.5,
            "close": close,
            "volume": rng.integers(1000, 9000, N).astype(float),
        }
    )


def lines(bars: pl.DataFrame, form: str = "%Y-%m-%d") -> list[str]:
    stamps = bars["timestamp"].dt.strftime(form).to_list()
    rows = bars.select(BAR_COLUMNS[1:]).rows()
    return [",".join([t, *(f"{x:.10g}" for x in row)]) for t, row in zip(stamps, rows, strict=True)]


def save(folder: Path, rows: list[str], header: str | None = HEADER, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows if header is None else [header, *rows]))
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_archives(tmp_path: Path, bars: pl.DataFrame) -> None:
    text = "\n".join([HEADER, *lines(bars)]).encode()
    alone = zipped(tmp_path / "a.zip", {"__MACOSX/._b.csv": b"x", "in/b.csv": text})
    frame, report = load_bars(alone)
    assert frame.equals(bars)
    assert report.symbols == ["a"]
    nested = zipped(tmp_path / "n.zip", {"b.csv.gz": gzip.compress(text)})
    assert load_bars(nested)[0].equals(bars)
    two = zipped(tmp_path / "two.zip", {"b.csv": text, "c.csv": b""})
    with pytest.raises(UserError, match=r"holds 2 files \('b.csv', 'c.csv'\).*member='b.csv'"):
        load_bars(two)
    assert load_bars(two, member="b.csv")[0].equals(bars)
    with pytest.raises(UserError, match=r"no member 'd\.csv'; it holds 'b\.csv', 'c\.csv'"):
        load_bars(two, member="d.csv")
    for members, sentence in (({}, "empty archive"), ({"xl/book.xml": b""}, "office document")):
        with pytest.raises(UserError, match=sentence):
            load_bars(zipped(tmp_path / "bad.zip", members))
    (tmp_path / "cut.zip").write_bytes(alone.read_bytes()[:-30])
    with pytest.raises(UserError, match="damaged or locked zip"):
        load_bars(tmp_path / "cut.zip")
    onion = text
    for _ in range(4):
        onion = gzip.compress(onion)
    (tmp_path / "onion.gz").write_bytes(onion)
    with pytest.raises(UserError, match="packed more than 2 times"):
        load_bars(tmp_path / "onion.gz")


def test_the_date_of_a_packed_file_may_stand_in_its_member(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    rows = [f"{34_200_000 + 60_000 * i}.0,{r.split(',', 1)[1]}" for i, r in enumerate(lines(bars))]
    rows[::3] = [r.replace(".0,", ",", 1) for r in rows[::3]]  # integers and floats mixed
    path = zipped(tmp_path / "ibm.zip", {"20131008_ibm_minute.csv": "\n".join(rows).encode()})
    frame, report = load_bars(path)
    assert frame["timestamp"][0] == datetime(2013, 10, 8, 9, 30)
    assert (frame["timestamp"].diff().drop_nulls() == timedelta(minutes=1)).all()
    assert report.rows_out == N


def test_decompression_and_cells_stop_at_max_bytes(tmp_path: Path, bars: pl.DataFrame) -> None:
    text = "\n".join([HEADER, *lines(bars)]).encode()
    size = len(text)
    for path in (
        zipped(tmp_path / "a.zip", {"b.csv": text}),
        tmp_path / "a.csv.gz",
        tmp_path / "a.csv",
    ):
        if path.suffix != ".zip":
            path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        assert load_bars(path, max_bytes=size)[0].equals(bars)
        with pytest.raises(
            UserError, match=rf"more than {size - 1} bytes.*max_bytes={2 * size - 2}"
        ):
            load_bars(path, max_bytes=size - 1)
    empty = tmp_path / "empty_cells.csv"
    empty.write_text("Date,Open,High,Low,Close\n" + "1,,,,\n" * 5000)
    with pytest.raises(UserError, match=r"holds more than 8000 cells.*max_bytes="):
        load_bars(empty, max_bytes=40_000)
    with pytest.raises(UserError, match="max_bytes=0 must be within"):
        load_bars(empty, max_bytes=0)


def test_one_endless_row_costs_no_more_than_itself(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = lines(bars)
    rows[55] += ",1" * 300_000
    frame, report = load_bars(save(tmp_path, rows))
    assert frame.equals(pl.concat([bars[:55], bars[56:]]))
    assert report.dropped == {"too many cells": {"count": 1, "rows": [57]}}
    names = ["time", *BAR_COLUMNS[1:]]
    assert load_bars(save(tmp_path, rows, None), names=names)[0].equals(bars)
    rows[5] += ",1" * 300_000
    with pytest.raises(UserError, match="300006 columns, more than 10000"):
        load_bars(save(tmp_path, rows))


def test_parquet_is_held_to_the_same_limits(tmp_path: Path, bars: pl.DataFrame) -> None:
    long = bars.with_columns(pl.lit("x" * 5000).alias("symbol"))
    long.write_parquet(tmp_path / "long.parquet")
    with pytest.raises(UserError, match=r"'symbol' holds a cell of 5000 characters"):
        load_bars(tmp_path / "long.parquet")
    many = bars.with_columns(pl.lit("x" * 4000).alias("symbol").cast(pl.Categorical))
    many.write_parquet(tmp_path / "many.parquet")
    assert load_bars(tmp_path / "many.parquet")[1].rows_out == N
    with pytest.raises(UserError, match="more than 200000 bytes"):
        load_bars(tmp_path / "many.parquet", max_bytes=200_000)
    constant = bars[:1].select(pl.all().repeat_by(100_000).explode())
    constant.write_parquet(tmp_path / "c.parquet")
    with pytest.raises(UserError, match="more than 100000 cells"):
        load_bars(tmp_path / "c.parquet", max_bytes=500_000)
    bars.with_columns(pl.concat_list("close").alias("close")).write_parquet(tmp_path / "l.parquet")
    with pytest.raises(UserError, match=r"l\.parquet"):
        load_bars(tmp_path / "l.parquet")


QUOTES = [
    "time,bid open,bid high,bid low,bid close,ask open,ask high,ask low,ask close",
    "Date,BidOpen,BidHigh,BidLow,BidClose,AskOpen,AskHigh,AskLow,AskClose",
    "t,open_bid,high_bid,low_bid,close_bid,open_ask,high_ask,low_ask,close_ask",
    "date,bid:o,bid:h,bid:l,bid:c,ask:o,ask:h,ask:l,ask:c",
]


def quoted(bars: pl.DataFrame, spread: float) -> list[list[str]]:
    stamps = bars["timestamp"].dt.strftime("%Y-%m-%d").to_list()
    prices = bars.select(BAR_COLUMNS[1:5]).rows()
    return [
        [t, *(f"{x - spread:.4f}" for x in row), *(f"{x + spread:.4f}" for x in row)]
        for t, row in zip(stamps, prices, strict=True)
    ]


@pytest.mark.parametrize("header", QUOTES)
def test_bid_and_ask_become_their_mean(tmp_path: Path, bars: pl.DataFrame, header: str) -> None:
    rows = quoted(bars, 0.01)
    rows[4][4], rows[4][8] = rows[4][8], rows[4][4]  # crossed
    rows[9][1] = "0"  # one side is missing
    frame, report = load_bars(save(tmp_path, [",".join(r) for r in rows], header))
    expected = pl.concat([bars[:9], bars[10:]])
    for name in BAR_COLUMNS[1:5]:
        np.testing.assert_allclose(frame[name], expected[name], rtol=1e-12)
    assert report.flagged["bid above ask"] == {"count": 1, "rows": [6]}
    assert report.dropped == {"zero price": {"count": 1, "rows": [11]}}
    assert report.flagged["volume missing, set to 0"]["count"] == N - 1


def test_quotes_without_header_and_beside_trades(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [[*r[:5], "0", *r[5:], "0"] for r in quoted(bars, 0.01)]
    path = save(tmp_path, [",".join(r) for r in rows], None)
    with pytest.raises(UserError, match=r"11 columns.*names=\['time', 'bid open'") as caught:
        load_bars(path)
    proposed = str(caught.value).split("names=[")[1].split("]")[0]
    names = [name.strip(" '") for name in proposed.split(",")]
    np.testing.assert_allclose(load_bars(path, names=names)[0]["close"], bars["close"], rtol=1e-12)
    both = [f"{r},1,2" for r in lines(bars)]
    frame, report = load_bars(save(tmp_path, both, f"{HEADER},Bid,Ask"))
    assert frame.equals(bars)
    assert report.ignored_columns == ["Bid", "Ask"]
    ticks = [f"{r[0]},{r[4]},{r[8]}" for r in quoted(bars, 0.01)]
    path = save(tmp_path, ticks, "time,bid,ask")
    with pytest.raises(UserError, match="no column for bid open"):
        load_bars(path)
    np.testing.assert_allclose(
        load_bars(path, close_only=True)[0]["open"], bars["close"], rtol=1e-12
    )


def test_factors_remove_splits_exactly(tmp_path: Path, bars: pl.DataFrame) -> None:
    prices, first = pl.col(BAR_COLUMNS[1:5]), pl.int_range(pl.len()) < 30
    raw = bars.with_columns(
        pl.when(first).then(prices * 7).otherwise(prices),
        pl.when(first).then(pl.col("volume") / 7).otherwise(pl.col("volume")),
    )
    day = bars["timestamp"][29].strftime("%Y%m%d")
    factors = tmp_path / "factors.csv"
    factors.write_text(f"20200101,0.5,{1 / 14!r},1\n{day},1,{1 / 7!r},350\n20501231,1,1,0")
    path = save(tmp_path, [r.replace("e+", "e") for r in lines(raw)])
    assert "suspected splits" in load_bars(path)[1].flagged
    frame, report = load_bars(path, factors=str(factors))
    for name in BAR_COLUMNS[1:]:
        np.testing.assert_allclose(frame[name], bars[name], rtol=1e-9)
    assert "suspected splits" not in report.flagged
    assert report.repaired["prices scaled to the factors"]["count"] == 30
    # A dividend of 10 % on the last day but one: earlier prices fall by a tenth.
    paid = bars["timestamp"][-2].strftime("%Y-%m-%d")
    factors.write_text(f"date,price_factor,split_factor,reference_close\n{paid},0.9,1,50")
    frame, _ = load_bars(save(tmp_path, lines(bars)), factors=factors)
    np.testing.assert_allclose(frame["close"][:-1], 0.9 * bars["close"][:-1], rtol=1e-12)
    assert frame.row(-1) == bars.row(-1)


def test_factors_of_several_symbols_and_mistakes(tmp_path: Path, bars: pl.DataFrame) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a.csv").write_text("20991231,0.5,1,1\n")
    rows = [f"{s},{r}" for r in lines(bars) for s in ("A", "B")]
    path = save(tmp_path, rows, f"Ticker,{HEADER}")
    _, report = load_bars(path, factors=folder)
    assert any("no factor file for B" in note for note in report.notes)
    with pytest.raises(UserError, match=r"of one symbol and the file holds 2.*symbol='NAME'"):
        load_bars(path, factors=folder / "a.csv")
    bad = tmp_path / "bad.csv"
    for text, sentence in (
        ("20200101,0,1,1", r"row 1: '20200101,0,1,1' is not of the layout date,price_factor"),
        ("20200101,1,1\n20190101,1,1", "dates of factors must increase, but row 2"),
        ("", "holds no factors"),
        ("soon,1,1", "row 1"),
    ):
        bad.write_text(text)
        with pytest.raises(UserError, match=sentence):
            load_bars(path, symbol="A", factors=bad)
    adjusted = save(tmp_path, [f"{r},9" for r in lines(bars)], f"{HEADER},Adj Close")
    with pytest.raises(UserError, match="adjust=False"):
        load_bars(adjusted, factors=folder / "a.csv")


def test_dates_a_day_early_are_flagged_and_moved_when_told(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    for shift in (1, -1):
        moved = bars.with_columns(pl.col("timestamp") - timedelta(days=shift))
        path = save(tmp_path, lines(moved))
        frame, report = load_bars(path)
        assert frame.equals(moved)
        assert report.flagged["weekdays look shifted"]["count"] == N // 5
        assert any(f"date_shift={shift}" in note for note in report.notes)
        frame, report = load_bars(path, date_shift=shift)
        assert frame.equals(bars)
        assert report.flagged == {}
        assert report.repaired == {
            "dates moved by date_shift": {"count": N, "rows": [2, 3, 4, 5, 6]}
        }
    with pytest.raises(UserError, match="date_shift=99 must be within"):
        load_bars(path, date_shift=99)


def clock(start: datetime, n: int, minutes: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    close = (50 * np.exp(np.cumsum(0.002 * rng.standard_normal(n)))).round(4)
    return pl.DataFrame(
        {
            "timestamp": pl.Series([start + timedelta(minutes=minutes * i) for i in range(n)]),
            "open": close,
            "high": close + 0.5,
            "low": close - 0.5,
            "close": close,
            "volume": np.arange(n) + 1.0,
        }
    ).cast({"timestamp": pl.Datetime("us")})


@pytest.mark.parametrize("minutes", [1, 7, 60])
@pytest.mark.parametrize("backwards", [False, True])
def test_an_hour_that_comes_twice(tmp_path: Path, minutes: int, backwards: bool) -> None:
    utc = clock(datetime(2023, 11, 4, 20), 1440 // minutes, minutes)  # New York falls back at 6:00
    local = pl.col("timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    rows = lines(utc.with_columns(local.dt.replace_time_zone(None)), "%Y-%m-%d %H:%M")
    path = save(tmp_path, rows[::-1] if backwards else rows)
    frame, report = load_bars(path, timezone="America/New_York")
    assert frame.equals(utc)
    assert report.timezone == "America/New_York, converted to UTC"
    blind = load_bars(path)[1]
    assert any("timezone='Area/City'" in note for note in blind.notes)
    lost = blind.dropped.get("other row for the same time, last kept", {"count": 0})["count"]
    assert lost == len(rows) - len({r[:16] for r in rows})


def test_time_zones_leave_dates_alone_and_drop_hours_that_never_were(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    frame, report = load_bars(save(tmp_path, lines(bars)), timezone="Asia/Shanghai")
    assert frame.equals(bars)
    assert report.timezone == "Asia/Shanghai, plain dates kept"
    night = clock(datetime(2023, 3, 11, 12), 1440)
    rows = lines(night, "%Y-%m-%d %H:%M")
    frame, report = load_bars(save(tmp_path, rows), timezone="America/New_York")
    assert report.dropped["time skipped by daylight saving"]["count"] == 60
    assert (frame["timestamp"].diff().drop_nulls() == timedelta(minutes=1)).all()
    with pytest.raises(UserError, match="timezone 'Mars/Base' is unknown"):
        load_bars(save(tmp_path, rows), timezone="Mars/Base")


def test_session(tmp_path: Path) -> None:
    day = clock(datetime(2023, 7, 3, 8), 600)
    path = save(tmp_path, lines(day, "%Y-%m-%d %H:%M"))
    frame, report = load_bars(path, session="09:30-16:00", timezone="America/New_York")
    assert (frame["timestamp"][0], frame.height) == (datetime(2023, 7, 3, 13, 30), 390)
    assert report.dropped == {"outside the session": {"count": 210, "rows": [2, 3, 4, 5, 6]}}
    over_midnight = load_bars(path, session="17:00-09:00")[0]
    assert over_midnight.height == 120
    zoned = save(tmp_path, lines(day, "%Y-%m-%dT%H:%MZ"))
    frame, _ = load_bars(zoned, session="09:30-16:00", timezone="America/New_York")
    assert (frame["timestamp"][0], frame.height) == (datetime(2023, 7, 3, 13, 30), 270)
    with pytest.raises(UserError, match="session='9-16' must be like"):
        load_bars(path, session="9-16")


def test_suspended_days_leave_a_gap_in_shares_only(tmp_path: Path, bars: pl.DataFrame) -> None:
    still = bars.with_columns(
        pl.when(pl.int_range(pl.len()).is_between(20, 26)).then(pl.lit(v)).otherwise(n).alias(n)
        for n, v in zip(BAR_COLUMNS[1:], (50, 50, 50, 50, 0), strict=True)
    )
    path = save(tmp_path, lines(still))
    frame, report = load_bars(path)
    assert frame.equals(pl.concat([still[:20], still[27:]]))
    assert report.dropped["no volume and no range (suspended)"] == {
        "count": 7,
        "rows": [22, 23, 24, 25, 26],
    }
    assert report.segments == 2
    assert load_bars(path, drop_suspended=False)[0].equals(still)
    daily = still.with_columns(
        pl.Series("timestamp", [datetime(2021, 1, 1) + timedelta(days=i) for i in range(N)]).cast(
            pl.Datetime("us")
        )
    )
    coins = save(tmp_path, lines(daily))
    frame, report = load_bars(coins)
    assert frame.equals(daily)
    assert (report.flagged["flat bars"]["count"], report.dropped) == (7, {})
    assert load_bars(coins, drop_suspended=True)[0].height == N - 7


def test_ranges_and_rows_asked_for(tmp_path: Path, bars: pl.DataFrame) -> None:
    prices = pl.col("high") * pl.when(pl.int_range(pl.len()) == 5).then(8).otherwise(1)
    path = save(tmp_path, lines(bars.with_columns(prices)))
    assert load_bars(path)[1].flagged["high more than 3 times low"]["count"] == 1
    frame, report = load_bars(path, max_range=3)
    assert frame.equals(pl.concat([bars[:5], bars[6:]]))
    assert report.dropped == {"range over max_range": {"count": 1, "rows": [7]}}
    with pytest.raises(UserError, match=r"60 usable bar\(s\) of 60 rows; at least 61 are needed"):
        load_bars(path, min_rows=61)
    with pytest.raises(UserError, match="min_rows='many' must be a whole number"):
        load_bars(path, min_rows="many")


def test_some_columns_adjusted_and_some_not(tmp_path: Path, bars: pl.DataFrame) -> None:
    halved = bars.with_columns(pl.col("close") / 2)
    with pytest.raises(UserError, match=r"adjusted and raw prices are mixed \(row 2: close") as e:
        load_bars(save(tmp_path, lines(halved)))
    assert "close_only=True" in str(e.value)
    rows = [f"{r},{c!r}" for r, c in zip(lines(halved), bars["close"], strict=True)]
    path = save(tmp_path, rows, f"{HEADER},Adj Close")
    with pytest.raises(UserError, match=r"columns=\{'close': 'Adj Close'\}"):
        load_bars(path)
    assert load_bars(path, columns={"close": "Adj Close"})[0].equals(bars)


def test_symbol_column_with_holes(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [f"{'' if i == 7 else 'A'},{r}" for i, r in enumerate(lines(bars))]
    frame, report = load_bars(save(tmp_path, rows, f"Ticker,{HEADER}"))
    assert report.dropped == {"no symbol": {"count": 1, "rows": [9]}}
    assert report.rows_in == N == frame.height + 1
    rows = [f"{'' if i < 7 else 'A'},{r}" for i, r in enumerate(lines(bars))]
    with pytest.raises(UserError, match=r"7 rows have no symbol, first row 2; .*'symbol': 'NAME'"):
        load_bars(save(tmp_path, rows, f"Ticker,{HEADER}"))


def test_in_memory_and_on_disk_are_alike(tmp_path: Path, bars: pl.DataFrame) -> None:
    """A quote anywhere sends the file another way through the reader, to the same bars."""
    rows = lines(bars)
    plain = load_bars(save(tmp_path, [*rows, "2021-02-30,,,,,", ",,,,,", rows[0]]))
    rows[40] = ",".join(f'"{c}"' for c in rows[40].split(","))
    quoted_too = load_bars(save(tmp_path, [*rows, "2021-02-30,,,,,", ",,,,,", rows[0]]))
    assert plain[0].equals(quoted_too[0])
    assert plain[1].dropped == quoted_too[1].dropped
    assert plain[1].repaired == quoted_too[1].repaired
    text = io.BytesIO()
    bars.with_columns(pl.all().cast(pl.String)).write_parquet(text)
    (tmp_path / "t.parquet").write_bytes(text.getvalue())
    assert load_bars(tmp_path / "t.parquet")[0].equals(bars)


@pytest.mark.parametrize("role", [1, 4, 5])
def test_a_column_without_a_single_number(tmp_path: Path, bars: pl.DataFrame, role: int) -> None:
    rows = [
        ",".join("n/a" if i == role else c for i, c in enumerate(r.split(","))) for r in lines(bars)
    ]
    path = save(tmp_path, rows)
    if role == 5:
        assert load_bars(path)[1].flagged["volume missing, set to 0"]["count"] == N
    else:
        with pytest.raises(UserError, match=r"60 of 60 rows are unusable.*missing price 60"):
            load_bars(path)
