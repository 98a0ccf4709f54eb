"""A scenario: its frames in time order, its names, reasons, and the Gaussian it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass

from parfait.regime import Component, Condition, Regime
from parfait.semantic.ontology.compose import (
    Present,
    Shift,
    extreme,
    prior_sd,
    regime_of,
    specificity,
    widths,
)
from parfait.semantic.ontology.frames import Frame
from parfait.semantic.ontology.lexicon import effects
from parfait.semantic.ontology.neutral import neutral


@dataclass(frozen=True)
class Scenario:
    """One possible course: frames that hold in it, its shift of the market, weight, slot, name and
    reason.
    """

    frames: tuple[Frame, ...]
    shift: Shift
    weight: float
    slot: str
    name: str
    why: str
    variant: str = "main"


_ANSWERS = frozenset(
    {"rescue", "liquidity_injection", "rate_cut", "qe", "stimulus", "pandemic_end"}
)


def by_phase(frames: Sequence[Frame]) -> dict[float, list[Frame]]:
    """Frames by their place in time.

    Help is an answer: told in one breath after a violent event ("panic, emergency cut, bailout")
    it comes after it.
    """
    phases: dict[float, list[Frame]] = {}
    for f in frames:
        phases.setdefault(f.phase, []).append(f)
    for p in sorted(phases):
        violent = [
            f.start
            for f in phases[p]
            if effects()["events"][f.event].get("violent") and not f.negated
        ]
        helping = [
            f for f in phases[p] if violent and f.event in _ANSWERS and f.start > min(violent)
        ]
        if any(f.event == "rescue" for f in helping):
            phases[p] = [f for f in phases[p] if f not in helping]
            phases[p + 0.5] = helping
    return phases


def labels(shift: Shift, slot: str) -> dict[str, tuple[str, str]]:
    if shift.mu < -0.1:
        return {
            "muted": ("shrugged off", "The market absorbs most of it."),
            "severe": ("spirals", "Second-round effects make it worse than the headline."),
            "reversal": ("relief rebound", "The bad news was feared more than it deserved."),
        }
    if shift.mu > 0.1:
        return {
            "muted": ("fades", "Part of the good news was already in the price."),
            "severe": ("overshoots", "Buying feeds on itself."),
            "reversal": ("sell the news", "Those who bought the rumour sell the fact."),
        }
    return {
        "muted": ("less pronounced", "The pattern is weaker than described."),
        "severe": ("more pronounced", "The pattern is stronger than described."),
        "reversal": ("ends early", "The pattern breaks before the horizon."),
    }


def names(frames: Sequence[Frame], limit: int = 3) -> str:
    names = []
    for f in frames:
        names.append(frame_name(f))
    names = list(dict.fromkeys(names))
    return ", ".join(names[:limit])


def frame_name(frame: Frame) -> str:
    """ "unexpected interest-rate rise (50 bps)", "gold: rally"."""
    row = effects()["events"][frame.event]
    name = row["name"]
    if frame.dose is not None and row.get("unit") in ("bps", "%"):
        name += f" ({frame.dose:g} {row['unit']})"
    if frame.surprise == "full":
        name = ("unexpected " if not row.get("shock") else "") + name
    elif frame.surprise == "priced":
        name = "expected " + name
    elif frame.surprise == "relief":
        name += " relative to expectations"
    return f"{frame.asset} {name}" if frame.asset and row.get("market") else name


def title(frames: Sequence[Frame], slot: str) -> str:
    """The name of a scenario: its events in time order."""
    phases = by_phase(frames)
    parts = [names(group, 3) for _, group in sorted(phases.items())]
    return ", then ".join(list(dict.fromkeys(parts))[:3])


def component(
    s: Scenario, now: Present, coverage: float, conditions: tuple[Condition, ...], quote: str
) -> Component:
    """The Gaussian of one scenario, with a one-sentence rationale that names the numbers."""
    regime = regime_of(s.shift, now)
    clear = specificity(s.frames) * (0.85 if s.variant not in ("main", "baseline") else 1.0)
    sd = widths(now, clear, coverage, s.shift, extreme(s.frames), float(regime.drift))
    return Component.around(
        s.slot,
        s.name,
        s.weight,
        regime,
        sd,
        rationale=_rationale(s, regime, now, quote),
        conditions=conditions,
    )


def _rationale(s: Scenario, regime: Regime, now: Present, quote: str) -> str:
    ratio = float(regime.volatility) / now.volatility
    drift = f"drift {float(regime.drift):+.0%} a year"
    what = f"{drift}, volatility {ratio:.2f} times the present {now.volatility:.0%}"
    read = f' (read from "{quote}")' if quote and s.frames else ""
    return f"{s.why.rstrip('.')}: {what}{read}."


def prior_component(now: Present, weight: float) -> Component:
    """The wide prior of the asset class in the present market: of a text that was not understood,
    which may speak of anything.
    """
    what = f"What {now.asset} does when nothing is known"
    why = f"{what}: wide around the present volatility of {now.volatility:.0%}."
    return Component.around(
        "prior", "prior", weight, regime_of(Shift(), now), prior_sd(now), rationale=why
    )


def neutral_component(now: Present) -> Component:
    """What the market does when nothing is said: the forecast of its history, and without one the
    wide prior.
    """
    if now.outlook is None:
        return prior_component(now, 1.0)
    regime, sd = neutral(now, now.outlook)
    why = (
        f"Nothing was said, so {now.asset} goes on as its past bars tell: volatility from "
        f"{float(regime.initial_volatility or 0.0):.0%} towards {float(regime.volatility):.0%}."
    )
    return Component.around("prior", "prior", 1.0, regime, sd, rationale=why)
