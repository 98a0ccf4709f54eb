"""The page: one HTML file without scripts or links, readable offline, in the dark and on paper."""

import math
import platform
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from parfait import __version__
from parfait.regime import FIELDS
from parfait.report.command import reproduce
from parfait.report.content import Content, distinct_labels
from parfait.report.fact_figure import LABEL as FACTS_LABEL
from parfait.report.formats import decimal, money, number, percent, signed
from parfait.report.portfolio import LABEL as PORTFOLIO_LABEL
from parfait.report.portfolio import portfolio_rows
from parfait.report.reading import reading_events, reading_lines
from parfait.report.risk import risk_tables
from parfait.report.style import SCENARIO_COLOURS, inline_svg
from parfait.report.ticks import LABEL as TICKS_LABEL
from parfait.semantic import UNSURE_BELOW
from parfait.simulation import Simulation
from parfait.stress import Stress

AS_PERCENT = ("drift", "volatility", "jump_mean", "jump_std", "initial_volatility")
NEUTRAL = {"jump_intensity": 0.0, "mean_reversion": 0.0, "hurst": 0.5}
LABELS = {
    "fan": "History, bands of all paths, and one panel per scenario",
    "candles": "Candles and volume of typical paths",
    "outcomes": "Histograms of terminal returns and maximum drawdowns",
    "ticks": TICKS_LABEL,
    "portfolio": PORTFOLIO_LABEL,
    "facts": FACTS_LABEL,
    "obedience": "Volatility and drift asked for and found, by scenario",
}
PACKAGES = ("torch", "numpy", "polars", "matplotlib")


def render_html(
    simulation: Simulation,
    content: Content,
    charts: Mapping[str, Figure],
    command: str | None = None,
    portfolio: Stress | None = None,
) -> str:
    """The whole page as text; every word that came from outside is escaped.

    Args:
        simulation: what it reports on.
        content: its arrays.
        charts: the figures of ``draw_all``, and ``portfolio`` where there is one.
        command: the command line that reproduces it.
        portfolio: what was held through its paths.
    """
    s = simulation
    return (
        templates()
        .get_template("template.html.j2")
        .render(
            s=s,
            figure={name: Markup(inline_svg(f, LABELS[name])) for name, f in charts.items()},
            palette=SCENARIO_COLOURS,
            unsure=s.scenarios.confidence < UNSURE_BELOW,
            risk=s.risk,
            command=command or reproduce(s, portfolio),
            portfolio=None if portfolio is None else portfolio_rows(portfolio),
            versions=versions(),
            **one_asset(s, content),
        )
    )


def one_asset(s: Simulation, content: Content) -> dict[str, Any]:
    """What a template shows of one asset beside its figures."""
    records, facts = s.scenarios_table(), content.facts
    return {
        "scenarios": records,
        "parameters": parameter_rows(records),
        "phases": [s.phases_of(k) for k in range(len(records))],
        "labels": distinct_labels([record["name"] for record in records]),
        "events": reading_events(s.scenarios.reading),
        "reading": reading_lines(s.scenarios.reading),
        "tables": risk_tables(content),
        "facts": facts if isinstance(facts, str) else facts.rows(),
        "window": 0 if isinstance(facts, str) else facts.window,
        "history_bars": len(content.history),
        "conditions": [(c.name, x) for c in s.scenarios.components for x in c.conditions],
        "alignment": {a.field: a for a in s.alignment if a.scenario is None},
        "last_date": content.dates[-1],
        "first_date": content.dates[len(content.history)],
    }


def templates() -> jinja2.Environment:
    """The templates beside this file; every word from outside is escaped."""
    folder = resources.files("parfait.report")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )
    environment.filters |= {
        "percent": percent,
        "signed": signed,
        "number": number,
        "decimal": decimal,
        "money": money,
    }
    return environment


def parameter_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per regime field: a cell per scenario with its centre and 90 % interval.

    Fields that are switched off in every scenario are left out.
    """
    rows = []
    for f in FIELDS:
        cells = [(r["params"][f.name], *r["interval"][f.name]) for r in records]
        if f.name in NEUTRAL and all(abs(high - NEUTRAL[f.name]) < 0.02 for _, _, high in cells):
            continue
        show = percent if f.name in AS_PERCENT else number
        rows.append(
            {
                "name": f.name.replace("_", " "),
                "unit": f.unit.replace("sqrt(year)", "√year").replace("-", "", f.unit == "-"),
                "cells": [
                    {
                        "value": show(value),
                        "interval": ""
                        if math.isclose(low, high, abs_tol=1e-9)
                        else f"{show(low)} to {show(high)}",
                    }
                    for value, low, high in cells
                ],
            }
        )
    return rows


def versions() -> list[tuple[str, str]]:
    found = [("parfait", __version__), ("python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
