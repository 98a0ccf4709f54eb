"""The tables of risk obey their definitions; facts of returns tell shape, memory and volume."""

import numpy as np
import pytest
import torch

from parfait.checks import under_water
from parfait.report.content import Content
from parfait.report.facts import MOST_PATHS, SHOWN, Facts
from parfait.report.risk import LADDER, MOST_HORIZONS, horizons_of, risk_tables
from tests.report.test_report_page import simulated, walk


@pytest.fixture(scope="module")
def content() -> Content:
    return Content.of(simulated(n=45, horizon=30))


def test_time_under_water_of_a_known_path():
    close = torch.tensor([[9.0, 11, 10, 10.5, 12, 11], [11, 12, 13, 14, 15, 16]]).double()
    share, longest = under_water(close, 10.0)
    assert share.tolist() == [4 / 6, 0.0]
    assert longest.tolist() == [2, 0]


def test_longest_time_under_water_never_exceeds_all_of_it(content):
    close = torch.from_numpy(content.bars[..., 3].copy())
    share, longest = under_water(close, content.spot)
    assert bool((longest <= share * close.shape[1] + 1e-9).all())
    assert bool(((longest == 0) == (share == 0)).all())


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 21, 5000])
def test_horizons_end_with_the_last_bar(steps):
    found = horizons_of(steps)
    assert found[-1] == steps
    assert found == sorted(set(found))
    assert len(found) <= MOST_HORIZONS
    assert set(found[:-1]) <= set(LADDER)


def test_risk_of_the_last_bar_is_that_of_the_run(content):
    s = simulated(n=45, horizon=30)
    last = risk_tables(content).horizons[-1]
    assert last["bars"] == 30
    assert last["VaR95"] == pytest.approx(s.risk["VaR95"])
    assert last["ES95"] == pytest.approx(s.risk["ES95"])
    assert last["date"] == content.dates[-1]
    for row in risk_tables(content).horizons:
        assert row["VaR95"] <= row["ES95"] <= row["ES99"] + 1e-12
        assert row["VaR95"] <= row["VaR99"] <= row["ES99"]


def test_larger_losses_are_rarer_and_the_way_is_worse_than_the_end(content):
    tables = risk_tables(content)
    shares = {name: np.array(values) for name, values in tables.beyond}
    for values in shares.values():
        assert (np.diff(values) <= 0).all()
    assert (shares["at the last close"] <= shares["at any close"]).all()
    assert (shares["at any close"] <= shares["as a drawdown"]).all()
    assert shares["at the last close"][0] == pytest.approx(tables.horizons[-1]["loss"])


def test_scenarios_make_up_the_whole(content):
    rows = risk_tables(content).scenarios
    mean = sum(row["paths"] * row["mean"] for row in rows) / 45
    assert sum(row["paths"] for row in rows) == 45
    assert mean == pytest.approx(float(content.returns.mean()))


SPOT = float(walk(250, 0, 100.0)[-1, 3])


def facts(bars: np.ndarray, history: np.ndarray | None = None) -> Facts:
    groups = [("#0072b2", np.arange(len(bars)))]
    made = Facts.of(walk(250, 0, 100.0) if history is None else history, bars, groups)
    assert isinstance(made, Facts)
    return made


def paths(n: int = 40, steps: int = 30) -> np.ndarray:
    """Bars that continue the history of ``facts``."""
    return np.stack([walk(steps, 100 + k, SPOT) for k in range(n)])


def test_a_path_that_repeats_the_history_has_its_facts():
    history = walk(250, 0, 100.0)
    again = history[None, 1:].copy()
    again[..., :4] *= history[-1, 3] / history[0, 3]
    same = facts(again, history)
    for name in SHOWN:
        real, made = same.history.facts[name].value, same.generated.facts[name].value
        assert made == pytest.approx(real, abs=1e-9), name
    np.testing.assert_allclose(same.history.scaled, same.generated.scaled, atol=1e-9)


def test_facts_do_not_depend_on_the_unit_of_prices():
    history, bars = walk(250, 0, 100.0), paths()
    scale = np.array([1e-3] * 4 + [1e6])
    plain, scaled = facts(bars, history), facts(bars * scale, history * scale)
    for name in SHOWN:
        a, b = plain.generated.facts[name].value, scaled.generated.facts[name].value
        assert a == pytest.approx(b, abs=1e-6), name
    np.testing.assert_allclose(plain.generated.scaled, scaled.generated.scaled, atol=1e-9)


def test_fat_tails_are_seen():
    calm = paths()
    wild = calm.copy()
    wild[::4, :, :4] = SPOT * (wild[::4, :, :4] / SPOT) ** 6
    a, b = facts(calm), facts(wild)
    kurtosis = [x.generated.facts["kurtosis"].value for x in (a, b)]
    assert kurtosis[1] > kurtosis[0] + 2
    assert b.generated.scaled[-1] > a.generated.scaled[-1]


def test_windows_of_both_sides_are_equally_long_and_the_rows_complete():
    made = facts(paths(steps=30))
    assert made.window == 30
    assert facts(paths(n=3, steps=90)).window == 40
    rows = made.rows()
    assert len(rows) == len(SHOWN)
    assert all("±" in row["history"] and "±" in row["generated"] for row in rows)
    assert len(made.generated.curves["acf_r"].value) == 10


@pytest.mark.parametrize(("steps", "past"), [(1, 250), (2, 250), (20, 3)])
def test_too_few_bars_give_a_sentence(steps, past):
    said = Facts.of(walk(past, 0, 100.0), paths(4, steps), [])
    assert isinstance(said, str)
    assert said.endswith(f"has {min(steps, past)}.")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_short_paths_have_facts_without_errors(count):
    """A bootstrap of fewer than three windows has nothing to draw from."""
    made = Facts.of(walk(250, 0, 100.0), paths(count, 20), [])
    assert isinstance(made, Facts)
    told = [row["generated"] for row in made.rows()]
    assert any("±" in value for value in told) == (count == 3)


def test_prices_that_do_not_move_have_no_facts_but_reasons():
    still = np.full((4, 20, 5), SPOT)
    made = facts(still)
    assert made.generated.facts["kurtosis"].value is None
    assert made.rows()[0]["generated"].startswith("– (")
    assert len(made.generated.scaled) == 0


def test_bars_without_volume_have_the_other_facts():
    bars, history = paths(), walk(250, 0, 100.0)
    bars[..., 4] = history[:, 4] = 0
    made = facts(bars, history)
    assert made.generated.facts["volume_range"].value is None
    assert made.generated.facts["kurtosis"].value is not None


def test_of_many_paths_every_scenario_keeps_its_share():
    many = np.tile(paths(10, 4), (500, 1, 1))
    groups = [("#0072b2", np.arange(1000)), ("#d55e00", np.arange(1000, 5000))]
    made = Facts.of(walk(250, 0, 100.0), many, groups)
    assert isinstance(made, Facts)
    sizes = [len(values) for _, values in made.by_scenario]
    assert sum(sizes) == len(made.generated.scaled) == 4 * MOST_PATHS
    assert sizes[0] / sum(sizes) == pytest.approx(0.2, abs=0.01)
