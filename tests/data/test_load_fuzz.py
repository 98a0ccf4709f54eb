"""Whatever bytes a file holds: valid bars or one sentence, never anything else."""

import gzip
import io
import tempfile
import zipfile
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfait.bars import bar_violations
from parfait.data import load_bars
from parfait.utils.errors import UserError
from tests.fuzzing import examples

FUZZ = settings(
    max_examples=examples(60),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def plain_csv(rows: int = 40) -> bytes:
    lines = ["Date,Open,High,Low,Close,Volume"]
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(rows)))
    days = np.datetime64("2020-01-01") + np.arange(rows)
    for day, c in zip(days, close, strict=True):
        lines.append(f"{day},{c:.2f},{c * 1.01:.2f},{c * 0.99:.2f},{c:.2f},1000")
    return "\n".join(lines).encode()


def check_sentence(sentence: str, path: Path) -> None:
    assert "\n" not in sentence.strip()
    assert str(path) in sentence


def outcome(content: bytes, name: str = "f.csv", **options: Any) -> bool:
    """True for bars (which must be valid), False for a sentence; anything else raises."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            frame, report = load_bars(path, **options)
        except UserError as error:
            check_sentence(str(error), path)
            return False
        assert bar_violations(frame) == {}
        assert frame.height == report.rows_out >= 2
        copies = report.repaired.get("exact duplicates", {"count": 0})["count"]
        assert report.rows_in == report.rows_out + report.dropped_rows + copies
        return True


@FUZZ
@given(
    st.binary(max_size=2000),
    st.sampled_from([b"", b"PAR1", b"\x1f\x8b", b"\xff\xfe", b"PK\x03\x04", b"PK\x05\x06"]),
)
def test_random_bytes_are_refused_or_valid(content: bytes, magic: bytes) -> None:
    outcome(magic + content)


@FUZZ
@given(st.text(max_size=1500), st.booleans())
def test_random_text_is_refused_or_valid(content: str, packed: bool) -> None:
    raw = content.encode("utf-8", "surrogatepass")
    outcome(gzip.compress(raw) if packed else raw)


def in_zip(raw: bytes, name: str = "f.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, raw)
    return buffer.getvalue()


@FUZZ
@given(st.data(), st.sampled_from(["zip", "gz", "parquet"]))
def test_damaged_archives_are_refused_or_valid(data: st.DataObject, kind: str) -> None:
    if kind == "parquet":
        buffer = io.BytesIO()
        pl.read_csv(plain_csv()).write_parquet(buffer)
        whole = buffer.getvalue()
    else:
        whole = in_zip(plain_csv()) if kind == "zip" else gzip.compress(plain_csv())
    assert outcome(whole)
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        damage = data.draw(st.binary(min_size=1, max_size=3))
        raw[position : position + len(damage)] = damage
    outcome(bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))]))


COLUMNS = st.sampled_from(
    ["Date", "Time", "Open", "High", "Low", "Close", "Volume", "Adj Close", "X"]
)
VALUES = st.sampled_from(
    [
        [1.0, 2.0, None, 4.0],
        [1, 2, 3, 4],
        [float("nan"), float("inf"), 0.0, -1.0],
        ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"],
        [b"\xff\x00", b"1", None, b""],
        [[1.0], [2.0, 3.0], [], None],
        [{"a": 1}, {"a": 2}, {"a": 3}, None],
        [True, False, None, True],
        [timedelta(1), timedelta(2), None, timedelta(3)],
        [date(2020, 1, d) for d in (1, 2, 3, 4)],
        [datetime(2020, 1, d, tzinfo=UTC) for d in (1, 2, 3, 4)],
        [Decimal("1.5"), Decimal("2.5"), None, Decimal("0")],
        [None, None, None, None],
        ["A", "B", "A", "B"],
    ]
)


@FUZZ
@given(st.dictionaries(COLUMNS, VALUES, max_size=8), st.booleans())
def test_any_parquet_is_refused_or_valid(columns: dict[str, list[Any]], categories: bool) -> None:
    frame = pl.DataFrame({n: pl.Series(n, v, strict=False) for n, v in columns.items()})
    if categories:
        frame = frame.with_columns(pl.col(pl.String).cast(pl.Categorical))
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    outcome(buffer.getvalue(), close_only=True)


@FUZZ
@given(st.text(alphabet='0123456789,.-\nae"', max_size=200))
def test_any_factor_file_is_refused_or_used(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, factors = Path(folder) / "f.csv", Path(folder) / "factors.txt"
        path.write_bytes(plain_csv())
        factors.write_text(content)
        with suppress(UserError):
            assert bar_violations(load_bars(path, factors=factors)[0]) == {}


CELLS = st.one_of(
    st.sampled_from(
        [
            "null",
            "-",
            "nan",
            "inf",
            "-inf",
            "0",
            "-1",
            "1e308",
            "1e-320",
            "1e999",
            "1,234",
            "1.234,5",
            "1.2M",
            "12/13/2020",
            "2020-02-30",
            "20200101",
            "1577836800",
            "99999999999999999999",
            "2020-01-01T10:00:00+05:00",
            "2020-01-01T10:00:00-05:00",
            "05-AM",
            "31.12.2020",
            ",,",
            ";",
            '"',
            "'",
            "\t",
            "\x00",
            "\ufeff",
            "日期",
            "Close",
        ]
    ),
    st.text(max_size=8),
    st.floats().map(repr),
    st.integers().map(str),
)


@FUZZ
@given(st.data())
def test_mangled_csv_is_refused_or_valid(data: st.DataObject) -> None:
    rows = [line.split(",") for line in plain_csv().decode().split("\n")]
    for _ in range(data.draw(st.integers(1, 6))):
        i = data.draw(st.integers(0, len(rows) - 1))
        action = data.draw(st.sampled_from(["cell", "drop", "copy", "swap", "column", "extra"]))
        if action == "cell" and rows[i]:
            rows[i][data.draw(st.integers(0, len(rows[i]) - 1))] = data.draw(CELLS)
        elif action == "drop" and len(rows) > 1:
            rows.pop(i)
        elif action == "copy":
            rows.insert(data.draw(st.integers(0, len(rows))), list(rows[i]))
        elif action == "swap":
            j = data.draw(st.integers(0, len(rows) - 1))
            rows[i], rows[j] = rows[j], rows[i]
        elif action == "column":
            j, value = data.draw(st.integers(0, 5)), data.draw(CELLS)
            rows = [[value if k == j else c for k, c in enumerate(r)] for r in rows]
        else:
            rows[i] = rows[i] + [data.draw(CELLS)]
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    text = "\n".join(delimiter.join(r) for r in rows)
    options: Any = data.draw(
        st.sampled_from(
            [
                {},
                {"close_only": True},
                {"header": False},
                {"decimal": ","},
                {"day_first": True, "local_time": False},
                {"start": "2020-01-01", "frequency": "1h"},
                {"columns": {"close": "Open"}},
                {"names": ["time", "close"], "close_only": True},
                {"symbol": "X", "date": "2020-01-01"},
                {"price_scale": 1e-4},
                {"timezone": "Europe/London"},
                {"timezone": "America/New_York", "session": "09:30-16:00"},
                {"date_shift": 1, "drop_suspended": True, "max_range": 1.5},
                {"columns": {"bid close": "Low", "ask close": "High"}, "close_only": True},
                {"adjust": False, "min_rows": 5, "max_gap": 0},
                {"max_bytes": 1500},
            ]
        )
    )
    outcome(text.encode("utf-8", "surrogatepass"), **options)


@FUZZ
@given(st.integers(0, len(plain_csv()) - 1), st.binary(min_size=1, max_size=3))
def test_damaged_bytes_are_refused_or_valid(position: int, damage: bytes) -> None:
    raw = bytearray(plain_csv())
    raw[position : position + len(damage)] = damage
    outcome(bytes(raw))


def test_the_undamaged_file_loads() -> None:
    assert outcome(plain_csv())
    assert outcome(gzip.compress(plain_csv()), "f.csv.gz")
