"""Families of sentences: one alone, two that differ in one thing, or two that mean the same."""

import random
from dataclasses import dataclass, replace
from typing import Any

from parfait.distill.grammar import SECOND, CannotSayError, Grammar, Meaning
from parfait.distill.held_out import band, rules
from parfait.regime import ASSET_CLASSES, MarketContext
from parfait.semantic.ontology.lexicon import effects

# Modes of a sentence with events, by how often they are drawn.
MODES = {
    "plain": 34,
    "priced": 5,
    "surprise": 5,
    "lasting": 2,
    "brief": 2,
    "negated": 10,
    "chance": 8,
    "modal": 5,
    "either": 4,
    "both": 8,
    "followed": 9,
    "phased": 4,
    "stated": 4,
}
CONTRASTS = ("dose", "opposite", "strength", "surprise", "chance")
_NICE = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.5, 8.0)
_FAR = 90.0  # largest fall in per cent


@dataclass(frozen=True)
class Draft:
    """A sentence that waits for a teacher.

    Args:
        text: as it is to be read by the student.
        clean: as it was before it was typed.
        context: the market it is read against.
        language: "en" or "zh".
        kind: "event", "directive" or "nonsense".
        meaning: what it should say; ``None`` for nonsense.
        template: text of the template.
        template_id: its name.
        topic: what a sentence without events is about.
        role: "a" or "b" of a contrast, "same" of a paraphrase, "" alone.
        contrast: what the two differ in.
        style: how it was typed.
    """

    text: str
    clean: str
    context: MarketContext
    language: str
    kind: str
    meaning: Meaning | None
    template: str
    template_id: str
    topic: str = ""
    role: str = ""
    contrast: str = ""
    style: str = ""


def some_meaning(words: Grammar, wanted: str, rng: random.Random) -> Meaning:
    """A random meaning, likely one of the split ``wanted``."""
    told = rules()
    known = words.events
    modes = {m: w for m, w in MODES.items() if m in words.templates}
    mode = _weighted(modes, rng)
    never = {*told["events"], *told["language"].get(words.language, [])}
    pool = [e for e in known if e not in never]
    held = {
        "test_event": told["events"],
        "test_language": told["language"].get(words.language, []),
        "test_composition": told["negated"],
    }.get(wanted)
    if wanted == "test_magnitude":
        held = [e for e in pool if words.says(e, "dose")]
    choices = [e for e in held if e in known] if held else pool
    first = rng.choices(choices, [1 + words.says(e, "dose") for e in choices])[0]
    if wanted == "test_composition":
        mode = "negated"
    events = (first, rng.choice(pool)) if mode in SECOND else (first,)
    asset = rng.choice(free_assets())
    if rng.random() < 0.35:
        asset = "equity"
    if wanted == "test_asset":
        asset = rng.choice(told["assets"])
    meaning = Meaning(
        mode,
        events,
        asset,
        percent=rng.randrange(5, 100, 5),
        time=rng.randrange(8),
        strength=rng.choice(("strong", "middle", "weak")) if rng.random() < 0.3 else "",
        sudden=rng.random() < 0.25,
    )
    if words.says(first, "dose") and (wanted == "test_magnitude" or rng.random() < 0.75):
        meaning = replace(meaning, strength="", **_dose(first, wanted, rng))
    if mode == "stated":
        meaning = replace(meaning, **_directive(words, rng))
    return meaning


def directive_meaning(words: Grammar, rng: random.Random) -> Meaning:
    """Numbers that are stated, and nothing else."""
    return Meaning("directive", (), rng.choice(free_assets()), **_directive(words, rng))


