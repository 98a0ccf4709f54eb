"""What agents earned: curves of their accounts, paired differences, tables, and one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.dates as mdates
import numpy as np
from jaxtyping import Float64
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy import ndarray

from parfait.report.axes import settled, short
from parfait.report.html import templates, versions
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

PAGE = "report.html"
CURVES, DIFFERENCES = "accounts", "differences"
ALT = {
    CURVES: "Accounts in the held-out years, mean and range of the seeds by arm",
    DIFFERENCES: "Paired differences between arms, with 95 % intervals, by metric",
}
PERCENT = ("log_return", "max_drawdown")


def write_report(
    told: Mapping[str, Any],
    curves: Mapping[str, Float64[ndarray, "seeds bars"]],
    times: ndarray,
    folder: Path,
) -> list[Path]:
    """Writes the figures and ``report.html``; returns the paths of the figures.

    Args:
        told: the summary of the run.
        curves: by arm and rival, log of the account at every bar of the held-out years.
        times: of these bars.
        folder: where to.
    """
    figures = {CURVES: draw_curves(told, curves, times), DIFFERENCES: draw_differences(told)}
    page = (
        templates()
        .get_template("agents.html.j2")
        .render(
            told=told,
            values={name: _row(told, name, "") for name in told["labels"]},
            pairs={pair: _row(told, *pair) for pair in _pairs(told)},
            cell=cell,
            figure={name: Markup(inline_svg(f, ALT[name])) for name, f in figures.items()},
            palette=SCENARIO_COLOURS,
            versions=versions(),
        )
    )
    pictures = {f"{name}.png": png_bytes(figure) for name, figure in figures.items()}
    written = write_files(folder, {**pictures, PAGE: page.encode()})
    return written[: len(pictures)]


def draw_curves(
    told: Mapping[str, Any], curves: Mapping[str, Float64[ndarray, "seeds bars"]], times: ndarray
) -> Figure:
    """Accounts that began at 1: the mean over seeds, and for agents the range of the seeds."""
    with style():
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        axes = figure.subplots()
        for name, logs in curves.items():
            if name == "flat":
                continue  # the line at 1
            worth, colour = np.exp(logs), _colour(told, name)
            axes.plot(times, worth.mean(0), color=colour, linewidth=1.4, label=told["labels"][name])
            if name in told["agents"]:
                band = worth.min(0), worth.max(0)
                axes.fill_between(times, *band, color=colour, alpha=0.13, linewidth=0)
        axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_ylabel("account, 1 at the start")
        locator = mdates.AutoDateLocator(minticks=5, maxticks=11)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        axes.legend(ncols=5, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
        return settled(figure)


def draw_differences(told: Mapping[str, Any]) -> Figure:
    """One panel per metric, one row per pair of arms: difference and interval."""
    pairs = _pairs(told)
    with style():
        figure = Figure(figsize=(11, 0.36 * len(pairs) + 1.2), layout="constrained")
        grid = np.atleast_1d(figure.subplots(1, len(told["metrics"]), sharey=True))
        for axes, (metric, words) in zip(grid, told["metrics"].items(), strict=True):
            for y, pair in enumerate(pairs):
                row, scale = _row(told, *pair)[metric], 100.0 if metric in PERCENT else 1.0
                value, low, high = (scale * row[k] for k in ("value", "low", "high"))
                colour = _colour(told, pair[0]) if low > 0 or high < 0 else FAINT
                axes.plot([low, high], [y, y], color=colour, linewidth=1.6)
                axes.plot([value], [y], "o", color=colour, markersize=4)
            axes.axvline(0, color=INK, linewidth=0.8)
            axes.set_title(f"{words}{' [%]' if metric in PERCENT else ''}", fontsize=7.5)
            axes.set_yticks(
                range(len(pairs)),
                [short(" − ".join(told["labels"][p] for p in pair), 60) for pair in pairs],
            )
            axes.set_ylim(len(pairs) - 0.5, -0.5)
            axes.locator_params(axis="x", nbins=3)
        return settled(figure)


def cell(metric: str, row: Mapping[str, Any], *, sign: bool = False) -> tuple[str, str]:
    """The value and, where it has one, its interval, as text."""
    form = ("+" if sign else "") + (".1%" if metric in PERCENT else ".2f")
    value, low, high = (format(row[k], form).replace("-", "−") for k in ("value", "low", "high"))
    return value, "" if low == high else f"{low} to {high}"


def _pairs(told: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    return list(dict.fromkeys((r["arm"], r["minus"]) for r in told["rows"] if r["minus"]))


def _row(told: Mapping[str, Any], arm: str, minus: str) -> dict[str, Any]:
    return {r["metric"]: r for r in told["rows"] if (r["arm"], r["minus"]) == (arm, minus)}


def _colour(told: Mapping[str, Any], name: str) -> str:
    """Of an arm; rivals are grey, to hold is black."""
    arms = list(told["agents"])
    if name in arms:
        return SCENARIO_COLOURS[arms.index(name)]
    return INK if name == "hold" else FAINT
