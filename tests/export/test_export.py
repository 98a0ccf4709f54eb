"""What is written is what was simulated, by readers that know nothing of Parfait."""

import csv
import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from parfait.bars import BAR_COLUMNS, BAR_FIELDS
from parfait.data import embedded_bars, load_bars
from parfait.export import source as source_module
from parfait.export import to_backtesting, to_csv, to_lean, to_pandas, to_vectorbt, to_zipline
from parfait.export.files import tickers
from parfait.export.source import Source, chosen_paths
from parfait.pipeline import Basket, Pipeline, Simulation
from parfait.stages.export import export
from parfait.streaming import Job, finish, stream
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from parfait.utils.shards import Shard

PRICES = BAR_FIELDS[:4]
SIZE = {"n_paths": 7, "horizon": 12, "seed": 3}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(sampler_steps=1)


@pytest.fixture(scope="module")
def simulation(pipeline) -> Simulation:
    return pipeline.run("A flash crash, then a slow recovery", **SIZE)


@pytest.fixture(scope="module")
def basket(pipeline) -> Basket:
    """Two symbols that are one when their signs are left out."""
    frames = dict(zip(("BTC-USD", "BTC/USD"), embedded_bars().values(), strict=True))
    return pipeline.run("A calm market", {k: f.tail(200) for k, f in frames.items()}, **SIZE)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of 3, 3 and 1 paths."""
    folder = tmp_path_factory.mktemp("run") / "streamed"
    layers = {"semantic": "ontology", "semantic_options": {}, "sampler_steps": 1}
    asked = {**SIZE, "history": None, "asset": None, "correlation": None, "bars_per_year": None}
    asked |= {"guide_every": 4, "jump_sigmas": 3.0, "batch_size": 64, "history_options": None}
    folder.mkdir()
    job = Job.load(layers, asked, 3, "War breaks out", folder)
    stream(folder, job, Shard.of("0/1"), lambda *_: None)
    finish(folder, job)
    return folder


@pytest.fixture(scope="module")
def minutes() -> pl.DataFrame:
    """Two days of 09:30 and on, in New York, whose clocks go back between them."""
    starts = [datetime(2018, 11, 2, 13, 30), datetime(2018, 11, 5, 14, 30)]  # UTC
    times = [start + timedelta(minutes=k) for start in starts for k in range(5)]
    bars = embedded_bars()["SP500"].tail(len(times)).select(BAR_FIELDS)
    return bars.with_columns(pl.Series("timestamp", times, pl.Datetime("us"))).select(BAR_COLUMNS)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def lean_rows(file: Path) -> tuple[str, list[list[str]]]:
    """The one entry of a zip, and its rows."""
    with zipfile.ZipFile(file) as opened:
        (entry,) = opened.namelist()
        return entry, list(csv.reader(opened.read(entry).decode().splitlines()))


def bars_of(simulation: Simulation, path: int) -> pl.DataFrame:
    return simulation.bars.filter(pl.col("path") == path)


def test_csv_gives_every_number_back(simulation: Simulation, tmp_path: Path) -> None:
    assert to_csv(simulation, tmp_path / "out") == SIZE["n_paths"]
    for path in range(SIZE["n_paths"]):
        file, bars = tmp_path / "out" / f"path-{path:06d}.csv", bars_of(simulation, path)
        rows = rows_of(file)
        for name in BAR_FIELDS:
            assert [float(row[name]) for row in rows] == bars[name].to_list()
        times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
        assert times == bars["timestamp"].to_list()
        assert load_bars(file)[0].equals(bars.select(BAR_COLUMNS))
    contents = rows_of(tmp_path / "out" / "contents.csv")
    assert [int(row["scenario"]) for row in contents] == simulation.scenario_of_path
    names = [c.name for c in simulation.resolved.components]
    assert all(row["name"] == names[int(row["scenario"])] for row in contents)


def test_several_assets_have_a_folder_each(basket: Basket, tmp_path: Path) -> None:
    to_csv(basket, tmp_path / "out", paths="2,5-6")
    files = {row["symbol"]: row["file"] for row in rows_of(tmp_path / "out" / "contents.csv")}
    for symbol, simulation in basket.simulations.items():
        folder = (tmp_path / "out" / files[symbol]).parent
        assert sorted(p.name for p in folder.iterdir()) == [
            f"path-{path:06d}.csv" for path in (2, 5, 6)
        ]
        close = [float(row["close"]) for row in rows_of(folder / "path-000005.csv")]
        assert close == bars_of(simulation, 5)["close"].to_list()


def test_lean_has_daily_bars_in_ten_thousandths(basket: Basket, tmp_path: Path) -> None:
    """The schema of Data/equity/readme.md."""
    for name in ("a", "b"):
        to_lean(basket, tmp_path / name, paths=4)
    contents = rows_of(tmp_path / "a" / "contents.csv")
    assert len({row["file"] for row in contents}) == 2
    for row in contents:
        file = tmp_path / "a" / row["file"]
        assert file.parent == tmp_path / "a" / "equity" / "usa" / "daily"
        assert file.read_bytes() == (tmp_path / "b" / row["file"]).read_bytes()
        entry, rows = lean_rows(file)
        assert entry == f"{file.stem}.csv"
        assert file.stem.isalnum()
        assert file.stem.islower()
        bars = bars_of(basket[row["symbol"]], 4)
        for (time, *numbers), bar in zip(rows, bars.iter_rows(named=True), strict=True):
            assert time == f"{bar['timestamp']:%Y%m%d} 00:00"
            whole = [int(number) for number in numbers]
            for name, price in zip(PRICES, whole[:4], strict=True):
                assert abs(price / 10_000 - bar[name]) <= 0.5e-4 + 1e-12 * bar[name]
            first, high, low, last, volume = whole
            assert low <= min(first, last) <= max(first, last) <= high
            assert volume == round(bar["volume"])


def test_lean_has_a_file_for_every_day_of_minutes(minutes: pl.DataFrame, tmp_path: Path) -> None:
    to_lean(minutes, tmp_path / "out", timezone="America/New_York")
    root = tmp_path / "out" / "equity" / "usa" / "minute" / "p000000"
    assert sorted(p.name for p in root.iterdir()) == ["20181102_trade.zip", "20181105_trade.zip"]
    half_past_nine = (9 * 60 + 30) * 60_000
    for day, part in (("20181102", minutes.head(5)), ("20181105", minutes.tail(5))):
        entry, rows = lean_rows(root / f"{day}_trade.zip")
        assert entry == f"{day}_p000000_minute_trade.csv"
        assert [int(row[0]) for row in rows] == [half_past_nine + 60_000 * k for k in range(5)]
        assert [int(row[4]) for row in rows] == [round(c * 10_000) for c in part["close"]]
    to_lean(minutes, tmp_path / "as_is")
    first = tmp_path / "as_is" / "equity/usa/minute/p000000/20181102_trade.zip"
    assert int(lean_rows(first)[1][0][0]) == half_past_nine + 4 * 3_600_000


@pytest.mark.parametrize(
    ("factor", "place"),
    [(60, "hour/p000000.zip"), (1 / 60, "second/p000000/20181102_trade.zip")],
)
def test_lean_has_other_sizes(
    minutes: pl.DataFrame, factor: float, place: str, tmp_path: Path
) -> None:
    start = minutes["timestamp"][0]
    times = [start + timedelta(minutes=k * factor) for k in range(5)]
    bars = minutes.head(5).with_columns(pl.Series("timestamp", times, pl.Datetime("us")))
    to_lean(bars, tmp_path / "out")
    _, rows = lean_rows(tmp_path / "out" / "equity" / "usa" / place)
    seconds = [(13 * 60 + 30) * 60_000 + 1000 * k for k in range(5)]
    hours = [f"20181102 {13 + k}:30" for k in range(5)]
    assert [row[0] for row in rows] == (hours if factor == 60 else [str(s) for s in seconds])


def test_zipline_has_whole_volumes_dividends_and_splits(
    simulation: Simulation, minutes: pl.DataFrame, tmp_path: Path
) -> None:
    """The columns of zipline/data/bundles/csvdir.py."""
    to_zipline(simulation, tmp_path / "out", volume_scale=0.01)
    header = ["date", "open", "high", "low", "close", "volume", "dividend", "split"]
    for path in range(SIZE["n_paths"]):
        rows = rows_of(tmp_path / "out" / "daily" / f"P{path:06d}.csv")
        for row, bar in zip(rows, bars_of(simulation, path).iter_rows(named=True), strict=True):
            assert list(row) == header
            assert date.fromisoformat(row["date"]) == bar["timestamp"].date()
            assert [float(row[name]) for name in PRICES] == [bar[name] for name in PRICES]
            assert int(row["volume"]) == round(bar["volume"] * 0.01)
            assert (float(row["dividend"]), float(row["split"])) == (0, 1)
    to_zipline(minutes, tmp_path / "minutes", volume_scale=0.01)
    rows = rows_of(tmp_path / "minutes" / "minute" / "P000000.csv")
    assert [datetime.fromisoformat(r["date"]) for r in rows] == minutes["timestamp"].to_list()


def test_volumes_are_rounded_half_to_even(minutes: pl.DataFrame, tmp_path: Path) -> None:
    volumes = pl.Series("volume", [0.5, 1.5, 2.5, 3.5, 0.0])
    to_zipline(minutes.head(5).with_columns(volumes), tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "minute" / "P000000.csv")
    assert [row["volume"] for row in rows] == ["0", "2", "2", "4", "0"]


def test_what_zipline_cannot_hold_is_said_with_what_helps(
    minutes: pl.DataFrame, tmp_path: Path
) -> None:
    """It would set such bars to zero."""
    with pytest.raises(UserError, match="price of 1e"):
        to_zipline(minutes.with_columns(high=pl.lit(1e7), volume=1.0), tmp_path / "high")
    with pytest.raises(UserError, match="ten-thousandths"):
        to_lean(minutes.with_columns(low=pl.lit(1e-5)), tmp_path / "low")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [1, 0.1, 0.7, 30])
@pytest.mark.parametrize(
    ("write", "volume", "limit"),
    [
        (to_zipline, 5e11, "4,294,967,295 that zipline"),
        (to_zipline, 1e300, "4,294,967,295 that zipline"),
        (to_lean, 2.0**63 * 10, "9,223,372,036,854,775,807 that an int64"),
        (to_lean, 1e308, "9,223,372,036,854,775,807 that an int64"),
    ],
)
def test_the_volume_scale_that_is_advised_is_enough(
    write: Callable[..., int],
    volume: float,
    limit: str,
    scale: float,
    minutes: pl.DataFrame,
    tmp_path: Path,
) -> None:
    wild = minutes.with_columns(volume=pl.lit(volume))
    with pytest.raises(UserError, match=limit) as told:
        write(wild, tmp_path / "out", volume_scale=scale)
    enough = float(str(told.value).rpartition("volume_scale=")[2])
    assert write(wild, tmp_path / "out", volume_scale=enough) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
def test_tickers_are_plain_and_no_one_is_another(symbols: list[str]) -> None:
    rows = [(symbol, path) for symbol in symbols for path in (0, 1)]
    frame = pl.DataFrame(rows, ["symbol", "path"], orient="row").with_columns(step=pl.lit(0))
    source = Source("a run", (frame.lazy(),))
    name = tickers(source)
    made = [name(source_module.Series(s, p, 0, "", frame)) for s, p in rows]
    # zipline takes the first file whose name holds what it looks for.
    assert sum(f"{a}.csv" in f"{b}.csv" for a in made for b in made) == len(rows)
    assert all(word.isascii() and word.isalnum() and word.isupper() for word in made)


def test_a_run_on_disk_is_the_run_in_memory(
    simulation: Simulation, basket: Basket, tmp_path: Path
) -> None:
    for name, made in (("one", simulation), ("several", basket)):
        made.save(tmp_path / name)
        found = [list(Source.of(given).each("1-3")) for given in (made, tmp_path / name)]
        assert len(found[0]) == (3 if name == "one" else 6)
        for here, there in zip(*found, strict=True):
            assert here.bars.equals(there.bars)
            words = ("symbol", "path", "scenario", "title")
            assert all(getattr(here, word) == getattr(there, word) for word in words)


def test_a_streamed_run_is_read_a_block_at_a_time(
    streamed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pl.read_parquet(streamed / "paths.parquet" / "*.parquet")
    whole = [one.bars for one in Source.of(streamed).each()]
    for path, bars in enumerate(whole):
        assert bars.equals(table.filter(pl.col("path") == path).select(BAR_COLUMNS))
    monkeypatch.setattr(source_module, "BLOCK_BARS", 2 * SIZE["horizon"])
    read, heights = Source._read, []

    def told(self: Source, table: pl.LazyFrame) -> pl.DataFrame:
        frame = read(self, table)
        heights.append(frame.height)
        return frame

    monkeypatch.setattr(Source, "_read", told)
    again = [one.bars for one in Source.of(streamed).each("0-6")]
    assert all(a.equals(b) for a, b in zip(again, whole, strict=True))
    assert max(heights) == 2 * SIZE["horizon"]
    assert Source.of(streamed).one(6).bars.equals(whole[6])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=6))
def test_choices_of_paths_are_their_union(spans: list[tuple[int, int]]) -> None:
    words = [f"{a}-{a + n}" if n else str(a) for a, n in spans]
    found = chosen_paths(",".join(words), 36)
    assert [k for r in found for k in r] == sorted(
        {k for a, n in spans for k in range(a, a + n + 1)}
    )
    assert chosen_paths(words, 36) == found


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ("9-2", "9-2 is no choice"),
        ("a", "no choice"),
        ("", "no choice"),
        ("-1", "no choice"),
        ("0-7", "last is 6"),
        ([3, 99], "last is 6"),
        (True, "no choice"),
    ],
)
def test_a_wrong_choice_is_one_sentence(paths, words: str, simulation: Simulation) -> None:
    with pytest.raises(UserError, match=words):
        list(Source.of(simulation).each(paths))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def _foreign(folder: Path) -> None:
    pl.DataFrame({"path": [0]}).write_parquet(folder / "paths.parquet")


def _holed(folder: Path) -> None:
    bars = pl.read_parquet(folder / "paths.parquet")
    bars.filter((pl.col("path") != 2) | (pl.col("step") != 5)).write_parquet(
        folder / "paths.parquet"
    )


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: _cut(f / "paths.parquet"), "cannot be read"),
        (lambda f: (f / "paths.parquet").unlink(), "holds no paths.parquet"),
        (lambda f: (f / "scenarios.json").write_text("[{"), "scenarios.json"),
        (_foreign, "has no column"),
        (_holed, "path 2 .* is not whole"),
    ],
)
def test_a_damaged_run_is_one_sentence_and_leaves_nothing(
    harm, words: str, simulation: Simulation, tmp_path: Path
) -> None:
    simulation.save(tmp_path / "run")
    harm(tmp_path / "run")
    with pytest.raises(UserError, match=words) as told:
        to_csv(tmp_path / "run", tmp_path / "out")
    assert "\n" not in str(told.value)
    assert {p.name for p in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize("name", ["manifest.json", "paths.parquet/000001.parquet"])
def test_an_unfinished_streamed_run_is_one_sentence(
    name: str, streamed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (streamed / name).rename(streamed / "away")
    with pytest.raises(UserError, match="run its simulate command again"):
        Source.of(streamed)
    (streamed / name).write_bytes((streamed / "away").read_bytes()[:-9])
    with pytest.raises(UserError, match="run its simulate command again"):
        Source.of(streamed)
    (streamed / "away").replace(streamed / name)
    assert Source.of(streamed).n_paths == SIZE["n_paths"]


def test_no_file_is_overwritten(simulation: Simulation, tmp_path: Path) -> None:
    to_csv(simulation, tmp_path / "out", paths=0)
    with pytest.raises(UserError, match="not empty"):
        to_lean(simulation, tmp_path / "out")
    assert not (tmp_path / "out" / "equity").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    simulation: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parfait.export.files.CONTENTS", "/dev/full")
    with pytest.raises(UserError, match=r"cannot be written .No space left on device"):
        to_csv(simulation, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("export", list(overrides))


def test_the_command_writes_what_the_function_does(streamed: Path, tmp_path: Path) -> None:
    given = [f"run={streamed}", "format=lean", "select=2-4", f"output_dir={tmp_path / 'out'}"]
    export(config(*given))
    to_lean(streamed, tmp_path / "same", paths="2-4")
    files = [p.relative_to(tmp_path / "same") for p in (tmp_path / "same").rglob("*.*")]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "same" / file).read_bytes()
    with pytest.raises(UserError, match="another configuration"):
        export(config(*given, "select=0"))
    export(config(*given))  # the same again is done again
    assert {p.name for p in tmp_path.iterdir()} == {"out", "same"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "export needs run="),
        (["run={run}", "format=nautilus"], "one of csv, lean, zipline"),
        (["run={run}", "timezone=America/New_York"], "format=lean"),
        (["run={run}", "format=lean", "timezone=Mars/Olympus"], "timezone='Mars/Olympus'"),
        (["run={run}", "format=lean", "volume_scale=0"], "volume_scale=0 must be"),
        (["run={run}", "volume_scale=2"], "volume_scale is of lean"),
        (["run={run}/parts"], "holds no paths.parquet"),
        (["run={run}", "select=0-99"], "last is 6"),
    ],
)
def test_mistakes_of_the_command(
    given: list[str], words: str, streamed: Path, tmp_path: Path
) -> None:
    filled = [word.format(run=streamed) for word in given]
    with pytest.raises(UserError, match=words):
        export(config(*filled, f"output_dir={tmp_path / 'out'}"))
    assert not list(tmp_path.iterdir())


def test_pandas_holds_the_bars(simulation: Simulation, basket: Basket) -> None:
    pytest.importorskip("pandas", reason="parfait[interop] is not installed")
    frame, bars = to_pandas(simulation, 4), bars_of(simulation, 4)
    assert list(frame.columns) == list(BAR_FIELDS)
    assert frame.index.tolist() == bars["timestamp"].to_list()
    assert (frame.to_numpy() == bars.select(BAR_FIELDS).to_numpy()).all()
    with pytest.raises(UserError, match="give symbol=, one of BTC-USD"):
        to_pandas(basket, 0)
    with pytest.raises(UserError, match="no asset 'ETH'"):
        to_pandas(basket, 0, symbol="ETH")
    own = to_pandas(basket, 1, symbol="BTC/USD")
    assert own["close"].tolist() == bars_of(basket["BTC/USD"], 1)["close"].to_list()


def test_without_pandas_the_extra_is_named(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (to_pandas, to_backtesting, to_vectorbt):
        with pytest.raises(UserError, match=r"pip install 'parfait\[interop\]'"):
            ask(simulation)


def test_vectorbt_takes_a_column_per_path(basket: Basket, simulation: Simulation) -> None:
    pytest.importorskip("pandas", reason="parfait[interop] is not installed")
    wide = to_vectorbt(basket, paths="1,4", field="open")
    assert wide.columns.names == ["symbol", "path", "scenario"]
    assert wide.shape == (SIZE["horizon"], 4)
    for symbol, path, scenario in wide.columns:
        own = bars_of(basket[symbol], path)
        assert wide[symbol, path, scenario].tolist() == own["open"].to_list()
        assert scenario == basket[symbol].resolved.components[own["scenario"][0]].name
    assert to_vectorbt(simulation).columns.names == ["path", "scenario"]
    with pytest.raises(UserError, match="field='vwap'"):
        to_vectorbt(simulation, field="vwap")


def test_backtesting_trades_a_path(pipeline: Pipeline) -> None:
    backtesting = pytest.importorskip("backtesting", reason="parfait[interop] is not installed")
    made = pipeline.run("A volatile market", n_paths=2, horizon=120, seed=1)
    assert isinstance(made, Simulation)
    frame = to_backtesting(made, 1)
    assert list(frame.columns) == ["Open", "High", "Low", "Close", "Volume"]

    class Crossing(backtesting.Strategy):
        """Long while the mean of 5 closes is above that of 15."""

        def init(self) -> None:
            close = bars_of(made, 1)["close"]
            gap = close.rolling_mean(5) - close.rolling_mean(15)
            self.gap = self.I(gap.to_numpy)

        def next(self) -> None:
            if self.gap[-1] > 0 and not self.position:
                self.buy(size=1)
            elif self.gap[-1] <= 0:
                self.position.close()

    told = backtesting.Backtest(frame, Crossing, cash=1e6, finalize_trades=True).run()
    trades = told["_trades"]
    assert len(trades) > 0
    assert set(trades["EntryPrice"]) <= set(bars_of(made, 1)["open"])
    assert told["Equity Final [$]"] == pytest.approx(1e6 + trades["PnL"].sum())


@pytest.mark.slow  # compiles for a minute
def test_vectorbt_earns_the_price_ratio(simulation: Simulation) -> None:
    vectorbt = pytest.importorskip("vectorbt", reason="parfait[interop] is not installed")
    wide = to_vectorbt(simulation)
    held = vectorbt.Portfolio.from_holding(wide, init_cash=1000.0, freq="1D")
    ratio = (wide.iloc[-1] / wide.iloc[0]).to_numpy()
    assert held.total_return().to_numpy() + 1 == pytest.approx(ratio, rel=1e-12)
