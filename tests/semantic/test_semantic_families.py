# ruff: noqa: E501  (sentences read better in one piece)
"""Laws of whole families of words: what acts on what, judgements, buying and selling, denial, turns
of phrase, and the numbers of parameters in any wording.
"""

import math

import pytest

from parfait.regime import MarketContext
from parfait.semantic import UNSURE_BELOW, load_reader
from parfait.semantic.ontology.composition import Target, sense_of
from parfait.semantic.ontology.lexicon import LANGUAGES, Entry, effects, entries, load_data

READER = load_reader()
EVENTS = effects()["events"]
OBJECTS = effects()["objects"]


def drift(text, asset=None):
    mean = READER.read(text, MarketContext(asset_class=asset)).mean
    return float(mean.drift)


@pytest.mark.parametrize("name", OBJECTS)
def test_good_and_bad_fall_on_both_sides_of_every_object(name):
    row = OBJECTS[name]
    good, bad = sense_of(row, "good"), sense_of(row, "bad")
    if good is not None and bad is not None and good != bad:
        assert EVENTS[good]["mu"] > EVENTS[bad]["mu"] or name in ("bears", "shorts")


def test_every_sense_of_an_action_ends_at_something_a_row_knows():
    known = {key for row in OBJECTS.values() for key in row} | {"good", "bad"}
    for name, steps in effects()["senses"].items():
        assert set(steps) <= known, name


@pytest.mark.parametrize("name", ["rally", "selloff", "rate_hike", "earnings_beat", "war"])
def test_a_denied_judgement_is_the_opposite_one(name):
    target = Target(Entry("asset", "stock", "en"), 0, 1, 0)
    target.act(Entry("action", "good", "en"))
    assert EVENTS[target.denied]["mu"] < 0 < EVENTS[target.event]["mu"]
    assert EVENTS[EVENTS[name]["opposite"]]["mu"] * EVENTS[name]["mu"] < 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_phrases_lead_to_events_and_their_groups_are_used(language):
    data = load_data(f"lexicon/phrases_{language}.yaml")
    assert set(data["constructions"]) <= {*EVENTS, "good", "bad", "full", "priced", "false_news"}
    rows = [row for rows in data["constructions"].values() for row in rows]
    used = {a[1:] for row in rows for s in row.split(" .. ") for a in s.split("/") if a[0] == "$"}
    assert used == set(data["groups"])
    assert all(a.strip() for row in rows for s in row.split(" .. ") for a in s.split("/"))


JUDGEMENTS = [
    (e.id, form)
    for e, form in entries("en")
    if e.kind == "action" and e.verb == "tone" and e.value == 1.7
]


@pytest.mark.parametrize(("side", "form"), JUDGEMENTS)
def test_strong_judgements_of_earnings_have_their_sign(side, form):
    moved = drift(f"The company reports {form} earnings", "stock") - drift("", "stock")
    assert moved > 0.02 if side == "good" else moved < -0.02


@pytest.mark.parametrize(
    ("good", "bad", "asset"),
    [
        ("The trial worked", "The trial flopped", "stock"),
        ("The quarter was superb", "The quarter was dismal", "stock"),
        ("EPS of 2.05 against consensus of 1.60", "EPS of 1.10 against consensus of 1.60", "stock"),
        ("GDP growth of 4.8, where 2.5 had been expected", "GDP growth of 0.2, where 2.5 had been expected", None),
        ("Investors buy gold", "Investors shun gold", "gold"),
        ("Losses narrowed", "Losses widened", "stock"),
        ("India bans rice exports", "India lifts its ban on rice exports", "commodity"),
        ("Frost kills the coffee crop", "Rain saves the coffee crop", "commodity"),
        ("Instead of hiking, the Fed cuts", "Instead of cutting, the Fed hikes", None),
        ("Everyone expected a hike, the Fed cut instead", "Everyone expected a cut, the Fed hiked instead", None),
        ("The results are good", "The results are not good", "stock"),
    ],
)  # fmt: skip
def test_pairs_fall_on_both_sides(good, bad, asset):
    base = drift("", asset)
    assert drift(bad, asset) < base < drift(good, asset)


