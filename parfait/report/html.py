"""The page: one HTML file without scripts or links, readable offline, in the dark and on paper."""

import json
import math
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from parfait import __version__
from parfait.likeness import LIKE, like_summary
from parfait.microstructure.generate import DEFAULT_SAMPLER, DEFAULT_STEPS
from parfait.pipeline import Pipeline
from parfait.regime import FIELDS
from parfait.report.content import Content, distinct_labels
from parfait.report.fact_figure import LABEL as FACTS_LABEL
from parfait.report.formats import decimal, money, number, percent, signed
from parfait.report.portfolio import LABEL as PORTFOLIO_LABEL
from parfait.report.portfolio import portfolio_rows
from parfait.report.reading import reading_events, reading_lines
from parfait.report.risk import risk_tables
from parfait.report.style import SCENARIO_COLOURS, inline_svg
from parfait.report.ticks import LABEL as TICKS_LABEL
from parfait.sde import load_process
from parfait.semantic import UNSURE_BELOW, OntologyReader
from parfait.simulation import Simulation
from parfait.stress import Stress
from parfait.utils.argv import quote

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
# What each of these arguments of ``Pipeline`` is called on the command line.
SETTINGS = {
    "bars_per_year": "bars_per_year",
    "guide_every": "sde.guide.every",
    "jump_sigmas": "sde.guide.jump_sigmas",
    "sampler": "sampler",
    "sampler_steps": "sampler.steps",
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


def reproduce(simulation: Simulation, portfolio: Stress | None = None) -> str:
    """The command line, or the Python call where regimes were given instead of a sentence.

    Args:
        simulation: what it makes again.
        portfolio: what was held; its file is named where it came from one.
    """
    s = simulation
    told = told_by(s)
    if told is None:
        return python_call(s, "scenarios, history", portfolio)
    options = f"n_paths={s.total_paths} horizon={s.horizon} seed={s.seed}"
    if s.whole is not None:
        options += f" stream=true part_paths={s.whole.part_paths}"
    parts = [f"python simulate.py {told} {options} sde={s.sde}"]
    if s.condition != "pinned":
        parts.append(f"sde.condition={s.condition}")
    if s.history_source is not None:
        plain = re.fullmatch(r"[\w./ -]+", s.history_source)  # blanks need the shell's quotes alone
        source = s.history_source if plain else word(s.history_source)
        parts.append(f"history={shlex.quote(source)}")
    if s.asset is not None:
        parts.append(f"asset={s.asset}")
    return " ".join([*parts, *options_given(s, portfolio)])


def told_by(s: Simulation) -> str | None:
    """What the command begins with: the sentence, ``like=`` or ``scenarios=``; ``None`` for regimes
    as numbers.
    """
    if s.instruction is not None:
        return shlex.quote(s.instruction)
    like = like_summary(s.scenarios).get(LIKE, {})
    given = [f"{name}={shlex.quote(like[name])}" for name in (LIKE, "like_history") if name in like]
    if s.scenarios.file is not None:
        given = [f"scenarios={shlex.quote(word(s.scenarios.file))}"]
    return " ".join(given) or None


def options_given(s: Simulation, portfolio: Stress | None) -> list[str]:
    """The trained network, the reader of the sentence, the solver and the guide and options of the
    process where they are not the usual ones, of the reader of files, the portfolio's file, ticks.
    """
    made = [("run", s.trained)]
    if s.instruction is not None and s.scenarios.source != OntologyReader.source:
        made += [("semantic", s.scenarios.source)]
    made += [(f"semantic.{k}", v) for k, v in s.semantic_options.items()]
    made += [(SETTINGS[k], v) for k, v in unusual(s).items()]
    given = made + [(f"sde.{k}", v) for k, v in process_options(s).items()]
    given += [(f"history_options.{k}", v) for k, v in s.history_options.items()]
    given += [("portfolio", None if portfolio is None else portfolio.holdings.source)]
    ticks = [s.tick_model.command] if s.tick_model is not None and s.tick_model.command else []
    return [*(f"{k}={shlex.quote(word(v))}" for k, v in given if v is not None), *ticks]


def python_call(s: Simulation, given: str, portfolio: Stress | None, **more: Any) -> str:
    """The call of Python, with ``given`` for what has no text and ``more`` arguments of ``run``."""
    load = {"run": s.trained, "sde": s.sde, "sde_options": process_options(s)}
    load |= {"condition": s.condition, "semantic_options": s.semantic_options}
    if s.instruction is not None:
        load["semantic"] = s.scenarios.source
    run = {"n_paths": s.total_paths, "horizon": s.horizon, "seed": s.seed, **unusual(s), **more}
    layers = signature(Pipeline.load).parameters
    load |= {k: run.pop(k) for k in tuple(run) if k in layers}
    told = {k: v for k, v in load.items() if k == "sde" or (v and v != layers[k].default)}
    loaded, ran = (", ".join(f"{k}={v!r}" for k, v in each.items()) for each in (told, run))
    call = f"Pipeline.load({loaded}).run({given}, {ran})"
    source = None if portfolio is None else portfolio.holdings.source
    return call if source is None else f"stress({call}, {source!r})"


def process_options(s: Simulation) -> dict[str, Any]:
    """Options of the process that are not its own defaults."""
    usual = {f.name: f.default for f in fields(load_process(s.sde))}
    return {k: v for k, v in s.sde_options.items() if v != usual.get(k)}


def unusual(s: Simulation) -> dict[str, Any]:
    """Arguments of ``Pipeline`` on the solver, the guide and the frequency that are not its own."""
    usual = {
        "sampler": DEFAULT_SAMPLER,
        "sampler_steps": DEFAULT_STEPS[s.sampler],
        "bars_per_year": s.bars_per_year if not s.frequency_given else None,
    }
    usual |= {
        k: signature(Pipeline.run).parameters[k].default for k in ("guide_every", "jump_sigmas")
    }
    found = {name: getattr(s, name) for name in SETTINGS}
    return {k: v for k, v in found.items() if v is not None and v != usual[k]}


def word(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {word(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(word, value)) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./-]+", value) else quote(value)
    return json.dumps(value)


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
