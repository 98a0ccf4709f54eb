"""``Example``: what a semantic model learns from, and the file that examples are kept in."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from parfait.regime import MarketContext, Outlook, RegimeDistribution
from parfait.utils.errors import UserError
from parfait.utils.files import parquet_bytes, write_files

FILE = "examples.parquet"
LANGUAGES = ("en", "zh")
SPLITS = (
    "train",
    "val",
    "test_template",
    "test_event",
    "test_magnitude",
    "test_asset",
    "test_language",
    "test_composition",
)
ROLES = ("", "high", "low", "same")
_TEXTS = ("teacher", "language", "kind", "split", "pair", "role")
_COLUMNS = ("key", "text", "context", "target", "tags", *_TEXTS)


@dataclass(frozen=True)
class Example:
    """A sentence, the market it is read against, and the distribution that a teacher gave it.

    Args:
        text: the instruction.
        context: the present market.
        target: the teacher's mixture.
        teacher: who answered, "ontology".
        language: one of ``LANGUAGES``.
        kind: what sort of sentence it is: "event", "nonsense", "directive", ...
        tags: what it is made of, by name: template, event, magnitude (a band), asset, composition.
        split: one of ``SPLITS``.
        pair: name of the contrast pair that it belongs to, or "".
        role: within the pair: "high" has more than "low" of the field ``tags["contrast"]`` (drift
            where no tag says so), in the mean of its coordinate; two "same" mean the same; else "".

    Raises:
        UserError: a language, split or role that does not exist, or a pair without a role.
    """

    text: str
    context: MarketContext
    target: RegimeDistribution
    teacher: str = "ontology"
    language: str = "en"
    kind: str = "event"
    tags: dict[str, str] = field(default_factory=dict)
    split: str = "train"
    pair: str = ""
    role: str = ""

    def __post_init__(self) -> None:
        known = {"language": LANGUAGES, "split": SPLITS, "role": ROLES}
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values:
                told = ", ".join(repr(v) for v in values)
                raise UserError(f"Example.{name} = {value!r} must be one of {told}")
        if bool(self.pair) != bool(self.role):
            raise UserError(
                f"Example.pair = {self.pair!r} and role = {self.role!r}: give both or neither"
            )

    def to_row(self) -> dict[str, str]:
        """A row of the file: everything as text, and ``key``, the SHA-256 of the rest."""
        row = {
            "text": self.text,
            "context": _json(asdict(self.context)),
            "target": self.target.to_json(),
            "tags": _json(self.tags),
            **{name: getattr(self, name) for name in _TEXTS},
        }
        return {"key": _key(row), **row}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Example":
        """Inverse of ``to_row``; whatever does not fit raises ``UserError``."""
        if row["key"] != _key(row):
            raise UserError("its content does not have the hash of its key")
        try:
            context = json.loads(row["context"])
            outlook = context.pop("outlook", None)
            read = MarketContext(**context, outlook=Outlook(**outlook) if outlook else None)
            tags = {str(k): str(v) for k, v in json.loads(row["tags"]).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"context or tags do not fit: {error}") from error
        target = RegimeDistribution.from_json(row["target"])
        texts = {name: row[name] for name in _TEXTS}
        return cls(row["text"], read, target, tags=tags, **texts)


def write_examples(folder: str | Path, examples: Iterable[Example]) -> Path:
    """Writes ``examples.parquet``, a row per example in the order given.

    Raises:
        UnwritableError: the folder refuses, or the disk is full.
    """
    return write_files(folder, {FILE: parquet_bytes(examples_frame(examples))})[0]


def examples_frame(examples: Iterable[Example]) -> pl.DataFrame:
    """The rows of the file."""
    rows = [example.to_row() for example in examples]
    return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String))


def read_examples(folder: str | Path, split: str | None = None) -> list[Example]:
    """The examples of a folder, or of one split of it, in the order of the file.

    Raises:
        UserError: there is no such file, or a row that does not validate; names file and row.
    """
    file = Path(folder) / FILE
    if split is not None and split not in SPLITS:
        raise UserError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}")
    try:
        frame = pl.read_parquet(file).with_row_index("row", offset=1)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"{file} cannot be read ({type(error).__name__}); make it with parfait distill"
        ) from error
    missing = [name for name in _COLUMNS if frame.schema.get(name) != pl.String]
    if missing:
        raise UserError(f"{file} has no text column {missing[0]!r}; make it with parfait distill")
    if split is not None:
        frame = frame.filter(pl.col("split") == split)
    found = []
    for row in frame.iter_rows(named=True):
        try:
            found.append(Example.from_row(row))
        except UserError as error:
            raise UserError(f"{file}, row {row['row']}: {error}") from error
    return found


def _key(row: Mapping[str, Any]) -> str:
    told = json.dumps([row[name] for name in _COLUMNS[1:]], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False)
