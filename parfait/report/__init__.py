"""What a person looks at: figures and one self-contained page."""

from pathlib import Path

from parfait.basket import Basket
from parfait.report.basket import draw_basket, render_basket
from parfait.report.content import Content
from parfait.report.figures import draw_all
from parfait.report.html import render_html
from parfait.report.portfolio import portfolio_figure
from parfait.report.style import png_bytes
from parfait.report.ticks import tick_figure
from parfait.simulation import Simulation
from parfait.stress import Stress
from parfait.utils.files import write_files

__all__ = ["render_html", "write"]


def write(
    result: Simulation | Basket,
    folder: str | Path,
    command: str | None = None,
    portfolio: Stress | None = None,
) -> list[Path]:
    """Writes candles.png, fan.png and report.html; returns their paths.

    Equal simulations give equal bytes: no clock, no random ids, no timings.

    Args:
        result: result of ``Pipeline.run``.
        folder: made if missing.
        command: what the page shows under "how to reproduce"; derived from the simulation if
            ``None``.
        portfolio: what ``parfait.stress.stress`` made of it, for a section of its own.

    Raises:
        UserError: the folder cannot be made or written.
    """
    held = {} if portfolio is None else {"portfolio": portfolio_figure(portfolio)}
    if isinstance(result, Basket):
        contents = {symbol: Content.of(one) for symbol, one in result.simulations.items()}
        charts = draw_basket(result, contents) | held
        page = render_basket(result, contents, charts, command, portfolio)
    else:
        content = Content.of(result)
        charts = draw_all(content, result.risk["VaR95"]) | held
        if result.tick_model is not None:
            charts["ticks"] = tick_figure(result, content)
        page = render_html(result, content, charts, command, portfolio)
    title = result.instruction or ""
    return write_files(
        folder,
        {
            "candles.png": png_bytes(charts["candles"], title),
            "fan.png": png_bytes(charts["fan"], title),
            "report.html": page.encode(),
        },
    )
