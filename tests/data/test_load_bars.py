"""Every recognised way of writing bars gives the same bars; every fault is counted once."""

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from parfait.bars import BAR_COLUMNS, bar_violations
from parfait.data import embedded_bars, load_bars
from parfait.utils.errors import UserError

N = 60


@pytest.fixture
def bars() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    close = (50 * np.exp(np.cumsum(0.02 * rng.standard_normal(N)))).round(2)
    opened = (close * np.exp(0.005 * rng.standard_normal(N))).round(2)
    days = [datetime(2021, 1, 1) + timedelta(days=i) for i in range(110)]
    days = [d for d in days if d.weekday() < 5][:N]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(days, dtype=pl.Datetime("us")),
            "open": opened,
            "high": np.maximum(opened, close) + 0.5,
            "low": np.minimum(opened, close) - 0.5,
            "close": close,
            "volume": rng.integers(1000, 9000, N).astype(float),
        }
    )


def cells(bars: pl.DataFrame, time: str = "%Y-%m-%d") -> list[list[str]]:
    stamps = bars["timestamp"].dt.strftime(time).to_list()
    numbers = bars.select(BAR_COLUMNS[1:]).rows()
    return [[t, *(f"{x:.10g}" for x in row)] for t, row in zip(stamps, numbers, strict=True)]


def save(
    folder: Path,
    rows: list[list[str]],
    header: str | None = "Date,Open,High,Low,Close,Volume",
    delimiter: str = ",",
    name: str = "x.csv",
    encoding: str = "utf-8",
) -> Path:
    lines = [] if header is None else [header.replace(",", delimiter)]
    lines += [delimiter.join(row) for row in rows]
    path = folder / name
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize(
    "header",
    [
        "date,OPEN,High , low,Close,Vol",
        "timestamp,1. open,2. high,3. low,4. close,5. volume",
        "Open Time,Open Price,High_Price,Low.Price,Last,Volume BTC",
        "日期,开盘,最高,最低,收盘,成交量",
        "t,o,h,l,c,v",
        ",open,high,low,close,volume",
        None,
    ],
)
def test_headers(tmp_path: Path, bars: pl.DataFrame, header: str | None) -> None:
    frame, report = load_bars(save(tmp_path, cells(bars), header))
    assert frame.equals(bars)
    assert (report.rows_in, report.rows_out, report.bars_per_year) == (N, N, 252.0)
    assert (report.repaired, report.dropped, report.flagged) == ({}, {}, {})


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_delimiters_and_encodings(
    tmp_path: Path, bars: pl.DataFrame, delimiter: str, encoding: str
) -> None:
    header = "日期,开盘,最高,最低,收盘,成交量"
    path = save(tmp_path, cells(bars), header, delimiter, encoding=encoding)
    assert load_bars(path)[0].equals(bars)


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M:%S.%3f",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dT%H:%M:%S+00:00",
        "%Y%m%d",
        "%Y%m%d %H:%M",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%m/%d/%Y %H:%M",
        "%d.%m.%Y %H:%M:%S.000",
        "%Y-%m-%d 12-AM",
        "%Y-%m-%d 12:00:00 AM",
        "%s",
        "%s000",
        "%s000000",
        "%s000000000",
    ],
)
def test_time_forms(tmp_path: Path, bars: pl.DataFrame, form: str) -> None:
    frame, _ = load_bars(save(tmp_path, cells(bars, form)))
    assert frame.equals(bars)


