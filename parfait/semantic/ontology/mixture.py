"""Scenarios: which frames happen together, with which probability, and how each is named and
explained.
"""

from collections.abc import Sequence
from dataclasses import replace

from parfait.semantic.ontology.compose import Present, Shift, total
from parfait.semantic.ontology.frames import Frame
from parfait.semantic.ontology.lexicon import effects
from parfait.semantic.ontology.naming import Scenario, by_phase, labels, names, title

# What was feared or hoped for and does not come leaves this share of its drift with the other
# sign, and never more than that much of it.
_SPARED, _RELIEF = -0.08, 0.12
NO_CHANGE = "no change"  # the name of what is left when an event is only possible
MAX_EVENT_SCENARIOS = 6  # room for a baseline and the prior among the eight


def scenarios(frames: Sequence[Frame], now: Present) -> tuple[list[Scenario], float, list[str]]:
    """Scenarios, the weight that may be handed to the prior (stated probabilities are kept exact),
    and warnings.
    """
    warnings: list[str] = []
    live = [f for f in frames if not f.negated]
    base = [f for f in live if f.group == 0 and (f.probability is None or f.probability >= 1)]
    groups: dict[int, list[Frame]] = {}
    for f in live:
        if f not in base:
            groups.setdefault(f.group, []).append(f)
    if not groups:
        return _certain(base, frames, now), 1.0, warnings
    weighted = _group_weights(groups)
    weighted = weighted[:MAX_EVENT_SCENARIOS]
    weight = sum(w for _, w, _ in weighted)
    if weight > 1 + 1e-9:
        warnings.append(
            f"The stated probabilities add up to {weight:.0%}; they were scaled to 100 %."
        )
        weighted = [(g, w / weight, s) for g, w, s in weighted]
        weight = 1.0
    found = []
    for members, w, _ in weighted:
        together = tuple(f for f in frames if f in base or f in members)
        shift, slot = sequence(together, now)
        found.append(Scenario(together, shift, w, slot, title(together, slot), _share(members, w)))
    rest = max(0.0, 1 - weight)
    if rest > 1e-9:
        if base:
            shift, slot = sequence(base, now)
            why = "What is certain happens, what is only possible does not."
            found.append(Scenario(tuple(base), shift, rest, slot, title(base, slot) + " only", why))
        else:
            found.append(_baseline(rest, "It does not happen and the market goes on as before."))
    stated = any(s for *_, s in weighted)
    return found, rest if stated else 1.0, warnings


def _group_weights(groups: dict[int, list[Frame]]) -> list[tuple[list[Frame], float, bool]]:
    """(frames, weight, stated) by group; "either A or B" without numbers shares what its sentence
    leaves.
    """
    rows = []
    for members in groups.values():
        p = next((f.probability for f in members if f.probability is not None), None)
        anticipated = any(f.anticipated for f in members)
        rows.append((members, p, any(f.stated_probability for f in members), anticipated))
    open_rows = [r for r in rows if any(f.alternative for f in r[0])]
    taken = sum(p for m, p, *_ in rows if p is not None and not any(f.alternative for f in m))
    result = []
    for members, p, stated, _ in rows:
        if any(f.alternative for f in members) and len(open_rows) > 1:
            own = len({r[1] for r in open_rows}) > 1 and p is not None
            share = (
                p
                if own and p is not None
                else (p if p is not None else max(0.0, 1 - taken)) / len(open_rows)
            )
        else:
            share = 1.0 if p is None else p
        result.append((members, float(share), stated))
    return result


def _share(members: Sequence[Frame], weight: float) -> str:
    stated = any(f.stated_probability for f in members)
    return f"{'Stated' if stated else 'Read'} with a probability of {weight:.0%}."


def _baseline(weight: float, why: str) -> Scenario:
    return Scenario((), Shift(), weight, "baseline", NO_CHANGE, why, "baseline")


