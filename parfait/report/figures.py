"""The figures of a report: arrays in, ``Figure`` out, no global matplotlib state."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from parfait.report.axes import (
    SMALL,
    date_axis,
    past_bars,
    percent_axis,
    plural,
    price_axis,
    settled,
    short,
)
from parfait.report.candles import candles
from parfait.report.content import Array, Content, Scenario
from parfait.report.fact_figure import draw_facts
from parfait.report.facts import Facts
from parfait.report.formats import signed
from parfait.report.outcomes import outcomes
from parfait.report.style import FAINT, INK, MUTED, style

MIN_PATHS_FOR_BANDS = 20  # with fewer, a 90 % band is the extremes of a handful: draw all paths


def draw_all(content: Content, var95: float) -> dict[str, Figure]:
    """Every figure of a report by name; ``facts`` only where there are some."""
    charts = {
        "fan": fan(content),
        "candles": candles(content),
        "outcomes": outcomes(content, var95),
        "obedience": obedience(content),
    }
    if isinstance(content.facts, Facts):
        charts["facts"] = draw_facts(content.facts)
    return charts


def fan(content: Content) -> Figure:
    """All paths over the history, and a small panel per scenario: median, 50 and 90 % bands."""
    with style():
        if len(content.scenarios) == 1:
            figure = Figure(figsize=(11, 4.4), layout="constrained")
            draw_fan(figure.subplots(), content)
            return settled(figure)
        columns = min(len(content.scenarios), 4)
        rows = math.ceil(len(content.scenarios) / columns)
        figure = Figure(figsize=(11, 4.2 + 2.3 * rows), layout="constrained")
        parts = figure.subfigures(2, 1, height_ratios=[4.0, 2.3 * rows], squeeze=False)
        draw_fan(parts[0, 0].subplots(), content)
        grid = parts[1, 0].subplots(rows, columns, sharey=True, squeeze=False)
        for axes, scenario in zip(grid.flat, content.scenarios, strict=False):
            _small_fan(axes, content, scenario)
        for axes in list(grid.flat)[len(content.scenarios) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("price")
        return settled(figure)


def draw_fan(axes: Axes, content: Content) -> None:
    """Bands of all paths after the history, and the median of each scenario with its name."""
    past = past_bars(content, 2.0, 30, 120)
    _history_line(axes, content, past)
    colour = MUTED if len(content.scenarios) > 1 else content.scenarios[0].colour
    _bands(axes, content, np.arange(len(content.bars)), colour)
    for scenario in content.scenarios:
        _median(axes, content, scenario)
    axes.set_title(f"{content.which_paths}: bands of 50 % and 90 %, median of each scenario")
    axes.set_ylabel("price")
    date_axis(axes, content, past, 6)
    price_axis(axes)
    _label_ends(axes, content)


def _small_fan(axes: Axes, content: Content, scenario: Scenario) -> None:
    past = past_bars(content, 0.75, 12, 60)
    _history_line(axes, content, past)
    _bands(axes, content, scenario.rows, scenario.colour)
    _median(axes, content, scenario)
    axes.set_title(short(scenario.label, 28), color=scenario.colour, fontsize=8.5, pad=16)
    count = f"{scenario.probability:.0%} · {len(scenario.rows)} path{plural(scenario.rows)}"
    axes.text(0, 1.03, count, transform=axes.transAxes, va="bottom", **SMALL)
    date_axis(axes, content, past, 2)
    price_axis(axes)


def obedience(content: Content) -> Figure:
    """Drift and volatility asked for (bar) and found (dot, two standard errors) by scenario."""
    with style():
        lines = len(content.scenarios) + 1
        figure = Figure(figsize=(11, 1.2 + 0.36 * lines), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        names = [*(short(c.label, 34) for c in content.scenarios), "all paths"]
        for panel, (name, label) in zip(axes, _ALIGNED, strict=True):
            _aligned(panel, content, name)
            panel.set_xlabel(label)
            percent_axis(panel.xaxis)
            panel.set_ylim(lines - 0.4, -0.6)
            panel.grid(axis="y", visible=False)
        axes[0].set_yticks(range(lines), names)
        asked = Line2D([], [], color=INK, linestyle="none", marker="|", ms=11, mew=2.5)
        found = Line2D([], [], color=INK, linestyle="-", marker="o", ms=5, lw=1.1)
        figure.legend(
            [asked, found],
            ["asked for", "found ± 2 standard errors"],
            loc="outside upper right",
            ncols=2,
        )
        return settled(figure)


_ALIGNED = (("volatility", "volatility [per √year]"), ("drift", "drift [per year]"))


def _aligned(axes: Axes, content: Content, name: str) -> None:
    order: list[int | None] = [*(c.index for c in content.scenarios), None]
    colours = [*(c.colour for c in content.scenarios), INK]
    found = {a.scenario: a for a in content.alignment if a.field == name}
    for y, (key, colour) in enumerate(zip(order, colours, strict=True)):
        item = found[key]
        axes.plot([item.requested] * 2, [y - 0.32, y + 0.32], color=colour, lw=2.5)
        if item.recovered is None:
            axes.annotate(
                "not identified by so few bars",
                (item.requested, y),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                **SMALL,
            )
            continue
        error = 2 * (item.standard_error or 0.0)
        axes.errorbar(
            item.recovered,
            y,
            xerr=error,
            fmt="o",
            ms=5,
            color=colour,
            ecolor=colour,
            elinewidth=1.1,
        )


def _history_line(axes: Axes, content: Content, past: int) -> None:
    close = content.history[-past:, 3]
    axes.plot(np.arange(1 - len(close), 1), close, color=INK, linewidth=1.1)
    axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))


def _bands(axes: Axes, content: Content, rows: np.ndarray, colour: str) -> None:
    close = _from_spot(content, rows)
    x = np.arange(close.shape[1])
    if len(rows) < MIN_PATHS_FOR_BANDS:
        lines = [np.column_stack([x, path]) for path in close]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, alpha=0.5))
        axes.autoscale_view()
        return
    for low, high, alpha in ((0.05, 0.95, 0.16), (0.25, 0.75, 0.24)):
        bottom, top = np.quantile(close, [low, high], axis=0)
        axes.fill_between(x, bottom, top, color=colour, alpha=alpha, linewidth=0)


def _median(axes: Axes, content: Content, scenario: Scenario) -> None:
    middle = np.quantile(_from_spot(content, scenario.rows), 0.5, axis=0)
    axes.plot(np.arange(len(middle)), middle, color=scenario.colour, linewidth=1.9)


def _from_spot(content: Content, rows: np.ndarray) -> Array:
    close = content.bars[rows, :, 3]
    return np.concatenate([np.full((len(rows), 1), content.spot), close], axis=1)


def _label_ends(axes: Axes, content: Content) -> None:
    """Names at the right end of the medians, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.085 * (high - low)
    ends = sorted(
        ((float(np.median(content.bars[c.rows, -1, 3])), c) for c in content.scenarios),
        key=lambda item: item[0],
    )
    places = spread([end for end, _ in ends], gap, low, high)
    x = content.bars.shape[1]
    for place, (end, c) in zip(places, ends, strict=True):
        axes.annotate(
            f"{short(c.label, 26)}  {signed(end / content.spot - 1)}",
            (x, end),
            xytext=(1.015, place),
            textcoords=("axes fraction", "data"),
            color=c.colour,
            va="center",
            fontsize=8.5,
            fontweight="bold",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": c.colour,
                "lw": 0.7,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending values moved so that neighbours are ``gap`` apart, as near as they can stay."""
    up, down = list(values), list(values)
    for k in range(1, len(values)):
        up[k] = max(up[k], up[k - 1] + gap)
    for k in range(len(values) - 2, -1, -1):
        down[k] = min(down[k], down[k + 1] - gap)
    places = [(a + b) / 2 for a, b in zip(up, down, strict=True)]  # both keep the gap, so does this
    shift = max(0.0, low - places[0]) - max(0.0, places[-1] - high)
    return [place + shift for place in places]
