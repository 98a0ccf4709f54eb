"""Cells on control: regimes asked for, recovered from the bars, beside the ceiling of their SDE
paths."""

from collections.abc import Iterator
from functools import cache

import torch

from parfait.evaluation.candidates import Ingredients
from parfait.evaluation.cells import Cell, Found, Score, cell, measured_score
from parfait.evaluation.suites import Suite
from parfait.labels import Labels, label_windows
from parfait.metrics.functional.control import Trip, growth_error, round_trip
from parfait.metrics.measured import Measured
from parfait.metrics.probes import Probe, probe
from parfait.regime import FIELD_NAMES, Regime

STEPS = 60  # bars of every path
PULL = "mean_reversion"
FIELDS = ("volatility", "drift", "hurst", "jump_intensity", PULL)
NUMBERS = ("bias", "rmse", "spearman", "slope", "coverage")
_YEARLY = 250  # paths that show the growth of prices


def control_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """Round trip of every field, and E[S_T] / (S_0 e^{mu T}) - 1."""
    if not suite.probes:
        return
    history = i.held.history[-1]
    spot, frequency = float(history[-1, 3]), i.held.bars_per_year

    @cache
    def tripped(pull: bool) -> tuple[Regime, Labels, Labels, dict[str, Trip]]:
        asked = reverting(suite.probes) if pull else regimes(suite.probes)
        made = run(asked, seed=1)
        bars, path = (label_windows(made.windows(spot, w), frequency) for w in ("bars", "path"))
        return asked, bars, path, round_trip(asked, bars, path)

    def run(asked: Regime, seed: int) -> Probe:
        how = {"bars_per_year": frequency, "seed": seed, "every": i.every}
        return probe(i.model, history, asked, STEPS, **how)

    def compute(row: str) -> Found:
        asked, bars, path, trips = tripped(row == PULL)
        trip, j = trips[row], FIELD_NAMES.index(row)
        scores = []
        for name in NUMBERS:
            value: Measured = getattr(trip.bars, name)
            best = None if trip.path is None else getattr(trip.path, name).value
            score = measured_score("control", row, name, value, suite.probes)
            scores.append(score.under(best))
        scores.append(measured_score("control", row, "loss of rmse", trip.loss, suite.probes))
        cloud = {
            "requested": asked.to_unconstrained()[:, j].tolist(),
            "bars": bars.loc[:, j].tolist(),
            "path": path.loc[:, j].tolist(),
        }
        return Found(scores, [1], cloud)

    def growth(row: str) -> Found:
        asked = Regime(drift=0.05, volatility=0.2).expand(_YEARLY)
        last = run(asked, seed=2).bars[:, -1, 3]
        years = STEPS / frequency
        drift = torch.full((_YEARLY,), 0.05, dtype=torch.float64)
        told = growth_error(last, spot, drift, years)
        score = Score("growth", row, "error", told.value, told.error, null=0.0, n=_YEARLY)
        return Found([score], [2])

    for row in FIELDS:
        yield cell("control", row, compute)
    yield cell("growth", "E[S_T] / (S_0 exp(drift T)) - 1", growth)


def regimes(paths: int) -> Regime:
    """sigma log-uniform on 5-100 %, jumps a year uniform on 0-50, H on .1-.9 for half of them, and
    drift within +-1."""
    u = torch.rand((5, paths), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = 0.05 * 20 ** u[0]
    plain = (u[4] < 0.5).to(torch.float64)  # without memory
    return Regime(
        drift=2 * u[1] - 1,
        volatility=sigma,
        jump_intensity=50 * u[2],
        jump_std=0.15 * sigma,
        hurst=plain * 0.5 + (1 - plain) * (0.1 + 0.8 * u[3]),
        vol_of_vol=sigma,
        variance_reversion=5.0,
        initial_volatility=sigma,
    )


def reverting(paths: int) -> Regime:
    """sigma log-uniform on 5-100 %, pull to the trend log-uniform on 2-200 a year: half-lives of
    four months to one day. No jumps, no memory of the noise, which would look like it.
    """
    u = torch.rand((2, paths), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigma = 0.05 * 20 ** u[0]
    return Regime(
        drift=0.0,
        volatility=sigma,
        mean_reversion=2 * 100 ** u[1],
        vol_of_vol=sigma,
        variance_reversion=5.0,
        initial_volatility=sigma,
    )
