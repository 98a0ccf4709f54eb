"""What a form asks for: typed text in, checked values or one sentence per field out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from parfait.regime import ASSET_CLASSES
from parfait.utils.errors import UserError

MAX_TEXT = 4096  # bytes of an instruction, as much as a reader reads
MAX_SEED = 2**63 - 1
MAX_FIELDS = 256
Values = Mapping[str, Sequence[str]]
T = TypeVar("T")


class FormError(UserError):
    """Fields that cannot be used.

    Args:
        fields: a sentence by the field's name, with its scenario's number where it is one of
            several (``volatility.1``).
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = dict(fields)


@dataclass(frozen=True)
class Caps:
    """The largest run that is answered: paths, bars of each, and their product."""

    paths: int
    horizon: int
    bars: int


@dataclass(frozen=True)
class Ask:
    """One run: everything that decides about it but its scenarios."""

    instruction: str
    history: int
    asset: str | None
    horizon: int
    n_paths: int
    seed: int

    def typed(self) -> dict[str, str]:
        """As a form shows it."""
        values = {name: str(value) for name, value in vars(self).items()}
        return values | {"asset": self.asset or ""}


class Fields:
    """Reads fields and keeps a sentence for each that cannot be used."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def take(self, name: str, read: Callable[[], T], default: T) -> T:
        """What ``read`` returns; the default, and its sentence kept, where it raises."""
        try:
            return read()
        except UserError as error:
            self.errors[name] = str(error)
            return default

    def check(self) -> None:
        """``FormError`` with all sentences, if there are any."""
        if self.errors:
            raise FormError(self.errors)


def parse(body: bytes) -> dict[str, list[str]]:
    """Fields by name in their order.

    Raises:
        UserError: no UTF-8, or more fields than any form of the page has.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise UserError("the form cannot be read; reload the page and try again") from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def read_ask(values: Values, histories: Sequence[str], caps: Caps) -> Ask:
    """The run that a form asks for.

    Raises:
        FormError: names every field that cannot be used.
    """
    fields = Fields()
    n_paths = fields.take("n_paths", lambda: whole(values, "n_paths", 1, caps.paths), 1)
    horizon = fields.take("horizon", lambda: whole(values, "horizon", 1, caps.horizon), 1)
    if not fields.errors and n_paths * horizon > caps.bars:
        fields.errors["n_paths"] = (
            f"paths x bars is {n_paths * horizon:,}; this page makes at most {caps.bars:,}, and "
            "'python simulate.py' as many as you like"
        )
    ask = Ask(
        instruction=fields.take("instruction", lambda: sentence(values), ""),
        history=fields.take("history", lambda: whole(values, "history", 0, len(histories) - 1), 0),
        asset=fields.take("asset", lambda: _asset(values), None),
        horizon=horizon,
        n_paths=n_paths,
        seed=fields.take("seed", lambda: whole(values, "seed", 0, MAX_SEED), 0),
    )
    fields.check()
    return ask


def sentence(values: Values) -> str:
    """An instruction: some words, at most ``MAX_TEXT`` bytes of them."""
    text = first(values, "instruction").replace("\r\n", "\n").strip()
    if not text:
        raise UserError("write what happens to the market, in a sentence or two")
    size = len(text.encode())
    if size > MAX_TEXT:
        raise UserError(f"the text has {size:,} bytes; at most {MAX_TEXT:,} are read, shorten it")
    return text


def first(values: Values, name: str) -> str:
    """The first value of a field, empty where there is none."""
    return next(iter(values.get(name, ())), "")


def whole(values: Values, name: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    text = first(values, name).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise UserError(f"give a whole number from {low:,} to {high:,}")
    return int(text)


def number(text: str, low: float, high: float) -> float:
    """A finite number within bounds."""
    try:
        value = float(text) if len(text) <= 40 and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"give a number from {low:g} to {high:g}")
    return value


def _asset(values: Values) -> str | None:
    name = first(values, "asset")
    if name and name not in ASSET_CLASSES:
        raise UserError(f"choose one of {', '.join(ASSET_CLASSES)}, or leave it to the sentence")
    return name or None
