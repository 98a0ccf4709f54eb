"""A tiny causal language model in a folder, examples, and their tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from parfait.regime import MarketContext
from parfait.semantic import load_reader
from parfait.semantic.examples import Example, write_examples
from parfait.semantic.lm.tokens import learn_tokenizer

TEXTS = (
    "War breaks out",
    "The central bank unexpectedly raises rates by 50 bps",
    "央行意外加息50个基点",
    "A calm month",
    "The peg breaks and the currency is devalued overnight, then the government steps in",
    "An orange cat sleeps",
)


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Forty examples, two of them a contrast pair."""
    reader = load_reader("ontology")
    found = []
    for n in range(38):
        text = TEXTS[n % len(TEXTS)]
        context = MarketContext("equity", volatility=0.1 + 0.01 * n, bars_per_year=252.0)
        language = "en" if text.isascii() else "zh"
        split = "val" if n % 4 == 3 else "train"
        target = reader.read(text, context)
        found.append(Example(text, context, target, language=language, split=split))
    context = MarketContext("equity", bars_per_year=252.0)
    for text, role in (("Rates are cut by 100 bps", "high"), ("Rates rise by 100 bps", "low")):
        found.append(Example(text, context, reader.read(text, context), pair="p", role=role))
    return found


@pytest.fixture(scope="session")
def folder(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples as parfait distill writes them."""
    path = tmp_path_factory.mktemp("examples")
    write_examples(path, examples)
    return path


@pytest.fixture(scope="session")
def tokenizer(examples: list[Example]) -> Any:
    return learn_tokenizer((e.text for e in examples), 600)


def causal_model(folder: Path, tokenizer: Any, width: int) -> Path:
    """Random weights, as one would download a base: keys have fewer heads than queries."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=600,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * width,
        initializer_range=0.2,  # so that prompts differ and attention matters
    )
    Qwen2ForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return causal_model(tmp_path_factory.mktemp("base"), tokenizer, 32)


@pytest.fixture(scope="session")
def wide_base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """Wide enough for blocks of 64 weights in 4 bits."""
    return causal_model(tmp_path_factory.mktemp("wide"), tokenizer, 128)