def _certain(base: list[Frame], frames: Sequence[Frame], now: Present) -> list[Scenario]:
    """A certain reading still has several outcomes: as read, muted, worse, and the market turning
    the other way.
    """
    c = effects()["constants"]
    if not base:
        denied = [f for f in frames if f.negated]
        if not denied:
            why = "Only the stated numbers change; nothing else happens."
            return [Scenario((), Shift(), 1.0, "baseline", "as stated", why, "baseline")]
        after = Shift(sigma=0.05, lam=0.1)
        why = "Talk of it leaves the market slightly nervous although it did not happen."
        relief = Shift(mu=max(-_RELIEF, min(_RELIEF, _SPARED * _told(denied, now).mu)))
        denial = f"The text says that it does not happen: no {names(denied)}."
        return [
            Scenario((), relief, 0.9, "baseline", NO_CHANGE, denial, "baseline"),
            Scenario((), after, 0.1, "baseline", "lingering nerves", why, "baseline"),
        ]
    shift, slot = sequence(base, now)
    anticipated = all(f.anticipated for f in base)
    name = title(base, slot)
    if slot == "shock_and_recover":
        return _recovery(base, shift, name, now)
    sure = any(f.move is not None or f.level is not None for f in base)
    v, d = dict(c["variants"]), c["doses"]
    if sure:  # the path itself is stated: no variant may contradict it
        v = {
            "main": v["main"] + v["reversal"] + 0.5 * v["muted"],
            "muted": 0.5 * v["muted"],
            "severe": v["severe"],
        }
    variants = labels(shift, slot)
    if sure:
        variants |= {
            "muted": ("orderly", "The stated move comes without much turbulence."),
            "severe": ("disorderly", "The stated move comes with more turbulence."),
        }
    found = [
        Scenario(
            tuple(base),
            shift,
            v["main"],
            slot,
            name,
            "The most likely course of what is described.",
        )
    ]
    for variant in ("muted", "severe", "reversal"):
        if variant not in v:
            continue
        dose = max(d[variant], 0.8) if sure and variant == "muted" else d[variant]
        varied = shift.scaled(dose)
        role = slot_of(varied, base, now) if variant != "severe" else slot
        label, why = variants[variant]
        found.append(
            Scenario(tuple(base), varied, v[variant], role, f"{name}: {label}", why, variant)
        )
    if anticipated:
        found = [
            Scenario(
                s.frames, s.shift, s.weight * c["anticipated"], s.slot, s.name, s.why, s.variant
            )
            for s in found
        ]
        found.append(_baseline(1 - c["anticipated"], "What is expected does not come after all."))
    return found


def _told(denied: list[Frame], now: Present) -> Shift:
    """What denied events would have done."""
    return total([replace(f, negated=False) for f in denied], now)


def _recovery(base: list[Frame], shift: Shift, name: str, now: Present) -> list[Scenario]:
    phases = by_phase(base)
    first = min(phases)
    shock = total(phases[first], now)
    rescue = total([f for p in sorted(phases) if p > first for f in phases[p]], now)
    full = shock.scaled(0.35).plus(rescue, 1.3)
    failed = shock.plus(rescue, 0.15)
    turn, role = "shock_and_recover", slot_of(failed, base, now)
    why = (
        "The shock comes first and is then turned back.",
        "The turn does not hold and the shock has the last word.",
        "The turn more than makes up for the shock.",
    )
    frames = tuple(base)
    return [
        Scenario(frames, shift, 0.62, turn, name, why[0]),
        Scenario(frames, failed, 0.22, role, "the recovery fails", why[1], "failed"),
        Scenario(frames, full, 0.16, turn, "full recovery", why[2], "full"),
    ]


def sequence(frames: Sequence[Frame], now: Present) -> tuple[Shift, str]:
    """Shift and slot of frames in time order. A regime is constant in time, so a turn becomes
    "shock and recover".
    """
    phases = by_phase(frames)
    shifts = [total(phases[p], now) for p in sorted(phases)]
    merged: list[Shift] = []
    for shift in shifts:
        if merged and (
            merged[-1].mu * shift.mu >= 0 or min(abs(merged[-1].mu), abs(shift.mu)) < 0.05
        ):
            merged[-1] = merged[-1].plus(shift)
        else:
            merged.append(shift)
    if len(merged) < 2:
        whole = merged[0] if merged else Shift()
        return whole, slot_of(whole, frames, now)
    before, last = Shift(), merged[-1]
    for shift in merged[:-1]:
        before = before.plus(shift)
    if last.mu > 0:
        whole = Shift(
            mu=0.5 * before.mu + 0.85 * last.mu,
            sigma=0.9 * max(before.sigma, 0.0) + 0.5 * last.sigma,
            lam=0.85 * before.lam + 0.5 * last.lam,
            m=0.8 * before.m + 0.5 * last.m,
            s=before.s + last.s,
            kappa=before.kappa + last.kappa + 3.0,
            hurst=0.5 * (before.hurst + last.hurst),
            rev=before.rev + last.rev + 0.4,
            spike=max(before.spike, 1.15),
        )
        return whole, "shock_and_recover"
    whole = before.scaled(0.35).plus(last)
    return whole, slot_of(whole, frames, now)


def slot_of(shift: Shift, frames: Sequence[Frame], now: Present) -> str:
    """The typed role of a scenario, from what it does to the asset."""
    own = {f.event for f in frames if f.asset in (None, now.asset)}
    if shift.mu > 2.5 and own & {"short_squeeze", "melt_up"}:
        return "squeeze"
    if shift.mu < -2.8 and shift.sigma > 0.45:
        return "crash"
    if "flash_crash" in own and shift.mu < 0:
        return "shock_and_recover"
    if shift.sigma < -0.12 and abs(shift.mu) < 0.6:
        return "calm"
    if shift.mu > 0.12:
        return "trend_up"
    if shift.mu < -0.12:
        return "grind_down"
    return "baseline"
