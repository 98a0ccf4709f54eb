"""The candle figure: typical paths as a trader would look at them."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from parfait.report.axes import (
    SMALL,
    date_axis,
    past_bars,
    price_axis,
    settled,
    short,
)
from parfait.report.content import Array, Content, Scenario
from parfait.report.formats import signed
from parfait.report.style import FAINT, INK, MUTED, PAPER, style


def candles(content: Content, panels: int = 4) -> Figure:
    """Candles and volume of typical paths after the history, guide and anchors drawn over."""
    with style():
        picked = content.representative(panels)
        columns = 1 if len(picked) == 1 else 2
        rows = math.ceil(len(picked) / columns)
        figure = Figure(figsize=(11, 3.5 * rows + 0.3), layout="constrained")
        outer = figure.add_gridspec(rows, columns)
        for k, (path, scenario, why) in enumerate(picked):
            inner = outer[k // columns, k % columns].subgridspec(
                2, 1, height_ratios=[4.5, 1], hspace=0.02
            )
            price = figure.add_subplot(inner[0])
            volume = figure.add_subplot(inner[1], sharex=price)
            draw_panel(price, volume, content, path, scenario)
            price.set_title(short(scenario.label, 40), color=scenario.colour)
            price.set_title(f"{why}, {signed(content.returns[path])}", loc="right", **SMALL)
            if k == 0:
                price.legend(loc="best", handlelength=1.6)
        return settled(figure)


def draw_panel(
    price: Axes, volume: Axes, content: Content, path: int, scenario: Scenario, dates: int = 4
) -> None:
    """One path after the history: candles, guide and anchors above, volume below."""
    past = content.history[-past_bars(content, 1.5, 20, 60) :]
    horizon = content.bars.shape[1]
    before, after = np.arange(1 - len(past), 1), np.arange(1, horizon + 1)
    for axes in (price, volume):
        axes.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    for x, bars, colour in ((before, past, MUTED), (after, content.bars[path], scenario.colour)):
        _draw_candles(price, x, bars, colour)
        _boxes(volume, x, np.zeros(len(bars)), bars[:, 4], bars, colour)
    level, anchored = content.guide[path], content.anchored[path]
    dotted: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (1, 1.2))}
    price.plot([0, *after], [content.spot, *level], label="guide", **dotted)
    diamond: dict[str, Any] = {"marker": "D", "ms": 4, "mfc": PAPER, "mec": INK, "mew": 0.9}
    label = "anchor: the close is the guide"
    price.plot(after[anchored], level[anchored], linestyle="none", label=label, **diamond)
    price.set_ylabel("price")
    price.margins(y=0.08)
    date_axis(volume, content, len(past), dates)
    price_axis(price)
    price.tick_params(labelbottom=False)
    volume.set_ylabel("volume")
    volume.set_yticks([])
    volume.set_ylim(bottom=0)
    volume.grid(visible=False)


def _draw_candles(axes: Axes, x: np.ndarray, bars: Array, colour: str) -> None:
    """Hollow when the close is not below the open, else filled; wicks stop at the body."""
    low_body, high_body = bars[:, [0, 3]].min(axis=1), bars[:, [0, 3]].max(axis=1)
    wicks = [
        ((i, low), (i, bottom)) for i, low, bottom in zip(x, bars[:, 2], low_body, strict=True)
    ]
    wicks += [((i, top), (i, high)) for i, top, high in zip(x, high_body, bars[:, 1], strict=True)]
    axes.add_collection(LineCollection(wicks, colors=colour, linewidths=0.9))
    _boxes(axes, x, low_body, high_body, bars, colour)


def _boxes(axes: Axes, x: np.ndarray, low: Array, high: Array, bars: Array, colour: str) -> None:
    """A body per bar, in one collection: a patch for each would cost more than all else."""
    half = 0.33
    corners = [
        ((i - half, a), (i + half, a), (i + half, b), (i - half, b))
        for i, a, b in zip(x, low, high, strict=True)
    ]
    faces = [PAPER if row[3] >= row[0] else colour for row in bars]
    axes.add_collection(
        PolyCollection(corners, facecolors=faces, edgecolors=colour, linewidths=0.9)
    )
    axes.autoscale_view()
