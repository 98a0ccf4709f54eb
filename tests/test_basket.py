"""Laws of several assets: one scenario per path, correlated bars, every promise of one asset."""

import json
import math
from dataclasses import replace

import polars as pl
import pytest
import torch
from matplotlib.figure import Figure

from parfait import report
from parfait.basket import Basket
from parfait.correlation import realised_correlation
from parfait.data import embedded_bars
from parfait.pipeline import Pipeline
from parfait.regime import Component, Condition, Regime, RegimeDistribution
from parfait.report.basket import (
    MOST_ROWS,
    correlation_rows,
    draw_basket,
    render_basket,
    reproduce_basket,
    typical_paths,
)
from parfait.report.content import Content
from parfait.simulation import parquet_bytes
from parfait.utils.errors import UserError
from tests.report.pages import faults

SIZE = {"n_paths": 70, "horizon": 12, "seed": 7}
SPREAD = {"drift": 0.2, "volatility": 0.3}
SLOW = pytest.mark.slow
ODD = "<b>&'\"{{x}} $1"


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return {name: frame.tail(300) for name, frame in embedded_bars().items()}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(sampler_steps=3)


@pytest.fixture(scope="module")
def basket(pipeline, frames) -> Basket:
    return pipeline.run("A rate shock, then calm", frames, correlation=0.4, **SIZE)


def mixture(*weights: float, conditions=(), first: float = -1.0) -> RegimeDistribution:
    """A scenario for each weight, the first a slump."""
    drifts = [first, *[0.1 * k for k in range(1, len(weights))]]
    return RegimeDistribution(
        tuple(
            Component.around(
                "baseline", f"s{k}", w, Regime(d, 0.2), SPREAD, conditions=() if k else conditions
            )
            for k, (w, d) in enumerate(zip(weights, drifts, strict=True))
        )
    )


def guide_returns(simulation) -> torch.Tensor:
    level = simulation.guides["guide"].to_numpy().reshape(simulation.n_paths, -1).copy()
    log = torch.from_numpy(level).log()
    return log.diff(dim=1, prepend=torch.full_like(log[:, :1], math.log(simulation.spot)))


@pytest.mark.parametrize(
    "asked", [-0.5, *(pytest.param(c, marks=SLOW) for c in (0.0, 0.5, 0.9)), None]
)
def test_bars_have_the_correlation_asked_for(pipeline, frames, asked):
    how = {"n_paths": 256, "horizon": 20, "seed": 1, "correlation": asked}
    done = replace(pipeline, sampler_steps=None).run("A calm market", frames, **how)
    assert float((done.realised - done.requested).abs().max()) < 0.05
    if asked is None:
        assert 0.9 < float(done.requested[0, 1]) < 0.97
        assert "estimated from 299 common bars" in done.notes[0]
    else:
        assert done.notes == ()


def test_jumps_and_moving_variance_keep_it_too(pipeline, frames):
    wild = Regime(-0.5, 0.5, 20.0, -0.05, 0.04)
    done = pipeline.run(
        wild, frames, n_paths=256, horizon=20, seed=2, correlation=0.0, guide_every=1
    )
    found = realised_correlation([guide_returns(s) for s in done.simulations.values()])
    assert abs(float(found[0, 1])) < 0.05


def test_what_jumps_rule_out_is_said_and_expected_right(pipeline, frames):
    wild = Regime(-0.5, 0.3, 40.0, -0.08, 0.04)
    done = pipeline.run(wild, frames, n_paths=256, horizon=20, correlation=-0.9, guide_every=1)
    words = next(note for note in done.notes if "beyond these regimes" in note)
    expected = float(words.split("about ")[1].split(" is")[0])
    assert float(done.realised[0, 1]) == pytest.approx(expected, abs=0.06)
    assert any("of the jumps none hit all assets" in note.lower() for note in done.notes)


def test_every_asset_keeps_the_promises_of_one(basket, frames):
    assert isinstance(basket, Basket)
    assert basket.symbols == ("SP500", "NASDAQ")
    for symbol, one in basket.simulations.items():
        assert one.checks == {"valid_bars": 1.0, "max_guide_error": 0.0}
        assert one.spot == frames[symbol]["close"][-1]
        assert one.bars["timestamp"].min() > frames[symbol]["timestamp"].max()
        both = one.bars.join(one.guides, on=["path", "step"]).filter("anchored")
        assert both["close"].equals(both["guide"].alias("close"))
    first, second = (s.guides["anchored"] for s in basket.simulations.values())
    assert first.equals(second)


