"""Several histories in every form: their symbols, their asset classes, their bar frequency."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from parfait.histories import asset_classes, load_histories, market_contexts, options_of_each
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError


def bars(n: int = 90, level: float = 100.0, hours: int = 24, first: int = 0) -> pl.DataFrame:
    """n valid bars that rise a little."""
    day = datetime(2020, 1, 6) + timedelta(days=first)
    close = [level * (1 + 0.01 * (i % 7) + 0.001 * i) for i in range(n)]
    return pl.DataFrame(
        {
            "timestamp": [day + timedelta(hours=hours * i) for i in range(n)],
            "open": close,
            "high": [c * 1.01 for c in close],
            "low": [c * 0.99 for c in close],
            "close": close,
            "volume": [1e6] * n,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bars(level=10.0).write_csv(tmp_path / "gold.csv")
    bars(level=20.0).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "notes.md").write_text("no bars")
    (tmp_path / ".hidden.csv").write_text("no bars")
    two = [bars(level=v).with_columns(symbol=pl.lit(s)) for s, v in (("X", 1.0), ("Y", 2.0))]
    (tmp_path / "sub").mkdir()
    pl.concat(two).write_csv(tmp_path / "sub" / "two.csv")
    return tmp_path


def named(given, options=None) -> dict[str, float]:
    """Symbol and first close of every history."""
    return {h.symbol: h.bars["close"][0] for h in load_histories(given, options)}


def test_every_form_gives_the_same_series(folder):
    gold, a = folder / "gold.csv", str(folder / "a.parquet")
    assert named([gold, a]) == {"gold": 10.0, "a": 20.0}
    assert named({"G": gold, 7: bars()}) == {"G": 10.0, "7": 100.0}
    assert named(folder) == named(str(folder)) == {"a": 20.0, "gold": 10.0}
    assert named(folder / "sub" / "two.csv") == {"X": 1.0, "Y": 2.0}
    assert named([folder / "sub" / "two.csv", gold]) == {"X": 1.0, "Y": 2.0, "gold": 10.0}
    assert named({"Y": folder / "sub" / "two.csv", "G": gold}) == {"Y": 2.0, "G": 10.0}
    assert named(pl.concat([bars().with_columns(symbol=pl.lit(s)) for s in "BA"])) == {
        "B": 100.0,
        "A": 100.0,
    }
    assert named(gold) == {"": 10.0}  # one series needs no symbol


def test_a_gzipped_file_is_called_by_its_stem(folder):
    import gzip

    packed = folder / "oil.csv.gz"
    packed.write_bytes(gzip.compress((folder / "gold.csv").read_bytes()))
    assert list(named([packed, folder / "gold.csv"])) == ["oil", "gold"]


def test_options_of_one_symbol_stand_over_those_of_all(folder):
    both = {"price_scale": 0.1, "gold": {"price_scale": 0.5}}
    files = [folder / "gold.csv", folder / "a.parquet"]
    assert named(files, both) == {"gold": pytest.approx(5.0), "a": pytest.approx(2.0)}
    columns = {"columns": {"close": "c"}}  # a mapping, but of no symbol
    assert options_of_each(columns, ["a"]) == [columns]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no series"),
        ([], "no series"),
        (["gold.csv", "./gold.csv"], "'gold' stands for two"),
        ({"A": "gold.csv", " A": "a.parquet"}, "'A' stands for two"),
        ({"": "gold.csv", "B": "a.parquet"}, "empty symbol"),
        ({"A": None, "B": "gold.csv"}, "history of 'A' is None"),
        ({"A": "sub", "B": "gold.csv"}, "give one file"),
        ({"A": "sub/two.csv"}, r"several symbols \(X, Y\).*history_options.A.symbol=X"),
        (["gold.csv", 3], "holds int '3'"),
        (["gold.csv", "missing.csv"], "missing.csv does not exist"),
        ("empty", "holds no file of bars"),
        (3, "history is a int"),
    ],
)
def test_histories_that_cannot_be_used(folder, monkeypatch, given, message):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=message) as error:
        load_histories(given)
    assert "\n" not in str(error.value)


def test_bars_without_a_symbol_among_others_are_refused():
    frame = pl.concat([bars().with_columns(symbol=pl.lit(s)) for s in ("A", None)])
    with pytest.raises(UserError, match="without a symbol"):
        load_histories(frame)


@pytest.mark.parametrize(
    ("symbol", "found"),
    [
        ("gold", "gold"),
        ("XAUUSD", "gold"),
        ("BTC-USD", "crypto"),
        ("ETHUSDT", "crypto"),
        ("SP500", "equity"),
        ("NASDAQ", "equity"),
        ("EUR/USD", "currency"),
        ("usdjpy", "currency"),
        ("crude_oil_daily", "oil"),
        ("黄金", "gold"),
        ("AAPL", None),
        ("gold_vs_oil", None),
        ("market", None),
        ("walk", None),
        ("", None),
        ("<script>", None),
    ],
)
def test_what_a_name_tells_of(symbol, found):
    assert symbol_asset(symbol) == found


def test_asset_classes_are_given_or_looked_up():
    pasts = load_histories({"gold": bars(), "AAPL": bars(), "BTC": bars()})
    assert asset_classes(None, pasts) == ["gold", None, "crypto"]
    assert asset_classes({"AAPL": "stock"}, pasts) == ["gold", "stock", "crypto"]
    assert asset_classes("bond", pasts) == ["bond"] * 3
    with pytest.raises(UserError, match="'OIL'; the histories are gold, AAPL, BTC"):
        asset_classes({"OIL": "oil"}, pasts)
    alone = load_histories({"gold": bars()})
    assert asset_classes(None, alone) == [None]  # the sentence decides
    assert asset_classes({"gold": "gold"}, alone) == ["gold"]
    with pytest.raises(UserError, match="one series without a symbol"):
        asset_classes({"gold": "gold"}, load_histories(bars()))


def test_all_assets_have_one_bar_frequency():
    pasts = load_histories({"A": bars(), "B": bars(hours=1)})
    with pytest.raises(UserError, match=r"A has 365 bars a year and that of B .*bars_per_year="):
        market_contexts(pasts, None, None)
    contexts, said = market_contexts(pasts, 252.0, None)
    assert [c.bars_per_year for c in contexts] == [252.0, 252.0]
    assert not said


def test_a_small_difference_of_frequencies_is_said():
    weekdays = bars(700).filter(pl.col("timestamp").dt.weekday() <= 5)
    fewer = weekdays.filter(pl.int_range(pl.len()) % 25 != 0)
    contexts, said = market_contexts(load_histories({"A": weekdays, "B": fewer}), None, None)
    assert len({c.bars_per_year for c in contexts}) == 1
    assert len(said) == 1
    assert "differ a little" in said[0]
