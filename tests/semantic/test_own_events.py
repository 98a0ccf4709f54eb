"""Event types of a user's own: read as those that ship are, and gone when another reader reads."""

from pathlib import Path

import pytest

from parfait.regime import MarketContext, Regime
from parfait.semantic import load_reader
from parfait.utils.errors import UserError

OWN = """
events:
  chip_ban:
    name: chip export ban
    like: sanctions
    mu: -1.4
    opposite: chips_flow
    exposure: {crypto: [0.0, 0.0]}
    en: [Chip Embargo, bans chip exports]
    zh: [芯片出口禁令]
  chip_row: {like: sanctions, en: [chip quarrel]}
  chips_flow: {like: sanctions_lifted, opposite: chip_ban, en: [chip exports resume]}
  carbon_tax: {channel: regulation, mu: -0.8, sigma: 0.2, unit: "%", ref: 5, en: [carbon levy]}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory):
    file = tmp_path_factory.mktemp("own") / "events.yaml"
    file.write_text(OWN, encoding="utf-8")
    return load_reader("ontology", events=str(file))


def events(reader, text: str) -> list[tuple[str, bool, float | None]]:
    told = reader.read(text).reading["events"]
    return [(e["type"], e["negated"], e["magnitude"]) for e in told]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The government bans chip exports", [("chip_ban", False, None)]),
        ("A chip embargoo is announced", [("chip_ban", False, None)]),
        ("政府宣布芯片出口禁令", [("chip_ban", False, None)]),
        ("There will be no chip embargo", [("chip_ban", True, None)]),
        ("Chip exports resume", [("chips_flow", False, None)]),
        ("A carbon levy of 10%", [("carbon_tax", False, 10.0)]),
        ("War breaks out", [("war", False, None)]),
    ],
)
def test_own_events_are_read_with_their_negation_and_dose(reader, text, expected) -> None:
    assert events(reader, text) == expected


def test_their_effects_and_exposures_count(reader) -> None:
    """mu is the file's, the rest that of the event it is like, and crypto does not care."""

    def regime(text: str, asset: str = "equity") -> Regime:
        return reader.read(text, MarketContext(asset_class=asset)).components[0].regime

    ban, row = regime("A chip embargo"), regime("A chip quarrel")
    assert ban.drift < row.drift - 0.01
    assert ban.volatility == pytest.approx(row.volatility)
    calm = regime("", "crypto").drift
    assert regime("A chip embargo", "crypto").drift == pytest.approx(calm, abs=0.02)
    assert abs(regime("A chip quarrel", "crypto").drift - calm) > 0.02


def test_other_readers_know_nothing_of_them(reader) -> None:
    shipped = load_reader("ontology")
    before = shipped.read("A chip embargo is announced").to_json()
    reader.read("A chip embargo is announced")
    assert shipped.read("A chip embargo is announced").to_json() == before
    assert events(shipped, "A chip embargo is announced") != [("chip_ban", False, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("events: {war: {like: peace, en: [x y]}}", "event war ships with Parfait"),
        ("events: {a: {like: wra, en: [x y]}}", "event a: like 'wra' is unknown; did you mean war"),
        ("events: {a: {mu: 1, sigma: 0, channel: politcal, en: [x y]}}", "did you mean political"),
        ("events: {a: {like: war, opposite: paece, en: [x y]}}", "did you mean peace"),
        ("events: {a: {like: war, exposure: {glod: [1, 1]}, en: [x y]}}", "did you mean gold"),
        ("events: {a: {like: war, en: [Boom town]}, b: {like: war, en: [boom  town]}}", "means a"),
        ("events: {a: {like: war, en: ['!!']}}", "a phrase has no letters"),
        ("events: {a: {like: war, opposite: a, en: [x y]}}", "its own opposite"),
        ("events: {a: {mu: 1, en: [x y]}}", "events.a: needs channel, mu and sigma"),
        ("events: {a: {like: war}}", "events.a: needs phrases, under en or zh"),
        ("events: {a: {like: war, unit: '%', en: [x y]}}", "events.a: unit and ref go together"),
        ("events: {a: {like: war, mu: .nan, en: [x y]}}", r"events.a.mu: Input should be"),
        ("events: {a: {like: war, mu: '1', en: [x y]}}", r"events.a.mu: Input should be"),
        ("events: {a: {like: war, moo: 1, en: [x y]}}", r"events.a.moo: Extra inputs"),
        ("events: {A B: {like: war, en: [x y]}}", "should match pattern"),
        ("events: [1", "is no YAML"),
        ("events: {a: !!python/object/apply:os.system [ls]}", "is no YAML"),
        ("", "the file: Input should be"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "events.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as told:
        load_reader("ontology", events=str(file))
    assert "\n" not in str(told.value)
    assert str(file) in str(told.value)


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_reader("ontology", events=str(tmp_path / "absent.yaml"))
    (tmp_path / "large.yaml").write_text("#" * 1_000_001)
    with pytest.raises(UserError, match="1,000,001 bytes"):
        load_reader("ontology", events=str(tmp_path / "large.yaml"))
