"""The figure of stylised facts: generated bars against the history."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parfait.report.axes import SMALL, settled
from parfait.report.facts import Curve, Facts
from parfait.report.style import FAINT, INK, MUTED, style

LABEL = "Autocorrelations, leverage and quantiles of returns, generated and of the history"


def draw_facts(facts: Facts) -> Figure:
    """Autocorrelations of r and |r|, leverage by lag, and quantiles against the history's."""
    with style():
        figure = Figure(figsize=(11, 3.1), layout="constrained")
        axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.1])
        titles = {"acf_r": "ACF of r", "acf_abs": "ACF of |r|", "leverage": "leverage"}
        for panel, (name, title) in zip(axes[:3], titles.items(), strict=True):
            _by_lag(panel, facts.history.curves[name], facts.generated.curves[name])
            panel.set_title(title)
            panel.set_xlabel("lag [bars]")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=2, handlelength=1.2)
        _quantiles(axes[3], facts)
        return settled(figure)


def _by_lag(axes: Axes, real: Curve, made: Curve) -> None:
    lags = np.arange(1, len(real.value) + 1)
    shade: dict[str, Any] = {"color": FAINT, "alpha": 0.6, "label": "history"}
    axes.bar(lags, real.value, 0.6, **shade)
    dots: dict[str, Any] = {"fmt": "o", "ms": 3.5, "color": INK, "label": "generated"}
    for curve, look in ((real, {"fmt": "none", "ecolor": MUTED, "elinewidth": 0.8}), (made, dots)):
        known = np.isfinite(curve.band).all()
        axes.errorbar(lags, curve.value, yerr=curve.band if known else None, **look)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xticks(lags[:: max(len(lags) // 5, 1)])
    axes.grid(axis="x", visible=False)


def _quantiles(axes: Axes, facts: Facts) -> None:
    real, made = facts.history.scaled, facts.generated.scaled
    axes.set_title("QQ of returns")
    axes.set_xlabel("history [own deviations]")
    axes.set_ylabel("generated [own deviations]")
    if min(len(real), len(made)) == 0:
        axes.text(0.5, 0.5, "prices do not move", transform=axes.transAxes, ha="center", **SMALL)
        return
    levels = (np.arange(min(len(real), len(made))) + 0.5) / min(len(real), len(made))
    x = np.quantile(real, levels)
    for colour, values in facts.by_scenario:
        axes.plot(x, np.quantile(values, levels), color=colour, linewidth=1.1)
    y = np.quantile(made, levels)
    axes.plot(x, y, linestyle="none", marker="o", ms=2.4, mfc=INK, mec="none")
    ends = [min(x[0], y[0]), max(x[-1], y[-1])]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
