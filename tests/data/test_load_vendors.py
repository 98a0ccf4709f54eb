"""Files as vendors write them give their bars; what they leave open is asked, never guessed."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfait.data import load_bars
from parfait.utils.errors import UserError
from tests.data.vendors import LAYOUTS, OHLCV, market, write

HEADER = "Date,Open,High,Low,Close,Volume"
ROW = "{t:%Y-%m-%d}," + OHLCV
STARTS = {
    "day": datetime(2019, 1, 2),
    "hour": datetime(2019, 1, 2),
    "minute": datetime(2019, 1, 22, 9, 30),
}
LAW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def load(folder: Path, content: str | bytes, name: str = "X.csv", **options: Any) -> Any:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_bars(path, **options)


def refused(folder: Path, content: str | bytes, name: str = "X.csv", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, content, name, **options)
    sentence = str(caught.value)
    assert str(folder / name) in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backwards", [False, True])
def test_layouts(tmp_path: Path, layout: str, backwards: bool) -> None:
    step, header, row = LAYOUTS[layout]
    bars = market(step, seed=len(layout), start=STARTS[step])
    frame, report = load(tmp_path, write(bars[::-1] if backwards else bars, header, row))
    assert frame.equals(bars)
    assert report.symbols == ["X"]
    assert report.rows_in == report.rows_out == bars.height
    assert report.dropped == {}
    assert ("rows out of order" in report.repaired) == backwards


FORMS = [
    *("%Y-%m-%d:%H:%M:%S", "%Y-%m-%dD%H:%M:%S.000000000", "%a %Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S"),
    *("%Y%m%dT%H%M%SZ", "%Y%m%d %H%M%S", "%b %d %Y %H:%M:%S", "%B %d, %Y %H:%M:%S"),
    *("%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%Y-%b-%d %H:%M:%S"),
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %Y %H:%M:%S GMT+0000 (Zulu)", "%Y-%m-%d %H:%M:%S+00"),
    *("%d/%m/%Y %I:%M:%S %p", "%m/%d/%y %H:%M:%S", "%d.%m.%y %H:%M:%S", "%y/%m/%d %H:%M:%S"),
]


@LAW
@given(st.sampled_from(FORMS), st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)))
def test_any_moment_in_any_form(tmp_path: Path, form: str, start: datetime) -> None:
    # Over forty days, so that days exceed 12 and a form with a short year can be told.
    bars = market("hour", n=1000, start=start.replace(microsecond=0))
    row = "{t:" + form + "}," + OHLCV
    text = write(bars, HEADER, row)
    quoted = "\n".join(
        line if i == 0 else '"' + line.rsplit(",", 5)[0] + '",' + ",".join(line.rsplit(",", 5)[1:])
        for i, line in enumerate(text.splitlines())
    )
    frame, report = load(tmp_path, quoted)
    assert frame.equals(bars), report.time_format
    assert report.rows_in == report.rows_out


def test_midnight_as_24_and_noon_as_12(tmp_path: Path) -> None:
    bars = market("hour")

    def row(bar: Any) -> str:
        eve = bar["t"] - timedelta(days=1)
        text = f"{eve:%Y-%m-%d} 24:00" if bar["t"].hour == 0 else f"{bar['t']:%Y-%m-%d %H:%M}"
        return text + "," + OHLCV.format(**bar)

    assert load(tmp_path, write(bars, HEADER, row))[0].equals(bars)


@pytest.mark.parametrize("smaller", ["s", "ms", "us"])
def test_epochs_whose_unit_changes_within_the_file(tmp_path: Path, smaller: str) -> None:
    bars = market("minute")
    larger = {"s": "{ms}", "ms": "{us}", "us": "{us}000"}[smaller]
    text = write(bars[:20], HEADER, "{" + smaller + "}," + OHLCV)
    text += write(bars[20:], None, larger + "," + OHLCV)
    frame, report = load(tmp_path, text)
    assert frame.equals(bars)
    assert " and " in report.time_format


def test_epochs_that_pass_1970_keep_their_unit(tmp_path: Path) -> None:
    times = [datetime(1960, 1, 4) + timedelta(days=300 * i) for i in range(60)]
    bars = market().with_columns(pl.Series("timestamp", times, dtype=pl.Datetime("us")))
    frame, report = load(tmp_path, write(bars, HEADER, "{ms}," + OHLCV))
    assert frame.equals(bars)
    assert report.time_format == "epoch milliseconds"


OPEN_QUESTIONS = {
    # name of the file, header, row, words of the sentence, options that answer
    "spreadsheet days": (
        *("X.csv", HEADER, lambda b: f"{(b['t'] - datetime(1899, 12, 30)).days}"),
        *("time_format='excel'", {"time_format": "excel"}),
    ),
    "spreadsheet days, dated file": (
        *("X_20190401.csv", HEADER, lambda b: f"{(b['t'] - datetime(1899, 12, 30)).days}"),
        *("time_format='excel'", {"time_format": "excel"}),
    ),
    "day month year": (
        *("X.csv", HEADER, lambda b: f"{b['t']:%d%m%Y}"),
        *("time_format=", {"time_format": "%d%m%Y"}),
    ),
    "day month year as a number, dated file": (
        *("X_20190401.csv", HEADER, lambda b: f"1{b['t']:%d%m%y}"),
        *("time_format=", {"time_format": "1%d%m%y"}),
    ),
    "year month day, dated file": (
        *("X_20190401.csv", HEADER, lambda b: f"{b['t']:%y%m%d}"),
        *("time_format='%y%m%d'", {"time_format": "%y%m%d"}),
    ),
    "year day month": (
        *("X.csv", HEADER, lambda b: f"{b['t']:%Y-%d-%m}"),
        *("time_format=", {"time_format": "%Y-%d-%m"}),
    ),
    "numbers of rows": (
        *("X.csv", "index,open,high,low,close,volume", lambda b: f"{b['v']:.0f}"[:2]),
        *("start='YYYY-MM-DD'", {"start": "2019-01-02", "frequency": "1bd"}),
    ),
    "zone by letters": (
        *("X.csv", HEADER, lambda b: f"{b['t']:%Y-%m-%d %H:%M} EST"),
        *("local_time=True", {"local_time": True}),
    ),
    "zone in the header": (
        *("X.csv", "Time (EET),o,h,l,c,v", lambda b: f"{b['t']:%Y-%m-%d %H:%M}"),
        *("timezone=", {"timezone": "UTC"}),
    ),
    "two closes of one name": (
        *("X.csv", "Close,o,h,l,Close,v", lambda b: f"{b['t']:%Y-%m-%d}"),
        *("by position: 1 or 5", {"columns": {"close": 5, "time": 1}}),
    ),
}


@pytest.mark.parametrize("question", OPEN_QUESTIONS)
def test_the_option_that_a_sentence_names_answers_it(tmp_path: Path, question: str) -> None:
    name, header, time, words, options = OPEN_QUESTIONS[question]
    bars = market()
    text = write(bars, header, lambda bar: time(bar) + "," + OHLCV.format(**bar))
    assert words in refused(tmp_path, text, name)
    assert load(tmp_path, text, name, **options)[0].drop("symbol", strict=False).equals(bars)


def test_short_years_in_shuffled_rows_are_asked(tmp_path: Path) -> None:
    bars = market()
    text = write(bars.sample(fraction=1, shuffle=True, seed=1), HEADER, "{t:%y/%m/%d}," + OHLCV)
    assert "YY/M/D" in refused(tmp_path, text)
    assert load(tmp_path, text, time_format="%y/%m/%d")[0].equals(bars)


def test_an_epoch_beside_a_date_of_another_zone(tmp_path: Path) -> None:
    bars = market("minute")
    text = write(bars, "unix,date,open,high,low,close,volume", "{s},{t:%Y-%m-%d %H:%M}," + OHLCV)
    assert load(tmp_path, text)[0].equals(bars)
    later = write(
        bars.with_columns(pl.col("timestamp") + pl.duration(hours=5)),
        "date,open,high,low,close,volume,unix",
        lambda b: f"{b['t'] - timedelta(hours=5):%Y-%m-%d %H:%M},{OHLCV.format(**b)},{b['s']}",
    )
    sentence = refused(tmp_path, later)
    assert "5 hours apart" in sentence
    assert "columns={'time': 'unix'}" in sentence
    assert load(tmp_path, later, timezone="Etc/GMT+5")[0].equals(
        load(tmp_path, later, columns={"time": "unix"})[0]
    )


def test_an_adjusted_close_without_header_is_no_volume(tmp_path: Path) -> None:
    bars = market()
    text = write(bars, None, "{t:%Y-%m-%d},{o},{h},{l},{c},{c}")
    sentence = refused(tmp_path, text)
    assert "'close', 'adjusted']" in sentence
    named = load(tmp_path, text, names=["time", "open", "high", "low", "close", "adjusted"])[0]
    assert named["close"].equals(bars["close"])
    assert (named["volume"] == 0).all()


@pytest.mark.parametrize(
    "name", ["VolumeWeightedAveragePrice", "Volume Change %", "Volume MA", "volume_obv"]
)
def test_what_is_named_after_the_volume_is_no_volume(tmp_path: Path, name: str) -> None:
    bars = market()
    frame, report = load(tmp_path, write(bars, f"Date,Open,High,Low,Close,{name}", "{t}," + OHLCV))
    assert (frame["volume"] == 0).all()
    assert name in report.ignored_columns
    assert any("columns={'volume'" in note for note in report.notes)


def test_a_name_is_a_symbol_only_where_it_tells_series_apart(tmp_path: Path) -> None:
    bars = market()
    one = write(bars, "date,open,high,low,close,volume,Name", ROW + ",Coin")
    frame, report = load(tmp_path, one)
    assert report.symbols == ["X"]  # of the file: a folder of such files holds several
    assert frame.equals(bars)
    panel = one + write(bars, None, ROW + ",Other")
    assert load(tmp_path, panel)[1].symbols == ["Coin", "Other"]


def test_common_names_come_before_others(tmp_path: Path) -> None:
    bars = market("minute")
    header = "Max,Data,Qty,Time,Date,Open,High,Low,Close,Volume,Last,Index,Unnamed: 0"
    row = "1,2,3,{t:%H:%M},{t:%Y-%m-%d}," + OHLCV + ",4,5,6"
    frame, report = load(tmp_path, write(bars, header, row))
    assert frame.equals(bars)
    assert report.ignored_columns == ["Max", "Data", "Qty", "Last", "Index", "Unnamed: 0"]


def test_a_header_shorter_than_its_rows(tmp_path: Path) -> None:
    bars = market("minute")
    text = write(bars, "Datetime,o,h,l,c,v", "{t:%Y-%m-%d,%H:%M}," + OHLCV)
    sentence = refused(tmp_path, text)
    names = ["time", "clock", "open", "high", "low", "close", "volume"]
    assert f"names={names}" in sentence
    assert load(tmp_path, text, names=names)[0].equals(bars)
