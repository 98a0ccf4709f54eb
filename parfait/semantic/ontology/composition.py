"""Action times object: the event a verb and what it acts on amount to, looked up in
``effects.yaml: objects``.
"""

from dataclasses import dataclass
from typing import Any

from parfait.semantic.ontology.lexicon import Entry, effects


@dataclass
class Target:
    """An event, object or asset with what acts on it; ``event`` is the composed concept, None
    while unknown.
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
    leading: bool = False
    inferred: bool = False  # told of by cues, not named

    def act(self, action: Entry, key: str = "") -> None:
        """Composes one action with this target."""
        self.acted = True
        kind, name = self.entry.kind, action.id
        strength = action.value
        if kind == "object":
            self._act_on_object(effects()["objects"][self.entry.id], name, strength)
        elif kind == "asset":
            self._act_on_asset(action, strength)
        else:
            self._act_on_event(name, strength, key)

    def redirect(self, direction: str) -> None:
        """What a comparison with expectations decides, whatever the verb said."""
        if self.entry.kind == "object":
            row = effects()["objects"][self.entry.id]
            self.event = row.get(direction, self.event)
        elif self.entry.kind == "asset":
            self.event = "rally" if direction == "up" else "selloff"
        self.comparison = True

    def _act_on_object(self, row: dict[str, Any], name: str, strength: float) -> None:
        name = row.get("special", {}).get(name, name)
        if name in effects()["events"]:
            self.event, self.strength = name, strength
            return
        default = {
            "reach": "up",
            "approve": "up",
            "reject": "down",
            "fail": "down",
            "lift": "up",
            "ease": "down",
            "tighten": "up",
            "beat": "up",
            "miss": "down",
            "slow": "down",
        }
        if name not in row:
            name = default.get(name, name)
        if name == "end" and "end" not in row:
            self.event, self.negated = row.get("up"), True
            return
        if name == "hold" and "hold" not in row:
            return
        self.event = row.get(name)
        self.strength = strength * float(row.get("damp", 1.0))

    def _act_on_asset(self, action: Entry, strength: float) -> None:
        up = action.id in ("up", "lift", "beat", "approve")
        if action.id == "reach":
            self.event, self.strength = "price_target", 1.0
        elif action.id == "fail":
            self.event = {"bond": "sovereign_default", "stock": "bankruptcy"}.get(self.entry.id)
        elif action.id == "hold":
            self.event, self.strength = "calm", 0.6
        elif action.id in ("end", "tighten", "ease") and not action.market:
            return
        elif action.market:
            self.event = action.market
            self.strength = 1.0
        else:
            self.event = "rally" if up else "selloff"
            self.strength = strength
        self.loss = action.loss

    def _act_on_event(self, name: str, strength: float, key: str) -> None:
        row = effects()["events"][self.entry.id]
        bad = float(row["mu"]) < 0
        name = {
            "lift": "down" if bad else "up",
            "approve": "up",
            "reject": "end",
            "fail": "end",
            "beat": "up",
            "miss": "down",
            "tighten": "up",
            "ease": "down",
        }.get(name, name)
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
