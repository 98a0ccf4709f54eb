"""A central bank that surprises by a size alone: a rise, unless words say otherwise."""

import pytest

from parfait.semantic import load_reader

READER = load_reader("ontology")
NOTE = "no direction"


def events(text: str) -> list[tuple[str, float | None]]:
    told = READER.read(text)
    return [(e["type"], e["magnitude"]) for e in told.reading["events"]]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("The central bank surprises with 50bps", 50),
        ("The Fed shocks markets with a 25 basis point move", 25),
        ("央行意外宣布50个基点", 50),
    ],
)
def test_a_bare_size_is_a_rise_and_the_page_says_so(text: str, size: float) -> None:
    told = READER.read(text)
    assert events(text) == [("rate_hike", size)]
    assert told.reading["events"][0]["surprise"] == "full"
    assert any(NOTE in warning for warning in told.warnings)
    assert told.components[0].regime.drift < READER.read("").components[0].regime.drift


def test_what_follows_it_is_read_too() -> None:
    found = events("The central bank surprises with 50bps; panic, then the state buys")
    assert [name for name, _ in found] == ["rate_hike", "panic", "rescue"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Fed surprises with a 50bps cut", [("rate_cut", 50)]),
        ("The Fed surprises with 50bps of easing", [("rate_cut", 50)]),
        ("The Fed surprises with a 50bps hike", [("rate_hike", 50)]),
        ("央行意外降息50个基点", [("rate_cut", 50)]),
        ("The Fed surprises and holds rates", [("rate_hold", None)]),
        ("The Fed did not surprise with 50bps", []),
    ],
)
def test_a_stated_direction_counts(text: str, expected: list[tuple[str, float | None]]) -> None:
    assert events(text) == expected
    assert not any(NOTE in warning for warning in READER.read(text).warnings)
