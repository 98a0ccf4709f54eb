"""Readers against a teacher and against dated events: the truth wins, the past alone is read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from parfait.data.embedded import embedded_bars
from parfait.distill.catalogue import Event, read_catalogue
from parfait.distill.ontology import Shares, ontology_part
from parfait.evaluation.cells import Cell
from parfait.evaluation.followed import followed_cells, frequent_types, scores_of
from parfait.evaluation.forecasters import (
    FORECASTERS,
    HISTVOL,
    SILENCE,
    Forecast,
    forecaster,
)
from parfait.evaluation.lessons import (
    HELD_OUT,
    Lesson,
    RidgePupil,
    examples_key,
    load_lesson,
    reading,
    teacher,
)
from parfait.evaluation.occasions import Occasions, occasions
from parfait.evaluation.taught import judged, taught_cells
from parfait.evaluation.understanding import PRIOR, READER, PriorOnly
from parfait.history import History
from parfait.metrics.functional.reading import Yardstick
from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import load_reader
from parfait.semantic.examples import Example, write_examples
from parfait.utils.errors import UserError


class Teacher:
    """Says what the examples say: the perfect pupil."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.known = {(one.text, one.context): one.target for one in examples}

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        unread = load_reader().read(instruction, context)
        return self.known.get((instruction, context or MarketContext()), unread)


class Boaster(Teacher):
    """Sure that the market goes the other way from what the teacher says."""

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        told = super().read(instruction, context)
        unit = Yardstick.of(told.asset_class, context)
        parts = []
        for c in told.components:
            away = torch.where(c.mean > unit.centre, 3.0, -3.0) * unit.sd
            parts.append(replace(c, mean=unit.centre - away, cholesky=0.2 * c.cholesky))
        return replace(told, components=tuple(parts))


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    found = [one for k in (0, 1) for one in ontology_part(k, 150, 3, Shares(held_out=0.12))[0]]
    held = {s: [one for one in found if one.split == s][:20] for s in HELD_OUT}
    train = [one for one in found if one.split == "train"] * 3
    return Lesson(train, {split: examples for split, examples in held.items() if examples})


def values(cells: Sequence[Cell], question: str) -> dict[str, dict[str, float | None]]:
    return {
        c.row: {s.column: s.value for s in c.compute().scores}
        for c in cells
        if c.question == question
    }


def test_the_teacher_itself_is_calibrated_and_nobody_scores_better(lesson: Lesson) -> None:
    cells = list(taught_cells(Teacher(lesson.every), lambda: lesson))
    for cell in (c for c in cells if c.question == "taught" and c.row.endswith(READER)):
        for score in cell.compute().scores:
            if score.ceiling is not None and score.column == "NLL":
                assert score.value == pytest.approx(score.ceiling)
            if score.column in ("error of mean", "ECE of weights"):
                assert score.value == pytest.approx(0, abs=1e-12)
    fields = values(cells, "taught fields")
    n = len(lesson.every)
    for row, told in fields.items():
        if row.endswith(f", {READER}"):
            assert told["PIT-KS"] < 1.95 / n**0.5
            assert abs(told["cover 80 %"] - 0.8) < 4 * (0.16 / n) ** 0.5
        if row.endswith(f", {PRIOR}"):
            field = row.split(", ")[0]
            assert told["CRPS"] > fields[f"{field}, {READER}"]["CRPS"]
    weights = values(cells, "taught weights")
    assert weights[READER]["ECE of weights"] == pytest.approx(0, abs=1e-12)
    assert weights[PRIOR]["ECE of weights"] > 0.1


def test_sure_and_wrong_is_worse_than_knowing_nothing(lesson: Lesson) -> None:
    rivals = (Boaster(lesson.every), PriorOnly(load_reader()))
    for examples in lesson.held.values():
        known = teacher(examples)
        wrong, nothing = (judged(reading(one)(examples), known) for one in rivals)
        for column in ("NLL", "energy"):
            assert wrong[column].mean() > nothing[column].mean()


