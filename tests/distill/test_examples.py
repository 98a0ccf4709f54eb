"""Examples survive their file, and a file that was tampered with is told by row."""

from pathlib import Path

import polars as pl
import pytest

from parfait.regime import MarketContext, Outlook
from parfait.semantic import OntologyReader
from parfait.semantic.examples import FILE, Example, read_examples, write_examples
from parfait.utils.errors import UserError

CONTEXTS = [
    MarketContext(),
    MarketContext("gold", 0.18, -0.1, 252.0),
    MarketContext("equity", 0.2, None, 98280.0, Outlook(0.3, 0.2, 0.1, 0.05)),
]
TEXTS = [
    "The central bank unexpectedly raises rates by 50 bps",
    "恐慌持续两周，然后复苏",
    "Annualised volatility of 60%, then calm; 30% chance of a crash",
]


def some() -> list[Example]:
    read = OntologyReader().read
    return [
        Example(
            text,
            context,
            read(text, context),
            language="zh" if ord(text[0]) > 255 else "en",
            tags={"event": "crash", "band": "10 %"},
            split=split,
            pair="p1",
            role="same",
        )
        for text, context, split in zip(TEXTS, CONTEXTS, ("train", "val", "train"), strict=True)
    ]


def test_examples_survive_their_file(tmp_path: Path) -> None:
    examples = some()
    write_examples(tmp_path, examples)
    assert read_examples(tmp_path) == examples
    assert read_examples(tmp_path, "val") == examples[1:2]
    first = (tmp_path / FILE).read_bytes()
    write_examples(tmp_path / "again", read_examples(tmp_path))
    assert (tmp_path / "again" / FILE).read_bytes() == first


def test_a_row_that_does_not_validate_is_named(tmp_path: Path) -> None:
    file = write_examples(tmp_path, some())
    frame = pl.read_parquet(file)
    changed = frame.with_columns(
        text=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit("buy")).otherwise("text")
    )
    changed.write_parquet(file)
    with pytest.raises(UserError, match=r"examples\.parquet, row 2: .*hash"):
        read_examples(tmp_path)
    frame.drop("tags").write_parquet(file)
    with pytest.raises(UserError, match="'tags'"):
        read_examples(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read_examples(tmp_path / "absent")
    with pytest.raises(UserError, match="split 'tset'"):
        read_examples(tmp_path, "tset")


@pytest.mark.parametrize("wrong", [{"language": "de"}, {"split": "x"}, {"pair": "p", "role": ""}])
def test_examples_refuse_what_does_not_exist(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="Example"):
        Example("x", MarketContext(), OntologyReader().read("x"), **wrong)