def test_tables_have_a_symbol_first(basket):
    for table, one in ((basket.bars, basket.first.bars), (basket.guides, basket.first.guides)):
        assert table.columns == ["symbol", *one.columns]
        assert table["symbol"].unique(maintain_order=True).to_list() == list(basket.symbols)
        assert table.height == 2 * 70 * 12
    assert basket.bars.filter(symbol="NASDAQ").drop("symbol").equals(basket["NASDAQ"].bars)


def test_same_seed_same_bytes_whatever_the_batch_size(pipeline, frames, basket):
    again = pipeline.run("A rate shock, then calm", frames, correlation=0.4, batch_size=64, **SIZE)
    assert parquet_bytes(again.bars) == parquet_bytes(basket.bars)
    assert parquet_bytes(again.guides) == parquet_bytes(basket.guides)
    other = pipeline.run("A rate shock, then calm", frames, correlation=0.4, **SIZE | {"seed": 8})
    assert not other.bars["close"].equals(basket.bars["close"])


def test_one_series_is_the_same_in_every_form(pipeline, frames, tmp_path):
    frame = frames["SP500"]
    frame.write_csv(tmp_path / "a.csv")
    plain = pipeline.run("Rates rise", frame, **SIZE)
    tagged = frame.with_columns(symbol=pl.lit("SP500"))
    for given in ({"SP500": frame}, [tmp_path / "a.csv"], tmp_path, tagged):
        same = pipeline.run("Rates rise", given, **SIZE)
        assert parquet_bytes(same.bars) == parquet_bytes(plain.bars)


def test_a_path_is_in_the_same_scenario_of_every_asset(pipeline, frames, basket):
    first, second = (s.scenario_of_path for s in basket.simulations.values())
    assert first == second
    readings = {"SP500": mixture(0.5, 0.3, 0.2), "NASDAQ": mixture(0.7, 0.3)}
    done = pipeline.run(readings, frames, correlation=0.5, **SIZE)
    a, b = (torch.tensor(s.scenario_of_path) for s in done.simulations.values())
    assert (a.diff() >= 0).all()
    assert (b.diff() >= 0).all()
    # Comonotone: the joint probabilities are the overlaps of the intervals of the two weightings.
    joint = torch.zeros(3, 2)
    joint.index_put_((a, b), torch.ones(70), accumulate=True)
    wanted = 70 * torch.tensor([[0.5, 0.0], [0.2, 0.1], [0.0, 0.2]])
    assert float((joint - wanted).abs().max()) <= 2
    assert any("scenarios differ" in note for note in done.notes)


def test_a_severe_draw_is_severe_for_all(pipeline, frames):
    readings = {"SP500": mixture(1.0), "NASDAQ": mixture(1.0, first=0.7)}
    done = pipeline.run(readings, frames, correlation=-0.5, **SIZE)
    drifts = [torch.as_tensor(s.regime.drift) for s in done.simulations.values()]
    volatilities = [torch.as_tensor(s.regime.volatility) for s in done.simulations.values()]
    assert torch.equal(drifts[0].argsort(), drifts[1].argsort())
    assert torch.allclose(volatilities[0], volatilities[1])


def test_each_asset_is_read_for_what_it_is(pipeline, frames):
    given = {"GOLD": frames["NASDAQ"], "SP500": frames["SP500"], "AAPL": frames["SP500"]}
    words = "War breaks out, gold surges 20% within two weeks"
    done = pipeline.run(words, given, asset={"AAPL": "stock"}, **SIZE)
    classes = [s.asset_class for s in done.scenarios.values()]
    assert classes == ["gold", "equity", "stock"]
    told = [len(done[s].imposed) for s in done.symbols]
    assert told[0] > 0
    assert told[1:] == [0, 0]
    close = done["GOLD"].column("close")[:, 9]
    assert bool((close == done["GOLD"].spot * (1 + 0.2)).all())
    assert float(done["SP500"].column("close")[:, 9].std()) > 0
    unknown = pipeline.run("War breaks out", given, **SIZE)
    assert any("AAPL (equity)" in note for note in unknown.notes)


