"""Batteries: instructions with what a professional expects of their reading."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parfait.metrics.functional.reading import (
    COMPARED,
    SAME,
    SEEN,
    Yardstick,
    difference,
    mixture_mean,
    share,
    shift,
    stated_value,
)
from parfait.regime import FIELD_NAMES, MarketContext, RegimeDistribution
from parfait.regime.context import check_asset_class
from parfait.semantic import UNSURE_BELOW, Reader
from parfait.utils.errors import UserError

FOLDER = Path(__file__).parent / "instructions"
LANGUAGES = ("en", "zh")
_LITERAL = 0.01  # relative error of a stated parameter
_WEIGHT = 0.05  # of a stated probability
# What an entry of a kind holds beside id, lang, topic and asset.
_KEYS: dict[str, dict[str, type]] = {
    "sign": {"text": str, "field": str, "expect": str},
    "order": {"low": str, "high": str, "field": str},
    "same": {"a": str, "b": str},
    "none": {"text": str},
    "real": {"text": str},
    "literal": {"text": str, "field": str, "value": float},
    "weight": {"text": str, "value": float, "about": str},
}
KINDS = tuple(_KEYS)
_CHOICES = {"expect": ("up", "down"), "about": ("up", "down", "turbulent"), "field": COMPARED}


@dataclass(frozen=True)
class Expectation:
    """One entry.

    Args:
        id: unique in its battery.
        lang: ``en`` or ``zh``.
        topic: one word.
        kind: one of ``KINDS``.
        asset: asset class of the context; ``None`` lets the text say.
        told: texts and values, by kind.
    """

    id: str
    lang: str
    topic: str
    kind: str
    asset: str | None
    told: Mapping[str, Any]

    @property
    def context(self) -> MarketContext:
        """What the reader is told of the market."""
        return MarketContext(asset_class=self.asset, bars_per_year=252.0)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of the entry."""
        return tuple(
            self.told[key] for key in ("text", "low", "high", "a", "b") if key in self.told
        )


def load_battery(name: str | Path) -> list[Expectation]:
    """A battery that ships with Parfait by its name, or a YAML file of one's own.

    Raises:
        UserError: there is no such file, or an entry does not fit (its id, key and what is wrong).
    """
    file = FOLDER / f"{name}.yaml"
    if not file.is_file():
        file = Path(name)
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in FOLDER.glob("*.yaml")))
        raise UserError(f"battery {str(name)!r} is neither a file nor one of {known}")
    try:
        entries = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML in UTF-8 ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{file}: a battery is a list of entries")
    found = [_expectation(file, number, entry) for number, entry in enumerate(entries, 1)]
    seen: set[str] = set()
    for one in found:
        if one.id in seen:
            raise UserError(f"{file}: two entries have the id {one.id!r}")
        seen.add(one.id)
    return found


def _expectation(file: Path, number: int, entry: Any) -> Expectation:
    where = f"{file}, entry {number}"
    if not isinstance(entry, dict):
        raise UserError(f"{where}: an entry is a mapping of keys to values")
    where += f" ({entry.get('id')})"
    kind = entry.get("kind")
    if kind not in _KEYS:
        raise UserError(f"{where}: kind {kind!r} must be one of {', '.join(KINDS)}")
    if entry.get("lang") not in LANGUAGES:
        raise UserError(f"{where}: lang {entry.get('lang')!r} must be en or zh")
    told = {}
    for key, kind_of in _KEYS[kind].items():
        value: Any = entry.get(key)
        fits = isinstance(value, str) if kind_of is str else _is_number(value)
        if not fits or value == "":
            raise UserError(f"{where}: {key} is {value!r}, not a {kind_of.__name__}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise UserError(f"{where}: {key} {value!r} must be one of {', '.join(_CHOICES[key])}")
        told[key] = value if kind_of is str else float(value)
    asset = entry.get("asset")
    if asset is not None:
        check_asset_class(asset)
    return Expectation(
        str(entry.get("id", number)), entry["lang"], str(entry.get("topic", "")), kind, asset, told
    )


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def met(one: Expectation, reader: Reader) -> bool:
    """Whether the reading is as expected.

    sign: the field moves by more than 0.02 prior sd to that side of the prior. order: the field is
    larger by that. same: no field differs by 0.25 prior sd. none: confidence below the public
    threshold, and a warning; real: not so. literal: the main scenario has the value within 1 %.
    weight: the scenarios on that side weigh as much within 0.05.
    """
    told = [reader.read(text, one.context) for text in one.texts]
    return _RULES[one.kind](one.told, told)


def flagged(told: RegimeDistribution) -> bool:
    """The reader says that it did not understand."""
    return told.confidence < UNSURE_BELOW and bool(told.warnings)


def _unit(told: RegimeDistribution) -> Yardstick:
    return Yardstick.of(told.asset_class)


def _sign(asked: Mapping[str, Any], told: list[RegimeDistribution]) -> bool:
    moved = shift(told[0], _unit(told[0]))[asked["field"]]
    return (moved if asked["expect"] == "up" else -moved) > SEEN


def _order(asked: Mapping[str, Any], told: list[RegimeDistribution]) -> bool:
    j = FIELD_NAMES.index(asked["field"])
    low, high = (float(mixture_mean(t)[j]) for t in told)
    return (high - low) / float(_unit(told[0]).sd[j]) > SEEN


def _same(asked: Mapping[str, Any], told: list[RegimeDistribution]) -> bool:
    return float(difference(told[0], told[1], _unit(told[0])).max()) < SAME


def _literal(asked: Mapping[str, Any], told: list[RegimeDistribution]) -> bool:
    found = stated_value(told[0], asked["field"])
    return abs(found - asked["value"]) <= _LITERAL * abs(asked["value"]) + 1e-9


def _weight(asked: Mapping[str, Any], told: list[RegimeDistribution]) -> bool:
    return abs(share(told[0], _unit(told[0]), asked["about"]) - asked["value"]) <= _WEIGHT


_RULES: dict[str, Callable[[Mapping[str, Any], list[RegimeDistribution]], bool]] = {
    "sign": _sign,
    "order": _order,
    "same": _same,
    "none": lambda asked, told: flagged(told[0]),
    "real": lambda asked, told: not flagged(told[0]),
    "literal": _literal,
    "weight": _weight,
}
