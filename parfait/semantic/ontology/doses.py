"""A frame: one event as read, and the numbers that belong to it."""

from dataclasses import dataclass, field

from parfait.semantic.ontology.clauses import Clause, Number, Parsed
from parfait.semantic.ontology.composition import Target
from parfait.semantic.ontology.lexicon import effects


@dataclass
class Frame:
    """One event as read. ``event`` names a row of effects.yaml; ``asset`` whose move it is (None:
    the subject's own).
    """

    event: str
    strength: float
    target: Target
    clause: int
    sentence: int
    start: int
    end: int
    asset: str | None = None
    negated: bool = False
    dose: float | None = None
    expected: float | None = None
    surprise: str = "unstated"
    probability: float | None = None
    stated_probability: bool = False
    anticipated: bool = False
    phase: int = 0
    contrast: bool = False
    despite: bool = False
    group: int = 0
    alternative: bool = False
    move: float | None = None
    level: float | None = None
    horizon: float | None = None
    persistence: str = ""
    vague: bool = False
    adverbs: list[float] = field(default_factory=list)

    @property
    def intensity(self) -> float:
        """Strength of verb and adverbs, within [0.25, 3]."""
        value = self.strength
        for adverb in self.adverbs:
            value *= adverb
        return min(max(value, 0.25), 3.0)


def gap(i: int, target: Target) -> int:
    return min(abs(target.first - i), abs(i - target.last + 1))


def is_expected(number: Number, clause: Clause, parsed: Parsed) -> bool:
    """Whether a number is what had been expected: "than the 25bps forecast", "vs 25bps", "25bps
    priced in".
    """
    others = [n.i for n in clause.numbers if n.i != number.i]
    for m in clause.mentions:
        comparing = m.entry.kind == "comparing" or m.entry.id in ("more", "less", "above", "below")
        if not (comparing or m.entry.kind == "consensus" or m.entry.id == "priced"):
            continue
        if m.entry.language == "zh" and any(
            m.j <= k.i < number.i for k in clause.of("event", "action")
        ):
            continue  # 超预期降息50bps: the number belongs to what stands between
        if any(min(m.i, number.i) < o < max(m.i, number.i) for o in others):
            continue
        if 0 <= number.i - m.j < 4:
            return True
        between = (c for c in clause.of("comparing") if number.i < c.i < m.i)
        if not comparing and 0 < m.i - number.i <= 3 and next(between, None) is None:
            return True
    return False


def give(number: Number, frames: list[Frame], parsed: Parsed, expected: bool) -> None:
    """A number goes to the nearest frame whose unit it fits: dose, expectation, move or level."""
    fitting = [f for f in frames if convert(number, f) is not None or _is_level(number, f)]
    if not fitting:
        return
    near = min(fitting, key=lambda f: gap(number.i, f.target))
    near.start = min(near.start, parsed.tokens[number.i].start)
    near.end = max(near.end, parsed.tokens[number.i].end)
    if _is_level(number, near):
        near.level = number.value
        return
    dose = convert(number, near)
    if expected and not (near.dose is None and near.surprise == "priced" and near.expected is None):
        near.expected = dose
    elif near.dose is None:
        near.dose = dose
        if (
            effects()["events"][near.event].get("market")
            and dose is not None
            and number.unit == "%"
        ):
            near.move = dose / 100
    elif near.expected is None and expected:
        near.expected = dose


def _is_level(number: Number, frame: Frame) -> bool:
    row = effects()["events"][frame.event]
    return bool(row.get("outcome")) and number.unit in ("", "$", "k", "pts") and number.level


_FACTORS = {
    "bps": {"bps": 1.0, "pp": 100.0, "%": 100.0, "pts": 100.0},
    # A million barrels a day are about 1 % of what the world uses (IEA, Oil 2024).
    "%": {"%": 1.0, "pp": 1.0, "bps": 0.01, "pts": 1.0, "bbl": 1e-6},
    "k": {"k": 1.0, "mn": 1000.0},
    # A point of the reserve ratio frees about 300 bn dollars (PBoC, announcements of 2024).
    "usd": {"bn": 1.0, "tn": 1000.0, "mn": 0.001, "bps": 3.0, "pp": 300.0},
}
_NEUTRAL_LEVEL = {"inflation_up": 2.0, "inflation_down": 2.0, "jobs_down": 4.0, "jobs_up": 4.0}


def convert(number: Number, frame: Frame) -> float | None:
    """The number in the dose unit of the frame's event, as a size; ``None`` when the unit does not
    fit.
    """
    row = effects()["events"][frame.event]
    unit = row.get("unit")
    factor = _FACTORS.get(unit or "", {}).get(number.unit)
    if unit == "%" and number.unit == "x":
        return abs(number.value - 1) * 100
    if unit == "k" and number.unit == "" and number.value >= 1000:
        factor = 0.001
    if factor is None or (number.unit == "pts" and row.get("market")):
        return None
    if number.origin is not None:
        return abs(number.value - number.origin) * factor
    if number.level and frame.event in _NEUTRAL_LEVEL:
        return abs(number.value * factor - _NEUTRAL_LEVEL[frame.event])
    if number.level and unit == "bps":
        return None  # "to 5.5 %" is where the rate stands, not by how much it moved
    return abs(number.value) * factor


def settle_surprise(frame: Frame) -> None:
    """dose = actual - expected, signed: less than expected is relief, so the antonym acts."""
    row = effects()["events"][frame.event]
    if frame.dose is not None and frame.expected is not None:
        difference = frame.dose - frame.expected
        frame.dose, frame.surprise = abs(difference), "full"
        if difference < 0:
            frame.surprise = "relief"
            frame.event = row.get("opposite", frame.event)
        elif difference == 0:
            frame.dose, frame.surprise = None, "priced"
    elif frame.surprise == "less":
        if row.get("opposite"):
            frame.event, frame.surprise, frame.strength = (
                row["opposite"],
                "relief",
                frame.strength * 0.6,
            )
            frame.dose = None
        else:
            frame.surprise, frame.strength = "full", frame.strength * 0.3
    elif frame.surprise == "more":
        frame.surprise = "full"
