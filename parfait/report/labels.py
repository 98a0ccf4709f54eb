"""The picture of a labelled history: price, volatility, memory, each with what is not known."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.dates as mdates
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from parfait.data import Segment
from parfait.data.sources import file_name
from parfait.data.windows import make_segments
from parfait.labelling import Rolling
from parfait.labelling.rolling import jump_bars
from parfait.labelling.store import BARS, FIGURES, LABELS
from parfait.report.axes import settled, short
from parfait.report.style import FAINT, INK, MUTED, PAPER, SCENARIO_COLOURS, png_bytes, style
from parfait.utils.files import write_files

BLUE, ORANGE, GREEN = SCENARIO_COLOURS[:3]


def write_figure(folder: Path, symbol: str, settings: Rolling, account: dict[str, Any]) -> None:
    """Draws what the ``label`` stage wrote of one symbol into ``figures/SYMBOL.png``."""
    name = file_name(symbol)
    bars = pl.read_parquet(folder / BARS / f"{name}.parquet")
    labels = pl.read_parquet(folder / LABELS / f"{name}.parquet")
    n = settings.lengths[0]
    n = n if n in labels["n"] else int(labels["n"][0])
    segments = make_segments({symbol: bars}, settings.max_gap)
    figure = draw_labels(symbol, segments, labels.filter(n=n), n, account["range_correction"])
    write_files(folder / FIGURES, {f"{name}.png": png_bytes(figure, dpi=110)})


def draw_labels(
    symbol: str,
    segments: Sequence[Segment],
    labels: pl.DataFrame,
    n: int,
    range_correction: float,
) -> Figure:
    """Price with bars read as jumps; total and diffusive volatility; Hurst exponent.

    Bands are 90 %. A window is drawn at its last bar: that is when its label is known. Lines end
    where a segment does, and at nights that would show as lines of their own.
    """
    with style():
        figure = Figure(figsize=(11, 6.6), layout="constrained")
        price, volatility, memory = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [1.4, 1.2, 1]}
        )
        _price(price, segments, n, range_correction)
        for part in _unbroken(labels):
            marker = "." if part.height == 1 else None
            times = part["timestamp"].to_numpy()
            _band(volatility, part, "volatility", BLUE, marker)
            alone = part.filter("flag_closes")
            where = alone["timestamp"].to_numpy(), alone["volatility_q50"].to_numpy()
            volatility.plot(*where, "o", color=BLUE, markerfacecolor=PAPER, markersize=3.5)
            total = part["total_volatility"].to_numpy()
            volatility.plot(times, total, color=INK, linewidth=0.9, marker=marker)
            _band(memory, part, "hurst", GREEN, marker)
        price.set_title(short(symbol, 60))
        _key(price, [("close", INK), ("read as a jump (probability over 90 %)", ORANGE)])
        volatility.set_title(f"Annual volatility of the last {n} bars")
        closes = " (○ from closes alone)" if labels["flag_closes"].any() else ""
        _key(volatility, [("total", INK), (f"diffusive, 90 % band{closes}", BLUE)])
        _log_axis(volatility, _percent, 100.0)
        memory.set_title(f"Hurst exponent of the last {n} bars, 90 % band")
        memory.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        memory.set_ylim(0, 1)
        memory.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        locator = mdates.AutoDateLocator(minticks=5, maxticks=11)
        memory.xaxis.set_major_locator(locator)
        memory.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        return settled(figure)


def _percent(value: float) -> str:
    return f"{value:,.0f}%" if value >= 100 else f"{value:.3g}%".replace("-", "−")


def _price(axes: Axes, segments: Sequence[Segment], n: int, range_correction: float) -> None:
    for segment in segments:
        times, closes = _times(segment), segment.bars[:, 3].numpy()
        for piece in np.split(np.arange(len(times)), _pauses(times)):
            axes.plot(times[piece], closes[piece], color=INK, linewidth=0.8)
        rows = jump_bars(segment, n, range_correction).numpy()
        axes.plot(times[rows], closes[rows], ".", color=ORANGE, markersize=3, zorder=3)
    for left, right in pairwise(segments):
        axes.axvspan(_times(left)[-1], _times(right)[0], color=FAINT, alpha=0.25, linewidth=0)
    _log_axis(axes, lambda value: f"{value:,.6g}", 1.0)


def _unbroken(labels: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows by segment, and within one by day where nights can be seen."""
    parts = []
    for _, part in sorted(labels.partition_by("segment", as_dict=True).items()):
        cuts = [0, *_pauses(part["timestamp"].to_numpy()).tolist(), part.height]
        parts += [part.slice(a, b - a) for a, b in pairwise(cuts)]
    return parts


def _pauses(times: np.ndarray) -> np.ndarray:
    """Positions after a pause: over four usual steps, and over 2 % of the whole."""
    step = np.diff(times).astype(np.int64)
    if len(step) < 2:
        return np.array([], dtype=np.int64)
    return np.flatnonzero((step > 4 * np.median(step)) & (step > 0.02 * step.sum())) + 1


def _band(axes: Axes, part: pl.DataFrame, name: str, colour: str, marker: str | None) -> None:
    times = part["timestamp"].to_numpy()
    low, middle, high = (part[f"{name}_{q}"].to_numpy() for q in ("q05", "q50", "q95"))
    axes.fill_between(times, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(times, middle, color=colour, linewidth=1, marker=marker)


def _key(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """The names of the lines, in their colours, where no line can be."""
    handles = [Line2D([], [], color=colour, linewidth=2, label=name) for name, colour in entries]
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(handles),
        handlelength=1,
        borderaxespad=0.2,
    )


def _log_axis(axes: Axes, words: Callable[[float], str], unit: float) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    near = high < 20 * low  # within a decade or so, three ticks a decade are too few
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if near else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words(unit * value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _times(segment: Segment) -> np.ndarray:
    return segment.timestamps.numpy().astype("datetime64[us]")
