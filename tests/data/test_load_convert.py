"""Conversion: the same bars as the loader gives, once, whatever interrupts it."""

import json
import os
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parfait.data.conversion as module
from parfait.bars import BAR_COLUMNS
from parfait.data import convert, load_bars
from parfait.data.sources import file_name
from parfait.utils.errors import UserError
from tests.fuzzing import examples

HEADER = "Date,Open,High,Low,Close,Volume"


def rows(seed: int, n: int = 40, first: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    close = (50 * np.exp(np.cumsum(0.02 * rng.standard_normal(first + n)))).round(2)[first:]
    days = [datetime(2021, 1, 4) + timedelta(days=i) for i in range(first, first + n)]
    return [
        f"{d:%Y-%m-%d},{c},{c + 1:.2f},{c - 1:.2f},{c},{100 + i}"
        for i, (d, c) in enumerate(zip(days, close, strict=True), first)
    ]


def save(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}


def test_a_folder_becomes_one_parquet_per_symbol(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for i in range(3):
        save(source / str(i % 2) / f"s{i}.csv", rows(i)[::-1])
    save(source / "bad.csv", ["1,2"], "a,b")
    calls: list[tuple[str, int, int]] = []
    made = convert(source, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert made.written == ["s0", "s1", "s2"]
    assert list(made.failed) == [str(source / "bad.csv")]
    assert "name it with columns={'close': 'NAME'}" in made.summary()
    assert calls[-1] == ("written", 3, 3)
    assert [c for c in calls if c[0] == "read"] == [("read", i, 4) for i in range(1, 5)]
    for i in range(3):
        frame, report = load_bars(source / str(i % 2) / f"s{i}.csv")
        assert pl.read_parquet(tmp_path / "out" / f"s{i}.parquet").equals(frame)
        told = json.loads((tmp_path / "out" / f"s{i}.json").read_text())
        assert told["report"] == report.to_dict()
        again, _ = load_bars(tmp_path / "out" / f"s{i}.parquet")
        assert again.equals(frame)
    assert (tmp_path / "out" / "summary.txt").read_text() == made.summary()
    assert "3 symbols, 120 of 120 rows; 1 failed" in made.summary()


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(3):
        save(source / f"s{i}.csv", rows(i))
    convert(source, out)
    first = contents(out)
    second = convert(source, out)
    assert (second.written, second.unchanged) == ([], ["s0", "s1", "s2"])
    assert contents(out) == first
    save(source / "s1.csv", rows(9))
    assert convert(source, out).written == ["s1"]
    assert convert(source, out, price_scale=2.0).written == ["s0", "s1", "s2"]
    (out / "s2.parquet").unlink()
    assert convert(source, out, price_scale=2.0).written == ["s2"]
    (out / "s0.json").write_text("{ cut")
    assert convert(source, out, price_scale=2.0).written == ["s0"]
    assert not list(out.glob(".parts/*/*.parquet"))


@pytest.mark.parametrize("die_at", [1, 2, 4, 6, 8, 9])
def test_killed_and_repeated_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_at: int
) -> None:
    source = tmp_path / "in"
    for i in range(3):
        save(source / f"s{i}.csv", [f"A{i},{r}" for r in rows(i)], "Ticker," + HEADER)
    save(
        source / "t.csv",
        [f"A{i},{r}" for i in range(3) for r in rows(i, 20, 40)],
        "Ticker," + HEADER,
    )
    convert(source, tmp_path / "whole")
    real, count = module.write_files, 0

    def dying(folder: Path, files: dict[str, bytes]) -> list[Path]:
        nonlocal count
        count += 1
        if count == die_at:
            raise KeyboardInterrupt
        return real(folder, files)

    monkeypatch.setattr(module, "write_files", dying)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "cut")
    monkeypatch.setattr(module, "write_files", real)
    resumed = convert(source, tmp_path / "cut")
    assert sorted(resumed.written + resumed.unchanged) == ["A0", "A1", "A2"]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_symbol_in_several_files_is_merged(tmp_path: Path) -> None:
    source, lines = tmp_path / "in", rows(1, 60)
    other = lines[29].rsplit(",", 1)[0] + ",77"
    save(source / "x_2021a.csv", lines[:31])
    save(source / "x_2021b.csv", [other, *lines[30:]])
    made = convert(source, tmp_path / "out", pattern=r"^(.+?)_")
    frame = pl.read_parquet(tmp_path / "out" / "x.parquet")
    whole = load_bars(save(tmp_path / "whole.csv", lines))[0]
    assert frame.drop("volume").equals(whole.drop("volume"))
    assert frame["volume"][29] == 77.0
    report = made.reports["x"]
    assert report["repaired"]["exact duplicates"]["count"] == 1
    assert report["dropped"]["other row for the same time, last kept"]["count"] == 1
    assert report["rows_in"] == 62 == report["rows_out"] + 2
    assert report["segments"] == 1
    with pytest.raises(UserError, match=r"does not match the pattern '\^\(z\)'"):
        convert(source, tmp_path / "none", pattern="^(z)")


def test_a_symbol_named_by_one_file_and_held_by_another_is_merged(tmp_path: Path) -> None:
    source, lines, out = tmp_path / "in", rows(1, 60), tmp_path / "out"
    save(source / "A.csv", lines[:30])
    first = convert(source, out)
    assert first.written == ["A"]
    assert not list(out.glob(".parts/*"))
    save(source / "long.csv", [f"A,{r}" for r in lines[30:]], "Ticker," + HEADER)
    merged = convert(source, out)
    assert (merged.written, merged.unchanged) == (["A"], [])
    whole = load_bars(save(tmp_path / "whole.csv", lines))[0]
    assert pl.read_parquet(out / "A.parquet").equals(whole)
    again = convert(source, out)
    assert (again.written, again.unchanged) == ([], ["A"])
    assert contents(convert(source, tmp_path / "anew").folder) == contents(out)
    save(
        source / "long.csv",
        [f"A,2021-01-04 10:{i:02}{r[10:]}" for i, r in enumerate(rows(2))],
        "Ticker," + HEADER,
    )
    save(source / "B.csv", rows(3))
    apart = convert(source, tmp_path / "apart")
    assert (apart.written, list(apart.reports)) == (["B"], ["B"])
    assert "bars 60 s apart" in next(iter(apart.failed.values()))
    assert not (tmp_path / "apart" / "A.parquet").exists()


def test_symbols_side_by_side_in_a_file_named_after_one_are_all_kept(tmp_path: Path) -> None:
    header = "Date," + ",".join(f"{s}:{n}" for s in "AB" for n in HEADER.split(",")[1:])
    lines = [f"{a},{b.split(',', 1)[1]}" for a, b in zip(rows(1), rows(2), strict=True)]
    save(tmp_path / "in" / "A.csv", lines, header)
    made = convert(tmp_path / "in", tmp_path / "out")
    assert made.written == ["A", "B"]
    for name, seed in (("A", 1), ("B", 2)):
        alone = load_bars(save(tmp_path / f"{name}.csv", rows(seed)))[0]
        assert pl.read_parquet(tmp_path / "out" / f"{name}.parquet").equals(alone)


def test_parts_adjusted_to_different_days_join_without_a_jump(tmp_path: Path) -> None:
    header, lines = f"{HEADER},Adj Close", rows(2, 60)
    ratios = [0.5 if i < 30 else 0.8 for i in range(60)]
    full = [f"{r},{float(r.split(',')[4]) * k!r}" for r, k in zip(lines, ratios, strict=True)]
    save(tmp_path / "in" / "x_1.csv", full[:20], header)
    save(tmp_path / "in" / "x_2.csv", full[20:], header)
    convert(tmp_path / "in", tmp_path / "out", pattern=r"^(.+?)_")
    merged = pl.read_parquet(tmp_path / "out" / "x.parquet")
    whole = load_bars(save(tmp_path / "whole.csv", full, header))[0]
    for name in BAR_COLUMNS[1:]:
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-12)


