"""Laws of the loader over dialects and faults drawn at random."""

import csv
import gzip
import io
import tempfile
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfait.bars import BAR_COLUMNS
from parfait.data import load_bars

LAW = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
NAMES = [
    ["date", "open", "high", "low", "close", "volume"],
    ["Timestamp", "1. open", "2. high", "3. low", "4. close", "5. volume"],
    ["Open Time", "OPEN PRICE", "High_Price", "low.price", "Last", "Volume BTC"],
    ["日期", "开盘", "最高", "最低", "收盘", "成交量"],
    ["t", "o", "h", "l", "c", "v"],
]
FORMS = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.3f",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y%m%d",
    "%Y%m%d %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S.000",
    "%Y-%m-%d 12-AM",
    "%s",
    "%s000",
    "%s000000",
    "%s000000000",
]


def frame_of(seed: int, n: int, decimals: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = (50 * np.exp(np.cumsum(0.02 * rng.standard_normal(n)))).round(decimals)
    opened = (close * np.exp(0.005 * rng.standard_normal(n))).round(decimals)
    days = [datetime(2021, 1, 1) + timedelta(days=i) for i in range(2 * n)]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(
                [d for d in days if d.weekday() < 5][:n], dtype=pl.Datetime("us")
            ),
            "open": opened,
            "high": (np.maximum(opened, close) + 0.5).round(decimals),
            "low": (np.minimum(opened, close) - 0.5).round(decimals),
            "close": close,
            "volume": rng.integers(1000, 9000, n).astype(float),
        }
    )


def texts(frame: pl.DataFrame, form: str, decimals: int) -> list[list[str]]:
    stamps = frame["timestamp"].dt.strftime(form).to_list()
    rows = frame.select(BAR_COLUMNS[1:]).rows()
    return [
        [t, *(f"{x:.{decimals}f}" for x in row[:4]), f"{row[4]:.0f}"]
        for t, row in zip(stamps, rows, strict=True)
    ]


@LAW
@given(st.data())
def test_every_dialect_gives_the_same_bars(data: st.DataObject) -> None:
    decimals = data.draw(st.sampled_from([1, 2, 4, 6]))
    bars = frame_of(data.draw(st.integers(0, 999)), data.draw(st.integers(20, 60)), decimals)
    rows = texts(bars, data.draw(st.sampled_from(FORMS)), decimals)
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    if data.draw(st.booleans()):
        rows = [[r[0], *(x.replace(".", ",") for x in r[1:])] for r in rows]
    backwards = data.draw(st.sampled_from(["ascending", "descending", "shuffled"]))
    if backwards == "descending":
        rows.reverse()
    elif backwards == "shuffled":
        rows = data.draw(st.permutations(rows))
    header = data.draw(st.sampled_from([*NAMES, None]))
    if header is not None:
        order = data.draw(st.permutations(range(6)))
        rows = [[header[i] for i in order], *([r[i] for i in order] for r in rows)]
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    text = io.StringIO()
    ending = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows(rows)
    body = text.getvalue()
    body = body.rstrip("\r\n") if data.draw(st.booleans()) else body + ending * 2
    raw = body.encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"])))
    with tempfile.TemporaryDirectory() as folder:
        path = packed(Path(folder), raw, data.draw(st.sampled_from(["", ".gz", ".zip"])))
        frame, report = load_bars(path)
    assert frame.equals(bars)
    assert report.rows_in == report.rows_out == bars.height
    assert report.dropped == {}
    assert set(report.repaired) <= {"rows out of order", "decimal commas"}
    assert report.symbols == ["x"]


def packed(folder: Path, raw: bytes, ending: str) -> Path:
    path = folder / f"x.csv{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.csv", raw)
    else:
        path.write_bytes(gzip.compress(raw) if ending else raw)
    return path


def put(column: int, value: str) -> Any:
    def change(row: list[str]) -> list[list[str]]:
        return [[value if i == column else cell for i, cell in enumerate(row)]]

    return change


FAULTS: dict[tuple[str, str], Any] = {
    ("dropped", "unreadable time"): put(0, "2021-02-30"),
    ("dropped", "unreadable number"): put(4, "abc"),
    ("dropped", "missing price"): put(1, "null"),
    ("dropped", "price not finite"): put(2, "1e999"),
    ("dropped", "negative price"): put(3, "-37.63"),
    ("dropped", "zero price"): put(4, "0"),
    ("dropped", "high below low"): put(2, "1"),
    ("dropped", "open or close outside high and low"): lambda r: put(3, f"{float(r[2]) - 1e-3}")(r),
    ("dropped", "negative volume"): put(5, "-1"),
    ("dropped", "volume not finite"): put(5, "1e999"),
    ("dropped", "too many cells"): lambda r: [[*r, "9"]],
    ("dropped", "no volume and no range (suspended)"): lambda r: [[r[0], *[r[4]] * 4, "0"]],
    ("dropped", "other row for the same time, last kept"): lambda r: [put(5, "7")(r)[0], r],
    ("repaired", "exact duplicates"): lambda r: [r, r],
    ("repaired", "numbers with a suffix"): lambda r: put(5, f"{float(r[5]) / 1000:.3f}k")(r),
    ("repaired", "thousands separators"): lambda r: put(5, f'"{float(r[5]):,.0f}"')(r),
    ("repaired", "high or low widened over open and close"): lambda r: put(
        2, f"{max(float(r[1]), float(r[4])) * (1 - 5e-4):.10f}"
    )(r),
    ("flagged", "zero-volume bars"): put(5, "0"),
    ("flagged", "volume missing, set to 0"): put(5, "-"),
    ("flagged", "flat bars"): lambda r: [[r[0], *[r[4]] * 4, r[5]]],
    ("flagged", "high more than 3 times low"): lambda r: put(2, f"{5 * float(r[2])}")(r),
}


@LAW
@given(st.sets(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=8), st.integers(0, 99))
def test_each_fault_is_counted_once_in_its_class(drawn: set[tuple[str, str]], seed: int) -> None:
    faults = sorted(drawn)
    bars = frame_of(seed, 200, 4)
    rows = texts(bars, "%Y-%m-%d", 4)
    where = np.random.default_rng(seed).choice(198, len(faults), replace=False) + 1
    lines: list[list[str]] = []
    changed = dict(zip(where.tolist(), faults, strict=True))
    for i, row in enumerate(rows):
        lines += FAULTS[changed[i]](row) if i in changed else [row]
    text = "\n".join(",".join(r) for r in [["Date", *BAR_COLUMNS[1:]], *lines])
    with tempfile.TemporaryDirectory() as folder:
        frame, report = load_bars(packed(Path(folder), text.encode(), ""))
    for category in ("repaired", "dropped", "flagged"):
        found = {r: e["count"] for r, e in getattr(report, category).items()}
        meant = {reason: 1 for kind, reason in faults if kind == category}
        if "volume missing, set to 0" in meant:
            meant["zero-volume bars"] = meant.get("zero-volume bars", 0) + 1
        assert found == meant
    copies = report.repaired.get("exact duplicates", {"count": 0})["count"]
    assert report.rows_in == len(lines) == report.rows_out + report.dropped_rows + copies
    touched = bars["timestamp"].gather(sorted(where.tolist())).implode()
    kept, whole = (f.filter(~pl.col("timestamp").is_in(touched)) for f in (frame, bars))
    assert kept.equals(whole)
