"""Cells on calibration: the simulation without an instruction as a forecast, beside its rivals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from parfait.evaluation.candidates import Ingredients
from parfait.evaluation.cells import Cell, Found, Score, cell, measured_score
from parfait.evaluation.suites import Suite
from parfait.metrics.functional.calibration import (
    LEVELS,
    Interval,
    covered,
    crps,
    ks_uniform,
    mean_interval,
    pit,
    skill,
)
from parfait.metrics.measured import Measured
from parfait.metrics.neutral import neutral_paths
from parfait.metrics.rivals.forecasts import FORECASTS, LEAST_TRAIN, WINDOW
from parfait.semantic.ontology.subject import symbol_asset
from parfait.utils.errors import UserError
from parfait.utils.seeding import derive_seed

OURS = "Parfait, no instruction"
HORIZONS = (1, 5, 20)  # bars
BINS = 10
_Z95 = 1.959964


@dataclass(frozen=True, eq=False)
class Target:
    """One symbol to forecast.

    Args:
        symbol: its name.
        bars, time: of the longest unbroken run.
        train: training returns.
        origins: rows of the last bar that is known.
    """

    symbol: str
    bars: Tensor
    time: Tensor
    train: int
    origins: Tensor

    @property
    def returns(self) -> Tensor:
        """Log returns; row k is that of bar k + 1."""
        return self.bars[:, 3].log().diff()


def forecast_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """CRPS, coverage, PIT and skill of returns over ``HORIZONS``, pooled over symbols."""
    if not suite.origins:
        return
    steps = max(HORIZONS)

    @cache
    def targets() -> list[Target]:
        return find_targets(i, suite.origins, steps)

    @cache
    def scored(row: str) -> dict[int, dict[str, Tensor]]:
        return _scored(i, row, targets(), suite.paths)

    def compute(row: str) -> Found:
        scores, bins = [], torch.zeros(BINS)
        block = 3 * i.held.span(steps)
        for h in HORIZONS:
            told = scored(row)[h]
            n, unit = len(told["date"]), f", {h} bar" + "s" * (h > 1)
            values = {"CRPS": told["crps"]}
            values |= {f"cover {100 * level:.0f} %": told[f"{level}"] for level in LEVELS}
            for column, each in values.items():
                found = _interval(
                    lambda each=each, told=told, **how: mean_interval(
                        each, told["date"], block, **how
                    ),
                    float(each.mean()),
                )
                scores.append(measured_score("calibration", row, column + unit, found, n))
            ks = ks_uniform(told["pit"])
            scores.append(Score("calibration", row, "PIT-KS" + unit, ks, n=n))
            for name in () if row != OURS else FORECASTS:
                rival = scored(name)[h]["crps"]
                plain = float(1 - told["crps"].sum() / rival.sum())
                found = _interval(
                    lambda rival=rival, told=told, **how: skill(
                        told["crps"], rival, told["date"], block, **how
                    ),
                    plain,
                )
                column = f"against {name}" + unit
                scores.append(measured_score("skill", row, column, found, n))
            if h == steps:
                bins = torch.histc(told["pit"].float(), BINS, 0.0, 1.0)
        return Found(scores, [1], {"pit": bins.int().tolist()})

    for row in (OURS, *FORECASTS):
        yield cell("calibration", row, compute)


def find_targets(i: Ingredients, most: int, steps: int) -> list[Target]:
    """Symbols with enough training returns and held-out bars, at most ``most`` origins in all.

    Raises:
        UserError: no symbol has both.
    """
    longest = {s.symbol: s for s in sorted(i.split.segments, key=len)}
    found = []
    for symbol, segment in sorted(longest.items()):
        known = int(torch.searchsorted(segment.timestamps, i.split.cut, right=True))
        last = len(segment) - 1 - steps
        first = max(known - 1, WINDOW)
        if known - 1 < LEAST_TRAIN or last < first:
            continue
        share = max(most // len(longest), 10)
        origins = torch.arange(first, last + 1, max(-(-(last + 1 - first) // share), 1))
        found.append(Target(symbol, segment.bars, segment.timestamps, known - 1, origins))
    if not found:
        raise UserError(
            f"no symbol has {LEAST_TRAIN} training returns and {steps} bars after them in a row"
        )
    return found


def _scored(
    i: Ingredients, row: str, targets: list[Target], paths: int
) -> dict[int, dict[str, Tensor]]:
    """Scores of every origin by horizon; CRPS in units of the symbol's training deviation."""
    rows: dict[int, dict[str, list[Tensor]]] = {h: {} for h in HORIZONS}
    for target in targets:
        g = torch.Generator().manual_seed(derive_seed("forecast", row, target.symbol))
        samples = _samples(i, row, target, paths, g).cumsum(2)
        steps = samples.shape[2]
        truth = target.returns[target.origins[:, None] + torch.arange(steps)].cumsum(1)
        deviation = float(target.returns[: target.train].std())
        for h in HORIZONS:
            x, y = samples[..., h - 1], truth[:, h - 1]
            told = {
                "crps": crps(x, y) / (deviation * h**0.5),
                "pit": pit(x, y, g),
                "date": target.time[target.origins],
                **{f"{level}": covered(x, y, level) for level in LEVELS},
            }
            for name, values in told.items():
                rows[h].setdefault(name, []).append(values)
    return {h: {name: torch.cat(v) for name, v in told.items()} for h, told in rows.items()}


def _samples(i: Ingredients, row: str, target: Target, paths: int, g: torch.Generator) -> Tensor:
    steps = max(HORIZONS)
    if row == OURS:
        asset = i.asset or symbol_asset(target.symbol) or "equity"
        frequency = i.held.bars_per_year
        how = {"bars_per_year": frequency, "asset": asset, "generator": g}
        return neutral_paths(target.bars, target.origins, steps, paths, **how)
    how = {"train": target.train, "generator": g}
    return FORECASTS[row](target.returns, target.origins - 1, steps, paths, **how)


def _interval(ask: Callable[..., Interval], value: float) -> Measured:
    """The width of a bootstrap interval as a standard error; none where time is too short."""
    try:
        found = ask(generator=torch.Generator().manual_seed(0))
    except UserError:
        return Measured(value, None, "too short a time for an error")
    return Measured(found.value, (found.high - found.low) / (2 * _Z95))
