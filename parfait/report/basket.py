"""The figures and the page of several assets: a row for each, one column per path."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from parfait.basket import Basket
from parfait.correlation import pairs_of
from parfait.report.axes import SMALL, settled, short
from parfait.report.candles import draw_panel
from parfait.report.command import reproduce_basket
from parfait.report.content import Content
from parfait.report.figures import draw_fan
from parfait.report.formats import signed
from parfait.report.html import one_asset, templates, versions
from parfait.report.portfolio import LABEL as PORTFOLIO_LABEL
from parfait.report.portfolio import portfolio_rows
from parfait.report.style import SCENARIO_COLOURS, inline_svg, style
from parfait.report.ticks import LABEL as TICKS_LABEL
from parfait.report.ticks import tick_figure
from parfait.semantic import UNSURE_BELOW
from parfait.stress import Stress

MOST_ROWS = 6  # assets drawn
MOST_PAIRS = 15  # pairs in the table of correlations, all of six assets
LABELS = {
    "fan": "History and bands of all paths, one row per asset",
    "candles": "Candles and volume of the same paths in every asset",
    "ticks": TICKS_LABEL,
    "portfolio": PORTFOLIO_LABEL,
}


def draw_basket(basket: Basket, contents: Mapping[str, Content]) -> dict[str, Figure]:
    """Every figure of the report of a basket by name; of many assets the first six."""
    drawn = dict(list(contents.items())[:MOST_ROWS])
    charts = {"fan": _fans(drawn), "candles": _candles(basket, drawn)}
    symbol, content = next(iter(contents.items()))
    if basket[symbol].tick_model is not None:
        charts["ticks"] = tick_figure(basket[symbol], content)
    return charts


def _fans(contents: Mapping[str, Content]) -> Figure:
    with style():
        figure = Figure(figsize=(11, 2.7 * len(contents) + 0.2), layout="constrained")
        grid = figure.subplots(len(contents), 1, squeeze=False)
        for axes, (symbol, content) in zip(grid[:, 0], contents.items(), strict=True):
            draw_fan(axes, content)
            axes.set_title(short(symbol, 60))
        return settled(figure)


def _candles(basket: Basket, contents: Mapping[str, Content]) -> Figure:
    """Columns are paths, rows are assets; few assets leave room for a third path."""
    with style():
        picked = typical_paths(basket, 3 if len(contents) <= 3 else 2)
        rows, columns = len(contents), len(picked)
        figure = Figure(figsize=(11, 2.75 * rows + 0.4), layout="constrained")
        outer = figure.add_gridspec(rows, columns)
        for row, (symbol, content) in enumerate(contents.items()):
            owner = {int(path): c for c in content.scenarios for path in c.rows}
            for column, (path, why) in enumerate(picked):
                inner = outer[row, column].subgridspec(2, 1, height_ratios=[4.5, 1], hspace=0.02)
                price = figure.add_subplot(inner[0])
                volume = figure.add_subplot(inner[1], sharex=price)
                draw_panel(price, volume, content, path, owner[path], dates=5 - columns)
                head = f"path {path}: {why}\n" if row == 0 else ""
                price.set_title(head + short(symbol, 22), fontsize=9)
                price.set_title(signed(content.returns[path]), loc="right", **SMALL)
                if row == column == 0:
                    price.legend(loc="best", handlelength=1.6, fontsize=7)
                if column:
                    price.set_ylabel("")
                    volume.set_ylabel("")
        return settled(figure)


def typical_paths(basket: Basket, count: int) -> list[tuple[int, str]]:
    """(path, why): the median, a bad and a good one by the return of equal sums in every asset."""
    ends = [s.column("close")[:, -1].numpy() / s.spot for s in basket.simulations.values()]
    order = np.argsort(np.mean(ends, axis=0), kind="stable")
    names = (
        (0.5, "median of the basket"),
        (0.05, "5 % quantile of the basket"),
        (0.95, "95 % quantile of the basket"),
    )
    picked: dict[int, str] = {}
    for quantile, why in names[:count]:
        picked.setdefault(int(order[round(quantile * (len(order) - 1))]), why)
    return list(picked.items())


def render_basket(
    basket: Basket,
    contents: Mapping[str, Content],
    charts: Mapping[str, Figure],
    command: str | None = None,
    portfolio: Stress | None = None,
) -> str:
    """The whole page as text; every word that came from outside is escaped.

    Args:
        basket: what it reports on.
        contents: the arrays of every asset.
        charts: the figures of ``draw_basket``, and ``portfolio`` where there is one.
        command: the command line that reproduces it.
        portfolio: what was held through its paths.
    """
    simulations = basket.simulations
    confidence = min(s.scenarios.confidence for s in simulations.values())
    rest = list(contents)[MOST_ROWS:]
    left_out = f" Not drawn, but in the tables and below: {', '.join(rest)}." if rest else ""
    return (
        templates()
        .get_template("basket.html.j2")
        .render(
            b=basket,
            figure={name: Markup(inline_svg(f, LABELS[name])) for name, f in charts.items()},
            palette=SCENARIO_COLOURS,
            confidence=confidence,
            unsure=confidence < UNSURE_BELOW,
            correlations=correlation_rows(basket),
            pair_count=len(pairs_of(basket.symbols)),
            left_out=left_out,
            assets=[
                {"symbol": symbol, "s": s, **one_asset(s, contents[symbol])}
                for symbol, s in simulations.items()
            ],
            command=command or reproduce_basket(basket, portfolio),
            portfolio=None if portfolio is None else portfolio_rows(portfolio),
            versions=versions(),
        )
    )


def correlation_rows(basket: Basket) -> list[dict[str, Any]]:
    """Asked for and found by pair; of many pairs those that differ most."""
    rows = [
        {
            "name": f"{basket.symbols[i]} – {basket.symbols[j]}",
            "asked": float(basket.requested[i, j]),
            "found": float(basket.realised[i, j]),
        }
        for i, j in pairs_of(basket.symbols)
    ]
    if len(rows) > MOST_PAIRS:
        rows = sorted(rows, key=lambda r: -abs(r["found"] - r["asked"]))[:MOST_PAIRS]
    return rows
