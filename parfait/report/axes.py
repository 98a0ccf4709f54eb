"""What the figures share: axes of dates, prices and shares, titles that cannot break them."""

from collections.abc import Sized
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from parfait.report.content import Content
from parfait.report.style import MUTED, drawable

SMALL: dict[str, Any] = {"fontsize": 8, "fontweight": "normal", "color": MUTED}


def past_bars(content: Content, ratio: float, least: int, most: int) -> int:
    """Bars of history that give the generated ones a scale without dwarfing them."""
    wanted = round(ratio * content.bars.shape[1])
    return min(max(wanted, least), most, len(content.history))


def date_axis(axes: Axes, content: Content, past: int, count: int) -> None:
    """Bars at equal distances, so that nights and weekends leave no gaps; ``count`` dates."""
    last = content.bars.shape[1]
    positions = np.unique(np.linspace(1 - past, last, 2 * count + 1)[1::2].round().astype(int))
    offset = len(content.history) - 1  # position 0 is the last bar of the history
    axes.set_xlim(0.3 - past, last + 0.7)
    axes.set_xticks(positions, [content.dates[offset + p] for p in positions])


def price_axis(axes: Axes) -> None:
    """Prices without exponents for any usual size."""
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def percent_axis(axis: Axis) -> None:
    """Shares as percentages, with decimals only where the axis is short."""

    def label(value: float, _: int) -> str:
        low, high = axis.get_view_interval()
        decimals = 0 if high - low > 0.08 else 1 if high - low > 0.008 else 2
        return f"{value:.{decimals}%}".replace("-", "−")

    axis.set_major_locator(
        MaxNLocator(7 if isinstance(axis, XAxis) else 5, steps=[1, 2, 2.5, 5, 10])
    )
    axis.set_major_formatter(FuncFormatter(label))


def settled(figure: Figure) -> Figure:
    """Lays the figure out once; with any engine left, each format it is saved in draws it twice."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine(None)
    return figure


def short(text: str, limit: int) -> str:
    """A name that fits its place and is never taken for mathematics."""
    text = drawable(text, limit) or "scenario"
    return text.replace("$", r"\$")


def plural(items: Sized) -> str:
    """The "s" of a count."""
    return "" if len(items) == 1 else "s"
