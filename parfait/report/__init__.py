"""What a person looks at: figures and one self-contained page."""

from pathlib import Path

from parfait.report.content import Content
from parfait.report.figures import draw_all
from parfait.report.html import render_html
from parfait.report.style import png_bytes
from parfait.simulation import Simulation
from parfait.utils.files import write_files

__all__ = ["render_html", "write"]


def write(simulation: Simulation, folder: str | Path, command: str | None = None) -> list[Path]:
    """Writes candles.png, fan.png and report.html; returns their paths.

    Equal simulations give equal bytes: no clock, no random ids, no timings.

    Args:
        simulation: result of ``Pipeline.run``.
        folder: made if missing.
        command: what the page shows under "how to reproduce"; derived from the simulation if
            ``None``.

    Raises:
        UserError: the folder cannot be made or written.
    """
    content = Content.of(simulation)
    charts = draw_all(content, simulation.risk["VaR95"])
    title = simulation.instruction or ""
    return write_files(
        folder,
        {
            "candles.png": png_bytes(charts["candles"], title),
            "fan.png": png_bytes(charts["fan"], title),
            "report.html": render_html(simulation, content, charts, command).encode(),
        },
    )
