"""A catalogue of dated events: what happened, said without what followed."""

import csv
import io
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from parfait.semantic.ontology.lexicon import effects
from parfait.utils.errors import UserError

COLUMNS = ("date", "type", "asset", "magnitude", "unit", "consensus", "text")
CATALOGUE = Path(__file__).parent / "catalogue.csv"


@dataclass(frozen=True)
class Event:
    """A dated event.

    Args:
        time: microseconds since 1970 (UTC) from which a market could react.
        date: as it was given.
        type: of ``effects.yaml``.
        asset: symbol that it is joined with; "" is every symbol.
        magnitude: in ``unit``; ``None`` without one.
        unit: of the magnitude.
        consensus: what was expected, in the same unit.
        text: what was known then, without what followed.
    """

    time: int
    date: str
    type: str
    asset: str
    magnitude: float | None
    unit: str
    consensus: float | None
    text: str


def read_catalogue(path: str | Path | None = None) -> list[Event]:
    """Events of a CSV file with the columns ``COLUMNS``, in order of time; the one that ships with
    Parfait for ``None``.

    A date is the first day (or moment) at which a market could react; one without an offset is
    UTC, as bars are. Only date, type and text must be filled in.

    Raises:
        UserError: the file cannot be read, or a row does not fit; names file and line.
    """
    file = CATALOGUE if path is None else Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the event catalogue {file} cannot be read: {error}") from error
    rows = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise UserError(f"the event catalogue {file} has no column {missing[0]!r}")
    events = []
    for row in rows:
        try:
            events.append(_event({k: (row[k] or "").strip() for k in COLUMNS}))
        except ValueError as error:
            raise UserError(f"{file}, line {rows.line_num}: {error}") from error
    if not events:
        raise UserError(f"the event catalogue {file} holds no event")
    return sorted(events, key=lambda e: (e.time, e.type, e.asset, e.text))


def _event(row: dict[str, str]) -> Event:
    when = datetime.fromisoformat(row["date"])
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    if row["type"] not in effects()["events"]:
        raise UserError(f"type {row['type']!r} is no event of effects.yaml")
    if not row["text"]:
        raise UserError("the text is empty")
    return Event(
        int(when.timestamp() * 1e6),
        row["date"],
        row["type"],
        row["asset"],
        _number(row["magnitude"]),
        row["unit"],
        _number(row["consensus"]),
        row["text"],
    )


def _number(text: str) -> float | None:
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        raise UserError(f"{text} is not finite")
    return value
