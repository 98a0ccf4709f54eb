"""Actions find their objects: "cuts rates", "rates are cut", "a surge in unemployment", "stocks
fall on higher inflation".

The sign of an event is the product of the action and what it acts on, looked up in ``effects.yaml:
objects``.
"""

from typing import Any

from parfait.semantic.ontology.choose import LOOSE, choose
from parfait.semantic.ontology.clauses import Clause, Parsed, entry_key, is_dread, synthetic
from parfait.semantic.ontology.comparisons import direction
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.implied import implied
from parfait.semantic.ontology.lexicon import Entry, Mention, effects


def attach(
    parsed: Parsed, index: int, hanging: list[Target], frames: list[Any]
) -> tuple[list[Target], list[Target]]:
    """Targets of clause ``index`` with their events, and those left hanging for the next clause's
    verb.

    "Inflation and unemployment rise": the first object waits for the verb of the second. "Rates
    rise, then fall": a
    verb alone takes the object before.
    """
    clause = parsed.clauses[index]
    targets = _targets(parsed, clause)
    actions = _actions(clause, parsed)
    following = parsed.clauses[index + 1].link if index + 1 < len(parsed.clauses) else ""
    hold = None
    for action in actions:
        follower = parsed.tokens[action.j].kind if action.j < len(parsed.tokens) else ""
        beside = any(t.last == action.i and t.entry.kind != "event" for t in targets)
        if action.entry.verb == "particle" and follower != "num" and not beside:
            continue  # "shuts down", "steps up": only "up 3 %" and "profits up" are moves
        target = choose(parsed, clause, action, targets, actions, following)
        if target is None and hanging:
            target = _hung(action.entry, hanging)
            targets += [] if target is None else [target]
        if target is None:
            target = implied(parsed, clause, action, targets, frames)
            if target is None:
                continue
            targets.append(target)
        if target.acted and not action.entry.id.startswith("cmp_"):
            if target.banned and action.entry.id in ("lift", "end", "reject", "ease"):
                target.undo()
            if target.entry.kind != "event" and not action.entry.market:
                continue
            if action.entry.bare:
                continue
        if action.entry.id.startswith("cmp_"):
            target.redirect(direction(parsed, action, target))
            target.acted = True
        elif not (target.acted and target.entry.language == "en" and target.first == action.i):
            target.act(action.entry, entry_key(parsed.tokens, action))
            if target.entry.kind != "event" and action.i >= target.last:
                hold = action  # only a verb after its subject can have further subjects
        target.first, target.last = min(target.first, action.i), max(target.last, action.j)
        target.anchor = (
            min(target.anchor, action.i) if target.entry.kind != "event" else target.anchor
        )
    waiting = [
        t
        for t in targets
        if t.event is None and not t.acted and t.entry.kind in ("object", "asset")
    ]
    shared = clause.link in ("and", ",", "or") and _shares(parsed, index)
    if hold is not None and hanging and shared:
        for t in hanging:
            t.act(hold.entry)
            if t.event is not None:
                targets.insert(0, t)
    if (
        not actions
        and len(waiting) == len(targets) > 0
        and frames
        and clause.link in ("and", ",", "or")
        and frames[-1].sentence == clause.sentence
        and _bare(parsed, clause)
    ):
        _inherit(waiting, frames)
    _move_by_sign(parsed, clause, targets)
    if not any(t.event and t.entry.kind != "asset" for t in targets):
        for t in targets:
            _default(t)
    _bind_assets(clause, targets)
    still = [t for t in waiting if t.event is None]
    return targets, still if not actions else []


def _shares(parsed: Parsed, index: int) -> bool:
    """Whether the clause before lends its subject to this one's verb. In Chinese only a bare noun
    does (黄金、原油大涨): who has a verb of his own needs none.
    """
    return _bare(parsed, parsed.clauses[index - 1])


def _bare(parsed: Parsed, clause: Clause) -> bool:
    """Whether a Chinese clause is a noun alone; English ones are not looked at."""
    named = clause.of("object", "asset")
    if not named or named[-1].entry.language != "zh":
        return True
    return clause.end - clause.start <= sum(m.j - m.i for m in named) + 2


def _hung(action: Entry, hanging: list[Target]) -> Target | None:
    """What an earlier clause left open: "the quarter was, frankly, dismal"."""
    if action.id.startswith("cmp_"):
        return hanging.pop()
    if action.verb in LOOSE:
        open_ = [t for t in hanging if t.takes(action.id)]
        if open_:
            hanging.remove(open_[-1])
            return open_[-1]
    return None


