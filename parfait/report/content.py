"""What the figures need, taken out of a ``Simulation`` once, as plain arrays."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parfait.bars import BAR_FIELDS
from parfait.checks import Alignment, max_drawdowns
from parfait.report.facts import Array, Facts
from parfait.report.style import SCENARIO_COLOURS
from parfait.simulation import Simulation


@dataclass(frozen=True)
class Scenario:
    """One scenario as it is drawn; ``label`` is its name without what all of them share."""

    index: int
    label: str
    probability: float
    colour: str
    rows: NDArray[np.int64]  # its paths


@dataclass(frozen=True, eq=False)
class Content:
    """Arrays of one simulation.

    Args:
        history: (bars, 5) bars before the first generated one.
        bars: (paths, steps, 5) generated bars.
        guide, anchored: (paths, steps).
        dates: one label per bar, history first.
        scenarios: those that got at least one path, most probable first.
        returns, drawdowns: (paths,) simple return to the last bar, and largest fall on the way.
        spot: last close of the history.
        alignment: fields asked for and found.
        total_paths: of the run, of which these may be the first.
        every_return, every_drawdown: (total_paths,) as ``returns`` and ``drawdowns``.
    """

    history: Array
    bars: Array
    guide: Array
    anchored: NDArray[np.bool_]
    dates: list[str]
    scenarios: list[Scenario]
    returns: Array
    drawdowns: Array
    spot: float
    alignment: tuple[Alignment, ...]
    total_paths: int
    every_return: Array
    every_drawdown: Array

    @classmethod
    def of(cls, simulation: Simulation) -> "Content":
        """The arrays of a simulation."""
        s = simulation
        bars = np.stack([s.column(name).numpy() for name in BAR_FIELDS], axis=-1)
        index = np.asarray(s.scenario_of_path)
        weights = s.resolved.weights.tolist()
        labels = distinct_labels([c.name for c in s.resolved.components])
        scenarios = [
            Scenario(k, labels[k], weights[k], SCENARIO_COLOURS[k], np.flatnonzero(index == k))
            for k, c in enumerate(s.resolved.components)
            if (index == k).any()
        ]
        future = s.bars["timestamp"].head(s.horizon)
        stamps = pl.concat([s.history["timestamp"], future])
        shape = (s.n_paths, s.horizon)
        return cls(
            history=s.history.select(BAR_FIELDS).cast(pl.Float64).to_numpy(),
            bars=bars,
            guide=s.guides["guide"].to_numpy().reshape(shape),
            anchored=s.guides["anchored"].to_numpy().reshape(shape),
            dates=stamps.dt.strftime(_date_format(stamps)).to_list(),
            scenarios=sorted(scenarios, key=lambda c: -c.probability),
            returns=bars[:, -1, 3] / s.spot - 1,
            drawdowns=max_drawdowns(s.column("close"), s.spot).numpy(),
            spot=s.spot,
            alignment=s.alignment,
            total_paths=s.total_paths,
            every_return=s.outcomes.gross.numpy() - 1,
            every_drawdown=s.outcomes.drawdown.numpy(),
        )

    @cached_property
    def facts(self) -> Facts | str:
        """Facts of returns against the history, or why there are none."""
        return Facts.of(self.history, self.bars, [(c.colour, c.rows) for c in self.scenarios])

    @property
    def which_paths(self) -> str:
        """What a title calls the paths that are drawn."""
        if len(self.bars) == self.total_paths:
            return "All paths"
        return f"The first {len(self.bars):,} of {self.total_paths:,} paths"

    def representative(self, panels: int = 4) -> list[tuple[int, Scenario, str]]:
        """(path, scenario, why it was picked).

        The median path of every scenario by terminal return, so a panel shows an ordinary member
        and not a chosen one; places that are left show a bad and a good path of all.
        """
        owner = {int(row): c for c in self.scenarios for row in c.rows}
        picked = [
            (_at_quantile(self.returns, c.rows, 0.5), c, "median path")
            for c in self.scenarios[:panels]
        ]
        everyone = np.arange(len(self.returns))
        for q, why in ((0.05, "5 % quantile of all paths"), (0.95, "95 % quantile of all paths")):
            row = _at_quantile(self.returns, everyone, q)
            if len(picked) < min(panels, len(everyone)) and row not in {p[0] for p in picked}:
                picked.append((row, owner[row], why))
        return picked


def distinct_labels(names: list[str]) -> list[str]:
    """ "Rate rise: shrugged off" becomes "shrugged off" where "Rate rise" is a scenario itself."""
    labels = []
    for name in names:
        start, _, rest = name.partition(": ")
        labels.append(rest if rest and start in names else name)
    return labels


def _at_quantile(values: Array, rows: NDArray[np.int64], q: float) -> int:
    order = rows[np.argsort(values[rows], kind="stable")]
    return int(order[round(q * (len(order) - 1))])


def _date_format(stamps: pl.Series) -> str:
    """Days for daily bars and slower, minutes when bars share a day."""
    intraday = stamps.dt.date().n_unique() < len(stamps)
    return "%d %b %H:%M" if intraday else "%d %b %Y"


__all__ = ["Array", "Content", "Scenario", "distinct_labels"]
