"""How the instruction was read, as the rows and lines of a page."""

import json
from collections.abc import Mapping
from typing import Any

from parfait.likeness import LIKE
from parfait.report.formats import number, percent, signed

POLARITY = {1: "prices up", -1: "prices down", 0: "neither"}


def reading_events(reading: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row per event: its words, name, polarity, magnitude and what else was read of it.

    Empty where the reader tells of no events, or in another shape.
    """
    events = reading.get("events")
    if not isinstance(events, list) or not events:
        return []
    if not all(isinstance(e, Mapping) and "quote" in e for e in events):
        return []
    return [
        {
            "quote": str(e["quote"]),
            "name": ("not: " if e.get("negated") else "") + str(e.get("name", "")),
            "polarity": POLARITY.get(e.get("polarity", ""), "–"),
            "magnitude": _magnitude(e),
            "details": ", ".join(_details(e)),
        }
        for e in events
    ]


def _magnitude(event: Mapping[str, Any]) -> str:
    if event.get("magnitude") is None:
        return "not stated"
    said = f"{number(event['magnitude'])} {event.get('unit') or ''}".strip()
    expected = event.get("expected")
    return said if expected is None else f"{said}, {number(expected)} expected"


def _details(event: Mapping[str, Any]) -> list[str]:
    parts = []
    if event.get("surprise") not in (None, "unstated"):
        parts.append(f"surprise: {event['surprise']}")
    if event.get("probability") is not None:
        parts.append(f"probability {percent(event['probability'])}")
    if event.get("intensity") not in (None, 1.0):
        parts.append(f"intensity {number(event['intensity'])}")
    if event.get("stretch") is not None:
        parts.append(f"phase {event['stretch'] + 1}")
    if event.get("persistence") is not None:
        parts.append(f"persistence: {_plain(event['persistence'])}")
    if event.get("asset"):
        parts.append(f"in {event['asset']}")
    return parts


def reading_lines(reading: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, text) of the rest of a reading: what was not understood first."""
    rest = dict(reading)
    if LIKE in rest:
        windows, realised = rest.pop("windows"), percent(rest.pop("realised_volatility"))
        return [*flatten(rest), ("realised volatility", realised), *map(_window, windows)]
    if reading_events(reading):
        del rest["events"]
        rest.pop("summary", None)  # tells the same events again
    lines = []
    if isinstance(rest.get("unread"), list):
        unread = [f"“{word}”" for word in rest.pop("unread")]
        lines.append(("not understood", ", ".join(unread) or "nothing"))
    if isinstance(rest.get("coverage"), float):
        lines.append(("understood", f"{percent(rest.pop('coverage'))} of what the words weigh"))
    return lines + flatten(rest)


def _window(window: Mapping[str, Any]) -> tuple[str, str]:
    """A window of a stretch of history in words."""
    found = window["posterior"]
    drift, size, jumps = (found[name] for name in ("drift", "volatility", "jump_intensity"))
    return (
        f"{window['from']} to {window['to']}",
        f"{window['returns']} returns, volatility {percent(window['total_volatility'])} with jumps "
        f"({percent(window['realised_volatility'])} realised), {percent(size[0])} without "
        f"({percent(size[1])} to {percent(size[2])}), drift {signed(drift[0])} "
        f"({signed(drift[1])} to {signed(drift[2])}), jumps {number(jumps[0])} a year "
        f"({number(jumps[1])} to {number(jumps[2])})",
    )


def flatten(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """What the reader understood as (label, text) lines, whatever its shape."""
    lines = []
    for key, value in data.items():
        label = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            lines += flatten(value, f"{label} · ")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            for k, item in enumerate(value, 1):
                inner = flatten(item) if isinstance(item, Mapping) else [("", str(item))]
                text = ", ".join(f"{name} {said}".strip() for name, said in inner)
                lines.append((f"{label} {k}", text))
        elif value not in (None, "", [], (), {}):
            lines.append((label, _plain(value)))
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