def test_pairs_and_nonsense(lesson: Lesson) -> None:
    cells = list(taught_cells(load_reader(), lambda: lesson))
    pairs = values(cells, "pairs")
    assert pairs[READER]["the stronger one is stronger"] == 1
    assert pairs[PRIOR]["the stronger one is stronger"] == 0
    assert pairs[PRIOR]["two ways to say it, one answer"] == 1
    assert values(cells, "abstention")[READER]["nonsense flagged"] == 1


def test_scores_are_finite_for_the_ridge_and_it_needs_examples(lesson: Lesson) -> None:
    pytest.importorskip("sklearn")
    known = RidgePupil(lesson.train)(lesson.every)
    assert torch.allclose(known.slots.sum(1), torch.ones(len(lesson.every)).double())
    for each in judged(known, known).values():
        assert bool(torch.isfinite(each).all())
    with pytest.raises(UserError, match="too few for the n-gram ridge"):
        RidgePupil(lesson.train[:20])


def test_a_folder_of_examples_is_read_and_known_by_its_bytes(
    lesson: Lesson, tmp_path: Path
) -> None:
    write_examples(tmp_path, [*lesson.train[:40], *lesson.held["test_event"]])
    read = load_lesson(str(tmp_path), 5)
    assert set(read.held) == {"test_event"}
    assert len(read.held["test_event"]) == 5
    key = examples_key(str(tmp_path))
    write_examples(tmp_path, lesson.train[:40])
    assert examples_key(str(tmp_path)) != key
    with pytest.raises(UserError, match="no example is held out"):
        load_lesson(str(tmp_path), 5)
    with pytest.raises(UserError, match="make it with parfait distill"):
        examples_key(str(tmp_path / "absent"))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return [e for e in read_catalogue() if e.type in ("terror", "rescue", "war", "qe")]


@pytest.fixture(scope="module")
def known(events: list[Event]) -> tuple[Occasions, Occasions]:
    return occasions({"SP500": embedded_bars()["SP500"]}, events, 20)


def test_nothing_after_the_day_before_is_read(known: tuple[Occasions, Occasions]) -> None:
    """Bars from an event on are replaced: its forecast stays, what is observed does not."""
    frame, reader = embedded_bars()["SP500"], load_reader()
    for k in (0, 9):
        event, asked = known[0].events[k], known[0]
        later = pl.col("timestamp").cast(pl.Int64) >= event.time
        wild = [
            pl.when(later).then(pl.col(name) * 3).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        ]
        changed, _ = occasions({"SP500": frame.with_columns(wild)}, [event], 20)
        assert changed.contexts[0] == asked.contexts[k]
        assert not torch.allclose(changed.returns[0], asked.returns[k])
        read = [reader.read(event.text, c) for c in (changed.contexts[0], asked.contexts[k])]
        assert read[0] == read[1]


def test_the_market_before_an_event_is_that_of_a_simulation(
    known: tuple[Occasions, Occasions],
) -> None:
    frame, asked = embedded_bars()["SP500"], known[0]
    for k in (0, 5, 9):
        past = frame.filter(pl.col("timestamp").cast(pl.Int64) < int(asked.date[k]))
        frequency = float(asked.bars_per_year[k])
        usual = History(past, "SP500").context(frequency, "equity")
        mine = asked.contexts[k]
        assert mine.trend == pytest.approx(usual.trend)
        assert mine.volatility == pytest.approx(usual.volatility)
        assert mine.outlook == usual.outlook


def test_the_asset_class_and_frequency_that_are_given_are_those_of_every_window(
    events: list[Event],
) -> None:
    frames = {"SP500": embedded_bars()["SP500"].tail(1500)}
    for part in occasions(frames, events, 20, "gold", 500.0):
        assert {c.asset_class for c in part.contexts} == {"gold"}
        assert {c.bars_per_year for c in part.contexts} == set(part.bars_per_year.tolist())
        assert set(part.bars_per_year.tolist()) == {500.0}


