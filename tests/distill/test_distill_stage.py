"""The stage: same bytes whatever the workers, nothing made twice, mistakes in one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import parfait.distill.ontology as ontology
import parfait.stages.teaching as teaching
from parfait.semantic.examples import read_examples
from parfait.stages.distill import distill
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.distill.test_answers import Flaky
from tests.semantic.server import Reply, said, serving
from tests.semantic.test_spoken import answer, scenario

ROOT = Path(__file__).parents[2]
FILES = ("examples.parquet", "dataset.json", "README.md")


def config(out: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        first = ["n=60", "workers=1", f"cache={out.parent / 'cache'}", f"output_dir={out}"]
        return compose("distill", [*first, *overrides])


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ontology, "PART", 20)


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_write_what_one_writes(tmp_path: Path, workers: int) -> None:
    distill(config(tmp_path / "one", "n=80"))
    distill(config(tmp_path / "more", "n=80", f"cache={tmp_path / 'other'}", f"workers={workers}"))
    assert results(tmp_path / "one") == results(tmp_path / "more")
    assert len(read_examples(tmp_path / "one")) == 80


def test_shards_of_one_folder_leave_what_one_run_leaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distill(config(tmp_path / "shards", "shard=1/2"))
    assert "Whoever finishes last" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "shards" / FILES[0]).exists()
    distill(config(tmp_path / "shards", "shard=0/2"))
    distill(config(tmp_path / "one", f"cache={tmp_path / 'other'}"))
    assert results(tmp_path / "shards") == results(tmp_path / "one")


def test_what_is_there_is_not_made_again_and_what_is_broken_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(config(tmp_path / "out"))
    before = results(tmp_path / "out")
    made: list[int] = []
    part = ontology.ontology_part

    def noted(number: int, *rest: Any):
        made.append(number)
        return part(number, *rest)

    monkeypatch.setattr(ontology, "ontology_part", noted)
    distill(config(tmp_path / "out"))
    assert not made
    broken = sorted((tmp_path / "cache").glob("*.parquet"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    distill(config(tmp_path / "out"))
    assert len(made) == 1
    assert results(tmp_path / "out") == before
    distill(config(tmp_path / "more", "n=70"))  # the first three parts are the same
    assert len(made) == 2
    assert read_examples(tmp_path / "more")[:60] == read_examples(tmp_path / "out")


def test_a_killed_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    code = "import parfait.distill.ontology as o; o.PART = 20; from parfait.cli import main; main()"
    arguments = ["distill", "n=160", "workers=1", f"output_dir={tmp_path / 'out'}"]
    arguments.append(f"cache={tmp_path / 'cache'}")
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list((tmp_path / "cache").glob("*.json")))
    assert 0 < kept < 8
    assert not (tmp_path / "out" / FILES[0]).exists()
    distill(config(tmp_path / "out", "n=160"))
    distill(config(tmp_path / "whole", "n=160", f"cache={tmp_path / 'fresh'}"))
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_killed_run_asks_a_server_for_the_rest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import time\n"
        "import parfait.stages.teaching as t\n"
        "from tests.distill.test_answers import Flaky\n"
        "class Slow(Flaky):\n"
        "    def read(self, *asked):\n"
        "        time.sleep(0.05)\n"
        "        return super().read(*asked)\n"
        "t.load_reader = lambda name, **_: Slow()\n"
        "from parfait.cli import main; main()"
    )
    quick = ["teacher=openai", "teacher.wait=0", "teacher.concurrency=2", "n=60", "workers=1"]
    where = [f"output_dir={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}"]
    command = [sys.executable, "-c", code, "distill", *quick, *where]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)

    def kept() -> int:
        files = (tmp_path / "cache" / "answers").glob("*.jsonl")
        return sum(file.read_bytes().count(b"\n") for file in files)

    deadline = time.monotonic() + 60
    while kept() < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept()
    assert 5 <= before < 40
    again, fresh = Flaky(), Flaky()
    quick = [*quick[:3], "workers=1"]
    monkeypatch.setattr(ontology, "PART", 500)  # as in the process that was killed
    monkeypatch.setattr(teaching, "load_reader", lambda name, **_: again)
    distill(config(tmp_path / "out", *quick))
    monkeypatch.setattr(teaching, "load_reader", lambda name, **_: fresh)
    distill(config(tmp_path / "whole", f"cache={tmp_path / 'new'}", *quick))
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert len(again.asked) == len(fresh.asked) - before


def test_the_card_tells_what_is_in_it(tmp_path: Path) -> None:
    distill(config(tmp_path / "out"))
    card = json.loads((tmp_path / "out" / "dataset.json").read_text())
    examples = read_examples(tmp_path / "out")
    assert card["examples"] == len(examples)
    assert sum(card["counts"]["split"].values()) == len(examples)
    assert set(card["hashes"]) == {"grammar", "lexicon", "code"}
    readme = (tmp_path / "out" / "README.md").read_text()
    assert all(value in readme for value in card["hashes"].values())
    assert str(tmp_path) not in readme + json.dumps(card)


def test_windows_teach_through_the_stage(tmp_path: Path) -> None:
    catalogue = tmp_path / "events.csv"
    head = "date,type,asset,magnitude,unit,consensus,text\n"
    rows = [f"20{y:02}-03-1{y % 5},election,SP500,,,,Election {y}\n" for y in range(1, 17)]
    catalogue.write_text(head + "".join(rows))
    options = ["teacher=windows", f"teacher.catalogue={catalogue}", "teacher.phrasings=2", "n=7"]
    distill(config(tmp_path / "out", *options))
    examples = read_examples(tmp_path / "out")
    assert len(examples) == 6  # whole events only
    card = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert [row["group"] for row in card["effects"]] == ["election equity"]


def test_a_server_teaches_and_what_it_refused_lies_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(config(tmp_path / "plain"))
    bad = next(e for e in read_examples(tmp_path / "plain") if e.kind == "event")
    reader = Flaky(failures=1, never=bad.text)
    monkeypatch.setattr(teaching, "load_reader", lambda name, **_: reader)
    quick = ["teacher=openai", "teacher.wait=0", "teacher.retries=1"]
    distill(config(tmp_path / "out", *quick))
    found = read_examples(tmp_path / "out")
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert {r["text"] for r in told} == {bad.text}
    assert bad.text not in {e.text for e in found}
    assert len(found) + len(told) == 60
    card = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert card["thrown_away"] == {"rejected": len(told)}
    assert "SHA-256 of prompts" in card["sources"]


def test_a_dry_run_counts_what_is_not_answered_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Named(Flaky):
        def describe(self) -> dict[str, str]:
            return {"model": "m"}

    monkeypatch.setattr(teaching, "load_reader", lambda name, **_: Named())
    options = ["teacher=openai", "teacher.wait=0", "teacher.reader.model=m"]

    def calls() -> int:
        distill(config(tmp_path / "none", *options, "dry_run=true"))
        return int(capsys.readouterr().out.partition("teacher=openai: ")[2].split()[0])

    assert calls() > 20
    distill(config(tmp_path / "out", *options))
    capsys.readouterr()
    assert calls() == 0


def test_the_price_may_be_asked_for_without_a_model_and_nothing_else(tmp_path: Path) -> None:
    distill(config(tmp_path / "out", "teacher=openai", "dry_run=true"))
    with pytest.raises(UserError, match=r"needs teacher\.reader\.model"):
        distill(config(tmp_path / "out", "teacher=openai"))


def test_over_the_wire_what_never_validates_is_asked_again_counted_and_not_learnt(
    tmp_path: Path,
) -> None:
    def refused(request: dict[str, Any]) -> bool:
        return sum(request["messages"][1]["content"].encode()) % 4 == 0

    def reply(request: dict[str, Any]) -> Reply:
        return said(answer(scenario(mood="bad")) if refused(request) else answer())

    with serving(reply) as server:
        reader = ["+teacher.reader.model=m", f"+teacher.reader.base_url='{server.url}'"]
        quick = ["teacher=openai", "teacher.wait=0", "teacher.retries=1", "n=20"]
        distill(config(tmp_path / "out", *quick, *reader))
        bad = Counter(r["messages"][1]["content"] for r in server.requests if refused(r))
    told = [json.loads(x) for x in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert 0 < len(told) < 20
    assert sum(bad.values()) == len(told) * 2 * 2  # two attempts, each with one more by the reason
    assert all("scenarios.0.mood" in r["reason"] and r["attempts"] == 2 for r in told)
    assert not {r["text"] for r in told} & {e.text for e in read_examples(tmp_path / "out")}
    card = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert card["thrown_away"] == {"rejected": len(told)}


def test_a_dry_run_asks_nobody_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Silent:
        def read(self, *_: Any):
            raise AssertionError

    monkeypatch.setattr(teaching, "load_reader", lambda name, **_: Silent())
    prices = ["teacher.price.prompt=1", "teacher.price.answer=2"]
    distill(config(tmp_path / "out", "teacher=openai", "dry_run=true", *prices))
    told = capsys.readouterr().out
    assert "calls" in told
    assert "USD" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["n=0"], "n=0 must be at least 1"),
        (["workers=0"], "workers=0"),
        (["teacher.nonsense=2"], r"teacher\.nonsense=2"),
        (["+teacher.colour=1"], r"teacher\.colour is no option"),
        (["teacher.name=oracle"], "oracle is unknown; use one of ontology, windows, openai"),
        (["teacher=windows", "teacher.catalogue=absent.csv"], "absent.csv cannot be read"),
        (["teacher=windows", "data.asset=tulips"], "tulips"),
        (["teacher=openai", "teacher.reader.name=nobody"], "'nobody' is unknown"),
        (["teacher=openai", "teacher.texts=poems"], "must be grammar or catalogue"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        distill(config(tmp_path / "out", *overrides))
    assert not (tmp_path / "out").exists()


def test_an_empty_set_of_answers_ends_with_2(tmp_path: Path) -> None:
    code = (
        "import parfait.stages.teaching as t\n"
        "from tests.distill.test_answers import Flaky\n"
        "t.load_reader = lambda name, **_: Flaky(failures=10**9)\n"
        "from parfait.cli import main; main()"
    )
    quick = ["teacher=openai", "teacher.wait=0", "n=30", "workers=1"]
    where = [f"output_dir={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}"]
    command = [sys.executable, "-c", code, "distill", *quick, *where]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: the teacher answers none of its first questions" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