def test_offsets_move_to_utc_and_differing_ones_need_a_decision(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    east = load_bars(save(tmp_path, cells(bars, "%Y-%m-%d 00:00:00-05:00")))[0]
    moved = bars["timestamp"] + timedelta(hours=5)
    assert east["timestamp"].equals(moved)
    rows = cells(bars, "%Y-%m-%d 00:00:00-05:00")
    rows[40:] = cells(bars, "%Y-%m-%d 00:00:00-04:00")[40:]
    path = save(tmp_path, rows)
    with pytest.raises(UserError, match="local_time"):
        load_bars(path)
    assert load_bars(path, local_time=True)[0].equals(bars)
    mixed = load_bars(path, local_time=False)[0]["timestamp"]
    assert mixed[-1] == bars["timestamp"][-1] + timedelta(hours=4)


def test_day_and_month_that_cannot_be_told_apart(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [r for r in cells(bars, "%d/%m/%Y") if int(r[0][:2]) <= 12]
    path = save(tmp_path, rows)
    with pytest.raises(UserError, match="day_first"):
        load_bars(path)
    days = load_bars(path, day_first=True)[0]["timestamp"]
    assert days.is_in(bars["timestamp"].implode()).all()
    months = load_bars(path, day_first=False, max_gap=99)[0]["timestamp"]
    assert (months.dt.day() <= 4).all()


def test_date_and_clock_columns_join(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [[r[0], "09:30", *r[1:]] for r in cells(bars)]
    frame, _ = load_bars(save(tmp_path, rows, "Date,Time,Open,High,Low,Close,Volume"))
    assert frame["timestamp"].equals(bars["timestamp"] + timedelta(hours=9, minutes=30))


def test_milliseconds_since_midnight(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [[str(34_200_000 + 60_000 * i), *r[1:]] for i, r in enumerate(cells(bars))]
    frame, _ = load_bars(save(tmp_path, rows, None, name="spy_20131008_trade.csv"))
    assert frame["timestamp"][0] == datetime(2013, 10, 8, 9, 30)
    nameless = save(tmp_path, rows, None)
    with pytest.raises(UserError, match="date="):
        load_bars(nameless)
    assert load_bars(nameless, date="2013-10-08")[0].equals(frame)


def test_no_time_column(tmp_path: Path, bars: pl.DataFrame) -> None:
    path = save(tmp_path, [r[1:] for r in cells(bars)], "Open,High,Low,Close,Volume")
    with pytest.raises(UserError, match=r"'Volume': name.*start='YYYY-MM-DD'.*frequency='1bd'"):
        load_bars(path)
    assert load_bars(path, start="2021-01-01", frequency="1bd")[0].equals(bars)
    monthly = load_bars(path, start="2021-01-31", frequency="1mo")[0]["timestamp"]
    assert monthly[1] == datetime(2021, 2, 28)
    with pytest.raises(UserError, match="give no times"):
        load_bars(path, start="soon", frequency="often")


def european(rows: list[list[str]]) -> list[list[str]]:
    return [[r[0], *(x.replace(".", ",") for x in r[1:])] for r in rows]


def test_decimal_comma(tmp_path: Path, bars: pl.DataFrame) -> None:
    frame, report = load_bars(save(tmp_path, european(cells(bars)), delimiter=";"))
    assert frame.equals(bars)
    assert report.repaired["decimal commas"]["count"] == N
    whole = [f"{float(r[5]):,.0f}".replace(",", ".") for r in cells(bars)]
    grouped = [[*r[:5], v] for r, v in zip(european(cells(bars)), whole, strict=True)]
    frame, report = load_bars(save(tmp_path, grouped, delimiter=";"))
    assert report.repaired["thousands separators"]["count"] == N
    assert frame.equals(bars)


def test_a_comma_before_three_digits_is_not_guessed(tmp_path: Path) -> None:
    rows = [[f"2021-01-{d:02}", "1,234", "1,236", "1,231", "1,235", "5"] for d in range(1, 29)]
    path = save(tmp_path, rows, delimiter=";")
    with pytest.raises(UserError, match="decimal="):
        load_bars(path)
    assert load_bars(path, decimal=",")[0]["close"][0] == 1.235
    assert load_bars(path, decimal=".")[0]["close"][0] == 1235.0


def test_thousands_suffixes_and_null_markers(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = cells(bars)
    rows[0][5], rows[1][5], rows[2][5] = '"1,234,567"', "1.2M", "-"
    frame, report = load_bars(save(tmp_path, rows))
    assert frame["volume"].head(3).to_list() == [1234567.0, 1.2e6, 0.0]
    assert report.repaired["thousands separators"] == {"count": 1, "rows": [2]}
    assert report.repaired["numbers with a suffix"] == {"count": 1, "rows": [3]}
    assert report.flagged["volume missing, set to 0"] == {"count": 1, "rows": [4]}


def test_order_and_duplicates(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = cells(bars)
    frame, report = load_bars(save(tmp_path, rows[::-1]))
    assert frame.equals(bars)
    assert report.repaired["rows out of order"]["count"] == N - 1
    other = [*rows[7][:5], "77"]
    frame, report = load_bars(save(tmp_path, [*rows[:3], rows[2], *rows[3:8], other, *rows[8:]]))
    assert report.repaired["exact duplicates"]["count"] == 1
    assert report.dropped["other row for the same time, last kept"]["count"] == 1
    assert frame["volume"][7] == 77.0
    assert frame.drop("volume").equals(bars.drop("volume"))
    assert report.rows_in == N + 2 == report.rows_out + 2


def test_high_and_low_are_widened_within_a_thousandth_only(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    rows = cells(bars)
    near, far = float(rows[3][4]) * (1 - 5e-4), float(rows[4][4]) * (1 - 5e-3)
    rows[3][1], rows[3][2], rows[3][3] = (f"{near:.6f}", f"{near:.6f}", f"{near - 1:.6f}")
    rows[4][1], rows[4][2], rows[4][3] = (f"{far:.6f}", f"{far:.6f}", f"{far - 1:.6f}")
    frame, report = load_bars(save(tmp_path, rows))
    assert report.repaired == {"high or low widened over open and close": {"count": 1, "rows": [5]}}
    assert report.dropped == {"open or close outside high and low": {"count": 1, "rows": [6]}}
    assert frame["high"][3] == frame["close"][3]
    assert frame.height == N - 1


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (0, "soon", "unreadable time"),
        (0, "2021-02-30", "unreadable time"),
        (1, "-3", "negative price"),
        (1, "0", "zero price"),
        (4, "abc", "unreadable number"),
        (4, "null", "missing price"),
        (4, "1e999", "price not finite"),
        (2, "1", "high below low"),
        (5, "-1", "negative volume"),
    ],
)
def test_one_unusable_row_is_dropped_and_counted(
    tmp_path: Path, bars: pl.DataFrame, column: int, value: str, reason: str
) -> None:
    long = pl.concat(
        [bars.with_columns(pl.col("timestamp") + timedelta(days=84 * k)) for k in range(2)]
    )
    rows = cells(long)
    rows[9][column] = value
    frame, report = load_bars(save(tmp_path, rows))
    assert report.dropped == {reason: {"count": 1, "rows": [11]}}
    assert frame.equals(pl.concat([long[:9], long[10:]]))


def test_more_than_five_percent_unusable(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = cells(bars)
    for i in range(3):
        rows[10 * i][4] = "null"
    assert load_bars(save(tmp_path, rows))[1].dropped["missing price"]["count"] == 3
    rows[45][4] = "null"
    with pytest.raises(UserError, match=r"4 of 60 rows are unusable.*missing price 4.*row 2"):
        load_bars(save(tmp_path, rows))


ADJUSTED = "Date,Open,High,Low,Close,Adj Close,Volume"


def adjusted(rows: list[list[str]], ratios: list[float]) -> list[list[str]]:
    return [[*r[:5], f"{float(r[4]) * k:.17g}", r[5]] for r, k in zip(rows, ratios, strict=True)]


@pytest.mark.parametrize("latest", [1.0, 0.685])
def test_adjusted_close_scales_the_bars_before_the_last(
    tmp_path: Path, bars: pl.DataFrame, latest: float
) -> None:
    ratios = [latest * (0.5 if i < 20 else 1.0) for i in range(N)]
    path = save(tmp_path, adjusted(cells(bars), ratios), ADJUSTED)
    frame, report = load_bars(path)
    prices = pl.col("open", "high", "low", "close")
    halved = bars.with_columns(
        pl.when(pl.int_range(pl.len()) < 20).then(prices / 2).otherwise(prices)
    )
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(frame[name], halved[name], rtol=1e-12)
    assert frame.row(-1) == bars.row(-1)  # as traded, to the last digit
    assert report.repaired["prices scaled to the adjusted close"]["count"] == 20
    assert [("0.685 of the close" in note) for note in report.notes] == [True] * (latest != 1)
    raw, report = load_bars(path, adjust=False)
    assert raw.equals(bars)
    assert not report.repaired


def test_the_last_usable_bar_of_each_symbol_keeps_its_price(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    ratios = [0.25] * (N - 1) + [1.0]
    rows = adjusted(cells(bars), ratios)
    rows[-1][2] = "0.01"  # high below low: dropped, so the bar before it is the last
    other = adjusted(cells(bars), [0.8] * N)
    path = save(
        tmp_path,
        [["B", *r] for r in rows[::-1]] + [["A", *r] for r in other],
        "Ticker," + ADJUSTED,
    )
    frame, report = load_bars(path)
    assert "prices scaled to the adjusted close" not in report.repaired
    assert frame.filter(pl.col("symbol") == "B").drop("symbol").equals(bars[:-1])
    kept = frame.filter(pl.col("symbol") == "A").drop("symbol")
    assert kept.row(-1) == bars.row(-1)
    np.testing.assert_allclose(kept["close"], bars["close"], rtol=1e-12)


def test_a_row_without_its_adjusted_close_is_dropped(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = adjusted(cells(bars), [0.5] * N)
    rows[3][5], rows[-1][5] = "null", "0"
    frame, report = load_bars(save(tmp_path, rows, ADJUSTED))
    assert {reason: e["rows"] for reason, e in report.dropped.items()} == {
        "missing price": [5],
        "zero price": [N + 1],
    }
    assert frame.equals(pl.concat([bars[:3], bars[4:-1]]))


def test_split_is_flagged_and_kept(tmp_path: Path, bars: pl.DataFrame) -> None:
    prices = pl.col("open", "high", "low", "close")
    split = bars.with_columns(
        pl.when(pl.int_range(pl.len()) >= 30).then(prices / 4).otherwise(prices)
    )
    frame, report = load_bars(save(tmp_path, cells(split)))
    assert report.flagged == {"suspected splits": {"count": 1, "rows": [32]}}
    np.testing.assert_allclose(frame["close"], split["close"], rtol=1e-9)
    crash = bars.with_columns(
        pl.when(pl.int_range(pl.len()) >= 30).then(prices * np.exp(-0.87)).otherwise(prices)
    )
    assert load_bars(save(tmp_path, cells(crash)))[1].flagged == {}


def test_unit_change_is_refused(tmp_path: Path, bars: pl.DataFrame) -> None:
    prices = pl.col("open", "high", "low", "close")
    cents = bars.with_columns(
        pl.when(pl.int_range(pl.len()) >= 30).then(prices * 1000).otherwise(prices)
    )
    with pytest.raises(UserError, match="row 32: the close goes from"):
        load_bars(save(tmp_path, cells(cents)))


def test_missing_volume_and_missing_prices(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = cells(bars)
    frame, report = load_bars(save(tmp_path, [r[:5] for r in rows], "Date,Open,High,Low,Close"))
    assert frame["volume"].to_list() == [0.0] * N
    assert report.flagged == {"volume missing, set to 0": {"count": N, "rows": [2, 3, 4, 5, 6]}}
    path = save(tmp_path, [[r[0], r[4]] for r in rows], "Date,Close")
    with pytest.raises(
        UserError, match=r"open, high, low.*'Date'.*\{'open': 'NAME'\}.*close_only=True"
    ):
        load_bars(path)
    frame, report = load_bars(path, close_only=True)
    assert frame["open"].equals(frame["close"].rename("open"))
    assert report.repaired["open, high or low taken from the close"]["count"] == N


def test_gap_ends_a_segment(tmp_path: Path, bars: pl.DataFrame) -> None:
    report = load_bars(save(tmp_path, cells(bars[:20]) + cells(bars[26:])))[1]
    assert report.segments == 2
    assert report.flagged == {"gaps of over 5 sessions": {"count": 1, "rows": [22]}}
    assert load_bars(save(tmp_path, cells(bars[:20]) + cells(bars[25:])))[1].segments == 1


def test_several_symbols(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [[s, *r] for r in cells(bars) for s in ("B", "A")]
    path = save(tmp_path, rows, "Ticker,Date,Open,High,Low,Close,Volume")
    frame, report = load_bars(path)
    assert report.symbols == ["B", "A"]
    assert frame.columns == [*BAR_COLUMNS, "symbol"]
    assert frame.filter(pl.col("symbol") == "A").drop("symbol").equals(bars)
    assert load_bars(path, symbol="A")[0].equals(bars)
    with pytest.raises(UserError, match="holds A, B"):
        load_bars(path, symbol="C")


def test_symbols_side_by_side(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [[*r, *(["", "", "", "", ""] if i < 10 else r[1:])] for i, r in enumerate(cells(bars))]
    header = ",".join(["", *(f"{s}:{n}" for s in ("X", "Y") for n in BAR_COLUMNS[1:])])
    path = save(tmp_path, rows, header)
    frame, report = load_bars(path)
    assert frame.columns == [*BAR_COLUMNS, "symbol"]
    assert frame.filter(pl.col("symbol") == "X").drop("symbol").equals(bars)
    assert frame.filter(pl.col("symbol") == "Y").drop("symbol").equals(bars[10:])
    assert (report.rows_in, report.rows_out) == (2 * N, 2 * N - 10)
    assert report.dropped == {"before the first price": {"count": 10, "rows": [2, 3, 4, 5, 6]}}
    alone, report = load_bars(path, symbol="Y")
    assert alone.equals(bars[10:])
    assert (report.rows_in, report.symbols) == (N, ["Y"])
    with pytest.raises(UserError, match=r"'Z' is not in the file; it holds X, Y"):
        load_bars(path, symbol="Z")


def test_parquet_round_trip(tmp_path: Path) -> None:
    history = embedded_bars()["NASDAQ"]
    history.write_parquet(tmp_path / "n.parquet")
    frame, report = load_bars(tmp_path / "n.parquet")
    assert frame.equals(history)
    assert report.bars_per_year == 252.0
    zoned = history.with_columns(
        pl.col("timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Shanghai")
    )
    zoned.write_parquet(tmp_path / "z.parquet")
    assert load_bars(tmp_path / "z.parquet")[0].equals(history)


def test_options_resolve_what_names_leave_open(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [[*r, "1"] for r in cells(bars)]
    path = save(tmp_path, rows, "When,Open,High,Low,Close,Volume,volume_usd")
    with pytest.raises(
        UserError, match=r"2 columns may be the volume.*columns=\{'volume': 'Volume'\}"
    ):
        load_bars(path)
    options = {"columns": {"time": "When", "volume": "Volume"}}
    frame, report = load_bars(path, **options)
    assert frame.equals(bars)
    assert report.ignored_columns == ["volume_usd"]
    with pytest.raises(UserError, match="no column named 'Whn'"):
        load_bars(path, columns={"time": "Whn"})
    with pytest.raises(UserError, match="role 'tme' is unknown"):
        load_bars(path, columns={"tme": "When"})
    with pytest.raises(UserError, match="no option 'pricescale'"):
        load_bars(path, pricescale=2)
    scaled = load_bars(path, price_scale=1e-4, **options)[0]
    np.testing.assert_allclose(scaled["close"], bars["close"] * 1e-4, rtol=1e-15)


def test_lines_before_the_header_and_names_of_a_headerless_file(
    tmp_path: Path, bars: pl.DataFrame
) -> None:
    junk = "Created on 10-17-2019,https://example.org\nDate,Open,High,Low,Close,Volume"
    frame, report = load_bars(save(tmp_path, cells(bars), junk))
    assert frame.equals(bars)
    assert report.repaired == {"lines before the header": {"count": 1, "rows": [1]}}
    swapped = [[r[0], r[1], r[4], r[2], r[3], r[5], "9"] for r in cells(bars)]
    path = save(tmp_path, swapped, None)
    with pytest.raises(UserError, match=r"no header and 7 columns.*names=\['time', 'open'"):
        load_bars(path)
    names = ["time", "open", "close", "high", "low", "volume"]
    assert load_bars(path, names=names)[0].equals(bars)


def test_options_that_arrive_as_numbers_or_misshapen(tmp_path: Path, bars: pl.DataFrame) -> None:
    rows = [["600519", *r] for r in cells(bars)] + [["1", *r] for r in cells(bars)]
    path = save(tmp_path, rows, "Ticker,Date,Open,High,Low,Close,Volume")
    assert load_bars(path, symbol=600519)[0].equals(bars)
    timed = [[str(60_000 * i), *r[1:]] for i, r in enumerate(cells(bars))]
    clock = save(tmp_path, timed, None, name="y.csv")
    assert load_bars(clock, date=20131008)[0]["timestamp"][0] == datetime(2013, 10, 8)
    with pytest.raises(UserError, match=r"columns='Close' must map.*columns=\{'close': 'NAME'\}"):
        load_bars(path, columns="Close")
    with pytest.raises(UserError, match=r"names='time' must be a list.*names=\['time'"):
        load_bars(path, names="time")


def test_unusable_files(tmp_path: Path) -> None:
    def sentence(content: bytes | None, name: str = "f.csv") -> str:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            load_bars(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "does not exist" in sentence(None, "absent.csv")
    assert "is empty" in sentence(b"")
    assert "is empty" in sentence(b"\n \n")
    assert "is an image" in sentence(b"\x89PNG\x00\x00")
    assert "binary" in sentence(b"\x01\x00\x02\x00")
    assert "damaged gzip" in sentence(gzip.compress(b"Date,Close\n" * 99)[:20])
    assert "Parquet" in sentence(b"PAR1 nothing of the sort PAR1")
    assert "no close column; the columns are 'a', 'b'" in sentence(b"a,b\n1,2\n")
    assert "no rows" in sentence(b"Date,Open,High,Low,Close\n")
    assert "2 are needed" in sentence(b"Date,Open,High,Low,Close\n2020-01-01,1,1,1,1\n")
    with pytest.raises(UserError, match="is a folder"):
        load_bars(tmp_path)


def test_report_is_plain_and_readable(tmp_path: Path, bars: pl.DataFrame) -> None:
    report = load_bars(save(tmp_path, cells(bars)))[1]
    plain = report.to_dict()
    assert (plain["repaired"], plain["dropped"], plain["flagged"]) == ({}, {}, {})
    assert plain["columns"]["close"] == "Close"
    assert plain["time_format"] == "YYYY-MM-DD"
    assert len(plain["sha256"]) == 64
    assert report.summary().endswith("60 of 60 rows; 252 bars a year in 1 segment(s)")


def test_what_was_written_loads_unchanged(tmp_path: Path) -> None:
    history = embedded_bars()["SP500"]
    history.write_csv(tmp_path / "a.csv")
    once, _ = load_bars(tmp_path / "a.csv")
    assert once.equals(history)
    assert bar_violations(once) == {}
