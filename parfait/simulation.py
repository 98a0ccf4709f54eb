"""``Simulation``: the result of one run, its tables and its files."""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from parfait import __version__
from parfait.checks import Alignment, Outcomes
from parfait.conditions import Imposed
from parfait.courses import phase_sentences
from parfait.likeness import like_summary
from parfait.microstructure.ticks import TickModel, write_ticks
from parfait.regime import FIELD_NAMES, Component, Phase, Regime, RegimeDistribution
from parfait.regime.component import marginal
from parfait.regime.records import Z_90
from parfait.utils.files import json_bytes, parquet_bytes, write_files


@dataclass(frozen=True)
class Whole:
    """The streamed run whose first part a ``Simulation`` holds.

    Args:
        counts: its paths by scenario.
        part_paths: paths of a part.
    """

    counts: tuple[int, ...]
    part_paths: int

    @property
    def n_paths(self) -> int:
        """All of its paths."""
        return sum(self.counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """Generated bars with everything that explains them.

    Args:
        instruction: the sentence; ``None`` when regimes were given instead.
        bars: path i32, scenario i32, step i32 (0 = first generated bar), then ``BAR_COLUMNS``.
        guides: path i32, step i32, anchored, guide; at anchored steps ``close`` equals ``guide``.
        scenarios: the distribution as it was read; editable, ``Pipeline.run`` takes it back.
        resolved: the same, started at the present volatility; what the paths were drawn from.
        regime: the drawn regimes, shape (n_paths,), or (horizon, n_paths) where scenarios have
            phases.
        history: the bars that the paths continue (the most recent ones).
        history_name: where they come from, for a person.
        history_source: the file they were read from; ``None`` for a frame or the embedded series.
        symbol: what a portfolio calls the series.
        spot: last close of the history, S_0.
        warnings: sentences for the user, the most important first.
        alignment: regime fields asked for and found, per scenario and in all.
        outcomes: of every path, what checks and risk were made from.
        seconds: wall time by stage.
        frequency_given: ``bars_per_year`` was given, not estimated from the history.
        condition: how conditions are imposed; ``imposed`` are those that were.
        sde_options, history_options: of the process, and of the reader of the file.
        semantic_options: of the reader of the sentence; empty where regimes were given.
        trained: folder of the network's training run; ``None`` for the one that ships.
        model: fingerprint of the network's weights.
        tick_model: how bars become ticks; ``None`` writes none.
        whole: the streamed run that warnings, checks, alignment, outcomes and risk are of, where
            the tables are only its first part.
    """

    instruction: str | None
    bars: pl.DataFrame
    guides: pl.DataFrame
    scenarios: RegimeDistribution
    resolved: RegimeDistribution
    regime: Regime
    history: pl.DataFrame
    history_name: str
    history_source: str | None
    spot: float
    asset: str | None
    seed: int
    n_paths: int
    horizon: int
    bars_per_year: float
    sde: str
    sampler: str
    sampler_steps: int | None
    guide_every: int
    jump_sigmas: float
    model: str
    warnings: tuple[str, ...]
    checks: dict[str, float]
    alignment: tuple[Alignment, ...]
    outcomes: Outcomes
    risk: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    condition: str = "pinned"
    imposed: tuple[Imposed, ...] = ()
    sde_options: dict[str, Any] = field(default_factory=dict)
    history_options: dict[str, Any] = field(default_factory=dict)
    semantic_options: dict[str, Any] = field(default_factory=dict)
    trained: str | None = None
    tick_model: TickModel | None = None
    whole: Whole | None = None
    symbol: str = "history"
    frequency_given: bool = False

    @property
    def heading(self) -> str | None:
        """The sentence, or the stretch of history in its place."""
        like = like_summary(self.scenarios).get("like")
        return f"Like {like['like']}" if like else self.instruction

    @property
    def total_paths(self) -> int:
        """Paths of the run, of which the tables hold ``n_paths``."""
        return self.n_paths if self.whole is None else self.whole.n_paths

    @property
    def counts(self) -> tuple[int, ...]:
        """Paths of the run by scenario."""
        if self.whole is not None:
            return self.whole.counts
        index = torch.tensor(self.scenario_of_path)
        return tuple(torch.bincount(index, minlength=len(self.resolved.components)).tolist())

    @property
    def scenario_of_path(self) -> list[int]:
        """Scenario index of every path."""
        return self.bars.filter(pl.col("step") == 0)["scenario"].to_list()

    def column(self, name: str) -> Tensor:
        """One column of ``bars`` as (n_paths, horizon) float64."""
        return torch.from_numpy(
            self.bars[name].cast(pl.Float64).to_numpy().reshape(self.n_paths, -1).copy()
        )

    def log_returns(self) -> Tensor:
        """ln of each close over the one before it, the first over ``spot``: (n_paths, horizon)."""
        close = self.column("close").log()
        return close.diff(dim=1, prepend=torch.full_like(close[:, :1], math.log(self.spot)))

    def scenarios_table(self) -> list[dict[str, Any]]:
        """A record per scenario, as in ``scenarios.json``: centre and 90 % interval by field, and
        the targets (``conditions``) and later ``phases`` where there are some.
        """
        weights = self.resolved.weights.tolist()
        return [
            {
                "name": c.name,
                "probability": weight,
                "n_paths": count,
                "rationale": c.rationale,
                "asset_class": self.scenarios.asset_class,
                "params": c.regime.to_dict(),
                "interval": _interval(c),
                **_later(c),
            }
            for c, weight, count in zip(self.resolved.components, weights, self.counts, strict=True)
        ]

    def phases_of(self, scenario: int) -> list[str]:
        """The later phases of a scenario in short, a line each."""
        timestamps = self.bars["timestamp"].head(self.horizon).to_list()
        return phase_sentences(self.resolved.components[scenario], self.bars_per_year, timestamps)

    def summary(self) -> dict[str, Any]:
        """Plain data, as in ``summary.json``; what is not known is ``None``.

        Holds what made the run: ``history`` as it was
        given (the name of the series for a frame or the embedded one), ``horizon_end`` the time of
        the last generated bar, ``sampler_steps`` ``None`` for the solver's own default, ``model``
        the fingerprint of the weights, ``version`` that of Parfait.
        """
        return {
            "instruction": self.instruction,
            "semantic": self.scenarios.source,
            "semantic_options": self.semantic_options,
            **like_summary(self.scenarios),
            "confidence": self.scenarios.confidence,
            "overrides": [asdict(o) for o in self.scenarios.overrides],
            "warnings": list(self.warnings),
            "seed": self.seed,
            "n_paths": self.total_paths,
            "horizon": self.horizon,
            "bars_per_year": self.bars_per_year,
            "sde": self.sde,
            "sde_options": self.sde_options,
            "condition": self.condition,
            "conditions": [c.to_dict() for c in self.imposed],
            "asset": self.asset,
            "history": self.history_source or self.history_name,
            "history_options": self.history_options,
            "spot": self.spot,
            "horizon_end": max(self.bars["timestamp"]).isoformat(),
            "sampler": self.sampler,
            "sampler_steps": self.sampler_steps,
            "guide": {"every": self.guide_every, "jump_sigmas": self.jump_sigmas},
            "run": self.trained,
            "model": self.model,
            **self.tick_summary(),
            "version": __version__,
            "checks": self.all_checks(),
            "risk": self.risk,
            "seconds": self.seconds,
        }

    def own_summary(self) -> dict[str, Any]:
        """What one of several assets does not share with the others."""
        shared = self.summary()
        names = ("asset", "history", "spot", "horizon_end", "confidence", "overrides")
        names = (*names, "conditions", "checks", "risk")
        told = {name: shared[name] for name in names} | like_summary(self.scenarios)
        return told | self.tick_summary()

    def tick_summary(self) -> dict[str, Any]:
        """What the ticks are made of, under ``ticks``; nothing without them."""
        model = self.tick_model
        return {} if model is None else {"ticks": model.describe(self.bars)}

    def with_ticks(self, *, symbol: str = "", **options: Any) -> "Simulation":
        """The same simulation, which also writes ticks.

        Args:
            symbol: of the asset, where there are several.
            options: of ``TickModel.of``, beside ``history`` and ``seed``.

        Raises:
            UserError: an option outside its bounds, or bars without an intraday session.
        """
        known = {"history": self.history, "seed": self.seed, "symbol": symbol}
        return replace(self, tick_model=TickModel.of(self.bars, **known, **options))

    def ticks(self, path: int | None = None, **options: Any) -> pl.DataFrame:
        """The generated bars refined into trades, columns ``TICK_COLUMNS``; see ``refine_ticks``.

        Args:
            path: only that one; ``None`` is all of them, in memory.
            options: of ``with_ticks``; without any those of this simulation, if it has some.

        Raises:
            UserError: an option outside its bounds, or bars without an intraday session.
        """
        model = self.tick_model
        if model is None or options:
            model = self.with_ticks(**options).tick_model
        assert model is not None
        return model.table(self.bars if path is None else self.bars.filter(pl.col("path") == path))

    def all_checks(self) -> dict[str, Any]:
        """The checks with what was asked for and found over all paths."""
        overall = {
            a.field: {"requested": a.requested, "recovered": a.recovered}
            for a in self.alignment
            if a.scenario is None
        }
        return {**self.checks, "alignment": overall}

    def save(self, folder: str | Path) -> list[Path]:
        """Writes paths.parquet, guides.parquet, scenarios.json, summary.json, and ticks.parquet
        where there is a ``tick_model``; returns their paths.

        Each file is written beside its place and renamed, so no reader ever sees half of one.

        Raises:
            UserError: the folder cannot be made or written.
        """
        written = write_files(
            folder,
            {
                "paths.parquet": parquet_bytes(self.bars),
                "guides.parquet": parquet_bytes(self.guides),
                "scenarios.json": json_bytes(self.scenarios_table()),
                "summary.json": json_bytes(self.summary()),
            },
        )
        if self.tick_model is not None:
            written.append(write_ticks(folder, {"": (self.tick_model, self.bars)}))
        return written


def _interval(of: Component | Phase) -> dict[str, list[float]]:
    """The central 90 % of every field."""
    return {name: [marginal(name, of, -Z_90), marginal(name, of, Z_90)] for name in FIELD_NAMES}


def _later(component: Component) -> dict[str, Any]:
    """Targets and phases, where there are some."""
    found = {
        "conditions": [asdict(c) for c in component.conditions],
        "phases": [
            {
                "after": p.after,
                "name": p.name,
                "params": p.regime.to_dict(),
                "interval": _interval(p),
            }
            for p in component.phases
        ],
    }
    return {key: rows for key, rows in found.items() if rows}