def _targets(parsed: Parsed, clause: Clause) -> list[Target]:
    found = [Target(m.entry, m.i, m.j, m.i) for m in clause.of("event", "object", "asset")]
    for t in found:
        if t.entry.kind == "event":
            t.event = t.entry.id
        elif t.entry.kind == "asset":
            t.asset = None if t.entry.id == "market" else t.entry.id
    dread = is_dread(parsed, clause)
    keep = []
    for t in found:
        t.dread = dread or any(o.entry.id == "fear" and abs(o.first - t.first) <= 3 for o in found)
        if _supplied(t, found):
            continue  # "the coffee harvest", "nickel exports": the supply of it, not its price
        near = [
            o
            for o in found
            if o is not t and o.entry.kind == "asset" and abs(o.first - t.first) <= 3
        ]
        if (
            t.entry.kind == "asset"
            and t.entry.id == "market"
            and any(o.entry.id != "market" for o in near)
        ):
            continue  # "the price of gold", "oil market": one thing
        if t.entry.kind == "object" and any(
            o.entry.kind == "event" and o.first == t.last for o in found
        ):
            continue  # "export strike", "growth scare": a kind of strike, a kind of scare
        if t.entry.id == "fear" and any(
            o.entry.kind == "event" and abs(o.first - t.first) <= 3 for o in found
        ):
            continue  # "recession fears": the event, feared
        keep.append(t)
    return keep


_SUPPLY = frozenset(
    ["crop", "mine", "commodity_supply", "oil_supply", "energy_facility", "sea_route", "oil_route"]
)


def _supplied(t: Target, found: list[Target]) -> bool:
    """Whether an asset only says of what there is a supply."""
    if t.entry.kind != "asset" or t.asset not in ("commodity", "oil", "gold"):
        return False
    for o in found:
        if o.entry.kind == "object" and 0 <= o.first - t.last <= 0:
            if o.entry.id in ("growth", "flows"):  # exports of it, flows of it
                supply = "oil_supply" if t.asset == "oil" else "commodity_supply"
                o.entry = Entry("object", supply, o.entry.language)
            return o.entry.id in _SUPPLY
    return False


def _actions(clause: Clause, parsed: Parsed) -> list[Mention]:
    actions = clause.of("action")
    for m in clause.of("surprise"):
        if m.entry.id in ("above", "below"):
            side = "up" if m.entry.id == "above" else "down"
            actions.append(Mention(synthetic("action", f"cmp_{side}", m.entry.language), m.i, m.j))
    return sorted(actions, key=lambda m: (m.entry.id.startswith("cmp_"), m.entry.id != "ban", m.i))


def _inherit(waiting: list[Target], frames: list[Any]) -> None:
    """ "Raises rates and taxes": the second object takes the verb of the first."""
    source = frames[-1].target
    if source.entry.kind not in ("object", "asset") or source.event is None:
        return
    up = _direction(source)
    for t in waiting:
        if up is not None:
            t.act(Entry("action", "up" if up else "down", "en", source.strength))


def _move_by_sign(parsed: Parsed, clause: Clause, targets: list[Target]) -> None:
    """A signed number beside a market is its move: "the equity shock is minus 55 %"."""
    assets = [t for t in targets if t.entry.kind == "asset" and not t.acted]
    if len(assets) != 1 or any(t.event for t in targets):
        return
    for number in clause.numbers:
        if number.unit == "%" and parsed.tokens[number.i].signed:
            assets[0].redirect("down" if number.value < 0 else "up")
            assets[0].comparison, assets[0].acted = False, True
            return


def _direction(target: Target) -> bool | None:
    if target.entry.kind == "asset":
        return target.event in ("rally", "melt_up")
    row = effects()["objects"][target.entry.id]
    return {row.get("up"): True, row.get("down"): False}.get(target.event)


def _default(target: Target) -> None:
    """A bare noun that is an event by itself: "tariffs on China"."""
    if target.event is None and not target.acted and target.entry.kind == "object":
        row = effects()["objects"][target.entry.id]
        if row.get("bare"):
            target.event, target.strength = row["bare"], 0.7 * float(row.get("damp", 1.0))


def _bind_assets(clause: Clause, targets: list[Target]) -> None:
    """A market event belongs to the asset beside it: "panic selling in gold", "bitcoin bubble"."""
    for t in targets:
        if (
            t.event is None
            or t.entry.kind != "event"
            or not effects()["events"][t.event].get("market")
        ):
            continue
        near = [
            a
            for a in targets
            if a.entry.kind == "asset" and not a.acted and abs(a.first - t.first) <= 6
        ]
        if near:
            t.asset = min(near, key=lambda a: abs(a.first - t.first)).asset
