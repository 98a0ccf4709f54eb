"""Calibration of forecasts as a ``torchmetrics.Metric`` over the pure functions."""

from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from parfait.metrics.functional.calibration import (
    LEVELS,
    covered,
    crps,
    ks_uniform,
    mean_interval,
    pit,
    skill,
)
from parfait.utils.errors import UserError


class ForecastCalibration(Metric):
    """CRPS, coverage of 50, 80 and 90 % and PIT of samples; skill where a rival's are given.

    ``compute`` gives ``crps``, ``cover_50``, ``cover_80``, ``cover_90`` with ``cover_90_low`` and
    ``cover_90_high``, ``pit_ks``, ``n``; with a rival also ``skill``, ``skill_low``,
    ``skill_high``.

    Args:
        block: stretch of time of the bootstrap, in the unit of the dates, at least three horizons.
        draws, level: of the intervals.
        seed: of the bootstrap and of randomised ties.
    """

    full_state_update = False
    forecast: list[Tensor]
    score: list[Tensor]
    rival: list[Tensor]
    hits: list[Tensor]
    rank: list[Tensor]
    date: list[Tensor]

    def __init__(
        self, block: int, *, draws: int = 1000, level: float = 0.95, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.block, self.draws, self.level, self.seed = block, draws, level, seed
        for name in ("forecast", "score", "rival", "hits", "rank", "date"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        forecast: Int64[Tensor, " forecasts"],
        samples: Float64[Tensor, "forecasts paths"],
        truth: Float64[Tensor, " forecasts"],
        date: Int64[Tensor, " forecasts"],
        rival: Float64[Tensor, "forecasts others"] | None = None,
    ) -> None:
        """Scores a batch; ``forecast`` ids are unique, and decide order and random ties."""
        self.forecast.append(forecast)
        self.date.append(date)
        self.score.append(crps(samples, truth))
        other = torch.full_like(truth, torch.nan) if rival is None else crps(rival, truth)
        self.rival.append(other)
        hits = [covered(samples, truth, level) for level in LEVELS]
        self.hits.append(torch.stack(hits, dim=1))
        ranks = []
        for k, number in enumerate(forecast.tolist()):
            own = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
            ranks.append(pit(samples[k : k + 1], truth[k : k + 1], own))
        self.rank.append(torch.cat(ranks))

    def compute(self) -> dict[str, Tensor]:
        """The scores; a rival given for some batches only raises ``UserError``."""
        order = torch.argsort(_joined(self.forecast), stable=True)
        score, rival, hits, rank, date = (
            _joined(state)[order]
            for state in (self.score, self.rival, self.hits, self.rank, self.date)
        )
        how: dict[str, Any] = {"draws": self.draws, "level": self.level}

        def stream() -> torch.Generator:
            return torch.Generator().manual_seed(self.seed)

        cover = mean_interval(hits[:, -1], date, self.block, **how, generator=stream())
        found = {"crps": float(score.mean()), "pit_ks": ks_uniform(rank), "n": float(len(score))}
        for j, level in enumerate(LEVELS):
            found[f"cover_{round(100 * level)}"] = float(hits[:, j].mean())
        found |= {"cover_90_low": cover.low, "cover_90_high": cover.high}
        known = torch.isfinite(rival)
        if bool(known.any()):
            if not bool(known.all()):
                raise UserError("ForecastCalibration: a rival was given for some batches only")
            better = skill(score, rival, date, self.block, **how, generator=stream())
            found |= {
                "skill": better.value,
                "skill_low": better.low,
                "skill_high": better.high,
            }
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """A list state; after a sync between ranks it is one tensor already."""
    return torch.cat(state) if isinstance(state, list) else state