def test_windows_begin_with_the_session_of_the_event(known: tuple[Occasions, Occasions]) -> None:
    asked, usual = known
    close = embedded_bars()["SP500"].filter(pl.col("timestamp").cast(pl.Int64) < int(asked.date[0]))
    first = embedded_bars()["SP500"].filter(
        pl.col("timestamp").cast(pl.Int64) == int(asked.date[0])
    )
    step = torch.tensor([close["close"][-1], first["close"][0]]).log().diff()
    assert float(asked.returns[0, 0]) == pytest.approx(float(step), abs=1e-6)
    assert bool(
        (
            asked.date.sort().values == torch.tensor([e.time for e in asked.events]).sort().values
        ).all()
    )
    assert not bool((usual.date[1:] <= usual.end[:-1]).any())
    kind = asked.of_type("war")
    free = usual.apart(asked, kind)
    for start, end in zip(usual.date[free], usual.end[free], strict=True):
        assert not bool(((asked.date[kind] <= end) & (start <= asked.end[kind])).any())


def test_who_knew_what_came_scores_best_and_is_covered(known: tuple[Occasions, Occasions]) -> None:
    asked, usual = known

    def oracle(asked: Occasions, usual: Occasions) -> Forecast:
        told = forecaster(HISTVOL, load_reader())(asked, usual)
        truth = asked.observed(asked.returns) / usual.observed(usual.returns).std(0)
        return Forecast(
            truth[:, None] + 0.1 * (told.bars - told.bars.mean(1)[:, None]), told.regime
        )

    good = scores_of(oracle, asked, usual)["energy, bars"].mean()
    for name in (READER, PRIOR, HISTVOL, SILENCE):
        told = scores_of(forecaster(name, load_reader()), asked, usual)
        assert told["energy, bars"].mean() > 2 * good
        assert (
            0
            <= float(told["cover 50 %, return"].mean())
            <= float(told["cover 95 %, return"].mean())
        )


def test_what_follows_in_general_is_covered_by_histvol(
    known: tuple[Occasions, Occasions],
) -> None:
    """Windows at regular times as their own events: coverage is nominal."""
    _, usual = known
    event = Event(0, "1999-01-01", "war", "", None, "", None, "War")
    half = torch.arange(len(usual)) % 2 == 0
    asked = replace(usual, **{k: v[half] for k, v in vars(usual).items() if torch.is_tensor(v)})
    contexts = [c for c, k in zip(usual.contexts, half.tolist(), strict=True) if k]
    asked = replace(asked, contexts=contexts, events=[event] * len(contexts))
    told = scores_of(forecaster(HISTVOL, load_reader()), asked, usual)
    for field in ("return", "volatility"):
        hits = told[f"cover 80 %, {field}"]
        assert abs(float(hits.mean()) - 0.8) < 4 * (0.16 / len(hits)) ** 0.5


def test_cells_tell_of_every_forecaster_and_of_frequent_types(
    events: list[Event], known: tuple[Occasions, Occasions]
) -> None:
    pytest.importorskip("sklearn")
    cells = list(followed_cells(load_reader(), events, lambda: known))
    rows = values(cells, "followed")
    assert set(FORECASTERS) <= set(rows)
    assert set(frequent_types(events)) == {"terror", "rescue", "war", "qe"}
    types = values(cells, "followed by type")
    assert set(types) == set(frequent_types(events))
    assert all(v is not None and v > 0 for row in types.values() for v in row.values())
    assert rows[f"against {PRIOR}"]["bars, all"] is not None


def test_a_catalogue_without_windows_is_refused() -> None:
    event = Event(0, "1970-01-01", "war", "", None, "", None, "War")
    with pytest.raises(UserError, match="no event of the catalogue has a window"):
        occasions({"SP500": embedded_bars()["SP500"]}, [event], 20)
