"""Any reader as a teacher: bounded concurrency, retries, answers kept as they arrive."""

import hashlib
import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parfait.distill.contrast import APART, mean_coordinate
from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import Reader
from parfait.semantic.examples import Example
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

_HOPELESS = 12  # sentences without an answer, and none with one, after which there is no server
_TRANSIENT = (UserError, OSError, TimeoutError)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Patience:
    """How a teacher is asked.

    Args:
        concurrency: requests at a time.
        retries: further attempts at an answer that fails or does not validate.
        wait: seconds before the first of them, doubled every time, with a jitter of a quarter.

    Raises:
        UserError: a setting out of range.
    """

    concurrency: int = 8
    retries: int = 3
    wait: float = 1.0

    def __post_init__(self) -> None:
        require("teacher.concurrency", self.concurrency, 1, 256)
        require("teacher.retries", self.retries, 0, 20)
        require("teacher.wait", self.wait, 0.0, 600.0)


class AnswerStore:
    """Answers on disk by what was asked: a line each, written when it arrives.

    A line that a kill left half written counts as none. Several threads may add.

    Args:
        folder: of the cache.
        asked: who answers and by which prompts, as plain data; other ones have another file.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        told = json.dumps(asked, sort_keys=True, default=str)
        self._asked = hashlib.sha256(told.encode()).hexdigest()
        self._file = folder / "answers" / f"{self._asked[:32]}.jsonl"
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        try:
            lines = self._file.read_bytes().split(b"\n")
        except OSError:
            lines = []
        for line in lines:
            try:
                entry = json.loads(line)
                self._known[str(entry["key"])] = str(entry["answer"])
            except (ValueError, KeyError, TypeError):
                continue

    def key(self, kind: str, text: str, context: MarketContext | None = None) -> str:
        """The name of an answer."""
        market = asdict(context) if context is not None else None
        told = json.dumps([self._asked, kind, text, market], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def get(self, key: str) -> str | None:
        """What was answered, if it was."""
        return self._known.get(key)

    def put(self, key: str, answer: str) -> None:
        """Keeps an answer; it is on disk when this returns.

        Raises:
            UserError: the cache cannot be written.
        """
        line = json.dumps({"key": key, "answer": answer}, ensure_ascii=False) + "\n"
        with self._lock:
            self._known[key] = answer
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a+b") as file:
                    if file.tell():
                        file.seek(-1, os.SEEK_END)
                        if file.read(1) != b"\n":  # a kill cut the last line
                            file.write(b"\n")
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise UserError(f"the cache {self._file} cannot be written: {error}") from error


@dataclass(frozen=True)
class Rejected:
    """A sentence without an answer that validates."""

    text: str
    language: str
    reason: str
    attempts: int


def teach(
    reader: Reader,
    examples: Sequence[Example],
    store: AnswerStore,
    patience: Patience,
    progress: Progress,
) -> tuple[list[Example], list[Rejected]]:
    """The examples with the reader's answers as targets, in order, and those without one.

    Nonsense is not asked for: its target is the prior whoever teaches. A pair of which one is
    missing, or whose answers contradict its order, is two single examples.

    Args:
        reader: any; what it raises as ``UserError`` or ``OSError`` is tried again.
        examples: sentences with markets; their own targets serve nonsense alone.
        store: answers of earlier calls.
        patience: see ``Patience``.
        progress: told of every answer.

    Raises:
        UserError: nobody answers.
    """
    asked = [e for e in examples if e.kind != "nonsense"]
    tally = _Tally(len(asked), progress)

    def ask(example: Example) -> RegimeDistribution | Rejected:
        if tally.hopeless:
            raise UserError(f"the teacher answers none of its first questions: {tally.hopeless}")
        key = store.key("read", example.text, example.context)
        kept = store.get(key)
        if kept is not None:
            tally.count(None)
            return RegimeDistribution.from_json(kept)
        found = insist(lambda: _answer(reader, example), patience, key)
        if isinstance(found, RegimeDistribution):
            store.put(key, found.to_json())
            tally.count(None)
            return found
        tally.count(found)
        return Rejected(example.text, example.language, found, patience.retries + 1)

    with ThreadPoolExecutor(patience.concurrency) as pool:
        try:
            answers = deque(pool.map(ask, asked))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    made: list[Example] = []
    rejected: list[Rejected] = []
    for example in examples:
        answer = example.target if example.kind == "nonsense" else answers.popleft()
        if isinstance(answer, Rejected):
            rejected.append(answer)
        else:
            teacher = example.teacher if example.kind == "nonsense" else answer.source
            made.append(replace(example, target=replace(answer, reading={}), teacher=teacher))
    return whole_pairs(made), rejected


def insist(ask: Callable[[], RegimeDistribution | list[str]], patience: Patience, key: str) -> Any:
    """What ``ask`` returns, or after the last attempt the reason why it failed, a text."""
    rng, reason = random.Random(derive_seed("wait", key)), ""
    for attempt in range(patience.retries + 1):
        try:
            return ask()
        except _TRANSIENT as error:
            reason = str(error) or type(error).__name__
        if attempt < patience.retries:
            time.sleep(patience.wait * 2**attempt * rng.uniform(0.75, 1.25))
    return reason


def whole_pairs(examples: Sequence[Example]) -> list[Example]:
    """The same examples; what has lost its partner, or is not ordered as it says, is single."""
    members: dict[str, list[Example]] = {}
    for example in examples:
        if example.pair:
            members.setdefault(example.pair, []).append(example)
    broken = set()
    for pair, found in members.items():
        if len(found) != 2:
            broken.add(pair)
        elif found[0].role != "same":
            name = found[0].tags.get("contrast", "drift")
            high, low = sorted(found, key=lambda e: e.role)
            more = mean_coordinate(high.target, name) - mean_coordinate(low.target, name)
            if more <= APART[name]:
                broken.add(pair)
    return [replace(e, pair="", role="") if e.pair in broken else e for e in examples]


def _answer(reader: Reader, example: Example) -> RegimeDistribution:
    """One answer; a reader that fell back to the prior has given none."""
    found = reader.read(example.text, example.context)
    if all(c.slot == "prior" for c in found.components):
        told = found.warnings[-1] if found.warnings else "the prior"
        raise UserError(f"no reading: {told}")
    return found


class _Tally:
    """How many are done, and whether there is any hope."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._lock = total, progress, threading.Lock()
        self._done = self._failed = 0
        self.hopeless = ""

    def count(self, failure: str | None) -> None:
        with self._lock:
            self._done += 1
            self._failed += failure is not None
            if failure is not None and self._failed == self._done >= _HOPELESS:
                self.hopeless = failure
            self._progress("answers", self._done, self._total)
