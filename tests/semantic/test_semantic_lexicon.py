"""Laws of the lexicon data: one meaning per form, antonyms on both sides, the same concepts in
every language.
"""

import pytest

from parfait.regime import ASSET_CLASSES
from parfait.semantic.ontology.lexicon import (
    LANGUAGES,
    effects,
    entries,
    exposures,
    lexicon,
    load_data,
)
from parfait.semantic.ontology.words import damerau, raw_tokens, stem

EVENTS = effects()["events"]


def test_no_surface_form_has_two_meanings():
    clashes = {
        keys: rows
        for keys, rows in lexicon().forms.items()
        if len({(e.kind, e.id) for e, _ in rows if e.kind != "neutral"}) > 1
    }
    assert not clashes


def test_every_form_is_lower_case_text():
    for language in LANGUAGES:
        for section in load_data(f"lexicon/{language}.yaml").values():
            if isinstance(section, dict):
                for forms in section.values():
                    assert all(isinstance(f, str) and f == f.lower() for f in forms)


@pytest.mark.parametrize("kind", ["event", "object", "asset"])
def test_languages_cover_the_same_concepts(kind):
    ids = [{e.id for e, _ in entries(language) if e.kind == kind} for language in LANGUAGES]
    assert ids[0] == ids[1]
    if kind == "event":
        assert ids[0] == set(EVENTS)
        assert len(ids[0]) >= 40


def test_antonyms_are_events_of_the_other_sign():
    for name, row in EVENTS.items():
        opposite = row.get("opposite")
        if opposite is None:
            continue
        assert opposite in EVENTS, name
        drift = row["mu"] * EVENTS[opposite]["mu"]
        spread = row["sigma"] * EVENTS[opposite]["sigma"]
        assert drift < 0 or spread < 0 or name in ("range_bound", "trending"), (name, opposite)


def test_effects_name_their_source_and_stay_in_bounds():
    for name, row in EVENTS.items():
        assert len(row["source"]) >= 9, name
        assert abs(row["mu"]) <= 10, name
        assert abs(row["sigma"]) <= 1.6, name
        assert abs(row.get("m", 0)) <= 0.4, name
        assert ("ref" in row) == ("unit" in row) == ("x0" in row), name


def test_composition_leads_to_known_events():
    for name, row in effects()["objects"].items():
        targets = [v for k, v in row.items() if k not in ("special", "damp", "denied")]
        targets += row.get("denied", {}).values()
        assert all(t in EVENTS for t in targets), name


def test_exposures_cover_every_channel_and_known_assets():
    table = exposures()
    channels = {row["channel"] for row in EVENTS.values()}
    assert channels <= set(table["channels"])
    for rows in (
        table["channels"],
        table["events"],
        table["spillover"]["up"],
        table["spillover"]["down"],
    ):
        for row in rows.values():
            assert set(row) <= set(ASSET_CLASSES)
    assert set(effects()["priors"]) == set(ASSET_CLASSES)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("raises", "raised"),
        ("hike", "hiking"),
        ("crises", "crisis"),
        ("plunged", "plunges"),
        ("cuts", "cutting"),
        ("rises", "rose"),
    ],
)
def test_stems_of_one_word_agree(a, b):
    assert stem(a) == stem(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [("raise", "rise"), ("rate", "rating"), ("inflation", "deflation"), ("halve", "halving")],
)
def test_stems_of_different_words_differ(a, b):
    assert stem(a) != stem(b)


def test_damerau_counts_a_swap_once():
    assert damerau("crahs", "crash") == 1
    assert damerau("inflation", "deflation") == 2


def test_typos_never_reach_negators_or_the_antonym():
    words = lexicon()
    assert words.correct("inflaton") == stem("inflation")
    assert words.correct("nott") is None
    assert words.correct("zzzzzz") is None


def test_numbers_carry_unit_and_sign():
    tokens = [t for t in raw_tokens("-8% 50bps $2000 covid-19") if t.kind == "num"]
    assert [(t.value, t.unit, t.signed) for t in tokens] == [
        (8.0, "%", True) if tokens[0].value == 8.0 else (-8.0, "%", True),
        (50.0, "bps", False),
        (2000.0, "$", False),
        (19.0, "", False),
    ]