def contrasted(meaning: Meaning, contrast: str, rng: random.Random) -> Meaning:
    """The same but for one thing.

    Raises:
        CannotSayError: it has nothing of that sort.
    """
    if contrast == "dose" and meaning.dose is not None:
        other = meaning.dose * rng.choice((2, 4))
        if meaning.unit == "%" and other > _FAR:
            raise CannotSayError
        return replace(meaning, dose=other)
    if contrast == "strength" and meaning.strength:
        return replace(meaning, strength="weak" if meaning.strength == "strong" else "strong")
    if contrast == "opposite" and meaning.events:
        row = effects()["events"][meaning.events[0]]
        if "opposite" in row and meaning.mode not in SECOND:
            return replace(meaning, events=(row["opposite"],))
    if contrast == "surprise" and meaning.mode in ("plain", "priced", "surprise"):
        swapped = {"plain": "priced", "priced": "surprise", "surprise": "priced"}
        return replace(meaning, mode=swapped[meaning.mode], sudden=False)
    if contrast == "chance" and meaning.mode == "chance":
        return replace(meaning, percent=(meaning.percent + 45) % 95 + 5)
    raise CannotSayError


def rendered(meaning: Meaning, words: Grammar, wanted: str, seed: int) -> tuple[str, str, str]:
    """The sentence, its template and the template's name; the same choices for the same seed.

    Raises:
        CannotSayError: the template drawn does not fit.
    """
    rng = random.Random(seed)
    held = set(rules()["templates"])
    fitting = [
        (name, text)
        for name, text in words.templates.get(meaning.mode, [])
        if (text in held) == (wanted == "test_template")
    ]
    if not fitting:
        raise CannotSayError
    name, text = rng.choice(fitting)
    return words.render(meaning, text, rng), text, name


def nonsense(words: Grammar, wanted: str, rng: random.Random) -> tuple[str, str, str, str]:
    """A sentence about no market: text, template, its name, and what it is about.

    Raises:
        CannotSayError: no such sentence belongs to the split.
    """
    kinds = words.data["nonsense"]
    held = set(rules()["templates"])
    kind = rng.choice([*kinds, "offtopic", "offtopic"])
    entry = kinds[kind]
    if kind == "letters":
        if wanted == "test_template":
            raise CannotSayError
        sizes = range(rng.randrange(1, 8))
        gap = " " if words.language == "en" else ""
        made = ["".join(rng.choices(entry["alphabet"], k=rng.randrange(3, 10))) for _ in sizes]
        return gap.join(made), "letters", f"{words.language}.letters", "letters"
    fitting = [p for p in entry["patterns"] if (p in held) == (wanted == "test_template")]
    if not fitting:
        raise CannotSayError
    pattern = rng.choice(fitting)
    values = {k: rng.choice(v) for k, v in entry.items() if k != "patterns"}
    topic = f"{kind}:{next(iter(values.values()))}"
    name = f"{words.language}.{kind}.{entry['patterns'].index(pattern)}"
    text = pattern.format(**values, i=rng.randrange(1, 100))
    return text[:1].upper() + text[1:] if kind == "offtopic" else text, pattern, name, topic


def _dose(event: str, wanted: str, rng: random.Random) -> dict[str, Any]:
    row = effects()["events"][event]
    if "unit" not in row:
        return {}
    inside = wanted == "test_magnitude"
    for _ in range(30):
        raw = row["ref"] * 10 ** rng.uniform(-0.7, 1.0)
        power = 10.0 ** int(f"{raw:e}".split("e")[1])
        dose = float(f"{min(_NICE, key=lambda m: abs(m * power - raw)) * power:.3g}")
        if row["unit"] in ("bps", "k", "usd"):
            dose = float(max(round(dose), 1))
        if (band(event, dose) == rules()["band"]) == inside and not (
            row["unit"] == "%" and dose > _FAR
        ):
            return {"dose": dose, "unit": row["unit"]}
    return {}


def _directive(words: Grammar, rng: random.Random) -> dict[str, Any]:
    numbers = {
        "v": rng.randrange(5, 120),
        "dv": rng.randrange(1, 7),
        "m": rng.randrange(1, 40),
        "j": rng.randrange(1, 15),
        "s": rng.randrange(2, 15),
        "h": rng.randrange(1, 10),
        "days": rng.randrange(2, 60),
        "f": rng.randrange(5, 60, 5),
    }
    number = rng.randrange(len(words.data["directives"]))
    return {"directive": number, "numbers": tuple(numbers.items())}


def _weighted(weights: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def free_assets() -> list[str]:
    """Asset classes that training may see."""
    return [a for a in ASSET_CLASSES if a not in rules()["assets"]]