@pytest.mark.parametrize("bar", [12, 30])
def test_pinned_paths_stay_correlated(pipeline, frames, bar):
    target = Condition("terminal", -0.1, bar / 252)
    readings = {"SP500": mixture(1.0, conditions=(target,)), "NASDAQ": mixture(1.0)}
    how = {"n_paths": 256, "horizon": 12, "correlation": 0.8, "bars_per_year": 252.0}
    done = pipeline.run(readings, frames, guide_every=1, **how)
    found = realised_correlation([guide_returns(s) for s in done.simulations.values()])
    # A bridge to bar n lacks 1/n of the variance that the free path has, and so of the covariance.
    assert float(found[0, 1]) == pytest.approx(0.8, abs=0.07)
    assert done["SP500"].imposed[0].bar == bar
    if bar == 12:
        close = done["SP500"].column("close")[:, -1]
        assert bool((close == done["SP500"].spot * (1 - 0.1)).all())


@pytest.mark.parametrize("mode", ["conditional", "rejection"])
def test_modes_that_lose_the_correlation_say_so(pipeline, frames, mode):
    target = Condition("terminal", -0.03)
    readings = dict.fromkeys(frames, mixture(0.5, 0.5, conditions=(target,)))
    done = replace(pipeline, condition=mode).run(readings, frames, correlation=0.9, **SIZE)
    assert any("drawn for this asset alone" in w for w in done.warnings)
    told = torch.tensor(done.first.scenario_of_path) == 0
    parts = [guide_returns(s)[told].flatten() for s in done.simulations.values()]
    kept = [guide_returns(s)[~told].flatten() for s in done.simulations.values()]
    assert abs(float(torch.corrcoef(torch.stack(parts))[0, 1])) < 0.35
    assert float(torch.corrcoef(torch.stack(kept))[0, 1]) > 0.8


def test_scenarios_can_be_edited_and_run_again(pipeline, frames, basket):
    again = pipeline.run(basket.scenarios, frames, correlation=0.4, **SIZE)
    assert again.bars.equals(basket.bars)
    one = pipeline.run(mixture(1.0), frames, correlation=0.4, **SIZE)
    assert set(one.scenarios) == set(frames)
    with pytest.raises(UserError, match=r"scenarios were given for SP500, and the histories are"):
        pipeline.run({"SP500": mixture(1.0)}, frames, **SIZE)


def test_differing_calendars_are_said(pipeline, frames):
    shorter = {"A": frames["SP500"], "B": frames["NASDAQ"].head(250)}
    done = pipeline.run(Regime(0.1, 0.2), shorter, correlation=0.1, **SIZE)
    assert any("end at different times (A 2018-12-31; B 20" in note for note in done.notes)


def test_saved_files_hold_all_assets(basket, tmp_path):
    basket.save(tmp_path)
    assert pl.read_parquet(tmp_path / "paths.parquet").equals(basket.bars)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["symbols"] == ["SP500", "NASDAQ"]
    assert summary["correlation"]["requested"]["SP500"]["NASDAQ"] == 0.4
    found = summary["correlation"]["realised"]["NASDAQ"]["SP500"]
    assert found == float(basket.realised[0, 1])
    assert summary["checks"] == {"valid_bars": 1.0, "max_guide_error": 0.0}
    assert set(summary["assets"]["NASDAQ"]) == {
        *("asset", "history", "spot", "horizon_end", "confidence", "overrides"),
        *("conditions", "checks", "risk"),
    }
    scenarios = json.loads((tmp_path / "scenarios.json").read_text())
    assert next(iter(scenarios[0])) == "symbol"
    assert sum(r["n_paths"] for r in scenarios if r["symbol"] == "NASDAQ") == 70


