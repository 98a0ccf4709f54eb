"""Servers as teachers: what fails is tried again, what never validates is never trained on."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from parfait.distill.answers import AnswerStore, Patience, teach
from parfait.distill.estimate import estimate, tokens
from parfait.distill.ontology import Shares, ontology_part
from parfait.distill.paraphrase import paraphrased
from parfait.regime import MarketContext, Regime, RegimeDistribution
from parfait.semantic import OntologyReader
from parfait.semantic.examples import Example
from parfait.utils.errors import UserError

QUICK = Patience(concurrency=4, retries=2, wait=0.0)


def nothing(_: str, __: int, ___: int) -> None:
    pass


class Flaky:
    """A reader whose first ``failures`` answers to every sentence fail, and that counts."""

    def __init__(self, failures: int = 0, never: str = "\0") -> None:
        self.failures, self.never = failures, never
        self.asked: Counter[str] = Counter()
        self.busy = self.busiest = 0
        self.lock = threading.Lock()

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        with self.lock:
            self.asked[instruction] += 1
            count = self.asked[instruction]
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        time.sleep(0.002)
        with self.lock:
            self.busy -= 1
        if self.never in instruction or count <= self.failures:
            raise UserError("the answer is no scenario JSON")
        return replace(OntologyReader().read(instruction, context), source="flaky")


@pytest.fixture(scope="module")
def sentences() -> list[Example]:
    return ontology_part(0, 60, 3, Shares(held_out=0.0, pairs=0.7))[0]


def test_failures_are_tried_again_within_the_bound(
    sentences: list[Example], tmp_path: Path
) -> None:
    reader = Flaky(failures=2)
    found, rejected = teach(reader, sentences, AnswerStore(tmp_path, {}), QUICK, nothing)
    assert not rejected
    assert [e.text for e in found] == [e.text for e in sentences]
    asked = {e.text for e in sentences if e.kind != "nonsense"}
    assert set(reader.asked) == asked  # nonsense costs nothing
    assert reader.busiest <= QUICK.concurrency
    assert {e.teacher for e in found} == {"flaky", "ontology"}


def test_what_never_validates_is_put_aside_and_its_partner_is_single(
    sentences: list[Example], tmp_path: Path
) -> None:
    pair = next(e.pair for e in sentences if e.pair)
    bad, good = [e for e in sentences if e.pair == pair]
    reader = Flaky(never=bad.text)
    found, rejected = teach(reader, sentences, AnswerStore(tmp_path, {}), QUICK, nothing)
    told = {(r.text, r.reason, r.attempts) for r in rejected}
    assert (bad.text, "the answer is no scenario JSON", 3) in told
    assert bad.text not in {e.text for e in found}
    assert len(found) + len(rejected) == len(sentences)
    assert next(e for e in found if e.text == good.text).pair == ""


def test_answers_are_kept_and_a_torn_line_is_none(sentences: list[Example], tmp_path: Path) -> None:
    first = teach(Flaky(), sentences, AnswerStore(tmp_path, {"m": 1}), QUICK, nothing)
    (file,) = (tmp_path / "answers").iterdir()
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:50])  # as a kill leaves it
    reader = Flaky()
    assert teach(reader, sentences, AnswerStore(tmp_path, {"m": 1}), QUICK, nothing) == first
    assert sum(reader.asked.values()) == 1
    reader = Flaky()
    assert teach(reader, sentences, AnswerStore(tmp_path, {"m": 1}), QUICK, nothing) == first
    assert not reader.asked
    teach(reader, sentences, AnswerStore(tmp_path, {"m": 2}), QUICK, nothing)
    assert reader.asked  # another model has other answers


def test_a_server_that_never_answers_stops_the_run(
    sentences: list[Example], tmp_path: Path
) -> None:
    reader = Flaky(failures=10**9)
    with pytest.raises(UserError, match=r"none of its first questions: .*no scenario JSON"):
        teach(reader, sentences, AnswerStore(tmp_path, {}), QUICK, nothing)
    assert len(reader.asked) < 30


def test_a_defect_of_the_reader_is_no_answer_to_try_again(
    sentences: list[Example], tmp_path: Path
) -> None:
    class Broken(Flaky):
        def read(self, instruction: str, context: MarketContext | None = None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        teach(Broken(), sentences, AnswerStore(tmp_path, {}), QUICK, nothing)


def test_falling_back_to_the_prior_is_no_answer(sentences: list[Example], tmp_path: Path) -> None:
    class Prior(Flaky):
        def read(self, instruction: str, context: MarketContext | None = None):
            return OntologyReader().read("qwerty zxcv", context)

    with pytest.raises(UserError, match="no reading: Nothing about a market"):
        teach(Prior(), sentences, AnswerStore(tmp_path, {}), QUICK, nothing)


def test_contrasts_that_a_teacher_turns_round_are_no_pairs(
    sentences: list[Example], tmp_path: Path
) -> None:
    class Flat(Flaky):
        def read(self, instruction: str, context: MarketContext | None = None):
            return RegimeDistribution.single(Regime(0.1, 0.2))

    found, _ = teach(Flat(), sentences, AnswerStore(tmp_path, {}), QUICK, nothing)
    roles = {e.role for e in sentences}
    assert {"high", "low", "same"} <= roles
    assert {e.role for e in found} == {"", "same"}


def test_wordings_are_kept_where_they_say_the_same(tmp_path: Path) -> None:
    text = "The Fed raises rates by 50 bps."
    example = Example(text, MarketContext("equity"), OntologyReader().read(text), pair="", role="")

    class Speaker:
        def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
            assert text in messages[0]["content"]
            return (
                "- The Federal Reserve hikes rates by 50 basis points.\n"
                "The Fed cuts rates by 50 bps.\n"
                "The Fed raises rates by 75 bps.\n"
                "Rates will not be raised by the Fed by 50 bps.\n"
            )

    store = AnswerStore(tmp_path, {})
    prompts = ["{count} in {language}: {text}"]
    found, rejected = paraphrased(Speaker(), [example], prompts, 4, store, QUICK, nothing)
    assert [e.text for e in found] == ["The Federal Reserve hikes rates by 50 basis points."]
    assert found[0].target == example.target
    assert {r.reason for r in rejected} == {"the wording says something else"}
    assert len(rejected) == 3


def test_estimates_add_up() -> None:
    assert tokens("abcd efgh") == 3
    assert tokens("央行加息") == 4
    told = estimate(["abcd" * 10, "央行"], 100, 50, 2.0, 10.0)
    assert (told.calls, told.prompt, told.answer) == (2, 212, 100)
    assert told.cost == pytest.approx((212 * 2 + 100 * 10) / 1e6)
    assert "n/a" in str(estimate(["a"], 1, 1, None, 1.0))


def test_the_store_is_one_line_per_answer(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, {})
    store.put("k", "一\n二")
    (file,) = (tmp_path / "answers").iterdir()
    assert [json.loads(line)["answer"] for line in file.read_text().splitlines()] == ["一\n二"]
    assert AnswerStore(tmp_path, {}).get("k") == "一\n二"
