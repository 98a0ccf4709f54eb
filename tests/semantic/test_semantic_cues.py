"""Laws of cues: words that tell of an event without naming it."""

import pytest

from parfait.evaluation.battery import flagged
from parfait.metrics.functional.reading import Yardstick, shift
from parfait.semantic import load_reader
from parfait.semantic.ontology.clauses import segment
from parfait.semantic.ontology.infer import infer
from parfait.semantic.ontology.lexicon import LANGUAGES, effects, lexicon, load_data
from parfait.semantic.ontology.normalise import normalise

READER = load_reader("ontology")
FILES = {language: load_data(f"lexicon/cues_{language}.yaml") for language in LANGUAGES}


def drift(text: str, asset: str | None = None) -> float:
    told = READER.read(text)
    return shift(told, Yardstick.of(told.asset_class))["drift"]


def inferred(text: str) -> set[str | None]:
    parsed = segment(normalise(text).clean, [], lexicon())
    return {t.event for t in infer(parsed, {c.sentence for c in parsed.clauses}).values()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_strong_form_tells_of_its_event_alone(language: str) -> None:
    mu = {name: row["mu"] for name, row in effects()["events"].items()}
    for event, rows in FILES[language]["events"].items():
        for form in rows["strong"]:
            told = inferred(str(form))
            assert told, (event, form)
            assert all(e == event or mu[e] * mu[event] > 0 for e in told), (event, form, told)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_form_is_of_two_minds(language: str) -> None:
    data = FILES[language]
    both = {str(f).lower() for f in data["good"]} & {str(f).lower() for f in data["bad"]}
    assert not both
    mu = {name: row["mu"] for name, row in effects()["events"].items()}
    signs: dict[str, set[bool]] = {}
    for event, rows in data["events"].items():
        for form in rows["strong"]:
            if mu[event]:
                signs.setdefault(str(form).lower(), set()).add(mu[event] > 0)
    assert not [form for form, found in signs.items() if len(found) > 1]


def test_one_weak_cue_tells_nothing_and_two_do() -> None:
    assert flagged(READER.read("The generals met"))
    assert drift("The generals seized the palace") < -0.02


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("The drug trial worked", "The drug trial flopped"),
        ("The quarter was superb", "The quarter was a catastrophe"),
        ("The harvest is superb", "The harvest is ruined"),
        ("The placebo trial was not a failure", "The placebo trial was a failure"),
    ],
)
def test_the_tone_beside_a_topic_decides_and_a_negator_turns_it(good: str, bad: str) -> None:
    a, b = READER.read(good), READER.read(bad)
    unit = Yardstick.of("equity")
    assert shift(b, unit)["drift"] < -0.02
    assert shift(a, unit)["drift"] > shift(b, unit)["drift"] + 0.02


@pytest.mark.parametrize(
    "text",
    [
        "The weather is great and the party was a success",
        "My car broke and the game was terrible",
        "The film won awards, everybody loved it",
        "He hates the new carpet and she loves the lamp",
    ],
)
def test_a_tone_without_a_market_tells_nothing(text: str) -> None:
    assert flagged(READER.read(text))
