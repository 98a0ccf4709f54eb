"""Actions find their objects: "cuts rates", "rates are cut", "a surge in unemployment", "stocks
fall on higher inflation".

The sign of an event is the product of the action and what it acts on, looked up in ``effects.yaml:
objects``.
"""

from typing import Any

from parfait.semantic.ontology.clauses import Clause, Parsed, entry_key, is_dread, synthetic
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.lexicon import Entry, Mention, effects

_PREPOSITIONS = frozenset({"in", "of", "for", "on"})


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
        if action.entry.verb == "particle" and follower != "num":
            continue  # "shuts down", "steps up": only "up 3 %" is a move
        target = _choose(parsed, clause, action, targets, actions, following)
        if target is None and action.entry.id.startswith("cmp_") and hanging:
            target = hanging.pop()
            targets.append(target)
        if target is None:
            target = _implied(parsed, clause, action, targets, frames)
            if target is None:
                continue
            targets.append(target)
        if target.acted and not action.entry.id.startswith("cmp_"):
            if target.entry.kind != "event" and not action.entry.market:
                continue
            if action.entry.bare:
                continue
        if action.entry.id.startswith("cmp_"):
            target.redirect(action.entry.id[4:])
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
    if hold is not None and hanging and clause.link in ("and", ",", "or"):
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
    ):
        _inherit(waiting, frames)
    for t in targets:
        _default(t)
    _bind_assets(clause, targets)
    still = [t for t in waiting if t.event is None]
    return targets, still if not actions else []


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
        if t.entry.id == "fear" and any(
            o.entry.kind == "event" and abs(o.first - t.first) <= 3 for o in found
        ):
            continue  # "recession fears": the event, feared
        keep.append(t)
    return keep


def _actions(clause: Clause, parsed: Parsed) -> list[Mention]:
    actions = clause.of("action")
    for m in clause.of("surprise"):
        if m.entry.id in ("above", "below"):
            direction = "up" if m.entry.id == "above" else "down"
            actions.append(Mention(synthetic("action", f"cmp_{direction}"), m.i, m.j))
    return sorted(actions, key=lambda m: (m.entry.id.startswith("cmp_"), m.i))


def _choose(
    parsed: Parsed,
    clause: Clause,
    action: Mention,
    targets: list[Target],
    actions: list[Mention],
    following: str,
) -> Target | None:
    """The target of an action: to the right for transitive verbs and attributes, to the left for
    the others.
    """
    i, j, verb = action.i, action.j, action.entry.verb
    chinese = action.entry.language == "zh"
    reach = 7 if chinese else 6
    right = sorted(
        (t for t in targets if t.entry is not None and t.first >= j), key=lambda t: t.first
    )
    left = sorted((t for t in targets if t.last <= i), key=lambda t: -t.last)
    r = right[0] if right and right[0].first - j <= reach else None
    if r is not None and any(
        j <= a.i < r.first and a.entry.verb != "" for a in actions if a is not action
    ):
        r = None if verb != "trans" else r
    step = left[0] if left else None
    if action.entry.id.startswith("cmp_"):
        return _nearest_object(left) or _nearest_object(right) or step or r
    if verb == "fail":
        return step if step is not None and step.entry.kind == "asset" else None
    after = parsed.tokens[j].key if j < len(parsed.tokens) else ""
    if verb == "right":
        if r is not None:
            return r
        return (
            step
            if following == "because" and step is not None and step.entry.kind != "event"
            else None
        )
    if verb == "trans":
        close = r if r is None or not chinese or r.first - j <= 5 else None
        if close is not None and close.acted and step is not None and not step.acted:
            return step
        if (
            close is None
            and step is not None
            and step.entry.kind == "event"
            and not chinese
            and not _passive(parsed, i)
        ):
            return None  # "the earthquake devastates Tokyo" does not lessen the earthquake
        return close or step
    if (
        r is not None
        and after in _PREPOSITIONS
        and r.first - j <= 3
        and not (step is not None and not step.acted and after == "on")
    ):
        return r
    if (
        r is not None
        and r.first == j
        and not r.acted
        and (step is None or step.acted or (step.event is not None and step.entry.kind == "event"))
    ):
        return r
    attribute = r is not None and r.first == j and not chinese and r.entry.kind != "event"
    if attribute and (step is None or i - step.last > 0 or step.acted):
        return r
    if step is not None:
        return step
    return r if r is not None and not r.acted else None


def _passive(parsed: Parsed, i: int) -> bool:
    """Whether the verb at token i may be passive: "is cut", "scrapped", a headline's bare
    participle.
    """
    surface = parsed.clean[parsed.tokens[i].start : parsed.tokens[i].end]
    before = parsed.tokens[i - 1].key if i else ""
    return (
        surface.endswith("ed")
        or before in ("is", "are", "was", "were", "be", "been", "get", "be")
        or surface == "cut"
    )


def _nearest_object(targets: list[Target]) -> Target | None:
    return next((t for t in targets if t.entry.kind == "object"), None)


def _implied(
    parsed: Parsed, clause: Clause, action: Mention, targets: list[Target], frames: list[Any]
) -> Target | None:
    """A verb without an object: the Fed hikes (rates), OPEC cuts (supply), "then falls" (what was
    spoken of).
    """
    if action.entry.verb == "right" or action.entry.id.startswith("cmp_"):
        return None
    i, j = action.i, action.j
    banks = {m.entry.id for m in clause.of("institution")}
    for other in parsed.clauses:  # "the BoJ shocked markets with a surprise hike"
        if other.sentence == clause.sentence and not targets:
            banks |= {m.entry.id for m in other.of("institution") if m.entry.id == "central_bank"}
    if "bank" in banks and (action.entry.verb == "fail" or action.entry.market == "crash"):
        return Target(synthetic("event", "bank_failure"), i, j, i, event="bank_failure", acted=True)
    if action.entry.verb == "fail" and (
        "government" in banks or entry_key(parsed.tokens, action) == "default"
    ):
        return Target(
            synthetic("event", "sovereign_default"), i, j, i, event="sovereign_default", acted=True
        )
    basis_points = any(n.unit == "bps" for n in clause.numbers)
    previous = frames[-1].target if frames and frames[-1].sentence == clause.sentence else None
    if action.entry.id in ("hold", "end") and not banks:
        return None
    if "central_bank" in banks and action.entry.verb in ("trans", "both"):
        return Target(synthetic("object", "policy_rate"), i, j, i)
    if "opec" in banks and action.entry.verb == "trans":
        return Target(synthetic("object", "oil_supply"), i, j, i)
    if basis_points and action.entry.verb == "trans":
        return Target(synthetic("object", "policy_rate"), i, j, i)
    if (
        previous is not None
        and previous.entry.kind in ("object", "asset")
        and action.entry.verb != "trans"
    ):
        return Target(previous.entry, i, j, i, asset=previous.asset)
    percent = any(n.unit == "%" for n in clause.numbers)
    if action.entry.bare or (percent and action.entry.verb == "intrans" and not targets):
        return Target(synthetic("asset", "market"), i, j, i)
    return None


def _inherit(waiting: list[Target], frames: list[Any]) -> None:
    """ "Raises rates and taxes": the second object takes the verb of the first."""
    source = frames[-1].target
    if source.entry.kind not in ("object", "asset") or source.event is None:
        return
    up = _direction(source)
    for t in waiting:
        if up is not None:
            t.act(Entry("action", "up" if up else "down", "en", source.strength))


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