@pytest.mark.parametrize("asset", ["equity", "gold", "bond", "stock"])
def test_the_market_of_the_context_decides(asset):
    for text in ("Oil prices triple", "The dollar collapses", "Bitcoin soars"):
        assert READER.read(text, MarketContext(asset)).asset_class == asset


@pytest.mark.parametrize(
    "text",
    [
        "My dog is terrible today", "The soup was awful", "It was a great movie", "I had a dreadful day at school",
        "The recipe is a disaster", "She won the chess match brilliantly", "My printer is dead", "What a stellar performance by the band",
    ],
)  # fmt: skip
def test_tone_about_other_things_is_no_market(text):
    told = READER.read(text)
    assert told.confidence < UNSURE_BELOW
    assert told.warnings


@pytest.mark.parametrize("tail", ["was fake", "turned out to be a hoax", "was debunked"])
def test_false_news_is_nearly_no_news(tail):
    told = drift("Hackers drain the bridge", "crypto")
    false = drift(f"The report that hackers drain the bridge {tail}", "crypto")
    silent = drift("", "crypto")
    assert told < silent
    assert abs(false - silent) < 0.2 * abs(told - silent)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, SUM(im) FROM margin_calls GROUP BY 1", "select a from margin_calls where stocks = 'crash'",
        "DELETE FROM crash WHERE war > 1", "UPDATE rates SET cut = 1",
    ],
)  # fmt: skip
def test_a_query_is_no_instruction(query):
    told = READER.read(query)
    assert told.confidence < UNSURE_BELOW
    assert told.warnings
    beside = READER.read(f"{query}; War breaks out")
    assert [e["type"] for e in beside.reading["events"]] == ["war"]


def test_words_of_another_world_outweigh_a_single_event():
    one = READER.read("A dog and a war").confidence
    assert one > READER.read("A dog, a cat and a war").confidence < UNSURE_BELOW


@pytest.mark.parametrize(
    "text",
    ["Miners at Tilo, Uldo, and Varo strike", "Miners at Tilo Uldo Codo strike"],
)
def test_commas_take_no_room_in_a_turn_of_phrase(text):
    assert [e["type"] for e in READER.read(text).reading["events"]] == ["strike"]


@pytest.mark.parametrize("reason", ["because of", "due to"])
def test_a_denied_consequence_denies_no_cause(reason):
    events = READER.read(f"The shops do not open {reason} the earthquake").reading["events"]
    assert [e["negated"] for e in events if e["type"] == "disaster"] == [False]


def test_what_is_denied_leaves_a_trace_of_the_other_sign():
    assert 0 < drift("There is no recession") - drift("") < 0.03
    assert -0.03 < drift("The central bank does not cut rates") - drift("") < 0


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("vol at 40", "volatility", 0.4), ("60 vol", "volatility", 0.6), ("volatility (daily): 1.5%", "volatility", 0.015 * math.sqrt(252)),
        ("a standard deviation of 20% per year", "volatility", 0.2), ("1.5% vol per day", "volatility", 0.015 * math.sqrt(252)),
        ("jumps 5 times a year", "jump_intensity", 5), ("2 jumps a month", "jump_intensity", 24), ("mu of 5%", "drift", 0.05),
        ("expect a return of 10% over one year", "drift", math.log(1.1)), ("两年预期回报率20%", "drift", math.log(1.2) / 2),
        ("deviations halve every 5 days", "mean_reversion", math.log(2) * 365 / 5), ("leverage of -0.5", "leverage", -0.5),
        ("xi = 0.8", "vol_of_vol", 0.8), ("200 basis points of daily volatility", "volatility", 0.02 * math.sqrt(252)), ("每年跳跃4次", "jump_intensity", 4),
    ],
)  # fmt: skip
def test_parameters_in_any_wording(text, field, value):
    told = READER.read(text, MarketContext(bars_per_year=252.0))
    assert [o.field for o in told.overrides] == [field]
    assert float(getattr(told.components[0].regime, field)) == pytest.approx(value, rel=1e-6)
