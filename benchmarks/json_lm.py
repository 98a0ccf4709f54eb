"""What the grammar of scenario JSON costs and saves; says nothing about how well a model reads.

    python benchmarks/json_lm.py

Answers are written token by token, by logits drawn at random, and as the rules would answer the
public battery's instructions. Told are the share that validates (the grammar alone, without the
order of low, mid and high, beside it), the share of tokens about which there is no choice, so
that no pass through a model is needed, and the CPU time of a mask.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress

import torch
from _common import Table, run  # pyright: ignore[reportImplicitRelativeImport]

from parfait.evaluation.battery import load_battery
from parfait.semantic import load_reader
from parfait.semantic.lm.tokens import learn_tokenizer
from parfait.semantic.spoken import grammar as rules_of_answers
from parfait.semantic.spoken.grammar import Grammar
from parfait.semantic.spoken.schema import parse, to_text
from parfait.utils.errors import UserError

Model = Callable[[str], torch.Tensor]  # logits after what was said


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--answers", type=int, default=200, help="of each kind")
    options.add_argument("--vocabulary", type=int, default=4096, help="tokens of the tokenizer")
    given = options.parse_args()
    texts = sorted({t for e in load_battery("public") for t in e.texts})[: given.answers]
    told = [to_text(load_reader().read(text)) for text in texts]
    tokenizer = learn_tokenizer([*texts, *told], given.vocabulary, verbatim=True)
    grammar = Grammar(tokenizer, given.vocabulary)
    table = Table(
        "Scenario JSON by the grammar",
        ("answers", "n", "valid", "tokens", "without a choice", "ms per mask"),
    )
    chance = [at_random(grammar.rows, seed) for seed in range(given.answers)]
    table.add("logits at random", *written(grammar, chance))
    in_order = rules_of_answers.in_order
    rules_of_answers.in_order = lambda text: True
    table.add("logits at random, order not kept", *written(grammar, chance))
    rules_of_answers.in_order = in_order
    known = [following(grammar, text) for text in told]
    table.add("as the rules answer", *written(grammar, known))
    table.print()


def at_random(rows: int, seed: int) -> Model:
    """A model that knows nothing."""
    generator = torch.Generator()

    def logits(said: str) -> torch.Tensor:
        if not said:
            generator.manual_seed(seed)
        return torch.randn(rows, generator=generator)

    return logits


def following(grammar: Grammar, text: str) -> Model:
    """A model that knows its answer."""

    def logits(said: str) -> torch.Tensor:
        (token, *_) = grammar.tokens.tokenize_str(text[len(said) :])
        found = torch.zeros(grammar.rows)
        found[token] = 1.0
        return found

    return logits


def written(grammar: Grammar, models: list[Model]) -> tuple[object, ...]:
    """An answer of every model: cells of a row."""
    valid = tokens = forced = masks = 0
    spent = 0.0
    for model in models:
        answer = grammar.begin()
        while not answer.done:
            logits = model(answer.text)
            start = time.process_time()
            token = answer.best(logits)
            spent += time.process_time() - start
            answer.take(token)
            free = answer.forced()
            masks, forced, tokens = masks + 1, forced + len(free), tokens + 1 + len(free)
        with suppress(UserError):
            parse(answer.text)
            valid += 1
    n = len(models)
    return n, f"{valid / n:.0%}", tokens // n, f"{forced / tokens:.0%}", spent / masks * 1e3


if __name__ == "__main__":
    run(main)
