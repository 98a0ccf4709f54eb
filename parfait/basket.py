"""``Basket``: the result of one run over several assets, its tables and its files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait import __version__
from parfait.checks import risk_measures
from parfait.correlation import nested, realised_correlation
from parfait.microstructure.ticks import write_ticks
from parfait.regime import RegimeDistribution
from parfait.simulation import Simulation
from parfait.utils.files import json_bytes, parquet_bytes, write_files


@dataclass(frozen=True, eq=False)
class Basket:
    """Generated bars of several assets; path i of one belongs to path i of the others.

    Args:
        simulations: the result for each symbol, in the order of the histories.
        requested: the correlation of bar log returns that was asked for, or estimated.
        estimated: it is that of the histories' common bars.
        notes: sentences about what the assets share and what they do not.
    """

    simulations: dict[str, Simulation]
    requested: Float64[Tensor, "assets assets"]
    estimated: bool = False
    notes: tuple[str, ...] = ()

    def __getitem__(self, symbol: str) -> Simulation:
        return self.simulations[symbol]

    @property
    def symbols(self) -> tuple[str, ...]:
        """In the order of the histories."""
        return tuple(self.simulations)

    @property
    def first(self) -> Simulation:
        """Speaks for what all have in common: sizes, seed, process, sampler, model."""
        return next(iter(self.simulations.values()))

    @property
    def instruction(self) -> str | None:
        """The sentence; ``None`` when regimes were given instead."""
        return self.first.instruction

    @property
    def heading(self) -> str | None:
        """The sentence, or the stretch of history in its place."""
        return self.first.heading

    @property
    def scenarios(self) -> dict[str, RegimeDistribution]:
        """The reading for each symbol; editable, ``Pipeline.run`` takes the mapping back."""
        return {symbol: s.scenarios for symbol, s in self.simulations.items()}

    @cached_property
    def bars(self) -> pl.DataFrame:
        """As ``Simulation.bars``, with a first column ``symbol``."""
        return _stacked({symbol: s.bars for symbol, s in self.simulations.items()})

    @cached_property
    def guides(self) -> pl.DataFrame:
        """As ``Simulation.guides``, with a first column ``symbol``."""
        return _stacked({symbol: s.guides for symbol, s in self.simulations.items()})

    @cached_property
    def realised(self) -> Float64[Tensor, "assets assets"]:
        """Correlation of the bar log returns that were generated, pooled over paths and bars."""
        return realised_correlation([s.log_returns() for s in self.simulations.values()])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What concerns all, then what concerns one, with its symbol."""
        every = [set(s.warnings) for s in self.simulations.values()]
        shared = [w for w in self.first.warnings if all(w in found for found in every)]
        own = [
            f"{symbol}: {warning}"
            for symbol, s in self.simulations.items()
            for warning in s.warnings
            if warning not in shared
        ]
        return tuple(dict.fromkeys([*self.notes, *shared, *own]))

    @cached_property
    def risk(self) -> dict[str, Any]:
        """Of equal sums put into every asset at its last close and held."""
        values = [s.column("close") / s.spot for s in self.simulations.values()]
        return risk_measures(torch.stack(values).mean(0), 1.0)

    def with_ticks(self, **options: Any) -> "Basket":
        """The same basket, which also writes ticks.

        Args:
            options: of ``TickModel.of`` for every asset; ``day`` may be a mapping by symbol.

        Raises:
            UserError: an option outside its bounds, or bars without an intraday session.
        """
        day = options.pop("day", None)
        own = {s: day.get(s) if isinstance(day, Mapping) else day for s in self.symbols}
        made = {
            symbol: s.with_ticks(symbol=symbol, day=own[symbol], **options)
            for symbol, s in self.simulations.items()
        }
        return replace(self, simulations=made)

    def ticks(self, path: int | None = None, **options: Any) -> pl.DataFrame:
        """As ``Simulation.ticks``, with a first column ``symbol``."""
        basket = self.with_ticks(**options) if options else self
        made = basket.simulations.items()
        return _stacked(
            {x: s.ticks(path, symbol=x) if s.tick_model is None else s.ticks(path) for x, s in made}
        )

    def scenarios_table(self) -> list[dict[str, Any]]:
        """A record per symbol and scenario, as in ``scenarios.json``."""
        return [
            {"symbol": symbol, **record}
            for symbol, s in self.simulations.items()
            for record in s.scenarios_table()
        ]

    def summary(self) -> dict[str, Any]:
        """Plain data, as in ``summary.json``: what all share, then each symbol under ``assets``."""
        s = self.first
        every = [one.checks for one in self.simulations.values()]
        return {
            "instruction": self.instruction,
            "semantic": s.scenarios.source,
            "semantic_options": s.semantic_options,
            "warnings": list(self.warnings),
            "symbols": list(self.symbols),
            "correlation": {
                "requested": nested(self.requested, self.symbols),
                "realised": nested(self.realised, self.symbols),
            },
            "seed": s.seed,
            "n_paths": s.n_paths,
            "horizon": s.horizon,
            "bars_per_year": s.bars_per_year,
            "sde": s.sde,
            "sde_options": s.sde_options,
            "condition": s.condition,
            "history_options": s.history_options,
            "sampler": s.sampler,
            "sampler_steps": s.sampler_steps,
            "guide": {"every": s.guide_every, "jump_sigmas": s.jump_sigmas},
            "run": s.trained,
            "model": s.model,
            "version": __version__,
            "checks": {
                "valid_bars": min(c["valid_bars"] for c in every),
                "max_guide_error": max(c["max_guide_error"] for c in every),
            },
            "risk": self.risk,
            "assets": {symbol: one.own_summary() for symbol, one in self.simulations.items()},
            "seconds": s.seconds,
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Writes paths.parquet, guides.parquet, scenarios.json, summary.json, and ticks.parquet
        where the simulations have tick models; returns their paths.

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
        ticks = {
            symbol: (s.tick_model, s.bars)
            for symbol, s in self.simulations.items()
            if s.tick_model is not None
        }
        return [*written, write_ticks(folder, ticks)] if ticks else written


def _stacked(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(
        table.select(pl.lit(symbol).alias("symbol"), pl.all()) for symbol, table in tables.items()
    )
