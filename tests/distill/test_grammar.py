"""The grammars speak of what the ontology knows, and are understood."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from parfait.distill.grammar import CannotSayError, Meaning, grammar
from parfait.distill.held_out import BANDS, band, rules
from parfait.distill.style import NOISES, noisy, some_context
from parfait.semantic import OntologyReader
from parfait.semantic.ontology.lexicon import effects

LANGUAGES = ("en", "zh")
SLOT = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_slot_can_be_filled(language: str) -> None:
    data = grammar(language).data
    known = {"a", "dose", "adj", "sur", *data["slots"]}
    for event, entry in data["events"].items():
        assert event in effects()["events"]
        for phrase in [*entry["clauses"], *entry["nouns"]]:
            assert set(SLOT.findall(phrase)) <= known, phrase
            if "{dose}" in phrase:
                assert effects()["events"][event].get("unit") in data["doses"], phrase
    words = {"c", "n", "C", "N", "b", "c2", "n2", "a", "p", "t", "d"}
    for texts in data["templates"].values():
        for text in texts:
            assert set(SLOT.findall(text)) <= words, text


def test_what_is_held_out_exists() -> None:
    told = rules()
    texts: set[str] = set()
    for language in LANGUAGES:
        data: dict[str, Any] = grammar(language).data
        texts |= {t for found in data["templates"].values() for t in found}
        for entry in data["nonsense"].values():
            texts |= set(entry.get("patterns", ()))
    assert set(told["templates"]) <= texts
    events = grammar("en").data["events"]
    assert set(told["events"]) | set(told["negated"]) <= set(events)
    for language, found in told["language"].items():
        assert set(found) <= set(grammar(language).data["events"])
        assert set(found) <= set(events)  # else nothing could be carried over
    assert told["band"] in dict(BANDS)
    assert not set(told["events"]) & set(told["negated"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_event_is_understood_in_some_words(language: str) -> None:
    """Sentences that the ontology reads otherwise are thrown away, so an event without any that it
    reads rightly would be missing from the data.
    """
    words, reader = grammar(language), OntologyReader()
    right = wrong = 0
    for event in words.events:
        understood = False
        for seed in range(4):
            for template in ("{c}.", "{n}."):
                meaning = Meaning("plain", (event,), "equity")
                try:
                    text = words.render(meaning, template, random.Random(seed))
                except CannotSayError:
                    continue
                read = [e["type"] for e in reader.read(text).reading["events"]]
                right, wrong = right + (read == [event]), wrong + (read != [event])
                understood = understood or read == [event]
        assert understood, event
    assert right / (right + wrong) > 0.95


def test_numbers_in_words_are_the_numbers() -> None:
    reader = OntologyReader()
    for language, form in (("en", "{words} basis points"), ("zh", "{words}个基点")):
        words = grammar(language)
        for n in (5, 10, 15, 20, 25, 48, 75, 99):
            said = form.format(words=words._words(n))
            text = f"央行加息{said}" if language == "zh" else f"The Fed raises rates by {said}"
            assert reader.read(text).reading["events"][0]["magnitude"] == n


def test_bands_are_multiples_of_the_reference_dose() -> None:
    assert [band("rate_hike", x) for x in (10, 25, 50, 100, 200)] == [name for name, _ in BANDS]
    assert band("rate_cut", -25) == "0.5-1.5"


@pytest.mark.parametrize("style", NOISES)
def test_style_keeps_numbers_and_leaves_chinese_words(style: str) -> None:
    rng = random.Random(3)
    text = "The Fed unexpectedly raises interest rates by 50 bps."
    typed = [noisy(text, "en", style, rng) for _ in range(20)]
    assert any(t != text for t in typed) or style == "wide"
    assert all("50 bps" in t.lower().replace("  ", " ") for t in typed)
    chinese = noisy("央行意外加息50个基点。", "zh", style, rng)
    assert "央行意外加息" in chinese.replace("  ", " ")


def test_contexts_know_the_market_of_the_sentence() -> None:
    rng = random.Random(1)
    silent = [some_context("gold", False, ("oil",), rng) for _ in range(50)]
    assert {c.asset_class for c in silent} == {"gold"}
    said = [some_context("gold", True, ("oil",), rng).asset_class for _ in range(300)]
    assert said.count("gold") > 200
    assert set(said) == {"gold", "oil", None}


def test_only_known_languages_have_a_grammar() -> None:
    assert (Path(__file__).parents[2] / "parfait/distill/grammar/zh.yaml").is_file()
    with pytest.raises(ValueError, match="'de' has no grammar"):
        grammar("de")
