"""Figures and page of an evaluation; both are made of ``evaluation.json`` alone."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from parfait.report.axes import settled, short
from parfait.report.calibration import all_axes, draw_coverage, draw_pits, draw_reliability
from parfait.report.html import templates, versions
from parfait.report.scores import (
    TITLES,
    Rows,
    by_question,
    cell_text,
    columns_of,
    laid_out,
    number,
)
from parfait.report.style import (
    FAINT,
    INK,
    MUTED,
    SCENARIO_COLOURS,
    inline_svg,
    png_bytes,
    style,
)
from parfait.utils.files import write_files

PAGE = "evaluation.html"
BLUE = SCENARIO_COLOURS[0]
SUMMARY = ("median", "largest", "share below 2")
MOST_ROWS = 4  # compared in one figure of facts
LABELS = {
    "c2st": "Scores of every judge with their errors, and the band of real data against real data",
    "distance": "Distance of every stylised fact from the real one, in standard errors",
    "calibration": "Histograms of the probability integral transform",
    "fields": "Histograms of the probability integral transform of the teacher's draws",
    "weights": "Weights of scenarios as told against those of the teacher",
    "followed": "Coverage of what followed dated events against nominal coverage",
    "control": "Values asked for against values recovered from the bars",
}
NOTES = {
    "c2st": "Dots: mean over judges with one standard error. Band: real against real, two standard "
    "errors. Compare guided rows with guided ones.",
    "distance": "d = |generated − real| / standard error of both; beyond the line it is more than "
    "sampling. Bars end at 10.",
    "calibration": "Flat is calibrated; a hump in the middle means too wide, horns at the ends too "
    "narrow.",
    "fields": "Flat is calibrated; a hump in the middle means too wide, horns at the ends too "
    "narrow.",
    "weights": "On the line, a weight that is told is that of the teacher. Size of dots: how many.",
    "followed": "On the line, intervals hold as often as they say; above it they are too wide. "
    "Bars: two standard errors of a block bootstrap.",
    "control": "On the line, what was asked for is what the bars have.",
}


def write_report(told: Mapping[str, Any], folder: Path) -> list[Path]:
    """A PNG for every figure that has data, and ``evaluation.html``; returns their paths.

    Equal documents give equal bytes.
    """
    charts = draw_evaluation(told)
    pictures = {f"{n.replace(' ', '_')}.png": png_bytes(f) for n, f in charts.items()}
    page = render_evaluation(told, charts)
    return write_files(folder, pictures | {PAGE: page.encode()})


def render_evaluation(told: Mapping[str, Any], charts: Mapping[str, Figure]) -> str:
    """The page as text; every word that came from outside is escaped."""
    questions = by_question(told["scores"])
    missing = [s for s in told["scores"] if s["value"] is None and s["column"] == "all"]
    return (
        templates()
        .get_template("evaluation.html.j2")
        .render(
            told=told,
            sample=_sample(told["data"]),
            tables=[_table(name, rows, charts.get(name)) for name, rows in questions.items()],
            missing=[f"{s['question']}, {s['row']}: {s['note']}" for s in missing],
            cell_text=cell_text,
            aside=_aside,
            palette=SCENARIO_COLOURS,
            command=_command(told["settings"]),
            versions=versions(),
        )
    )


def _table(question: str, rows: Rows, figure: Figure | None) -> dict[str, Any]:
    """What the page shows of a question."""
    shown, kind = laid_out(rows), question.rpartition(" ")[2]
    return {
        "title": TITLES.get(question, question),
        "columns": columns_of(shown),
        "rows": shown,
        "figure": "" if figure is None else Markup(inline_svg(figure, LABELS[kind])),
        "note": "" if figure is None else NOTES[kind],
    }


def draw_evaluation(told: Mapping[str, Any]) -> dict[str, Figure]:
    """Every figure whose numbers the document holds, by the question it belongs to."""
    questions, extra = by_question(told["scores"]), told["extra"]
    figures = {}
    if any(
        s["value"] is not None for row in questions.get("c2st", {}).values() for s in row.values()
    ):
        figures["c2st"] = _draw_c2st(questions["c2st"])
    for name in ("facts distance", "rollout distance"):
        if name in questions:
            figures[name] = _draw_distances(questions[name])
    for name in ("calibration", "taught fields"):
        pits = _extra(extra, name, "pit")
        if pits:
            figures[name] = draw_pits(pits)
    diagrams = _extra(extra, "taught weights", "reliability")
    if diagrams:
        figures["taught weights"] = draw_reliability(diagrams)
    if "followed" in questions:
        figures["followed"] = draw_coverage(questions["followed"])
    clouds = {name.partition("/")[2]: e for name, e in extra.items() if "requested" in e}
    if clouds:
        figures["control"] = _draw_clouds(clouds)
    return figures


def _extra(extra: Mapping[str, Any], question: str, key: str) -> dict[str, Any]:
    """What the cells of a question left for a figure, by row."""
    found = ((*name.partition("/"), told) for name, told in extra.items())
    return {row: told[key] for asked, _, row, told in found if asked == question and key in told}


def _draw_c2st(rows: Rows) -> Figure:
    """Dots of every judge by row, with the null as a band."""
    judges = [c for c in columns_of(rows) if c != "worst judge"]
    names = list(rows)
    with style():
        figure = Figure(figsize=(11, 0.42 * len(names) + 1.1), layout="constrained")
        axes = figure.subplots()
        known = [s for r in rows.values() for s in r.values() if s.get("null") is not None]
        if known:
            width = max(2 * (s["null_error"] or 0.0) for s in known)
            axes.axvspan(-width, width, color=FAINT, alpha=0.25, linewidth=0)
        for k, judge in enumerate(judges):
            shift = 0.36 * ((k + 0.5) / len(judges) - 0.5) * 2
            cells = [(y, row[judge]) for y, row in enumerate(rows.values()) if judge in row]
            cells = [(y, s) for y, s in cells if s["value"] is not None]
            axes.errorbar(
                [s["value"] for _, s in cells],
                [y + shift for y, _ in cells],
                xerr=[s["error"] or 0.0 for _, s in cells],
                fmt="o",
                markersize=4,
                linewidth=1.2,
                color=SCENARIO_COLOURS[k % len(SCENARIO_COLOURS)],
                label=judge,
            )
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(names)), [short(name, 46) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("signed balanced accuracy − ½")
        axes.legend(ncols=len(judges), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        return settled(figure)


def _draw_distances(rows: Rows) -> Figure:
    """Bars of d for every fact, the first rows beside each other."""
    facts = [c for c in columns_of(rows) if c not in SUMMARY]
    names = _compared(rows)
    with style():
        figure = Figure(figsize=(11, 0.32 * len(facts) + 1.2), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / len(names)
        for k, name in enumerate(names):
            values = [(rows[name].get(f) or {}).get("value") for f in facts]
            axes.barh(
                np.arange(len(facts)) + (k + 0.5) * height - 0.4,
                [min(v, 10.0) if v is not None else 0.0 for v in values],
                height,
                color=SCENARIO_COLOURS[k % len(SCENARIO_COLOURS)],
                label=short(name, 40),
            )
        axes.axvline(2, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(facts)), [short(f, 40) for f in facts])
        axes.set_ylim(len(facts) - 0.4, -0.6)
        axes.set_xlim(0, 10)
        axes.set_xlabel("distance d [standard errors]")
        axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        return settled(figure)


def _compared(rows: Rows) -> list[str]:
    """The first row, and those nearest to the real bars by their median among the others."""

    def median(name: str) -> float:
        value = rows[name].get("median", {}).get("value")
        return np.inf if value is None else value

    first, *others = rows
    nearest = sorted(others, key=lambda n: (n.startswith("network"), median(n)))
    return [first, *nearest[: MOST_ROWS - 1]]


def _draw_clouds(clouds: Mapping[str, Mapping[str, Any]]) -> Figure:
    """One panel per field: asked for against recovered, from bars and from the path itself."""
    with style():
        figure = Figure(figsize=(11, 3.0 * -(-len(clouds) // 3)), layout="constrained")
        grid = figure.subplots(-(-len(clouds) // 3), min(len(clouds), 3), squeeze=False)
        for axes, (name, told) in zip(all_axes(grid), clouds.items(), strict=False):
            asked = told["requested"]
            for k, (key, label) in enumerate(
                (("path", "from the path"), ("bars", "from the bars"))
            ):
                if key in told:
                    colour = (FAINT, SCENARIO_COLOURS[0])[k]
                    axes.plot(asked, told[key], ".", color=colour, markersize=3, label=label)
            low, high = min(asked), max(asked)
            axes.plot([low, high], [low, high], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set_title(short(name, 40))
            axes.set_xlabel("asked for")
            axes.legend(fontsize=7)
        for axes in all_axes(grid)[len(clouds) :]:
            axes.set_axis_off()
        return settled(figure)


def _aside(score: Mapping[str, Any] | None) -> str:
    """What stands below a number: its null, ceiling and size of sample."""
    if score is None or score["value"] is None:
        return ""
    parts = [f"{k} {number(score[k])}" for k in ("null", "ceiling") if score[k] is not None]
    return ", ".join(parts)


def _sample(data: Mapping[str, Any]) -> str:
    """What was judged, in a sentence."""
    names = data["symbols"]
    who = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    if "expectations" in data:
        return (
            f"{who}: {data['expectations']} expectations of how instructions are read, a teacher's "
            f"examples, and {data['events']} dated events."
        )
    if "held_out" not in data:
        return f"{who}: {data['windows']} windows."
    held, train = data["held_out"], data["train"]
    return (
        f"{who}: {held['windows']} held-out windows of {data['history']} + {data['horizon']} bars "
        f"after {data['train_end']} and an embargo of {data['embargo_bars']} bars (they end "
        f"{held['first_end']} to {held['last_end']}), {train['windows']} of training."
    )


def _command(settings: Mapping[str, Any]) -> str:
    """The command line of the run, without what only says where it is."""
    parts = [f"python -m parfait evaluate task={settings['task']} suite={settings['suite']}"]
    some = [(k, _listed(settings[k])) for k in ("questions", "rows", "windows", "samples", "steps")]
    if settings["task"] == "semantic":
        given = [(k, settings[k]) for k in ("battery", "examples", "per_split", "catalogue")]
        given += some
        read = ("path", "options", "pattern", "asset", "bars_per_year")
        given += [(f"data.{k}", settings["data"].get(k)) for k in read]
        given += [("semantic", settings["semantic"]["name"])]
        given += [(f"semantic.{k}", v) for k, v in settings["semantic"].items() if k != "name"]
        parts = ["python -m parfait evaluate task=semantic"]
        return " ".join(parts + [shlex.quote(f"{k}={v}") for k, v in given if v is not None])
    if settings["run"] is not None:
        parts.append(shlex.quote(f"run={settings['run']}"))
    given = [(f"data.{k}", v) for k, v in settings["data"].items()]
    given += [("every", settings["every"]), *some]
    parts += [shlex.quote(f"{k}={v}") for k, v in given if v is not None]
    return " ".join(parts)


def _listed(value: Any) -> Any:
    """A list as the command line takes it."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else value