def test_the_basket_diversifies(basket):
    single = [s.risk["ES95"] for s in basket.simulations.values()]
    assert basket.risk["ES95"] < max(single)
    ends = [s.column("close")[:, -1] / s.spot for s in basket.simulations.values()]
    middle = int(torch.stack(ends).mean(0).argsort()[round(0.5 * 69)])
    assert typical_paths(basket, 1) == [(middle, "median of the basket")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correlation": [[1.0]]}, "1 rows of"),
        ({"asset": {"OIL": "oil"}}, "'OIL'"),
        ({"asset": "cheese"}, "cheese"),
        ({"n_paths": 3_000_000, "horizon": 3}, "x 2 assets is 18,000,000"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(pipeline, frames, options, message):
    with pytest.raises(UserError, match=message):
        pipeline.run("War", frames, **options)


def test_correlation_needs_several(pipeline):
    with pytest.raises(UserError, match="several histories"):
        pipeline.run("War", correlation=0.5)


def page_of(basket: Basket) -> str:
    """The page with empty figures: drawing takes longer than all the rest."""
    contents = {symbol: Content.of(one) for symbol, one in basket.simulations.items()}
    return render_basket(basket, contents, {"fan": Figure(), "candles": Figure()})


def test_the_page_escapes_symbols_and_shows_correlations(pipeline, frames):
    given = {ODD: frames["SP500"], "B": frames["NASDAQ"]}
    page = page_of(pipeline.run("War", given, correlation=0.4, n_paths=30, horizon=8))
    assert faults(page) == []
    assert "<b>&'" not in page
    assert "{{x}}" in page  # shown, never evaluated
    assert "&lt;b&gt;&amp;" in page
    assert "http" not in page
    assert "+0.40" in page
    assert "histories, n_paths=30" in page  # no command line can name such a symbol


def test_many_assets_are_cut_and_said_to_be(pipeline, frames):
    given = {f"S{k}": frames["SP500"] for k in range(MOST_ROWS + 1)}
    done = pipeline.run(Regime(0.1, 0.2), given, correlation=0.2, n_paths=5, horizon=4)
    page = page_of(done)
    assert "Not drawn, but in the tables and below: S6" in page
    assert "of 21 pairs the 15 that differ most" in page
    gaps = [abs(r["found"] - r["asked"]) for r in correlation_rows(done)]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.slow
def test_odd_symbols_are_drawn_the_same_twice(pipeline, frames, tmp_path):
    given = {ODD: frames["SP500"], "B": frames["NASDAQ"]}
    done = pipeline.run(Regime(0.1, 0.2), given, correlation=0.4, n_paths=3, horizon=4)
    first = {p.name: p.read_bytes() for p in report.write(done, tmp_path / "a")}
    again = {p.name: p.read_bytes() for p in report.write(done, tmp_path / "b")}
    assert set(first) == {"candles.png", "fan.png", "report.html"}
    assert first == again
    assert "<b>&'" not in first["report.html"].decode()


@pytest.mark.slow
def test_of_many_assets_six_are_drawn(pipeline, frames):
    given = {f"S{k}": frames["SP500"] for k in range(MOST_ROWS + 1)}
    done = pipeline.run(Regime(0.1, 0.2), given, correlation=0.2, n_paths=5, horizon=4)
    charts = draw_basket(
        done, {symbol: Content.of(one) for symbol, one in done.simulations.items()}
    )
    assert len(charts["fan"].axes) == MOST_ROWS
    assert len(charts["candles"].axes) == MOST_ROWS * 2 * 2


def test_the_command_reproduces_the_run(pipeline, frames, tmp_path):
    for name, frame in frames.items():
        frame.write_csv(tmp_path / f"{name}.csv")
    files = {name: str(tmp_path / f"{name}.csv") for name in frames}
    small = {"n_paths": 2, "horizon": 3}
    done = pipeline.run("War", files, correlation=0.5, asset={"SP500": "equity"}, **small)
    command = reproduce_basket(done)
    assert f"history='{{SP500: {files['SP500']}, NASDAQ: {files['NASDAQ']}}}'" in command
    assert "correlation='[[1.0,0.5],[0.5,1.0]]'" in command
    assert "asset='{SP500: equity, NASDAQ: equity}'" in command
    assert "correlation=" not in reproduce_basket(pipeline.run("War", files, **small))


def test_the_name_of_a_history_that_is_no_asset_is_told(pipeline, frames):
    two = {"AAPL": frames["SP500"], "NASDAQ": frames["NASDAQ"]}
    small = {"n_paths": 4, "horizon": 4}
    told = pipeline.run("AAPL falls 10%", two, **small).warnings
    assert any("AAPL is a history here" in w for w in told)
    for text in ("Stocks fall 10%", "The NASDAQ falls 10%", "AAPLX falls 10%"):
        assert not any("is a history here" in w for w in pipeline.run(text, two, **small).warnings)
