"""The tick figure: the trades of one bar between their quotes."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from parfait.report.axes import SMALL, price_axis, settled
from parfait.report.content import Content
from parfait.report.style import FAINT, INK, MUTED, SCENARIO_COLOURS, style
from parfait.simulation import Simulation

LABEL = "Trades of one bar between bid and ask, and their sizes"
BUY, SELL = SCENARIO_COLOURS[0], SCENARIO_COLOURS[1]


def tick_figure(simulation: Simulation, content: Content) -> Figure:
    """The first bar of the median path of the most probable scenario, trade by trade."""
    path, _, _ = content.representative(1)[0]
    ticks = simulation.ticks(path).filter(pl.col("step") == 0)
    bar = content.bars[path, 0]
    with style():
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        price, size = figure.subplots(2, 1, sharex=True, height_ratios=[4.5, 1])
        draw_ticks(price, size, ticks, bar)
        date = content.dates[len(content.history)]
        price.set_title(f"Path {path}, bar of {date}: {ticks.height} trades")
        price.legend(loc="best", handlelength=1.2, ncols=3)
        return settled(figure)


def draw_ticks(price: Axes, size: Axes, ticks: pl.DataFrame, bar: np.ndarray) -> None:
    """Quotes as a band, trades at the ask and at the bid, sizes below."""
    when, at = ticks["timestamp"].to_numpy(), ticks["price"].to_numpy()
    bid, ask = ticks["bid"].to_numpy(), ticks["ask"].to_numpy()
    price.fill_between(when, bid, ask, step="post", color=FAINT, alpha=0.45, linewidth=0)
    for name, mine, colour in (("at the ask", at == ask, BUY), ("at the bid", at == bid, SELL)):
        price.plot(when[mine], at[mine], linestyle="none", marker="o", ms=3, mec=colour, mfc=colour)
        price.plot([], [], linestyle="none", marker="o", ms=4, color=colour, label=name)
        size.vlines(when[mine], 0, ticks["size"].to_numpy()[mine], color=colour, linewidth=1)
    for name, level in (("high", bar[1]), ("low", bar[2])):
        price.axhline(level, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
        price.annotate(
            name,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            **SMALL,
        )
    ends: dict[str, Any] = {"linestyle": "none", "ms": 7, "mfc": "none", "mec": INK, "mew": 1.1}
    price.plot(when[:1], at[:1], marker=">", label="open", **ends)
    price.plot(when[-1:], at[-1:], marker="<", label="close", **ends)
    price.set_ylabel("price")
    price_axis(price)
    locator = AutoDateLocator(maxticks=8)
    size.xaxis.set_major_locator(locator)
    size.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    size.set_ylabel("size")
    size.set_yticks([])
    size.grid(visible=False)
