"""What the page says about a portfolio: a figure and tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from parfait.report.axes import percent_axis, settled, short
from parfait.report.content import distinct_labels
from parfait.report.figures import MIN_PATHS_FOR_BANDS
from parfait.report.formats import percent
from parfait.report.outcomes import histogram_edges
from parfait.report.style import INK, MUTED, PAPER, SCENARIO_COLOURS, style
from parfait.stress import Stress

LABEL = "Value of the portfolio, its profit and loss, and what each position adds to the shortfall"
MOST_POSITIONS = 12  # drawn, and told for the worst paths


def portfolio_figure(s: Stress) -> Figure:
    """Bands of the value, profit and loss by scenario, component expected shortfall."""
    with style():
        largest = leading_positions(s)
        figure = Figure(figsize=(11, max(3.0, 1.2 + 0.26 * len(largest))), layout="constrained")
        value, ends, parts = figure.subplots(1, 3)
        _value(value, s)
        _ends(ends, s)
        _components(parts, s, largest)
        return settled(figure)


def leading_positions(s: Stress) -> list[str]:
    """Symbols by what they add to or take from the shortfall, of many the largest."""
    parts = s.component_shortfall()
    return sorted(parts, key=lambda symbol: -abs(parts[symbol]))[:MOST_POSITIONS]


def _value(axes: Axes, s: Stress) -> None:
    paths = s.growth.numpy()
    x = np.arange(paths.shape[1] + 1)
    paths = np.concatenate([np.ones((len(paths), 1)), paths], axis=1)
    if len(paths) < MIN_PATHS_FOR_BANDS:
        axes.plot(x, paths.T, color=MUTED, linewidth=0.7, alpha=0.6)
    else:
        for low, high, alpha in ((0.05, 0.95, 0.16), (0.25, 0.75, 0.24)):
            bottom, top = np.quantile(paths, [low, high], axis=0)
            axes.fill_between(x, bottom, top, color=MUTED, alpha=alpha, linewidth=0)
        axes.plot(x, np.median(paths, axis=0), color=INK, linewidth=1.6)
    worst = s.worst(1)[0]["path"]
    dashed: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (3, 2))}
    axes.plot(x, paths[worst], color=INK, label=f"worst path, {worst}", **dashed)
    axes.legend(loc="best", handlelength=2)
    axes.set_title("Value of the portfolio")
    axes.set_xlabel("bars held")
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    percent_axis(axes.yaxis)


def _ends(axes: Axes, s: Stress) -> None:
    pnl, scenario = s.pnl.numpy(), s.scenario.numpy()
    axes.hist(
        [pnl[scenario == k] for k in range(len(s.names))],
        bins=histogram_edges(pnl),
        stacked=True,
        color=[SCENARIO_COLOURS[k % len(SCENARIO_COLOURS)] for k in range(len(s.names))],
        edgecolor=PAPER,
        linewidth=0.6,
    )
    for name, line in (("VaR95", (0, (4, 2))), ("ES95", (0, (1, 1)))):
        axes.axvline(
            -s.risk[name], color=INK, linewidth=1.1, linestyle=line, label=f"{name[:-2]} 95 %"
        )
    axes.legend(loc="best", handlelength=2)
    axes.set_title("Profit and loss")
    axes.set_xlabel("share of the value")
    axes.set_ylabel("paths")
    percent_axis(axes.xaxis)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="x", visible=False)


def _components(axes: Axes, s: Stress, largest: list[str]) -> None:
    parts = s.component_shortfall()
    values = [parts[symbol] for symbol in largest]
    axes.barh(range(len(largest)), values, 0.6, color=MUTED)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(largest)), [short(symbol, 16) for symbol in largest])
    axes.set_ylim(max(len(largest), 3) - 0.4, -0.6)
    axes.set_title("Added to the ES at 95 %")
    axes.set_xlabel("share of the value")
    percent_axis(axes.xaxis)
    axes.grid(axis="y", visible=False)


def portfolio_rows(s: Stress) -> Mapping[str, Any]:
    """What the template shows: the summary, and the positions told for the worst paths."""
    told = s.summary()
    labels = dict(zip(s.names, distinct_labels(list(s.names)), strict=True))
    return {
        "told": told,
        "labels": labels,
        "colours": {name: k % len(SCENARIO_COLOURS) for k, name in enumerate(s.names)},
        "largest": leading_positions(s)[:6],
        "units": s.holdings.measure == "units",
        "cash": _cash(s),
    }


def _cash(s: Stress) -> str:
    """What the weights leave, as a sentence."""
    cash = s.cash
    if abs(cash) < 5e-5:
        return "Nothing is left in cash."
    if cash > 0:
        return f"The rest, {percent(cash)}, is cash, which earns nothing."
    return f"Positions exceed the value by {percent(-cash)}, which is borrowed without interest."
