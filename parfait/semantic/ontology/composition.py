"""Action times object: the event a verb and what it acts on amount to, looked up in
``effects.yaml: objects``.
"""

from dataclasses import dataclass
from typing import Any

from parfait.semantic.ontology.lexicon import Entry, effects


@dataclass
class Target:
    """An event, object or asset with what acts on it; ``event`` is the composed concept, None
    while unknown, and ``denied`` what it turns into where the sentence denies it.
    """

    entry: Entry
    first: int
    last: int
    anchor: int
    event: str | None = None
    strength: float = 1.0
    asset: str | None = None
    negated: bool = False
    loss: float | None = None
    comparison: bool = False
    flipped: bool = False
    dread: bool = False
    acted: bool = False
    denied: str | None = None
    banned: bool = False
    assumed: bool = False  # its direction is not stated

    def act(self, action: Entry, key: str = "") -> None:
        """Composes one action with this target."""
        self.acted = True
        self.banned = action.id == "ban"
        kind, name = self.entry.kind, action.id
        strength = action.value
        if kind == "object":
            self._act_on_object(effects()["objects"][self.entry.id], name, strength)
        elif kind == "asset":
            self._act_on_asset(action, strength)
        else:
            self._act_on_event(name, strength, key)

    def undo(self) -> None:
        """A ban lifted: the opposite of what it did."""
        if self.event is not None:
            self.event = effects()["events"][self.event].get("opposite", self.event)
        self.banned = False

    def takes(self, name: str) -> bool:
        """Whether an action would say something new of this target."""
        if self.entry.kind == "object":
            row = effects()["objects"][self.entry.id]
            known = sense_of(row, name) is not None or (name == "end" and "up" in row)
            return known and not self.acted
        if self.entry.kind == "asset":
            return not self.acted and name in _ON_ASSETS
        row = effects()["events"][self.entry.id]
        senses = _ON_BAD_EVENTS if row["mu"] < 0 else _ON_GOOD_EVENTS
        return bool(senses.get(name, name)) and not self.flipped

    def redirect(self, direction: str) -> None:
        """What a comparison with expectations decides, whatever the verb said."""
        if self.entry.kind == "object":
            row = effects()["objects"][self.entry.id]
            self.event = row.get(direction, self.event)
        elif self.entry.kind == "asset":
            self.event = "rally" if direction == "up" else "selloff"
        self.comparison = True

    def _act_on_object(self, row: dict[str, Any], name: str, strength: float) -> None:
        sense = sense_of(row, name)
        if sense is None:
            if name == "end" and "up" in row:
                self.event, self.negated = row["up"], True
            elif self.event is None:
                self.acted = False  # another word may say what becomes of it
            return
        self.event = sense
        self.strength = strength * float(row.get("damp", 1.0))
        opposite = effects()["events"][sense].get("opposite")
        self.denied = row.get("denied", {}).get(name) or (opposite if name in _EVALUATIVE else None)

    def _act_on_asset(self, action: Entry, strength: float) -> None:
        if action.id == "reach":
            self.event, self.strength = "price_target", 1.0
        elif action.id == "fail":
            self.event = {"bond": "sovereign_default", "stock": "bankruptcy"}.get(
                self.entry.id, "selloff"
            )
        elif action.id == "hold":
            self.event, self.strength = "calm", 0.6
        elif (
            action.id == "ban"
        ):  # what then happens, happens to the ban: "vote down the ban on coins"
            self.event, self.entry = "regulation", Entry("event", "regulation", action.language)
        elif action.market:
            self.event = action.market
            self.strength = 1.0
        elif action.id in _RISING or action.id in _FALLING:
            self.event = "rally" if action.id in _RISING else "selloff"
            self.strength = strength * (0.6 if action.id in _EVALUATIVE else 1.0)
            if action.id in _EVALUATIVE | _TRADES:
                self.denied = effects()["events"][self.event]["opposite"]
        self.loss = action.loss

    def _act_on_event(self, name: str, strength: float, key: str) -> None:
        row = effects()["events"][self.entry.id]
        bad = float(row["mu"]) < 0
        name = (_ON_BAD_EVENTS if bad else _ON_GOOD_EVENTS).get(name, name)
        if name == "up":
            self.strength *= max(strength, 0.6) ** 0.5  # the noun already says most of it
        elif name in ("down", "end"):
            opposite = row.get("opposite")
            if opposite and (row.get("reversible") or row.get("market") or self.dread):
                self.event, self.flipped = opposite, True
                self.strength *= 0.9 if name == "end" else 0.6
            elif name == "end":
                self.negated = True
            else:
                self.strength *= 0.4


_EVALUATIVE = frozenset({"good", "bad"})
_TRADES = frozenset({"buy", "sell"})
_RISING = frozenset({"up", "lift", "beat", "approve", "good", "succeed", "win", "save", "buy"})
_FALLING = frozenset({"down", "miss", "reject", "bad", "lose", "destroy", "slow", "leave", "sell"})
_ON_ASSETS = _RISING | _FALLING | {"fail", "hold", "ban"}
# What actions that know no quantity amount to where the thing itself is an event.
_ON_EVENTS = {
    "reject": "end", "fail": "end", "beat": "up", "miss": "down", "tighten": "up", "ease": "down",
    "succeed": "up", "slow": "down", "lose": "end", "win": "up", "destroy": "up", "open": "up",
    "approve": "up", "ban": "end", "leave": "end", "close": "end", "pay": "", "reach": "",
    "keep": "", "buy": "", "sell": "",
}  # fmt: skip
_ON_BAD_EVENTS = _ON_EVENTS | {
    "lift": "down", "good": "", "bad": "up", "save": "", "close": "up", "open": "up", "fail": "end",
}  # fmt: skip
_ON_GOOD_EVENTS = _ON_EVENTS | {
    "lift": "up",
    "good": "up",
    "bad": "end",
    "save": "up",
    "destroy": "end",
}


def sense_of(row: dict[str, Any], name: str) -> str | None:
    """The event that an action on an object amounts to (``effects.yaml: objects, senses``): the
    row's own sense of the action, else that of the nearest action it knows. ``good`` and ``bad``
    are the side with the higher and the lower drift.
    """
    name = row.get("special", {}).get(name, name)
    events = effects()["events"]
    if name in events:
        return name
    for step in (name, *effects()["senses"].get(name, ())):
        if step in row:
            return row[step]
        if step in _EVALUATIVE:
            sides = sorted(
                {row[k] for k in ("up", "down") if k in row}, key=lambda e: events[e]["mu"]
            )
            if len(sides) == 2:
                return sides[step == "good"]
    return None
