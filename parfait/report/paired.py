"""Two simulations with the same random numbers, path by path: what the change alone does."""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parfait.report.axes import date_axis, past_bars, percent_axis, price_axis, settled, short
from parfait.report.content import Array, Content
from parfait.report.outcomes import histogram_edges
from parfait.report.style import FAINT, INK, MUTED, SCENARIO_COLOURS, style
from parfait.simulation import Simulation
from parfait.utils.errors import UserError

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHARED = ("seed", "n_paths", "horizon", "spot", "bars_per_year", "sde", "condition", "model")
_COLOURS = SCENARIO_COLOURS[:2]


@dataclass(frozen=True, eq=False)
class Paired:
    """Simulations a and b of one seed: path i has the same random numbers in both.

    Args:
        a, b: their arrays.

    The difference of path i at bar t is S_b / S_a - 1. Where a and b agree it is exactly 0.
    """

    a: Content
    b: Content

    @classmethod
    def of(cls, a: Simulation, b: Simulation) -> "Paired":
        """Pairs two simulations.

        Raises:
            UserError: they differ in more than their scenarios.
        """
        for name in _SHARED:
            if getattr(a, name) != getattr(b, name):
                raise UserError(
                    f"the two runs differ in {name} ({getattr(a, name)} and {getattr(b, name)}), "
                    "so their paths are no pairs; run both with the same settings"
                )
        return cls(Content.of(a), Content.of(b))

    @property
    def difference(self) -> Array:
        """(paths, steps) S_b / S_a - 1 of the closes."""
        return self.b.bars[:, :, 3] / self.a.bars[:, :, 3] - 1

    @property
    def mean_shift(self) -> float:
        """Mean return to the last bar, b less a."""
        return float((self.b.returns - self.a.returns).mean())

    @property
    def standard_error(self) -> float:
        """Of ``mean_shift``, from the pairs; NaN for one path."""
        return _error(self.b.returns - self.a.returns)

    @property
    def unpaired_error(self) -> float:
        """What it would be with random numbers of their own."""
        return math.hypot(_error(self.a.returns), _error(self.b.returns))

    @property
    def above(self) -> float:
        """Share of the pairs that end higher in b, an equal end counted half."""
        change = np.sign(self.difference[:, -1])
        return float((change + 1).mean() / 2)

    @property
    def quantiles(self) -> list[tuple[float, float, float]]:
        """(level, of a, of b) of the return to the last bar."""
        of_a, of_b = (np.quantile(c.returns, LEVELS).tolist() for c in (self.a, self.b))
        return list(zip(LEVELS, of_a, of_b, strict=True))

    def table(self) -> pl.DataFrame:
        """A row per path: both last closes and returns, and their difference S_b / S_a - 1."""
        ends = [c.bars[:, -1, 3] for c in (self.a, self.b)]
        return pl.DataFrame(
            {
                "path": np.arange(len(ends[0])),
                "close_a": ends[0],
                "close_b": ends[1],
                "return_a": self.a.returns,
                "return_b": self.b.returns,
                "difference": self.difference[:, -1],
            }
        )


def paired_figure(pair: Paired, names: tuple[str, str]) -> Figure:
    """Both fans over the history, where they end, and the fan of the differences.

    Args:
        pair: the simulations.
        names: of a and b, as a legend shows them.
    """
    with style():
        figure = Figure(figsize=(11, 7), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=[2.4, 1], height_ratios=[1.5, 1])
        fans = figure.add_subplot(grid[0, 0])
        _draw_fans(fans, pair, names)
        _draw_ends(figure.add_subplot(grid[0, 1]), pair)
        below = figure.add_subplot(grid[1, 0], sharex=fans)
        _draw_difference(below, pair)
        _draw_changes(figure.add_subplot(grid[1, 1]), pair)
        return settled(figure)


def _draw_fans(axes: Axes, pair: Paired, names: tuple[str, str]) -> None:
    past = past_bars(pair.a, 1.0, 20, 60)
    close = pair.a.history[-past:, 3]
    axes.plot(np.arange(1 - len(close), 1), close, color=INK, linewidth=1.1)
    axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    for content, colour, name in zip((pair.a, pair.b), _COLOURS, names, strict=True):
        start = np.full((len(content.bars), 1), content.spot)
        paths = np.concatenate([start, content.bars[:, :, 3]], axis=1)
        low, middle, high = np.quantile(paths, [0.05, 0.5, 0.95], axis=0)
        x = np.arange(paths.shape[1])
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(x, middle, color=colour, linewidth=1.9, label=short(name, 60))
    axes.set_title("Both fans: bands of 90 %, medians")
    axes.set_ylabel("price")
    axes.legend(loc="best")
    date_axis(axes, pair.a, past, 5)
    price_axis(axes)


def _draw_ends(axes: Axes, pair: Paired) -> None:
    both = np.concatenate([pair.a.returns, pair.b.returns])
    edges = histogram_edges(both)
    for content, colour in zip((pair.a, pair.b), _COLOURS, strict=True):
        shape = {"bins": edges, "color": colour}
        axes.hist(content.returns, alpha=0.2, **shape)
        axes.hist(content.returns, histtype="step", linewidth=1.5, **shape)
    axes.set_title("Where they end")
    axes.set_xlabel("return to the last bar")
    axes.set_ylabel("paths")
    percent_axis(axes.xaxis)


def _draw_difference(axes: Axes, pair: Paired) -> None:
    difference = np.concatenate([np.zeros((len(pair.a.bars), 1)), pair.difference], axis=1)
    x = np.arange(difference.shape[1])
    for low, high, alpha in ((0.05, 0.95, 0.18), (0.25, 0.75, 0.28)):
        bottom, top = np.quantile(difference, [low, high], axis=0)
        axes.fill_between(x, bottom, top, color=MUTED, alpha=alpha, linewidth=0)
    axes.plot(x, np.median(difference, axis=0), color=INK, linewidth=1.7)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_title("Second over first, path by path: bands of 50 % and 90 %, median")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}".replace("-", "−"))
    axes.set_ylabel("difference of the price")


def _draw_changes(axes: Axes, pair: Paired) -> None:
    change = pair.difference[:, -1]
    axes.hist(change, bins=histogram_edges(change), color=MUTED, alpha=0.6)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_title("Difference at the end")
    axes.set_xlabel("second over first")
    axes.set_ylabel("pairs")
    percent_axis(axes.xaxis)


def _error(values: Array) -> float:
    if len(values) < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(len(values)))
