"""The figure of outcomes: where paths end, how far they fall, what may be lost by when."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from parfait.checks import expected_shortfall, value_at_risk
from parfait.report.axes import SMALL, percent_axis, settled, short
from parfait.report.content import Array, Content
from parfait.report.formats import signed
from parfait.report.style import INK, MUTED, PAPER, style


def outcomes(content: Content, var95: float) -> Figure:
    """Histograms of the return to the last bar and of the largest fall, stacked by scenario."""
    with style():
        figure = Figure(figsize=(11, 3.3), layout="constrained")
        left, right, last = figure.subplots(1, 3)
        _stacked(left, content, content.returns, "return to the last bar")
        _stacked(right, content, content.drawdowns, "maximum drawdown on the way")
        left.set_title("Where the paths end")
        right.set_title("How far they fall on the way")
        left.set_ylabel("paths")
        left.axvline(-var95, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        left.annotate(
            f"VaR 95 %: {signed(-var95)}",
            (-var95, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            **SMALL,
        )
        _tail_by_horizon(last, content)
        if len(content.scenarios) > 1:
            handles, names = right.get_legend_handles_labels()
            square: dict[str, Any] = {"handlelength": 1, "handleheight": 1}
            figure.legend(handles, names, loc="outside lower left", ncols=4, **square)
        return settled(figure)


def _tail_by_horizon(axes: Axes, content: Content) -> None:
    """VaR and ES of holding to each bar, at 95 and 99 %."""
    bars = np.unique(np.linspace(1, content.bars.shape[1], 40).round().astype(int))
    losses = torch.from_numpy(1 - content.bars[:, :, 3] / content.spot)
    alone = "o" if len(bars) == 1 else ""
    for level, colour in ((0.95, MUTED), (0.99, INK)):
        columns = [losses[:, bar - 1] for bar in bars]
        for name, line, of in (("VaR", "-", value_at_risk), ("ES", "--", expected_shortfall)):
            label = f"{name} {round(100 * level)} %"
            values = [of(column, level) for column in columns]
            axes.plot(bars, values, line, color=colour, linewidth=1.4, label=label, marker=alone)
    axes.set_title("Loss by horizon")
    axes.set_xlabel("bars held")
    axes.set_xlim(0.5, bars[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    percent_axis(axes.yaxis)
    axes.legend(loc="best", handlelength=2.2, fontsize=7)


def _stacked(axes: Axes, content: Content, values: Array, label: str) -> None:
    axes.hist(
        [values[c.rows] for c in content.scenarios],
        bins=histogram_edges(values),
        stacked=True,
        color=[c.colour for c in content.scenarios],
        label=[short(c.label, 34) for c in content.scenarios],
        edgecolor=PAPER,
        linewidth=0.6,
    )
    axes.set_xlabel(label)
    percent_axis(axes.xaxis)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="x", visible=False)


def histogram_edges(values: Array) -> list[float]:
    """Edges of 8 to 40 bins, more for more values."""
    bins = max(8, min(40, round(2 * math.sqrt(len(values)))))
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:  # a hundredth of the price is then wide enough
        low, high = low - 0.005, high + 0.005
    return np.linspace(low, high, bins + 1).tolist()
