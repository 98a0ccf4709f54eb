"""Stretches of a text with durations become phases; texts without them do not."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import MarketContext, collapse
from parfait.semantic import load_reader
from parfait.semantic.ontology.phases import spell

READER = load_reader()
CONTEXT = MarketContext(volatility=0.2, bars_per_year=252)
DAY, WEEK, MONTH, YEAR = 1 / 365, 7 / 365, 1 / 12, 1.0
PANIC_REBOUND = "panic selling, then rebound"


def read(text: str):
    return READER.read(text, CONTEXT)


@pytest.mark.parametrize(
    ("text", "afters", "name"),
    [
        ("Panic for two weeks, then recovery", [2 * WEEK], PANIC_REBOUND),
        ("panic for two weeks followed by a rebound", [2 * WEEK], PANIC_REBOUND),
        ("Two weeks of panic, then recovery.", [2 * WEEK], PANIC_REBOUND),
        ("Panic for the next ten trading days and then a rebound", [10 / 252], PANIC_REBOUND),
        ("The panic lasts about 3 months, then the market recovers", [3 * MONTH], PANIC_REBOUND),
        ("Panic for a quarter. Then recovery for a year.", [0.25], PANIC_REBOUND),
        ("Panic for two weeks, after which the market recovers", [2 * WEEK], PANIC_REBOUND),
        ("Panic for two weeks before a rebound", [2 * WEEK], PANIC_REBOUND),
        ("After a month of calm, panic", [MONTH], "calm market, then panic selling"),
        ("A two-week panic, then recovery", [2 * WEEK], PANIC_REBOUND),
        ("恐慌持续两周，然后复苏", [2 * WEEK], PANIC_REBOUND),
        ("恐慌两周，随后反弹", [2 * WEEK], PANIC_REBOUND),
        ("两周的恐慌，然后反弹", [2 * WEEK], PANIC_REBOUND),
        ("先恐慌十个交易日，再反弹", [10 / 252], PANIC_REBOUND),
        ("在三个月的平静之后，恐慌", [3 * MONTH], "calm market, then panic selling"),
        ("经过一年的平静，恐慌", [YEAR], "calm market, then panic selling"),
        ("恐慌持续两周后，反弹", [2 * WEEK], PANIC_REBOUND),
        (
            "Panic for two weeks, then calm for a month, then a rally",
            [2 * WEEK, 2 * WEEK + MONTH],
            "panic selling, then calm market, then rally",
        ),
        (
            "Two weeks of panic, a month of calm, then a rally",
            [2 * WEEK, 2 * WEEK + MONTH],
            "panic selling, then calm market, then rally",
        ),
        (
            "恐慌持续两周，平静一个月，然后反弹",
            [2 * WEEK, 2 * WEEK + MONTH],
            "panic selling, then calm market, then rebound",
        ),
    ],
)
def test_durations_make_phases(text: str, afters: list[float], name: str):
    found = read(text)
    assert found.components[0].name == name
    for component in found.components:
        assert [p.after for p in component.phases] == pytest.approx(afters)
    assert sum(c.weight for c in found.components) == pytest.approx(1)
    assert found.warnings == ()
    assert found == type(found).from_json(found.to_json())
    assert [e["stretch"] for e in found.reading["events"]] == list(range(len(afters) + 1))


@given(st.integers(1, 90), st.sampled_from(["day", "week", "month", "year"]))
@settings(max_examples=30, deadline=None)
def test_any_number_of_any_unit(number: int, unit: str):
    plural = unit if number == 1 else f"{unit}s"
    years = number * {"day": DAY, "week": WEEK, "month": MONTH, "year": YEAR}[unit]
    for text in (
        f"panic for {number} {plural}, then a rebound",
        f"{number} {plural} of panic, then a rebound",
    ):
        assert [p.after for p in read(text).components[0].phases] == pytest.approx([years])


@pytest.mark.parametrize(
    "text",
    [
        "Panic, then recovery",
        "Panic for weeks, then recovery",
        "Stocks fall 30% in two weeks, then recover",
        "Stocks rally for a year",
        "Stocks rebound after two weeks of panic",
        "10-year yields fall, then rise",
        "Either panic for two weeks, then recovery, or calm",
        "恐慌，然后反弹",
        "3月美联储加息，然后恐慌",
        "未来两周内恐慌，然后反弹",
        "2024年恐慌，然后反弹",
    ],
)
def test_no_explicit_duration_no_phases(text: str):
    found = read(text)
    assert all(c.phases == () for c in found.components)
    assert not any("stretch" in e for e in found.reading["events"])


def test_each_scenario_is_that_of_the_first_text_followed_by_the_collapsed_second():
    found, first, second = (
        read("Panic for two weeks, then a rebound"),
        read("Panic"),
        read("a rebound"),
    )
    whole = collapse(second.components)
    assert [c.weight for c in found.components] == [c.weight for c in first.components]
    assert found.confidence == min(first.confidence, second.confidence)
    for both, alone in zip(found.components, first.components, strict=True):
        assert both.slot == alone.slot
        assert both.regime.drift == alone.regime.drift
        assert both.regime.volatility == alone.regime.volatility
        (phase,) = both.phases
        assert phase.regime.drift == pytest.approx(whole.regime.drift)
        assert phase.regime.volatility == pytest.approx(whole.regime.volatility)
        assert both.rationale.count(". ") == 0
        assert "after 14 days rebound" in both.rationale


def test_how_long_is_said_by_the_duration_alone():
    lasting = read("Panic lasting two weeks, then a rebound").components[0]
    assert lasting.mean.equal(read("Panic for two weeks, then a rebound").components[0].mean)
    lasting = read("恐慌持续两周，然后反弹").components[0]
    assert lasting.mean.equal(read("恐慌两周，然后反弹").components[0].mean)


def test_the_variance_comes_to_its_level_within_a_phase():
    for text, years in (
        ("Panic for two weeks, then calm", 2 * WEEK),
        ("Panic for a year, then calm", 1.0),
    ):
        c = read(text).components[0]
        for regime in (c.regime, c.phases[0].regime):
            half_life = math.log(2) / regime.variance_reversion
            assert half_life <= years / 4 * (1 + 1e-9)
    stated = read("Variance reversion of 3 and panic for two weeks, then calm").components[0]
    assert stated.regime.variance_reversion == pytest.approx(3)


def test_literal_numbers_belong_to_their_phase():
    found = read("Volatility of 60% for two weeks, then volatility of 15%")
    (c,) = found.components
    assert c.regime.volatility == pytest.approx(0.6)
    assert c.phases[0].regime.volatility == pytest.approx(0.15)
    assert [(o.field, o.new) for o in found.overrides] == [
        ("volatility", 0.6),
        ("volatility", 0.15),
    ]


def conditions(text: str) -> list[tuple[str, float, float | None]]:
    return [(c.kind, c.level, c.years) for c in read(text).components[0].conditions]


def test_conditions_are_dated_by_their_phase():
    chained = conditions("Stocks crash 30% for two weeks, then rebound 10% in a month")
    assert chained == [
        ("terminal", -0.3, pytest.approx(2 * WEEK)),
        ("terminal", pytest.approx(0.7 * 1.1 - 1), pytest.approx(2 * WEEK + MONTH)),
    ]
    undated = conditions("Stocks crash 30% for two weeks, then rebound 10%")
    assert undated[1] == ("terminal", pytest.approx(-0.23), None)  # the end of the horizon
    assert conditions("Calm for a month, then a drawdown of 20% and panic") == [
        ("drawdown", -0.2, None)
    ]


def test_a_move_from_an_unknown_price_is_not_imposed_and_said():
    found = read("Panic for two weeks, then stocks rebound 10%")
    assert all(c.conditions == () for c in found.components)
    assert len(found.warnings) == 1
    assert "counts from a price that is not stated" in found.warnings[0]


def test_what_is_only_possible_is_followed_by_its_own_consequence():
    found = read("A 30% chance of panic for two weeks, then recovery")
    assert [(c.name, c.weight) for c in found.components] == [
        (PANIC_REBOUND, pytest.approx(0.3)),
        ("no change", pytest.approx(0.7)),
    ]
    assert [len(c.phases) for c in found.components] == [1, 0]
    denied = read("No panic for two weeks, then a crash")
    assert all(len(c.phases) == 1 for c in denied.components)


def test_a_stretch_without_meaning_is_said():
    found = read("Panic for two weeks, then elephants")
    assert all(c.phases == () for c in found.components)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith('"then elephants" says nothing that was understood')


@pytest.mark.parametrize(
    ("years", "words"),
    [(0.5 * DAY, "12 hours"), (2 * WEEK, "14 days"), (0.5, "6 months"), (3.0, "3 years")],
)
def test_lengths_of_time_in_words(years: float, words: str):
    assert spell(years) == words
