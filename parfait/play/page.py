"""The page as text; every word from outside is escaped by the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from parfait.play.edit import FIRST, MAX_NAME, MAX_SPREAD, SLIDERS
from parfait.play.form import MAX_TEXT, Caps
from parfait.play.studio import FILES, Comparison, Result
from parfait.regime import ASSET_CLASSES
from parfait.regime.distribution import MAX_COMPONENTS
from parfait.report.content import Content, distinct_labels
from parfait.report.html import templates
from parfait.report.reading import reading_events, reading_lines
from parfait.report.risk import risk_tables
from parfait.report.style import SCENARIO_COLOURS
from parfait.semantic import UNSURE_BELOW

EXAMPLES = (
    "Global conflict escalates, leading to a liquidity crisis and gold price surge.",
    "The central bank announces an unexpected 50bps rate hike",
    "A flash crash, then a slow recovery over two weeks",
    "A calm market, rising slowly",
    "央行意外降息，市场大幅反弹",
    "战争爆发，股市两周内下跌20%",
)


FOLDED = ("name", *list(SLIDERS)[FIRST:], "spread")


@dataclass(frozen=True)
class Form:
    """What a form says, right or wrong, and a sentence by field."""

    values: Mapping[str, str]
    errors: Mapping[str, str] = field(default_factory=dict)


class Page:
    """Renders the page.

    Args:
        histories: names of what paths may continue.
        caps: the largest run.
    """

    def __init__(self, histories: Sequence[str], caps: Caps) -> None:
        folder = resources.files("parfait.play")
        self._environment = templates()
        shared = self._environment.loader
        assert shared is not None
        own = jinja2.FunctionLoader(
            lambda name: (
                (folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else None
            )
        )
        self._environment.loader = jinja2.ChoiceLoader([own, shared])
        self._environment.globals |= {
            "assets": ASSET_CLASSES,
            "caps": caps,
            "examples": EXAMPLES,
            "first_fields": FIRST,
            "histories": histories,
            "max_name": MAX_NAME,
            "max_scenarios": MAX_COMPONENTS,
            "max_spread": MAX_SPREAD,
            "max_text": MAX_TEXT,
            "palette": SCENARIO_COLOURS,
        }

    def style(self) -> str:
        """The style sheet: the report's, and what forms need."""
        return self._environment.get_template("play.css.j2").render()

    def script(self) -> str:
        """The few lines of JavaScript."""
        return (resources.files("parfait.play") / "play.js").read_text(encoding="utf-8")

    def ask(self, form: Form, message: str = "") -> str:
        """The form alone."""
        return self._render("base.html.j2", form, message)

    def result(
        self,
        result: Result,
        cards: Sequence[Mapping[str, Any]],
        form: Form,
        message: str = "",
        compared: Form | None = None,
    ) -> str:
        """A run, its scenarios in ``cards``, and the forms to change and compare it."""
        s = result.simulation
        reading = dict(s.scenarios.reading)
        unread = reading.pop("unread", [])
        return self._render(
            "result.html.j2",
            form,
            message,
            result=result,
            s=s,
            cards=cards,
            compared=compared or Form({"instruction": ""}),
            unfolded={
                key.rpartition(".")[2] for key in form.errors if key.partition(".")[0] in FOLDED
            },
            unread=unread,
            events=reading_events(reading),
            reading=reading_lines(reading),
            tables=risk_tables(Content.of(s)),
            labels=distinct_labels([c.name for c in s.scenarios.components]),
            unsure=s.scenarios.confidence < UNSURE_BELOW,
            figure={name: Markup(svg) for name, svg in result.figures.items()},
            files=FILES,
        )

    def comparison(self, first: Result, second: Result, made: Comparison, form: Form) -> str:
        """Two runs side by side."""
        return self._render(
            "compare.html.j2",
            form,
            "",
            first=first,
            second=second,
            pair=made.pair,
            figure=Markup(made.figure),
        )

    def _render(self, template: str, form: Form, message: str, **context: Any) -> str:
        known = {"form": form, "message": message, **context}
        return self._environment.get_template(template).render(known)
