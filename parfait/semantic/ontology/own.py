"""Event types of a user's own, beside those that ship: a YAML file of effects and phrases."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from parfait.regime import ASSET_CLASSES
from parfait.utils.errors import UserError

T = TypeVar("T")
_MOST_BYTES = 1_000_000
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Phrase = Annotated[str, Field(min_length=2, max_length=80)]
_Shift = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class OwnEvent(BaseModel):
    """One event type; numbers are those of ``effects.yaml``, where they are explained.

    Args:
        name: what a scenario is called; by default the key of the row.
        like: an event that ships, whose numbers hold where the row gives none.
        channel: row of ``exposure.yaml`` that says how each asset class feels it.
        exposure: (drift, volatility) multipliers by asset class, before those of the channel.
        mu, sigma, lam, m, s, kappa, hurst, rev, spike: the effect at the reference dose.
        unit, ref: of doses in a sentence, such as "by 50 bps"; without them no dose is read.
        opposite: the antonym, own or shipped; an event whose opposite ends it is ``reversible``.
        shock: nobody can have expected it. ``violent``: helped by rescues. ``extreme``: beyond
            what history calibrates.
        en, zh: phrases that name it; they go before those that ship.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = None
    like: str | None = None
    channel: str | None = None
    exposure: dict[str, Annotated[list[_Shift], Field(min_length=2, max_length=2)]] = {}
    mu: _Shift | None = None
    sigma: _Shift | None = None
    lam: _Shift | None = None
    m: _Shift | None = None
    s: _Shift | None = None
    kappa: _Shift | None = None
    hurst: _Shift | None = None
    rev: _Shift | None = None
    spike: Annotated[float, Field(ge=1, le=3)] | None = None
    unit: Literal["%", "bps", "usd", "k"] | None = None
    ref: _Positive | None = None
    opposite: str | None = None
    shock: bool | None = None
    violent: bool | None = None
    extreme: bool | None = None
    reversible: bool | None = None
    source: str = "a user's own"
    en: list[_Phrase] = []
    zh: list[_Phrase] = []

    @model_validator(mode="after")
    def _whole(self) -> "OwnEvent":
        if not self.en and not self.zh:
            raise ValueError("needs phrases, under en or zh")
        if self.like is None and None in (self.channel, self.mu, self.sigma):
            raise ValueError("needs channel, mu and sigma, or an event that it is like")
        if (self.unit is None) != (self.ref is None):
            raise ValueError("unit and ref go together")
        return self

    def row(self, key: str, shipped: dict[str, Any]) -> dict[str, Any]:
        """As a row of ``effects.yaml``."""
        given = self.model_dump(exclude={"like", "exposure", "en", "zh"}, exclude_none=True)
        base = dict(shipped[self.like]) if self.like else {}
        base.pop("opposite", None)
        name = self.name or key.replace("_", " ")
        dose = {"x0": self.ref} if self.ref else {}
        return base | given | dose | {"name": name}


class OwnEvents(BaseModel):
    """A file of them; hashed by identity, since tables are kept for each."""

    model_config = ConfigDict(extra="forbid", strict=True)
    events: dict[_Name, OwnEvent]

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


IN_USE: ContextVar[OwnEvents | None] = ContextVar("own_events", default=None)


def for_own_events(build: Callable[[OwnEvents | None], T]) -> Callable[[], T]:
    """A table that is built once without own events, and once for each file of them in use."""
    kept = cache(build)
    return lambda: kept(IN_USE.get())


def read_own_events(
    file: str | Path,
    effects: dict[str, Any],
    exposures: dict[str, Any],
    clean: Callable[[str], str],
) -> OwnEvents:
    """The event types of a file, checked against what ships.

    Args:
        file: YAML, ``events: {KEY: {...}}``; see ``OwnEvent``.
        effects, exposures: the tables that ship.
        clean: a phrase as texts have it after normalising.

    Raises:
        UserError: the file cannot be read, or an event is not one; names the event and the field.
    """
    path = Path(file)
    try:
        raw = path.read_bytes()
        if len(raw) > _MOST_BYTES:
            raise UserError(f"{path} has {len(raw):,} bytes; event types take {_MOST_BYTES:,}")
        own = OwnEvents.model_validate(yaml.safe_load(raw.decode("utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_told(error)}") from error
    known, meanings = {*effects["events"], *own.events}, dict[str, str]()
    for key, event in own.events.items():
        where = f"{path}: event {key}"
        if key in effects["events"]:
            raise UserError(f"{where} ships with Parfait; give yours another name")
        for field, value, names in (
            ("like", event.like, effects["events"]),
            ("channel", event.channel, exposures["channels"]),
            ("opposite", event.opposite, known),
            *(("exposure", asset, ASSET_CLASSES) for asset in event.exposure),
        ):
            if value is not None and value not in names:
                raise UserError(f"{where}: {field} {value!r} is unknown{_nearest(value, names)}")
        event.en, event.zh = ([clean(phrase) for phrase in each] for each in (event.en, event.zh))
        if event.opposite == key:
            raise UserError(f"{where}: it cannot be its own opposite")
        for phrase in (*event.en, *event.zh):
            if not any(letter.isalpha() for letter in phrase):
                raise UserError(f"{where}: a phrase has no letters; give words of a sentence")
            if meanings.setdefault(phrase, key) != key:
                raise UserError(f"{where}: {phrase!r} means {meanings[phrase]} already")
    return own


def _nearest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else f"; use one of {', '.join(names)}"


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