@given(st.lists(st.text(st.characters(codec=None), max_size=200), min_size=2, unique=True))
@settings(max_examples=examples(200), deadline=None, derandomize=True)
def test_any_symbol_has_a_file_name_of_its_own_in_its_folder(symbols: list[str]) -> None:
    names = [file_name(s) for s in symbols]
    assert len(set(names)) == len(symbols)
    for name in names:
        assert (Path("/folder") / f"{name}.parquet").resolve().parent == Path("/folder")
        assert not name.startswith(".")
        assert name.isprintable()
        assert 0 < len(name.encode()) <= 200


def test_a_file_name_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    save(tmp_path / "good.csv", rows(1))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")).write_text("x")
    with pytest.raises(UserError, match=r"a file named \\xff\.csv, which is not UTF-8; rename it"):
        convert(tmp_path, tmp_path / "out")


def test_a_member_of_an_archive_names_no_place(tmp_path: Path) -> None:
    for number, member in enumerate(("../../up.csv", "/abs.csv", "a/../../b.csv")):
        packed = tmp_path / "in" / str(number) / "x.zip"
        packed.parent.mkdir(parents=True)
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(member, "\n".join([HEADER, *rows(1)]))
        made = convert(packed, tmp_path / "in" / "out" / str(number))
        assert made.written == ["x"]
    assert {f.name for f in tmp_path.iterdir()} == {"in"}


