"""``OntologyReader``: words, frames and effects make a distribution over regimes."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parfait.regime import (
    Component,
    Condition,
    MarketContext,
    Override,
    RegimeDistribution,
    normalise_weights,
)
from parfait.semantic.ontology.clauses import Parsed, segment
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.coverage import UNSURE_BELOW, Coverage
from parfait.semantic.ontology.directives import read_directives, read_drawdowns
from parfait.semantic.ontology.frames import Frame, read_frames
from parfait.semantic.ontology.lexicon import effects, exposures, lexicon
from parfait.semantic.ontology.limits import hold
from parfait.semantic.ontology.mixture import scenarios
from parfait.semantic.ontology.naming import component, neutral_component, prior_component
from parfait.semantic.ontology.normalise import Text, normalise
from parfait.semantic.ontology.overrides import apply_overrides
from parfait.semantic.ontology.own import IN_USE, read_own_events
from parfait.semantic.ontology.phases import Part, chain
from parfait.semantic.ontology.said import Said, divide
from parfait.semantic.ontology.schedule import read_stretches
from parfait.semantic.ontology.subject import subject_asset
from parfait.utils.errors import UserError

_HELP = (
    "Say what happens, to which market, and how strongly, for example: "
    "'The central bank unexpectedly raises rates by 50 bps'."
)


@dataclass(frozen=True)
class Reading:
    """What was read, for logs and the report."""

    events: tuple[dict[str, Any], ...]
    asset_class: str
    asset_from: str
    coverage: float
    unread: tuple[str, ...]
    corrected: tuple[str, ...]
    summary: str


class OntologyReader:
    """The compositional ontology: lexicon, frames, effects. No network, no weights, no chance.

    Args:
        events: YAML file of event types beside those that ship, see ``OwnEvent``; ``None`` for
            none.

    Raises:
        UserError: the file cannot be read, or holds what is no event type.
    """

    source = "ontology"

    def __init__(self, events: str | Path | None = None) -> None:
        self.own = None
        if events is not None:
            self.own = read_own_events(events, effects(), exposures(), _clean)

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """Reads any Unicode string; what is not understood becomes the wide prior and a warning,
        never an error.

        Args:
            instruction: English or Chinese text; beyond 4 KB only head and tail are read.
            context: the present market; scales are relative to its volatility.

        Raises:
            UserError: the instruction is not a string.
        """
        if not isinstance(instruction, str):
            raise UserError(
                f"the instruction is {type(instruction).__name__}, not text; give a sentence"
            )
        before = IN_USE.set(self.own)
        try:
            return self._read(instruction, context)
        finally:
            IN_USE.reset(before)

    def _read(self, instruction: str, context: MarketContext | None) -> RegimeDistribution:
        text = normalise(instruction)
        words = lexicon()
        asset, asset_from = subject_asset(text.clean, context, words)
        directives = read_directives(text.clean, asset)
        drawdowns = read_drawdowns(text.clean)
        taken = [(d.start, d.end) for d in directives] + [(a, b) for _, a, b in drawdowns]
        parsed = segment(text.clean, taken, words)
        frames = read_frames(parsed)
        for frame in frames:
            if frame.asset == "shares":
                frame.asset = "stock" if asset == "stock" else "equity"
        now = Present.of(asset, context)
        whole = Said.of(parsed, frames, directives, drawdowns)
        impossible = hold(text, frames)
        notes = [*text.warnings, *impossible]
        if any(frame.target.assumed for frame in frames):
            notes.append("The surprise has a size and no direction; it was read as a rate rise.")
        stretches = read_stretches(parsed, words)
        said = divide(whole, stretches)
        unknown = [x for x, s in zip(said, stretches, strict=True) if not x.understood]
        for part in unknown:
            quote = text.quote(part.start, part.end).strip(" ,.;，。；")
            notes.append(
                f'"{quote}" says nothing that was understood, so the text was read as one time '
                "without phases."
            )
        if len(said) < 2 or unknown or whole.coverage.foreign:
            said = [whole]
        if impossible or any(d.clamped for d in directives):
            said = [replace(part, coverage=part.coverage.doubted()) for part in said]
        parts, overrides = [], ()
        for part, stretch in zip(said, stretches or [None], strict=False):
            components, own, more = _read_part(text, part, now)
            parts.append(Part(components, stretch.years if stretch is not None else None))
            overrides += own
            notes += more
        components = parts[0].components
        if len(parts) > 1:
            components, more = chain(parts)
            notes += more
        reading = _reading(text, parsed, said, asset, asset_from, whole.coverage)
        return RegimeDistribution(
            components,
            self.source,
            min(part.coverage.confidence for part in said),
            overrides,
            tuple(notes),
            asset,
            {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(reading).items()},
        )


def _read_part(
    text: Text, part: Said, now: Present
) -> tuple[tuple[Component, ...], tuple[Override, ...], list[str]]:
    """Scenarios, literal numbers and warnings of the whole text, or of one stretch of it."""
    known = not part.coverage.foreign
    frames, drawdowns = (part.frames, part.drawdowns) if known else ([], [])
    components, notes = _components(text, frames, drawdowns, now, part.coverage)
    directives = part.directives if known else []
    components, overrides, more = apply_overrides(components, directives, text, now)
    return components, overrides, [*notes, *more, *_doubts(text, part.coverage, part.understood)]


def _components(
    text: Text,
    frames: list[Frame],
    drawdowns: list[tuple[Condition, int, int]],
    now: Present,
    coverage: Coverage,
) -> tuple[tuple[Component, ...], list[str]]:
    """Scenarios and, for what was not understood, the prior: c p_model + (1 - c) p_prior."""
    c = coverage.confidence
    if not text.raw.strip():
        return (neutral_component(now),), []
    if c < 0.02 or coverage.foreign:
        return (prior_component(now, 1.0),), []
    found, spare, warnings = scenarios(frames, now)
    lost = min(1 - c if c < 0.97 else 0.0, spare)
    falls = tuple(replace(d, quote=text.quote(a, b)) for d, a, b in drawdowns)
    built = []
    for s in found:
        keep = 1 - lost
        if spare < 1:  # stated probabilities stay exact: doubt takes from what they leave
            keep = 1 - lost / spare if s is found[-1] and spare > 0 else 1.0
        conditions = _conditions(s.frames, s.variant, now.asset, text)
        if s.variant != "baseline" or not frames:
            conditions += falls
        scenario = component(s, now, coverage.share, conditions, _quote(text, s.frames))
        built.append(replace(scenario, weight=max(0.0, s.weight * keep)))
    if lost > 0:
        built.append(prior_component(now, lost))
    built = [b for b in built if b.weight > 0] or [prior_component(now, 1.0)]
    if now.trend is None and any("trend" in effects()["events"][f.event] for f in frames):
        warnings.append("No history tells which way the trend goes; it was read as none.")
    return normalise_weights(built), warnings


def _clean(phrase: str) -> str:
    return normalise(phrase).clean


def _quote(text: Text, frames: tuple[Frame, ...]) -> str:
    if not frames:
        return ""
    words = text.quote(min(f.start for f in frames), max(f.end for f in frames))
    return words if len(words) <= 120 else words[:117] + "..."


def _conditions(
    frames: tuple[Frame, ...], variant: str, asset: str, text: Text
) -> tuple[Condition, ...]:
    """Statements about the subject's own path: a stated move is its end point, a stated price its
    target.
    """
    found = []
    if variant in ("reversal", "baseline", "failed"):
        return ()
    for f in frames:
        row = effects()["events"][f.event]
        outcome = row.get("outcome", 0)
        if f.negated or not outcome or f.asset not in (None, asset):
            continue
        quote = text.quote(f.start, f.end)
        if f.level is not None:
            found.append(Condition("terminal", f.level, f.horizon, True, quote))
        elif f.move is not None:
            move = abs(f.move) * (1 if outcome > 0 else -1)
            found.append(Condition("terminal", move, f.horizon, False, quote))
    return tuple(found)


def _doubts(text: Text, coverage: Coverage, understood: bool) -> list[str]:
    quoted = ", ".join(f'"{w}"' for w in coverage.unread[:8])
    if not text.raw.strip():
        return [f"The instruction is empty; the prior of the market was used. {_HELP}"]
    if coverage.foreign:
        return [f"The text is neither English nor Chinese ({quoted}); the prior was used. {_HELP}"]
    if not understood:
        unread = f" (unread: {quoted})" if quoted else ""
        return [f"Nothing about a market was understood{unread}; the prior was used. {_HELP}"]
    if coverage.confidence < UNSURE_BELOW:
        return [
            f"Most of the text was not understood (unread: {quoted}), "
            f"so the reading leans on the prior. {_HELP}"
        ]
    return []


def _reading(
    text: Text,
    parsed: Parsed,
    said: list[Said],
    asset: str,
    asset_from: str,
    coverage: Coverage,
) -> Reading:
    events = []
    numbered = [(n, f) for n, part in enumerate(said) for f in part.frames]
    for number, f in numbered if not coverage.foreign else []:
        row = effects()["events"][f.event]
        events.append(
            {
                "type": f.event,
                "name": row["name"],
                "polarity": (row["mu"] > 0) - (row["mu"] < 0),
                "negated": f.negated,
                "magnitude": f.dose,
                "unit": row.get("unit") if f.dose is not None else None,
                "expected": f.expected,
                "intensity": round(f.intensity, 3),
                "surprise": f.surprise,
                "probability": f.probability,
                "asset": f.asset,
                "phase": f.phase,
                "persistence": f.persistence or None,
                "quote": text.quote(f.start, f.end),
                **({"stretch": number} if len(said) > 1 else {}),
            }
        )
    parts = [
        ("not " if e["negated"] else "")
        + e["name"]
        + (f" {e['magnitude']:g} {e['unit']}" if e["magnitude"] is not None else "")
        for e in events
    ]
    corrected = tuple(f"{text.quote(t.start, t.end)} -> {t.key}" for t in parsed.tokens if t.fixed)
    return Reading(
        tuple(events),
        asset,
        asset_from,
        round(coverage.share, 4),
        coverage.unread[:40],
        corrected,
        "I read: " + ("; ".join(parts) if parts else "no market event") + ".",
    )
