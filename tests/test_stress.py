"""Laws of portfolios held through simulated paths, and what their files may hold."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch

from parfait import report
from parfait.basket import Basket
from parfait.checks import expected_shortfall, max_drawdowns, value_at_risk
from parfait.holdings import Holdings, read_holdings
from parfait.simulation import Whole
from parfait.stress import LEVELS, Stress, stress
from parfait.utils.errors import UserError
from tests.report.pages import faults
from tests.report.test_report_page import simulated

MIXED = {"SPX": 0.7, "GOLD": -0.4}


@pytest.fixture(scope="module")
def basket() -> Basket:
    made = {"SPX": simulated(n=45), "GOLD": simulated(n=45, seed=500)}
    return Basket(made, torch.eye(2, dtype=torch.float64))


def units(**amounts: float) -> Holdings:
    return Holdings(amounts, "units")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("held", [MIXED, units(SPX=3, GOLD=-1, CASH=50.5)])
def test_component_shortfalls_sum_to_the_expected_shortfall(basket, held, level):
    made = stress(basket, held)
    parts = made.component_shortfall(level)
    assert set(parts) == {"SPX", "GOLD"}
    assert math.fsum(parts.values()) == pytest.approx(expected_shortfall(-made.pnl, level), 1e-12)
    assert made.risk[f"ES{round(100 * level)}"] == pytest.approx(math.fsum(parts.values()))


def test_a_whole_asset_has_the_risk_of_the_asset():
    s = simulated(n=45)
    made = stress(s, {"history": 1.0})
    assert made.cash == 0
    assert made.risk["VaR95"] == pytest.approx(s.risk["VaR95"], 1e-12)
    assert made.risk["ES95"] == pytest.approx(s.risk["ES95"], 1e-12)
    for name, value in s.risk["max_drawdown"].items():
        assert made.risk["max_drawdown"][name] == pytest.approx(value, 1e-9)
    assert torch.equal(made.scenario, torch.tensor(s.scenario_of_path))


def test_money_is_linear_in_units(basket):
    one, three = (stress(basket, units(SPX=2 * k, GOLD=-0.5 * k)) for k in (1, 3))
    assert three.value == pytest.approx(3 * one.value)
    torch.testing.assert_close(three.money, 3 * one.money)
    torch.testing.assert_close(three.pnl, one.pnl)


def test_contributions_add_up_and_do_not_see_each_other(basket):
    made = stress(basket, MIXED)
    alone = {symbol: stress(basket, {symbol: weight}) for symbol, weight in MIXED.items()}
    torch.testing.assert_close(made.pnl, alone["SPX"].pnl + alone["GOLD"].pnl)
    torch.testing.assert_close(made.growth[:, -1], 1 + made.pnl)


def test_short_is_minus_long(basket):
    long, short = stress(basket, MIXED), stress(basket, {k: -v for k, v in MIXED.items()})
    torch.testing.assert_close(short.pnl, -long.pnl)
    torch.testing.assert_close(short.growth - 1, 1 - long.growth)
    assert short.cash == pytest.approx(2 - long.cash)


def test_cash_changes_no_profit(basket):
    bare, rich = stress(basket, units(SPX=5)), stress(basket, units(SPX=5, CASH=1000.0))
    torch.testing.assert_close(rich.money, bare.money)
    assert rich.value == pytest.approx(bare.value + 1000)
    assert rich.cash == pytest.approx(1000 / rich.value)
    assert float(rich.drawdowns.max()) < float(bare.drawdowns.max())


def test_units_are_weights_at_the_last_close(basket):
    value = 4 * basket["SPX"].spot - 2 * basket["GOLD"].spot + 70
    weights = {"SPX": 4 * basket["SPX"].spot / value, "GOLD": -2 * basket["GOLD"].spot / value}
    by_units, by_weight = stress(basket, units(SPX=4, GOLD=-2, CASH=70)), stress(basket, weights)
    torch.testing.assert_close(by_units.growth, by_weight.growth)
    assert by_units.cash == pytest.approx(by_weight.cash)


def test_drawdowns_are_those_of_the_value_on_the_way(basket):
    made = stress(basket, {"SPX": 0.5})
    level = 0.5 + 0.5 * basket["SPX"].column("close") / basket["SPX"].spot
    torch.testing.assert_close(made.drawdowns, max_drawdowns(level, 1.0))


def test_a_ruinous_portfolio_says_so(basket):
    close = basket["SPX"].column("close")
    low = float((close / basket["SPX"].spot - 1).min())
    made = stress(basket, {"SPX": -1.01 / low})
    assert 0 < made.risk["ruin"] < 1
    assert float(made.drawdowns.max()) > 1


def test_scenarios_and_worst_paths_partition_the_profit(basket):
    made = stress(basket, MIXED)
    rows = made.by_scenario()
    assert [row["name"] for row in rows] == ["Slump", "Rebound"]
    assert sum(row["n_paths"] for row in rows) == 45
    mean = sum(row["n_paths"] * row["mean"] for row in rows) / 45
    assert mean == pytest.approx(float(made.pnl.mean()))
    worst = made.worst(45)
    assert [row["pnl"] for row in worst] == sorted(made.pnl.tolist())
    for row in worst:
        assert math.fsum(row["contributions"].values()) == pytest.approx(row["pnl"])


def test_assets_in_different_scenarios_give_each_combination():
    one, other = simulated(n=12), simulated(("Calm", "Storm", "Panic"), n=12)
    made = stress(Basket({"A": one, "B": other}, torch.eye(2)), {"A": 1.0})
    rows = made.by_scenario()
    assert [row["name"] for row in rows] == [
        "Slump / Calm",
        "Slump / Storm",
        "Rebound / Storm",
        "Rebound / Panic",
    ]
    assert sum(row["n_paths"] for row in rows) == 12


def test_the_saved_file_is_the_summary(basket, tmp_path):
    made = stress(basket, MIXED)
    (path,) = made.save(tmp_path)
    told = json.loads(path.read_text())
    assert told["risk"]["VaR99"] == value_at_risk(-made.pnl, 0.99)
    assert told["cash"] == pytest.approx(0.7)
    shares = math.fsum(position["ES95"] for position in told["positions"].values())
    assert shares == pytest.approx(told["risk"]["ES95"])


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"SPXX": 1.0}, "'SPXX' is not among the histories .SPX, GOLD.; did you mean SPX"),
        ({"SPX": 0.0}, "holds no position"),
        (units(CASH=1.0), "holds no position"),
        ({"SPX": 0.3, "cash": 0.2}, "the portfolio gives CASH a weight; leave it out"),
        ({"SPX": math.nan}, "finite"),
        ({"spx": 1.0, "SPX": 1.0}, "twice"),
        (units(SPX=1, GOLD=-5), "shares of it"),
    ],
)
def test_impossible_portfolios_are_refused(basket, held, said):
    with pytest.raises(UserError, match=said):
        stress(basket, held)


def test_a_streamed_run_is_refused():
    streamed = replace(simulated(), whole=Whole((20, 20), 10))
    with pytest.raises(UserError, match="made in parts"):
        stress(streamed, {"history": 1.0})


def write(folder, text: str | bytes):
    path = folder / "p.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_that_weighs_cash_is_refused_unless_a_history_has_that_name(basket, tmp_path):
    file = write(tmp_path, "symbol,weight\nSPX,0.3\nCASH,0.2\n")
    with pytest.raises(UserError, match=re.escape(f"portfolio={file} gives CASH a weight")):
        stress(basket, file)
    named = Basket({"SPX": basket["SPX"], "CASH": basket["GOLD"]}, basket.requested)
    assert stress(named, file).cash == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("symbol,weight\nSPX,0.6\nGOLD,-0.1\n", {"SPX": 0.6, "GOLD": -0.1}),
        (
            "\ufeffName;Symbol;UNITS\r\n a ; spx ; 9\r\n\r\nb;cash;-5\r\n",
            {"SPX": 9.0, "CASH": -5.0},
        ),
        ('"symbol"\tweight\n"GOLD"\t1', {"GOLD": 1.0}),
    ],
)
def test_files_are_read(tmp_path, text, amounts):
    found = read_holdings(write(tmp_path, text), ["SPX", "GOLD"])
    assert found.amounts == amounts
    assert found.measure == ("units" if "CASH" in amounts else "weight")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("symbol,weight\n", "holds no position"),
        ("symbol,wieght\nSPX,1\n", "line 1: .*'wieght'.*'weight' or 'units'"),
        ("symbol,weight,units\nSPX,1,1\n", "line 1: .*either"),
        ("symbol,weight,weight\nSPX,1,1\n", "line 1: a column is there twice"),
        ("symbol,weight\nSPX,1\nGOLDD,1\n", "line 3, column symbol: 'GOLDD'.*did you mean GOLD"),
        ("symbol,weight\n\nSPX,60%\n", "line 3, column weight: '60%' is not a finite number"),
        ("symbol,units\nSPX,nan\n", "line 2, column units: 'nan'"),
        ("symbol,units\nSPX,1\nspx,2\n", "line 3, column symbol: 'SPX' is there twice"),
        ("symbol,weight\nSPX\n", "line 2: 1 cells under 2 columns"),
        (b"symbol,weight\nSPX,\xff\n", "UTF-8"),
        ('symbol,weight\n"SPX"x,1\n', "not a CSV file"),
        ("symbol,weight\n" + "SPX,1\n" * 200_000, "larger than 1 MB"),
    ],
)
def test_bad_files_are_told_with_line_and_column(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        read_holdings(write(tmp_path, text), ["SPX", "GOLD"])
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_holdings(tmp_path / "none.csv", ["SPX"])


def test_the_page_has_a_section_and_the_command_names_the_file(basket, tmp_path):
    path = write(tmp_path, "symbol,units\nSPX,10\nGOLD,-2\nCASH,500\n")
    page = section(basket, stress(basket, path), tmp_path)
    assert "which earns nothing" in page
    assert f", &#39;{path}&#39;)" in page
    borrowed = section(simulated(), stress(simulated(), {"history": 1.5}), tmp_path)
    assert "exceed the value by 50.0%" in borrowed


def section(result, made: Stress, folder) -> str:
    report.write(result, folder, portfolio=made)
    page = (folder / "report.html").read_text()
    assert faults(page) == []
    assert "<h2>Portfolio</h2>" in page
    return page
