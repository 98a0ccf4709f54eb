"""All who work on a run read its sentence as the first of them did."""

from pathlib import Path

import pytest

import parfait.streaming.reading as reading
from parfait.regime import MarketContext, Regime, RegimeDistribution
from parfait.streaming.reading import READING, KeptReader


class Moody:
    """Another answer every time; ``before`` happens while it thinks."""

    asked = 0

    def __init__(self, before=lambda: None) -> None:
        self.before = before

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        Moody.asked += 1
        answer = RegimeDistribution.single(Regime(0.1 * Moody.asked, 0.2))
        self.before()
        return answer


@pytest.fixture(autouse=True)
def moody(monkeypatch: pytest.MonkeyPatch) -> None:
    Moody.asked = 0
    monkeypatch.setattr(reading, "load_reader", lambda name, **options: Moody())


def test_a_sentence_is_read_once(tmp_path: Path) -> None:
    first = KeptReader(tmp_path, "moody", {}).read("war", MarketContext(volatility=0.2))
    again = KeptReader(tmp_path, "moody", {}).read("war", MarketContext(volatility=0.2))
    assert (again.to_json(), Moody.asked) == (first.to_json(), 1)


@pytest.mark.parametrize("change", ["sentence", "market", "reader", "file"])
def test_what_is_kept_is_of_this_sentence_market_and_reader(tmp_path: Path, change: str) -> None:
    def read(sentence: str, market: float, name: str) -> RegimeDistribution:
        return KeptReader(tmp_path, name, {}).read(sentence, MarketContext(volatility=market))

    first = read("war", 0.2, "moody")
    if change == "file":
        (tmp_path / READING).write_text("{")
    asked = {"sentence": ("peace", 0.2, "moody"), "market": ("war", 0.3, "moody")}
    asked["reader"] = ("war", 0.2, "other")
    given = asked.get(change, ("war", 0.2, "moody"))
    other = read(*given)
    assert (Moody.asked, other.to_json() == first.to_json()) == (2, False)
    assert read(*given).to_json() == other.to_json()


def test_another_content_of_a_file_that_an_option_names_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "events.yaml"
    (tmp_path / "run").mkdir()
    for text, asked in (("mu: -3", 1), ("mu: -3", 1), ("mu: +3", 2)):
        file.write_text(text)
        KeptReader(tmp_path / "run", "moody", {"events": str(file), "other": None}).read("war")
        assert Moody.asked == asked


def test_of_two_that_read_together_the_first_to_write_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick: list[RegimeDistribution] = []

    def overtaken() -> None:
        monkeypatch.setattr(reading, "load_reader", lambda name, **options: Moody())
        quick.append(KeptReader(tmp_path, "moody", {}).read("war"))

    monkeypatch.setattr(reading, "load_reader", lambda name, **options: Moody(overtaken))
    slow = KeptReader(tmp_path, "moody", {}).read("war")
    assert (slow.to_json(), Moody.asked) == (quick[0].to_json(), 2)
    assert [f.name for f in tmp_path.iterdir()] == [READING]
