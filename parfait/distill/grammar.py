"""The grammar of sentences: ``Meaning`` says what, ``Grammar.render`` says it in words."""

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import parfait.semantic.ontology
from parfait.utils.errors import UserError

GRAMMARS = Path(__file__).parent / "grammar"
SECOND = ("either", "both", "followed", "phased")  # modes of two events
LEXICONS = Path(parfait.semantic.ontology.__path__[0]) / "lexicon"
_FROM_LEXICON = 0.35  # share of nouns that are forms of the lexicon
_SLOT = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa])n? (?=[A-Za-z])(\w)", re.ASCII)
_LEADING = re.compile(r"^(a|an|the) ")
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_ONES += " fifteen sixteen seventeen eighteen nineteen"
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"
_DIGITS = "零一二三四五六七八九"


class CannotSayError(Exception):
    """This meaning has no words in this form."""


@dataclass(frozen=True)
class Meaning:
    """What a sentence says.

    Args:
        mode: what is said of the events: a key of ``templates``.
        events: one, or two in the modes ``SECOND``; none where ``directive`` says all.
        asset: asset class of the market.
        dose: size of the first event in the unit of ``effects.yaml``.
        unit: that unit.
        strength: "strong", "middle" or "weak" for an adjective.
        sudden: with an adverb of surprise.
        percent: stated probability of the first event [%].
        numbers: the numbers of a directive by name.
        directive: which of the directives; -1 for none.
        time: which of the times.
    """

    mode: str
    events: tuple[str, ...]
    asset: str
    dose: float | None = None
    unit: str = ""
    strength: str = ""
    sudden: bool = False
    percent: int = 30
    numbers: tuple[tuple[str, int], ...] = ()
    directive: int = -1
    time: int = 0


class Grammar:
    """Words of one language; see ``grammar/en.yaml`` for the notation.

    Args:
        data: of the file.
        forms: event -> surface forms of the lexicon, which serve as nouns too.
    """

    def __init__(self, data: dict[str, Any], forms: dict[str, list[str]]) -> None:
        self.language: str = data["language"]
        self.data = data
        self.forms = forms
        self.templates = {
            mode: [(f"{self.language}.{mode}.{i}", text) for i, text in enumerate(texts)]
            for mode, texts in data["templates"].items()
        }

    @property
    def events(self) -> list[str]:
        """Events that it has words for."""
        return list(self.data["events"])

    def says(self, event: str, slot: str) -> bool:
        """Whether some phrase of the event has that slot."""
        entry = self.data["events"].get(event, {"clauses": [], "nouns": []})
        return any("{" + slot + "}" in p for p in [*entry["clauses"], *entry["nouns"]])

    def render(self, meaning: Meaning, template: str, rng: random.Random) -> str:
        """The sentence.

        Raises:
            CannotSayError: there are no words for it.
        """
        slots = set(_SLOT.findall(template))
        values: dict[str, str] = {}
        asset = rng.choice(self.data["assets"][meaning.asset])
        values["a"] = asset
        if "p" in slots:
            form = rng.choice(self.data["probabilities"])
            values["p"] = form.format(p=meaning.percent, words=self._words(meaning.percent))
        if "t" in slots:
            values["t"] = self.data["times"][meaning.time % len(self.data["times"])]
        if "d" in slots:
            directives = self.data["directives"]
            if not 0 <= meaning.directive < len(directives):
                raise CannotSayError
            values["d"] = directives[meaning.directive].format(**dict(meaning.numbers))
        for name in ("c", "n", "c2", "n2", "b"):
            capital = name.upper() if len(name) == 1 else name
            if name not in slots and capital not in slots:
                continue
            second = name.endswith("2")
            if len(meaning.events) <= second:
                raise CannotSayError
            kind = "clauses" if name.startswith("c") else "nouns"
            phrase = self._phrase(meaning, meaning.events[second], kind, asset, second, rng)
            values[name] = _LEADING.sub("", phrase) if name == "b" else phrase
            if capital != name:
                values[capital] = phrase[:1].upper() + phrase[1:]
        if any(slot not in values for slot in slots):
            raise CannotSayError
        text = template.format(**{slot: values[slot] for slot in slots})
        text = _ARTICLE.sub(_article, text) if self.language == "en" else text
        return text[:1].upper() + text[1:]

    def _phrase(
        self,
        meaning: Meaning,
        event: str,
        kind: str,
        asset: str,
        second: bool,
        rng: random.Random,
    ) -> str:
        values = {"a": asset}
        if not second:
            if meaning.dose is not None:
                values["dose"] = self._dose(meaning.dose, meaning.unit, rng)
            if meaning.strength:
                values["adj"] = rng.choice(self.data["adj"][meaning.strength])
            if meaning.sudden:
                values["sur"] = rng.choice(self.data["sur"])
        needed = [slot for slot in ("dose", "adj", "sur") if slot in values]
        phrases = self.data["events"].get(event, {}).get(kind, [])
        phrases = [p for p in phrases if all("{" + slot + "}" in p for slot in needed)]
        if kind == "nouns" and not needed and rng.random() < _FROM_LEXICON:
            phrases = self.forms.get(event) or phrases
        if not phrases:
            raise CannotSayError
        phrase = rng.choice(phrases)
        for slot in _SLOT.findall(phrase):
            if slot in self.data["slots"]:
                values[slot] = rng.choice(self.data["slots"][slot])
        known = set(values)
        phrase = _OPTIONAL.sub(
            lambda m: m[1] if set(_SLOT.findall(m[1])) <= known else "",
            phrase,
        )
        return phrase.format(**values)

    def _dose(self, dose: float, unit: str, rng: random.Random) -> str:
        forms = self.data["doses"][unit]
        words = self._words(int(dose)) if dose == int(dose) and dose < 100 else None
        form = rng.choice([f for f in forms if "{words}" not in f or words])
        return form.format(x=f"{dose:g}", words=words, pct=f"{dose / 100:g}")

    def _words(self, n: int) -> str:
        """A whole number below 100 in words."""
        tens, ones = divmod(n, 10)
        if self.language == "zh":
            head = "" if tens == 0 else ("" if tens == 1 else _DIGITS[tens]) + "十"
            return head + (_DIGITS[ones] if ones or not tens else "")
        if n < 20:
            return _ONES.split()[n]
        return _TENS.split()[tens] + (f" {_ONES.split()[ones]}" if ones else "")


@cache
def grammar(language: str) -> Grammar:
    """The grammar of that language; ``UserError`` where there is none."""
    file = GRAMMARS / f"{language}.yaml"
    if language not in ("en", "zh"):
        raise UserError(f"language {language!r} has no grammar; use en or zh")
    forms = load_yaml(LEXICONS / f"{language}.yaml")["events"]
    return Grammar(load_yaml(file), {event: list(map(str, f)) for event, f in forms.items()})


def load_yaml(file: Path) -> Any:
    """The data of a file, by the C parser where there is one."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(file.read_text(encoding="utf-8"), Loader=loader)


def _article(found: re.Match[str]) -> str:
    vowel = found[2].lower() in "aeiou"
    return f"{found[1]}{'n' if vowel else ''} {found[2]}"
