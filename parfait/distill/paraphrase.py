"""Other wordings of a sentence by a language model, kept only where they still say the same."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

from parfait.distill.answers import AnswerStore, Patience, Progress, Rejected, insist
from parfait.semantic import OntologyReader
from parfait.semantic.examples import Example
from parfait.utils.errors import UserError

_LONGEST = 600  # characters of a wording
_NAMES = {"en": "English", "zh": "Chinese"}


class Speaker(Protocol):
    """A reader whose model also writes."""

    def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The answer to a conversation of messages with ``role`` and ``content``."""
        ...


def paraphrased(
    speaker: Speaker,
    examples: Sequence[Example],
    prompts: Sequence[str],
    count: int,
    store: AnswerStore,
    patience: Patience,
    progress: Progress,
) -> tuple[list[Example], list[Rejected]]:
    """Up to ``count`` other wordings of every sentence that is no nonsense, each with its target,
    split and tags but in no pair, and the wordings that say something else.

    Args:
        speaker: writes them, one a line.
        examples: taught already.
        prompts: templates with {text}, {language} and {count}, taken in turn.
        count: wordings per sentence.
        store, patience, progress: see ``teach``.
    """
    told = [e for e in examples if e.kind != "nonsense"]
    reader = OntologyReader()

    def ask(numbered: tuple[int, Example]) -> list[str] | Rejected:
        number, example = numbered
        prompt = prompts[number % len(prompts)].format(
            text=example.text, language=_NAMES[example.language], count=count
        )
        key = store.key("paraphrase", prompt)
        kept = store.get(key)
        if kept is not None:
            progress("paraphrases", number + 1, len(told))
            return json.loads(kept)
        found = insist(lambda: _lines(speaker, prompt), patience, key)
        progress("paraphrases", number + 1, len(told))
        if isinstance(found, list):
            store.put(key, json.dumps(found, ensure_ascii=False))
            return found
        return Rejected(example.text, example.language, found, patience.retries + 1)

    with ThreadPoolExecutor(patience.concurrency) as pool:
        answers = list(pool.map(ask, enumerate(told)))
    made: list[Example] = []
    rejected: list[Rejected] = []
    for example, lines in zip(told, answers, strict=True):
        if isinstance(lines, Rejected):
            rejected.append(lines)
            continue
        meant = _frames(reader, example.text, example)
        kept = [t for t in dict.fromkeys(lines) if t != example.text and len(t) <= _LONGEST]
        for text in kept[:count]:
            if _frames(reader, text, example) == meant:
                made.append(replace(example, text=text, kind="paraphrase", pair="", role=""))
            else:
                reason = "the wording says something else"
                rejected.append(Rejected(text, example.language, reason, 1))
    return made, rejected


def prompts_hash(prompts: Any) -> str:
    """SHA-256 of prompts, as told in the card."""
    told = json.dumps(prompts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


def _lines(speaker: Speaker, prompt: str) -> list[str]:
    answer = speaker.complete([{"role": "user", "content": prompt}])
    lines = [line.strip().lstrip("-•*").strip() for line in answer.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise UserError("the answer is empty")
    return lines


def _frames(reader: OntologyReader, text: str, example: Example) -> list[tuple[Any, ...]]:
    """What a wording must keep: events, negations, doses, probabilities, literal numbers."""
    read = reader.read(text, example.context)
    events = [
        (e["type"], e["negated"], e["magnitude"], e["probability"]) for e in read.reading["events"]
    ]
    literal = [(o.field, o.new) for o in read.overrides]
    return sorted([*events, *literal], key=repr)
