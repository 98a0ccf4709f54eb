"""Examples of the ontology: fixed by the seed, split by rule, ordered as the doses are."""

import math
from collections import Counter

import pytest

from parfait.distill.contrast import APART, mean_coordinate
from parfait.distill.held_out import TESTS, rules
from parfait.distill.ontology import Shares, ontology_jobs, ontology_part
from parfait.semantic import OntologyReader
from parfait.semantic.examples import Example
from parfait.semantic.ontology.lexicon import effects
from parfait.utils.errors import UserError

ROWS = 700


@pytest.fixture(scope="module")
def made() -> list[Example]:
    return ontology_part(0, ROWS, 5, Shares(held_out=0.05, pairs=0.6))[0]


def values(example: Example, tag: str) -> set[str]:
    return set(example.tags[tag].split(",")) - {""}


def breaks(example: Example) -> set[str]:
    """The rules that an example breaks, told from the example alone."""
    told = rules()
    events = values(example, "event")
    spoken = set(told["language"].get(example.language, ()))
    market = {example.context.asset_class, example.target.asset_class} - {None}
    found = {
        "test_event": events & set(told["events"]),
        "test_magnitude": values(example, "magnitude") & {told["band"]},
        "test_asset": (values(example, "assets") | market) & set(told["assets"]),
        "test_language": events & spoken,
        "test_composition": values(example, "negated") & set(told["negated"]),
    }
    return {name for name, hit in found.items() if hit}


def test_a_part_is_fixed_by_seed_and_number() -> None:
    first, lost = ontology_part(3, 40, 7, Shares())
    assert (first, lost) == ontology_part(3, 40, 7, Shares())
    assert len(first) == 40
    assert first != ontology_part(3, 40, 8, Shares())[0]
    assert first != ontology_part(4, 40, 7, Shares())[0]
    few, many = ontology_jobs(1200, 0, Shares()), ontology_jobs(5000, 0, Shares())
    assert few[:2] == many[:2]
    assert sum(job.rows for job in few) == 1200


def test_splits_are_disjoint_by_their_rules(made: list[Example]) -> None:
    assert set(TESTS) < {e.split for e in made}
    for example in made:
        hit = breaks(example)
        if example.split in ("train", "val", "test_template"):
            assert not hit, example
        else:
            assert hit == {example.split}, example
    templates = {e.tags["template"] for e in made if e.split == "test_template"}
    others = {e.tags["template"] for e in made if e.split != "test_template"}
    assert not templates & others
    train = {(e.tags["template"], e.tags["event"]) for e in made if e.split == "train"}
    val = {(e.tags["template"], e.tags["event"]) for e in made if e.split == "val"}
    assert val
    assert not train & val
    known = {e.text.lower().strip(" .!。") for e in made if e.split == "train"}
    assert not known & {e.text.lower().strip(" .!。") for e in made if e.split != "train"}


def test_shares_are_what_was_asked_for(made: list[Example]) -> None:
    kinds, languages = Counter(e.kind for e in made), Counter(e.language for e in made)
    for share, found in ((0.15, kinds["nonsense"]), (0.08, kinds["directive"])):
        assert abs(found / ROWS - share) < 4 * math.sqrt(share * (1 - share) / ROWS)
    # Held-out events of one language and paraphrases across languages move the share a little.
    assert 0.33 < languages["zh"] / ROWS < 0.5


def test_targets_are_what_the_ontology_reads(made: list[Example]) -> None:
    reader, partners = OntologyReader(), set()
    checked = 0
    for example in made:
        second = example.role == "same" and example.pair in partners
        partners.add(example.pair)
        if second or example.tags["style"] or checked > 150:
            continue
        read = reader.read(example.text, example.context)
        assert read.components == example.target.components, example.text
        checked += 1


def test_nonsense_has_the_prior(made: list[Example]) -> None:
    for example in made:
        if example.kind == "nonsense":
            assert {c.slot for c in example.target.components} == {"prior"}
            assert example.target.confidence <= 0.1


def test_pairs_are_whole_and_ordered_as_they_say(made: list[Example]) -> None:
    members: dict[str, list[Example]] = {}
    for example in made:
        if example.pair:
            members.setdefault(example.pair, []).append(example)
    assert len(members) > 80
    for found in members.values():
        assert len(found) == 2
        assert found[0].split == found[1].split
        assert found[0].context == found[1].context
        assert found[0].text != found[1].text
        roles = sorted(e.role for e in found)
        if roles == ["same", "same"]:
            assert found[0].target == found[1].target
        else:
            assert roles == ["high", "low"]
            high, low = sorted(found, key=lambda e: e.role)
            name = high.tags["contrast"]
            assert mean_coordinate(high.target, name) > mean_coordinate(low.target, name)


def test_contrasts_agree_with_the_dose_response() -> None:
    """g increases, so of two doses the larger has more of what the event brings; and of two
    opposite events the one with the larger mu has the larger drift.
    """
    reader, table = OntologyReader(), effects()["events"]
    shares = Shares(pairs=1.0, nonsense=0.0, directive=0.0, noise=0.0, held_out=0.0)
    found = ontology_part(1, 500, 2, shares)[0]
    members: dict[str, list[Example]] = {}
    for example in found:
        members.setdefault(example.pair, []).append(example)
    seen = Counter()
    for pair in members.values():
        kind = pair[0].tags.get("differs")
        alone = all("," not in e.tags["event"] and not e.tags["negated"] for e in pair)
        broad = all(e.target.asset_class == "equity" for e in pair)
        if kind not in ("dose", "opposite") or pair[0].tags["contrast"] != "drift":
            continue
        if not alone or not broad:
            continue
        high, low = sorted(pair, key=lambda e: e.role)
        if kind == "opposite":
            assert table[high.tags["event"]]["mu"] > table[low.tags["event"]]["mu"]
        else:
            more, less = (
                reader.read(e.text, e.context).reading["events"][0]["magnitude"]
                for e in (high, low)
            )
            mu = table[high.tags["event"]]["mu"]
            assert (more > less) == (mu > 0), (high.text, low.text)
        seen[kind] += 1
    assert min(seen["dose"], seen["opposite"]) >= 5
    assert APART["drift"] > 0


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"teacher\.nonsense=1\.5"):
        Shares(nonsense=1.5)
    with pytest.raises(UserError, match="together"):
        Shares(nonsense=0.6, directive=0.6)
