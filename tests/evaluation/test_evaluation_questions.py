"""What the questions ask: histories that were tampered with, forecasts that look ahead nowhere."""

import pytest
import torch

from parfait.evaluation.ablation import BASE, ORDER, OTHER, ROLLOUTS, WITH, WITHOUT, Ablation
from parfait.evaluation.candidates import CANDIDATES, Ingredients
from parfait.evaluation.control import FIELDS, regimes
from parfait.evaluation.forecasts import HORIZONS, OURS, find_targets, forecast_cells
from parfait.evaluation.realism import year_or_quarter
from parfait.evaluation.suites import SUITES, Suite
from parfait.evaluation.windows import DAY, load_split
from parfait.metrics.functional.validity import validity
from parfait.metrics.functional.windows import encode_whole, encode_window
from parfait.metrics.rivals.forecasts import FORECASTS
from parfait.microstructure import Microstructure
from parfait.microstructure.codec import window_scale
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError
from tests.labelling.history import market

CLOSE, VOLUME = 3, 4


@pytest.fixture(scope="module")
def ingredients() -> Ingredients:
    split = load_split(horizon=16, most=24, most_train=40)
    return Ingredients(Microstructure.load(None), split)


def test_suites_ask_for_rows_that_there_are() -> None:
    for suite in SUITES.values():
        assert set(suite.rows) <= set(CANDIDATES)
        assert set(suite.available().judges) <= {"cnn", "gru", "trees"}
    assert set(ROLLOUTS) <= set(CANDIDATES)
    assert set(FIELDS) <= set(FIELD_NAMES)
    assert set(BASE.values()) <= set(BASE)


def test_a_shuffled_history_keeps_its_bars_and_loses_their_order(ingredients: Ingredients) -> None:
    trial = Ablation(ingredients, 20, 1)
    true, made = trial.held.history, trial.history(ORDER)
    returns = [x[..., CLOSE].log().diff(dim=1) for x in (true, made)]
    sorted_returns = [r.sort(dim=1).values for r in returns]
    assert torch.allclose(*sorted_returns, atol=1e-12)
    assert not torch.allclose(*returns, atol=1e-3)
    assert torch.allclose(made[:, -1, CLOSE], true[:, -1, CLOSE])
    for a, b in zip(window_scale(true), window_scale(made), strict=True):
        assert torch.allclose(a, b)
    assert validity(made[:, 1:])["valid"] > 0.99  # rounding may break a bar without a wick


def test_a_swapped_history_is_another_one_on_the_same_scale(ingredients: Ingredients) -> None:
    trial = Ablation(ingredients, 20, 1)
    true, made = trial.held.history, trial.history(OTHER)
    for a, b in zip(window_scale(true), window_scale(made), strict=True):
        assert torch.allclose(a, b)
    assert torch.allclose(made[:, -1, CLOSE], true[:, -1, CLOSE])
    r, other = (x[..., CLOSE].log().diff(dim=1) for x in (true, made))
    ours = (r * other).sum(1) / (r.square().sum(1) * other.square().sum(1)).sqrt()
    assert float(ours.abs().max()) < 0.6


def test_rows_of_the_ablation_continue_the_same_closes(ingredients: Ingredients) -> None:
    trial = Ablation(ingredients, 12, 2)
    for row in BASE:
        bars = trial.bars(row, 1)
        assert validity(bars)["valid"] == 1
        step = (bars[:, 0, 0] / trial.held.history[:, -1, CLOSE]).log().abs()
        assert float(step.max()) < 0.1, row
    assert bool((trial.bars(WITH, 1) != trial.bars(WITHOUT, 1)).any())
    scores = trial.scores(WITH)
    assert set(scores) == {"return", "volatility"}
    assert bool((scores["return"] > 0).all())


def test_the_code_of_a_whole_window_ends_with_that_of_its_horizon(ingredients: Ingredients) -> None:
    held = ingredients.held
    whole, part = encode_whole(held.history, held.future), encode_window(held.history, held.future)
    for a, b in zip(whole, part, strict=True):
        assert torch.allclose(a[:, -16:], b)
    assert whole.r.shape[1] == held.history.shape[1] - 1 + 16
    assert torch.allclose(whole.r[:, :60].std(1), torch.ones(len(held), dtype=torch.float64))


def test_forecasts_begin_after_the_training_part(ingredients: Ingredients) -> None:
    targets = find_targets(ingredients, 40, max(HORIZONS))
    assert [t.symbol for t in targets] == ["NASDAQ", "SP500"]
    for target in targets:
        assert int(target.time[target.origins[0]]) <= ingredients.split.cut
        assert int(target.time[target.origins[0] + 1]) > ingredients.split.cut
        assert int(target.origins[-1]) + max(HORIZONS) < len(target.bars)
        assert len(target.origins) <= 21
        assert torch.allclose(
            target.returns[target.train - 1].exp(),
            target.bars[target.train, CLOSE] / target.bars[target.train - 1, CLOSE],
        )


def test_symbols_too_short_to_forecast_are_said(tmp_path) -> None:
    market(300).write_csv(tmp_path / "short.csv")
    split = load_split(str(tmp_path / "short.csv"), history=20, horizon=8, train_end="2001-08-31")
    i = Ingredients(Microstructure.load(None), split)
    with pytest.raises(UserError, match="no symbol has 250 training returns"):
        find_targets(i, 40, 20)


def test_a_forecast_has_every_number_with_its_error(ingredients: Ingredients) -> None:
    suite = Suite(windows=24, rows=(), origins=40, paths=50)
    cells = {cell.row: cell for cell in forecast_cells(ingredients, suite)}
    assert list(cells) == [OURS, *FORECASTS]
    found = cells["HistVol20"].compute()
    scores = {s.column: s for s in found.scores}
    assert 0.5 < (scores["cover 90 %, 20 bars"].value or 0) <= 1
    assert (scores["CRPS, 1 bar"].error or 0) > 0
    assert sum(found.extra["pit"]) == scores["PIT-KS, 20 bars"].n
    mine = cells[OURS].compute()
    assert {s.column for s in mine.scores if s.question == "skill"} == {
        f"against {name}, {h} bar" + "s" * (h > 1) for name in FORECASTS for h in HORIZONS
    }


def test_regimes_of_the_round_trip_lie_in_their_range() -> None:
    drawn = regimes(200)
    assert drawn.shape == (200,)
    volatility = torch.as_tensor(drawn.volatility)
    assert 0.05 <= float(volatility.min()) < 0.06
    assert 0.9 < float(volatility.max()) <= 1
    assert float((torch.as_tensor(drawn.hurst) == 0.5).double().mean()) == pytest.approx(
        0.5, abs=0.15
    )


def test_blocks_of_the_bootstrap_are_a_year_where_there_are_years(ingredients: Ingredients) -> None:
    held = ingredients.held
    assert (
        year_or_quarter(held) == pytest.approx(365.25 * DAY, rel=0.02)
        or year_or_quarter(held) == int(held.time.max() - held.time.min()) // 4
    )
    short = held.rows(torch.arange(4))
    assert year_or_quarter(short) == int(short.time.max() - short.time.min()) // 4
