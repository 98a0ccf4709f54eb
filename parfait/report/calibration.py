"""Figures of calibration: transforms, reliability of weights, coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parfait.report.axes import settled, short
from parfait.report.scores import Rows
from parfait.report.style import GRID, INK, SCENARIO_COLOURS, style

_DASHED = (0, (4, 3))
COVERED = ("return", "volatility", "ln sigma")  # columns "cover q %, FIELD"


def draw_pits(pits: Mapping[str, Any]) -> Figure:
    """One panel per forecaster."""
    with style():
        figure = Figure(figsize=(11, 2.4 * -(-len(pits) // 4)), layout="constrained")
        grid = figure.subplots(-(-len(pits) // 4), min(len(pits), 4), squeeze=False, sharey=True)
        for axes, (name, counts) in zip(all_axes(grid), pits.items(), strict=False):
            share = np.asarray(counts) / max(np.sum(counts), 1) * len(counts)
            left = np.arange(len(counts)) / len(counts)
            axes.bar(
                left,
                share,
                1 / len(counts),
                align="edge",
                color=SCENARIO_COLOURS[0],
                edgecolor=GRID,
            )
            axes.axhline(1, color=INK, linewidth=0.9, linestyle=_DASHED)
            axes.set_title(short(name, 30), fontsize=8.5)
            axes.set_xlim(0, 1)
        for axes in all_axes(grid)[len(pits) :]:
            axes.set_axis_off()
        return settled(figure)


def draw_reliability(diagrams: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Mean weight told against mean weight that is right, by bin and row."""
    with style():
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=_DASHED)
        for k, (name, points) in enumerate(diagrams.items()):
            told, right, count = np.asarray(points, dtype=float).T
            colour = SCENARIO_COLOURS[k % len(SCENARIO_COLOURS)]
            axes.plot(told, right, color=colour, linewidth=1.2, label=short(name, 30))
            axes.scatter(
                told, right, 8 + 60 * np.sqrt(count / count.max()), color=colour, alpha=0.6
            )
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("weight told")
        axes.set_ylabel("weight of the teacher")
        axes.legend(loc="upper left")
        return settled(figure)


def draw_coverage(rows: Rows) -> Figure:
    """Nominal against realised coverage of every row, a panel per field."""
    with style():
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        grid = figure.subplots(1, len(COVERED), sharey=True)
        for axes, field in zip(all_axes(grid), COVERED, strict=True):
            axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=_DASHED)
            for k, (name, row) in enumerate(_covered(rows, field).items()):
                axes.errorbar(
                    [level + 0.008 * (k - 2) for level, _, _ in row],
                    [value for _, value, _ in row],
                    yerr=[2 * error for _, _, error in row],
                    fmt="o-",
                    markersize=4,
                    linewidth=1.2,
                    color=SCENARIO_COLOURS[k % len(SCENARIO_COLOURS)],
                    label=short(name, 30),
                )
            axes.set_xlim(0.4, 1.02)
            axes.set_ylim(0, 1.02)
            axes.set_title(field)
            axes.set_xlabel("nominal")
        all_axes(grid)[0].set_ylabel("held what followed")
        all_axes(grid)[0].legend(fontsize=7, loc="lower right")
        return settled(figure)


def _covered(rows: Rows, field: str) -> dict[str, list[tuple[float, float, float]]]:
    """Level, coverage and its error, of the rows that have any."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for name, row in rows.items():
        for column, score in row.items():
            start, _, told = column.partition(" %, ")
            if start.startswith("cover ") and told == field and score["value"] is not None:
                level = float(start.removeprefix("cover ")) / 100
                found.setdefault(name, []).append((level, score["value"], score["error"] or 0.0))
    return found


def all_axes(grid: Any) -> list[Axes]:
    """The panels of a figure, row by row."""
    return list(np.asarray(grid).ravel())