def test_mistakes_are_told(tmp_path: Path) -> None:
    source = tmp_path / "in"
    save(source / "d" / "x.csv", rows(1))
    minutes = [f"2021-01-04 10:{i:02}{r[10:]}" for i, r in enumerate(rows(2))]
    save(source / "m" / "x.csv", minutes)
    save(source / "y.csv", rows(3))
    made = convert(source, tmp_path / "out")
    assert made.written == ["y"]
    (sentence,) = made.failed.values()
    assert "has bars 60 s apart" in sentence
    with pytest.raises(UserError, match="holds no file of bars"):
        convert(source / "*.nothing", tmp_path / "out")
    with pytest.raises(UserError, match="no option 'nonsense'"):
        convert(source, tmp_path / "out", nonsense=1)
    with pytest.raises(UserError, match="is a file; choose another"):
        convert(source, source / "y.csv")
    with pytest.raises(UserError, match="does not exist"):
        convert(tmp_path / "absent.csv", tmp_path / "out")
    elsewhere = save(tmp_path / "else" / "y.csv", rows(4))
    with pytest.raises(UserError, match="was made from other files"):
        convert(elsewhere, tmp_path / "out")
    assert convert(str(source / "**" / "y.cs?"), tmp_path / "out").unchanged == ["y"]


def test_symbols_never_leave_the_folder(tmp_path: Path) -> None:
    symbols = [
        "../../up",
        "/abs",
        ".hidden",
        "a/b",
        "a%2Fb",
        "CON\x00",
        "CON",
        "com1.x",
        "..",
        "",
        "\udcff",
        "C:\\up",
        "上证 50",
        "x" * 300,
        "BRK.B",
    ]
    names = [file_name(s) for s in symbols]
    assert len(set(names)) == len(names)
    assert all("/" not in n and not n.startswith(".") and len(n.encode()) < 200 for n in names)
    assert not {n.partition(".")[0].upper() for n in names} & {"CON", "COM1"}  # of Windows
    assert file_name("BRK.B") == "BRK.B"
    lines = [f"{s},{r}" for s in ("../../up", "a/b") for r in rows(1)]
    convert(save(tmp_path / "in" / "x.csv", lines, "Ticker," + HEADER), tmp_path / "in" / "out")
    assert sorted(f.name for f in (tmp_path / "in").iterdir()) == ["out", "x.csv"]
    assert len(list((tmp_path / "in" / "out").glob("*.parquet"))) == 2
