"""Cells on dated events: what a reader says of them the day before, and what really followed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.distill.catalogue import Event
from parfait.evaluation.cells import Cell, Found, Score, cell, measured_score
from parfait.evaluation.forecasters import FORECASTERS, Forecaster, forecaster, units_of
from parfait.evaluation.occasions import Occasions
from parfait.evaluation.understanding import READER
from parfait.metrics.functional.calibration import (
    Interval,
    covered,
    crps,
    ks_uniform,
    mean_interval,
    pit,
    skill,
)
from parfait.metrics.functional.mixtures import expected_energy
from parfait.metrics.measured import Measured
from parfait.semantic import Reader
from parfait.utils.errors import UserError
from parfait.utils.seeding import derive_seed

HORIZON = 20  # bars, the first of them that of the event's own session
LEVELS = (0.5, 0.8, 0.95)
SEEN = ("return", "volatility")  # of the bars, as ``Occasions.observed``
MEANT = ("drift", "ln sigma")  # of the regime behind them
FITTED = "2011-12-31"  # sizes of effects.yaml were fitted on events up to here (docs/semantic.md)
PERIODS = {"followed": "all", "followed early": "to 2011", "followed late": "2012 on"}
LEAST = 5  # events of a type that is told of alone
_LABELS = 32  # draws of a label
_Z95 = 1.959964


def followed_cells(
    reader: Reader, events: Sequence[Event], load: Callable[[], tuple[Occasions, Occasions]]
) -> Iterator[Cell]:
    """Energy scores, coverage and skill on dated events, pooled and by type.

    Args:
        reader: who is judged.
        events: the catalogue.
        load: the occasions of these events, and windows in general; called when a cell is computed.
    """
    known = cache(load)

    @cache
    def scored(name: str) -> Mapping[str, Tensor]:
        return scores_of(forecaster(name, reader), *known())

    def pooled(name: str) -> Found:
        told, asked = scored(name), known()[0]
        scores = []
        for table, period in PERIODS.items():
            mine = within(asked.date, period)
            if bool(mine.any()):
                here = {column: each[mine] for column, each in told.items()}
                scores += _pooled(table, name, here, asked.date[mine], _block(asked))
            else:
                scores.append(Score(table, name, "all", None, note="no event in this period"))
        return Found(scores, [0])

    def against(row: str) -> Found:
        told, asked = scored(READER), known()[0]
        rival, found = scored(row.removeprefix("against ")), []
        for column in ("energy, bars", "energy, regime"):
            for period in PERIODS.values():
                mine = within(asked.date, period)
                if bool(mine.any()):
                    both = told[column][mine], rival[column][mine]
                    name = f"{column.removeprefix('energy, ')}, {period}"
                    how = (*both, asked.date[mine], _block(asked))
                    found.append(_score("followed skill", row, name, skill, *how))
        return Found(found, [0])

    def by_type(row: str) -> Found:
        asked = known()[0]
        mine = asked.of_type(row)
        n, date, block = int(mine.sum()), asked.date[mine], _block(asked)
        if row not in frequent_types(asked.events):
            return Found([Score("followed by type", row, "all", None, note="too few windows")])
        found = []
        for name in FORECASTERS:
            each = scored(name)["energy, bars"][mine]
            column = f"energy, {name}"
            found.append(_score("followed by type", row, column, mean_interval, each, date, block))
        for field in SEEN:
            hits = scored(READER)[f"cover 80 %, {field}"][mine]
            column = f"cover 80 %, {field}"
            found.append(_score("followed by type", row, column, mean_interval, hits, date, block))
        truth = asked.observed(asked.returns)[mine, 1].exp()
        found.append(
            Score("followed by type", row, "volatility came / before", float(truth.median()), n=n)
        )
        return Found(found, [0])

    for name in FORECASTERS:
        yield cell("followed", name, pooled)
    for name in FORECASTERS[1:]:
        yield cell("followed", f"against {name}", against)
    for kind in frequent_types(events):
        yield cell("followed by type", kind, by_type)


def _pooled(
    table: str, row: str, told: Mapping[str, Tensor], date: Tensor, block: int
) -> list[Score]:
    """Means over occasions with errors, and distances of probability transforms from uniform."""
    found = []
    for column, each in told.items():
        if column.startswith("PIT"):
            ks = ks_uniform(each.flatten())
            found.append(Score(table, row, column.replace("PIT", "PIT-KS"), ks, n=len(date)))
        else:
            found.append(_score(table, row, column, mean_interval, each, date, block))
    return found


def frequent_types(events: Sequence[Event]) -> list[str]:
    """Types with events on at least ``LEAST`` dates, the most frequent first."""
    dated = {(e.type, e.date) for e in events}
    count = {kind: sum(t == kind for t, _ in dated) for kind, _ in sorted(dated)}
    return sorted((k for k, n in count.items() if n >= LEAST), key=lambda k: (-count[k], k))


def scores_of(
    forecast: Forecaster, asked: Occasions, usual: Occasions
) -> Mapping[str, Float64[Tensor, " n"]]:
    """Scores of every occasion, lower is better but for coverage.

    What can be seen of the bars is known; what regime was behind them is known as a label, whose
    draws stand for it.
    """
    told = forecast(asked, usual)
    unit = usual.observed(usual.returns).std(0)
    truth = asked.observed(asked.returns) / unit
    g = torch.Generator().manual_seed(derive_seed("followed", "labels"))
    noise = torch.randn(len(asked), _LABELS, 2, generator=g, dtype=torch.float64)
    centre, sd = units_of(asked.contexts)
    labels = (asked.loc[:, None, :2] + asked.scale[:, None, :2] * noise - centre[:, None]) / (
        sd[:, None]
    )
    found = {
        "energy, bars": expected_energy(told.bars, truth[:, None]),
        "energy, regime": expected_energy(told.regime, labels),
    }
    for j, field in enumerate(SEEN):
        found[f"CRPS {field}"] = crps(told.bars[..., j], truth[:, j])
        found[f"PIT {field}"] = pit(told.bars[..., j], truth[:, j], g)
        for level in LEVELS:
            hits = covered(told.bars[..., j], truth[:, j], level)
            found[f"cover {100 * level:.0f} %, {field}"] = hits
    for j, field in enumerate(MEANT):
        values, points = told.regime[..., j].sort(dim=1).values, labels[..., j].contiguous()
        place = torch.searchsorted(values.contiguous(), points) / values.shape[1]
        found[f"PIT {field}"] = place.double()
        for level in LEVELS:
            hits = ((place - 0.5).abs() <= level / 2).double().mean(1)
            found[f"cover {100 * level:.0f} %, {field}"] = hits
    return found


def within(date: Tensor, period: str) -> Tensor:
    """Which dates lie in one of ``PERIODS``."""
    end = int(datetime.fromisoformat(f"{FITTED}T23:59:59").replace(tzinfo=UTC).timestamp() * 1e6)
    if period == "all":
        return torch.ones_like(date, dtype=torch.bool)
    return date <= end if period == "to 2011" else date > end


def _block(asked: Occasions) -> int:
    """Three windows [microseconds]: what overlaps is no independent evidence."""
    year = 365.25 * 86_400e6
    return int(3 * asked.returns.shape[1] / float(asked.bars_per_year[0]) * year)


def _score(
    question: str, row: str, column: str, ask: Callable[..., Interval], *what: object
) -> Score:
    """A mean or a skill with the error of a block bootstrap; none where time is too short."""
    first = what[0]
    assert isinstance(first, Tensor)
    try:
        found = ask(*what, generator=torch.Generator().manual_seed(0))
        told = Measured.of(found.value, (found.high - found.low) / (2 * _Z95))
    except UserError:
        told = Measured(float(first.mean()), None, "too short a time for an error")
    return measured_score(question, row, column, told, len(first))
