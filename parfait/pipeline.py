"""``Pipeline``: a sentence in, obedient OHLCV bars out."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.bars import bars_to_tensor, future_timestamps
from parfait.checks import alignment, horizon_variance, risk_measures
from parfait.conditions import Outcome, farthest, impose
from parfait.courses import draw_course, scenarios_of
from parfait.history import History
from parfait.microstructure import Microstructure
from parfait.microstructure.generate import DEFAULT_SAMPLER, MICRO_BATCH
from parfait.regime import MarketContext, Regime, RegimeDistribution
from parfait.sde import MODES, Guide, Mode, Process, Schedule, SdeWarning, load_process
from parfait.semantic import UNSURE_BELOW, Reader, load_reader
from parfait.simulation import Simulation, bars_table, check_tables, guides_table
from parfait.targets import LARGEST
from parfait.utils.errors import UserError
from parfait.utils.seeding import derive_seed
from parfait.utils.timing import Stopwatch

KEPT_HISTORY = 250  # bars of history that a Simulation carries for its figures
MAX_BARS = 10_000_000  # n_paths * horizon: a table of 700 MB, and several copies on the way
BATCH = 256  # paths generated at a time

Progress = Callable[[str, int, int], None]
Source = str | RegimeDistribution | Schedule | Regime


def derive_generator(seed: int, purpose: str) -> torch.Generator:
    """A generator that depends on the seed and on what it is for, and on nothing else.

    Drawing more in one stage so never shifts another.
    """
    return torch.Generator().manual_seed(derive_seed(seed, purpose))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """The three layers, loaded once and used many times.

    Args:
        reader: sentence -> regimes.
        process: the stochastic process, made per run from the drawn regimes.
        microstructure: guide and history -> bars.
        sde: name of the process.
        sde_options: options of the process, such as ``compensate``.
        condition: how targets of the sentence are imposed: ``pinned`` (every path meets them),
            ``conditional`` (and is weighed by its likelihood) or ``rejection`` (found by search).
        sampler: solver of the diffusion.
        sampler_steps: its number of steps; ``None`` for the solver's own default.

    Raises:
        UserError: ``condition`` is none of the three.
    """

    reader: Reader
    process: type[Process]
    microstructure: Microstructure
    sde: str = "regime"
    sde_options: Mapping[str, Any] = field(default_factory=dict)
    condition: Mode = "pinned"
    sampler: str = DEFAULT_SAMPLER
    sampler_steps: int | None = None

    def __post_init__(self) -> None:
        if self.condition not in MODES:
            raise UserError(
                f"sde.condition={self.condition} is unknown; use one of {', '.join(MODES)}"
            )

    @classmethod
    def load(
        cls,
        run: str | Path | None = None,
        *,
        semantic: str = "ontology",
        semantic_options: Mapping[str, Any] | None = None,
        sde: str = "regime",
        sde_options: Mapping[str, Any] | None = None,
        condition: Mode = "pinned",
        sampler: str = DEFAULT_SAMPLER,
        sampler_steps: int | None = None,
    ) -> "Pipeline":
        """Loads the layers.

        Args:
            run: folder of a training run; ``None`` is the model that ships with Parfait.
            semantic, semantic_options: name and options of the reader.
            sde, sde_options: name and options of the process.
            condition: ``pinned``, ``conditional`` or ``rejection``.
            sampler, sampler_steps: solver of the diffusion and its number of steps.

        Raises:
            UserError: an unknown reader or process, or a run that holds no usable model.
        """
        return cls(
            reader=load_reader(semantic, **(semantic_options or {})),
            process=load_process(sde),
            microstructure=Microstructure.load(run),
            sde=sde,
            sde_options=dict(sde_options or {}),
            condition=condition,
            sampler=sampler,
            sampler_steps=sampler_steps,
        )

    def run(
        self,
        source: Source,
        history: pl.DataFrame | str | Path | None = None,
        *,
        n_paths: int = 100,
        horizon: int = 20,
        seed: int = 0,
        asset: str | None = None,
        bars_per_year: float | None = None,
        guide_every: int = 4,
        jump_sigmas: float = 3.0,
        batch_size: int = BATCH,
        history_options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Simulation:
        """Reads the source, draws regimes, samples their guide curves and dresses them as bars.

        The randomness of every stage comes from (seed, stage), so the guides do not change with
        the sampler or the trained model, nor the bars with ``batch_size``.

        Args:
            source: a sentence, an (edited) ``RegimeDistribution``, a ``Schedule`` of single
                regimes, or one ``Regime``.
            history: bars to continue: a polars frame, a file, or ``None`` for the embedded S&P 500.
            n_paths: number of paths.
            horizon: bars per path.
            seed: any integer.
            asset: asset class of the history; ``None`` lets the sentence decide.
            bars_per_year: bar frequency; estimated from the timestamps unless given.
            guide_every: closes equal the guide at every so many bars, and at the last.
            jump_sigmas: a bar that jumps by more standard deviations than this is anchored too.
            batch_size: paths generated at a time, which bounds memory; rounded up to whole batches
                of the network.
            history_options: options of ``parfait.data.load_bars`` for a file.
            progress: called with (stage, done, total).

        Raises:
            UserError: whatever in the arguments cannot be used, in one sentence.
        """
        _check_sizes(n_paths, horizon, batch_size)
        report = progress or (lambda stage, done, total: None)
        clock = Stopwatch()
        with clock("history"):
            past = History.load(history, history_options)
            context = past.context(bars_per_year, asset)
        frequency = context.bars_per_year
        assert frequency is not None
        with clock("read"):
            scenarios = self._read(source, context)
            report("read", 1, 1)
        with clock("guide"):
            resolved = scenarios
            if context.volatility is not None:
                resolved = scenarios.resolve(context.volatility)
            index = resolved.allocate(n_paths, derive_generator(seed, "scenarios"))
            generator = derive_generator(seed, "regimes")
            reach = farthest(
                resolved,
                mode=self.condition,
                spot=past.last_close,
                horizon=horizon,
                bars_per_year=frequency,
                most=LARGEST,
            )
            has_variance = self.process.has_variance
            regime = draw_course(
                resolved, index, reach, frequency, generator, has_variance=has_variance
            )
            outcome = self._outcome(
                resolved, index, regime, past.last_close, horizon, frequency, seed
            )
            guide, notes = outcome.guide(past.last_close, guide_every, jump_sigmas, frequency)
            regime = outcome.regime
            report("guide", 1, 1)
        with clock("bars"):
            bars = self._bars(past, guide, regime, frequency, seed, batch_size, report)
        with clock("checks"):
            table = bars_table(bars, index, future_timestamps(past.bars["timestamp"], horizon))
            guides = guides_table(guide)
            years = horizon / frequency
            variance = horizon_variance(regime, years, jumps=self.process.has_jumps)
            found = alignment(bars, past.last_close, regime, variance, index, frequency)
            checks = check_tables(table, guides)
            risk = risk_measures(bars[..., 3], past.last_close)
        said = [
            *scenarios.warnings,
            *_unsure(scenarios),
            *past.remarks(self.microstructure.history_length, scenarios.asset_class),
            *self._left_out(scenarios),
            *outcome.notes,
            *notes,
        ]
        return Simulation(
            instruction=source if isinstance(source, str) else None,
            bars=table,
            guides=guides,
            scenarios=scenarios,
            resolved=resolved,
            regime=regime,
            history=past.bars.tail(KEPT_HISTORY),
            history_name=past.name,
            history_source=str(history) if isinstance(history, str | Path) else None,
            spot=past.last_close,
            asset=asset,
            seed=seed,
            n_paths=n_paths,
            horizon=horizon,
            bars_per_year=frequency,
            sde=self.sde,
            condition=self.condition,
            imposed=outcome.imposed,
            sampler=self.sampler,
            sampler_steps=self.sampler_steps,
            guide_every=guide_every,
            jump_sigmas=jump_sigmas,
            model=self.microstructure.fingerprint,
            warnings=tuple(dict.fromkeys(said)),
            checks=checks,
            alignment=tuple(found),
            risk=risk,
            seconds=clock.seconds,
        )

    def _read(self, source: Source, context: MarketContext) -> RegimeDistribution:
        if isinstance(source, str):
            return self.reader.read(source, context)
        if isinstance(source, RegimeDistribution):
            return source
        if isinstance(source, Schedule):
            return scenarios_of(source)
        if not isinstance(source, Regime):
            raise UserError(
                "Pipeline.run takes a sentence, a RegimeDistribution, a Schedule or a Regime, "
                f"not {type(source).__name__}"
            )
        if source.shape:
            raise UserError(
                f"a batch of regimes of shape {source.shape} was given; give one Regime, "
                "or a RegimeDistribution with a scenario for each"
            )
        return RegimeDistribution.single(source)

    def _outcome(
        self,
        scenarios: RegimeDistribution,
        index: Int64[Tensor, " paths"],
        regime: Regime,
        spot: float,
        horizon: int,
        frequency: float,
        seed: int,
    ) -> Outcome:
        """Paths of the process that meet the conditions of their scenarios."""
        return impose(
            scenarios,
            index,
            regime,
            self._process(regime.first(horizon)).sample(
                paths=len(index),
                steps=horizon,
                years=horizon / frequency,
                generator=derive_generator(seed, "sde"),
                dtype=torch.float64,
            ),
            mode=self.condition,
            make=self._process,
            spot=spot,
            bars_per_year=frequency,
            generator=partial(derive_generator, seed),
        )

    def _process(self, regime: Regime) -> Process:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SdeWarning)  # said once, for the scenarios: _left_out
            return self.process.from_regime(regime, **self.sde_options)

    def _left_out(self, scenarios: RegimeDistribution) -> list[str]:
        """Fields of the scenarios that the process cannot express.

        Single draws stray from neutral values by the width of the reading; only a centre that does
        was meant.
        """
        said = []
        for component in scenarios.components:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", SdeWarning)
                for part in (component, *component.phases):
                    self.process.from_regime(part.regime, **self.sde_options)
            said += dict.fromkeys(f"{component.name}: {w.message}." for w in caught)
        return said

    def _bars(
        self,
        past: History,
        guide: Guide,
        regime: Regime,
        frequency: float,
        seed: int,
        batch_size: int,
        report: Progress,
    ) -> Float64[Tensor, "paths steps 5"]:
        """Bars of all paths, a batch at a time; path i has a stream of its own in every batch."""
        history = bars_to_tensor(past.bars.tail(self.microstructure.history_length + 1))
        paths = guide.level.shape[0]
        group = math.ceil(batch_size / MICRO_BATCH) * MICRO_BATCH
        parts = []
        report("bars", 0, paths)
        for start in range(0, paths, group):
            rows = slice(start, min(start + group, paths))
            parts.append(
                self.microstructure.generate(
                    history,
                    Guide(guide.level[rows], guide.anchored[rows]),
                    regime[..., rows],
                    bars_per_year=frequency,
                    generator=derive_generator(seed, "bars"),
                    sampler=self.sampler,
                    steps=self.sampler_steps,
                    first_path=start,
                )
            )
            report("bars", rows.stop, paths)
        return torch.cat(parts)


def _unsure(scenarios: RegimeDistribution) -> list[str]:
    """A sentence when the reader was unsure and did not say so itself."""
    if scenarios.confidence >= UNSURE_BELOW or scenarios.warnings:
        return []
    return [
        f"The reading is unsure (confidence {scenarios.confidence:.2f}); "
        "the scenarios are wide, check them before use."
    ]


def _check_sizes(n_paths: int, horizon: int, batch_size: int) -> None:
    for name, value in (("n_paths", n_paths), ("horizon", horizon), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1")
    if n_paths * horizon > MAX_BARS:
        raise UserError(
            f"n_paths x horizon is {n_paths * horizon:,} bars, above the {MAX_BARS:,} that one run "
            "holds in memory; run several seeds instead"
        )
