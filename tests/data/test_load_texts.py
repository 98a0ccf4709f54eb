"""Texts and numbers as files hold them: encodings, quotes, comments, currencies, other kinds."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfait.data.numbers import parse_numbers
from parfait.data.sources import find_sources
from tests.data.test_load_vendors import HEADER, ROW, load, refused
from tests.data.vendors import market, write

LAW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def balanced(report: Any) -> bool:
    copies = report.repaired.get("exact duplicates", {"count": 0})["count"]
    return report.rows_in == report.rows_out + report.dropped_rows + copies


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (HEADER, "utf-16-le"),
        (HEADER, "utf-16-be"),
        (HEADER, "utf-32"),
        ("일자,시가,고가,저가,종가,거래량", "cp949"),
        ("日付,始値,高値,安値,終値,出来高", "cp932"),
        ("日期,開盤價,最高價,最低價,收盤價,成交股數", "big5"),
        ("日期,开盘,最高,最低,收盘,成交量", "gb18030"),
        ("Datum,Öffnung,Höchst,Tiefst,Schluss,Volumen", "cp1252"),
    ],
)
def test_the_encoding_is_that_of_a_known_header(tmp_path: Path, header: str, encoding: str) -> None:
    bars = market()
    frame, report = load(tmp_path, write(bars, header, ROW).encode(encoding))
    assert frame.equals(bars)
    assert report.columns["close"] == header.split(",")[4]


def kinds() -> dict[str, tuple[bytes, str]]:
    text = write(market(), HEADER, ROW).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("x.csv")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return {
        "tar": (buffer.getvalue(), "a tar archive"),
        "tar.gz": (gzip.compress(buffer.getvalue()), "a tar archive"),
        "bz2": (bz2.compress(text), "packed with bzip2"),
        "xz": (lzma.compress(text), "packed with xz"),
        "arrow": (b"ARROW1\0\0", "an Arrow file"),
        "json": (b'[{"date": "2019-01-02", "close": 1}]', "is JSON"),
        "limit": (b'{"Information": "rate limit"}', "rate limit"),
        "html": (b"<!DOCTYPE html><html>Not found</html>", "an HTML or XML page"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git LFS"),
        "nul": (text.replace(b"2019-01-09", b"2019\0-01-09"), "line 7: holds a NUL byte"),
    }


@pytest.mark.parametrize("kind", kinds())
def test_other_kinds_of_files_are_called_by_their_name(tmp_path: Path, kind: str) -> None:
    content, words = kinds()[kind]
    assert words in refused(tmp_path, content)


def test_a_quote_that_swallows_lines_is_refused(tmp_path: Path) -> None:
    lines = write(market(), HEADER, ROW).splitlines()
    lines[20] = '"' + lines[20]
    assert "line 21: a quote opens there" in refused(tmp_path, "\n".join(lines))
    cell = "\n".join([lines[0] + ",Note", *(f'{x},"a\nb"' for x in lines[1:20])])
    assert load(tmp_path, cell)[0].height == 19  # a cell of two lines is none of that


def test_headers_repeated_by_joined_files(tmp_path: Path) -> None:
    bars = market()
    first, second = write(bars[:35], HEADER, ROW), write(bars[25:], HEADER, ROW)
    frame, report = load(tmp_path, first + second)
    assert frame.equals(bars)
    assert report.repaired["repeated header lines"] == {"count": 1, "rows": [37]}
    assert report.repaired["exact duplicates"]["count"] == 10
    assert balanced(report)
    other = write(bars[35:], "Date,Close,High,Low,Open,Volume", "{t:%Y-%m-%d},{c},{h},{l},{o},{v}")
    assert "row 37 is a header with other columns" in refused(tmp_path, first + other)


def test_comments_footers_and_dividends_are_no_bars(tmp_path: Path) -> None:
    bars = market()
    lines = write(bars, HEADER, ROW).splitlines()
    for at in (12, 24, 36):  # with the footers 7 of 67 rows
        lines.insert(at, f"{lines[at][:10]},0.73 Dividend,,,,")
    lines[6:6] = ["# a remark"]
    frame, report = load(tmp_path, "\n".join([*lines, "", "Downloaded on 2020-01-01", '"End",,']))
    assert frame.equals(bars)
    assert report.dropped["line of text, no bar"]["count"] == 3
    assert report.dropped["dividend or split, no bar"]["count"] == 3
    assert balanced(report)


NUMBERS = st.floats(0.01, 9e7).map(lambda x: round(x, 2))


@LAW
@given(
    NUMBERS,
    st.sampled_from([",", "'", "’", " ", "\u00a0", "\u202f"]),
    st.sampled_from(["", "$", "€ ", "US$", "₹", "USD "]),
    st.sampled_from(["", " €", " CHF", "円"]),
    st.sampled_from(["{}", "-{}", "({})"]),
)
def test_grouped_priced_and_signed_numbers(
    number: float, group: str, before: str, after: str, sign: str
) -> None:
    text = sign.format(f"{before}{number:,.2f}".replace(",", group) + ("" if before else after))
    parsed = parse_numbers(pl.Series([text]), ".")
    assert parsed["value"][0] == pytest.approx(-number if sign != "{}" else number, rel=1e-12)
    assert parsed["grouped"][0] == (number >= 1000)
    assert parsed["currency"][0] == bool(before or after)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12,34,567.5", 1234567.5),
        ("1,00,000", 100000.0),
        ("5.4 Mio", 5.4e6),
        ("2bn", 2e9),
        ("152'16", None),  # sixteen thirty-seconds
        ("12,34", None),
        ("1 23", None),
        ("#N/A", None),
        ("<NA>", None),
    ],
)
def test_numbers_one_by_one(text: str, value: float | None) -> None:
    assert parse_numbers(pl.Series([text]), ".")["value"][0] == value


@pytest.mark.parametrize("mark", [".", ","])
def test_a_comma_in_every_price_before_three_digits_is_asked(tmp_path: Path, mark: str) -> None:
    bars = market()
    row = '{t:%Y-%m-%d},"{o:.3f}","{h:.3f}","{l:.3f}","{c:.3f}",{v}'
    text = write(bars, HEADER, lambda bar: row.format(**bar).replace(".", ","))
    assert f"decimal='{mark}'" in refused(tmp_path, text)
    frame = load(tmp_path, text, decimal=mark)[0]
    assert frame["close"].to_list() == pytest.approx(
        (bars["close"] * (1000 if mark == "." else 1)).to_list()
    )


def test_no_thousand_begins_with_zero(tmp_path: Path) -> None:
    bars = market().with_columns(pl.col("open", "high", "low", "close") / 1000)
    row = '{t:%Y-%m-%d},"{o:.3f}","{h:.3f}","{l:.3f}","{c:.3f}",{v}'
    frame = load(tmp_path, write(bars, HEADER, lambda b: row.format(**b).replace(".", ",")))[0]
    assert frame["close"].to_list() == pytest.approx(bars["close"].round(3).to_list())


def test_prices_in_two_currencies(tmp_path: Path) -> None:
    text = write(market(), HEADER, "{t:%Y-%m-%d},${o},${h},${l},€{c},{v}")
    assert "several currencies" in refused(tmp_path, text)


@pytest.mark.parametrize("blank", ["\n", "\r", "\r\n"])
def test_a_disk_of_empty_lines_is_refused_before_it_is_split(tmp_path: Path, blank: str) -> None:
    text = write(market(), HEADER, ROW) + blank * 60_000
    assert "cells" in refused(tmp_path, gzip.compress(text.encode()), "x.csv.gz", max_bytes=250_000)


def test_hidden_files_are_left_out_and_broken_links_are_not(tmp_path: Path) -> None:
    for name in ("a.csv", ".b.csv", "._a.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "a-checkpoint.csv").write_text("x")
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    found = [path.name for path in find_sources(tmp_path)]
    assert found == ["a.csv", "gone.csv", "loop.csv"]
    assert [path.name for path in find_sources(tmp_path / "*.csv")] == ["a.csv"]


def test_hidden_members_of_an_archive_do_not_count(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", write(market(), HEADER, ROW))
        archive.writestr("__MACOSX/._a.csv", "x")
        archive.writestr(".DS_Store", "x")
    assert load(tmp_path, buffer.getvalue(), "x.zip")[0].equals(market())


def test_opens_of_zero_are_taken_from_the_close_when_told(tmp_path: Path) -> None:
    bars = market()
    text = write(bars, HEADER, "{t:%Y-%m-%d},0,{h},{l},{c},{v}")
    assert "close_only=True" in refused(tmp_path, text)
    frame, report = load(tmp_path, text, close_only=True)
    assert frame["open"].equals(bars["close"].alias("open"))
    assert report.repaired["open, high or low taken from the close"]["count"] == bars.height
