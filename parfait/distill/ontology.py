"""The ontology as a teacher: it reads what the grammar writes, and only agreement is kept."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from parfait.distill.agreement import agrees, facts_of, names_asset, tags_of
from parfait.distill.contrast import contrast_of
from parfait.distill.families import (
    CONTRASTS,
    Draft,
    contrasted,
    directive_meaning,
    free_assets,
    nonsense,
    rendered,
    some_meaning,
)
from parfait.distill.grammar import CannotSayError, Grammar, Meaning, grammar
from parfait.distill.held_out import TESTS, broken, split_of
from parfait.distill.parts import Made
from parfait.distill.style import NOISES, noisy, some_context
from parfait.regime import MarketContext
from parfait.semantic import OntologyReader
from parfait.semantic.examples import Example
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

PART = 500  # examples of one part
_ATTEMPTS = 60  # at a family before its plan is given up


@dataclass(frozen=True)
class Shares:
    """How often what is drawn, as shares of the rows.

    Args:
        nonsense: sentences about no market.
        directive: explicit numbers alone.
        pairs: sentences of events that come in pairs, half of them contrasts.
        chinese: the rest is English.
        noise: sentences typed with a slip, in another case, politely, ...
        held_out: each of the six test splits.

    Raises:
        UserError: a share outside [0, 1], or together too many.
    """

    nonsense: float = 0.15
    directive: float = 0.08
    pairs: float = 0.4
    chinese: float = 0.4
    noise: float = 0.35
    held_out: float = 0.03

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(f"teacher.{name}", value, 0.0, 1.0)
        if self.nonsense + self.directive > 0.9:
            raise UserError("teacher.nonsense and teacher.directive must be at most 0.9 together")
        require("teacher.held_out", self.held_out, 0.0, 0.15)


def ontology_part(
    number: int, rows: int, seed: int, shares: Shares
) -> tuple[list[Example], dict[str, int]]:
    """The examples of one part, fixed by seed and number alone, and what was thrown away.

    A family is thrown away where the reading is not what the grammar meant (events, negation, dose,
    probability), where it breaks the rules of two splits, or where a contrast makes no difference.

    Args:
        number: of the part.
        rows: examples wanted.
        seed: of the whole data set.
        shares: see ``Shares``.

    Raises:
        UserError: the shares cannot be had.
    """
    found: list[Example] = []
    lost: Counter[str] = Counter()
    family = 0
    while len(found) < rows:
        plan = some_plan(
            shares, rows - len(found), random.Random(derive_seed(seed, number, family))
        )
        for attempt in range(_ATTEMPTS):
            rng = random.Random(derive_seed(seed, "family", number, family, attempt))
            try:
                made = taught(some_family(plan, rng), f"{number}.{family}")
            except CannotSayError:
                continue
            if not isinstance(made, str):
                found += made
                break
            lost[made] += 1
        else:
            lost[f"given up:{plan.wanted}:{plan.kind}"] += 1
        family += 1
        if family > 20 * rows:
            raise UserError(
                f"{rows} examples cannot be had by these shares of teacher; change them"
            )
    return found, dict(sorted(lost.items()))


@dataclass(frozen=True)
class Plan:
    """What a family shall be, drawn before its words so that no word changes the shares."""

    wanted: str
    kind: str
    chinese: bool
    role: str
    noise: float


def some_plan(shares: Shares, room: int, rng: random.Random) -> Plan:
    """A plan for one row, or two where there is room.

    A family of events has 1/(1 - pairs/2) rows on average, so families of one row are drawn less
    often than their share of the rows.
    """
    held = [shares.held_out] * len(TESTS)
    wanted = rng.choices(["train", *TESTS], [1 - sum(held), *held])[0]
    events = (1 - shares.nonsense - shares.directive) * (1 - shares.pairs / 2)
    chances = [shares.nonsense, shares.directive, events]
    kind = rng.choices(["nonsense", "directive", "event"], chances)[0]
    if kind != "event" and wanted != "test_template":
        wanted = "train"
    paired = kind == "event" and rng.random() < shares.pairs / (2 - shares.pairs) and room > 1
    role = rng.choice(("contrast", "same")) if paired else ""
    chinese = rng.random() < shares.chinese or wanted == "test_language"
    return Plan(wanted, kind, chinese, role, shares.noise)


def some_family(plan: Plan, rng: random.Random) -> list[Draft]:
    """One or two drafts.

    Raises:
        CannotSayError: this draw gives no sentence.
    """
    words = grammar("zh" if plan.chinese else "en")
    wanted, seed = plan.wanted, rng.getrandbits(60)
    if plan.kind == "nonsense":
        text, template, name, topic = nonsense(words, wanted, rng)
        context = some_context(rng.choice(free_assets()), False, (), rng)
        draft = Draft(text, text, context, words.language, plan.kind, None, template, name, topic)
        return [_typed(draft, plan.noise / 2, rng)]
    if plan.kind == "directive":
        meaning = directive_meaning(words, rng)
        draft = _said(meaning, words, wanted, seed, None, rng)
        draft = replace(draft, kind="directive", topic=f"directive:{meaning.directive}")
        return [_typed(draft, plan.noise, rng)]
    meaning = some_meaning(words, wanted, rng)
    first = _said(meaning, words, wanted, seed, None, rng)
    if plan.role == "contrast":
        contrast = rng.choice(CONTRASTS)
        other = contrasted(meaning, contrast, rng)
        second = _said(other, words, wanted, seed, first.context, rng)
        drafts = [replace(d, role="contrast", contrast=contrast) for d in (first, second)]
    elif plan.role == "same":
        if rng.random() < 0.3:
            words = grammar("en" if plan.chinese else "zh")
        second = _said(meaning, words, wanted, rng.getrandbits(60), first.context, rng)
        drafts = [replace(d, role="same") for d in (first, second)]
    else:
        drafts = [first]
    drafts = [_typed(draft, plan.noise, rng) for draft in drafts]
    if len({draft.text for draft in drafts}) < len(drafts):
        raise CannotSayError
    return drafts


def _said(
    meaning: Meaning,
    words: Grammar,
    wanted: str,
    seed: int,
    context: MarketContext | None,
    rng: random.Random,
) -> Draft:
    text, template, name = rendered(meaning, words, wanted, seed)
    said = names_asset(text, words, meaning.asset)
    if wanted == "test_asset" and not said:  # else training may hold the very same sentence
        raise CannotSayError
    if context is None:
        context = some_context(meaning.asset, said, free_assets(), rng)
    return Draft(text, text, context, words.language, "event", meaning, template, name)


def taught(drafts: Sequence[Draft], pair: str) -> list[Example] | str:
    """What the ontology says of a family, or the reason why it is of no use."""
    reader = _reader()
    targets = [reader.read(draft.clean, draft.context) for draft in drafts]
    splits = set()
    tags = []
    for draft, target in zip(drafts, targets, strict=True):
        if not agrees(draft, target):
            return f"disagreed:{draft.kind}:{draft.meaning.mode if draft.meaning else ''}"
        facts = facts_of(draft, target)
        if len(broken(facts)) > 1:
            return "two rules broken"
        splits.add(split_of(facts))
        tags.append(tags_of(draft, target, facts))
    if splits <= {"train", "val"} and len(splits) == 2:
        return "training and validation"
    if len(splits) > 1:
        return "two splits"
    roles, coordinate = [draft.role for draft in drafts], ""
    if roles[0] == "same":  # both mean the first, so that they teach invariance
        targets[1] = targets[0]
    elif len(drafts) == 2:
        apart = contrast_of(targets)
        if apart is None:
            return "no contrast"
        coordinate, roles = apart
    split = str(splits.pop())
    return [
        Example(
            draft.text,
            draft.context,
            replace(target, reading={}),
            "ontology",
            draft.language,
            draft.kind,
            tag | ({"contrast": coordinate, "differs": draft.contrast} if coordinate else {}),
            split,
            pair if len(drafts) == 2 else "",
            role,
        )
        for draft, target, tag, role in zip(drafts, targets, tags, roles, strict=True)
    ]


@cache
def _reader() -> OntologyReader:
    return OntologyReader()


def _typed(draft: Draft, share: float, rng: random.Random) -> Draft:
    if rng.random() >= share:
        return draft
    style = rng.choice(NOISES)
    text = noisy(draft.text, draft.language, style, rng)
    return replace(draft, text=text, style=style) if text != draft.text else draft


@dataclass(frozen=True)
class OntologyJob:
    """One part of the ontology's examples; see ``ontology_part``."""

    number: int
    rows: int
    seed: int
    shares: Shares

    def describe(self) -> dict[str, Any]:
        """All that decides about the part but the code."""
        told = {"number": self.number, "rows": self.rows, "seed": self.seed}
        return {"teacher": "ontology", **told, **vars(self.shares)}

    def make(self) -> Made:
        """The examples, and what was thrown away."""
        return Made(*ontology_part(self.number, self.rows, self.seed, self.shares))


def ontology_jobs(n: int, seed: int, shares: Shares) -> list[OntologyJob]:
    """Jobs for n examples; a larger n begins with the same parts."""
    sizes = [min(PART, n - start) for start in range(0, n, PART)]
    return [OntologyJob(number, rows, seed, shares) for number, rows in enumerate(sizes)]
