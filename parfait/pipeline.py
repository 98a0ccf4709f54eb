"""``Pipeline``: a sentence in, obedient OHLCV bars out."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.bars import bars_to_tensor
from parfait.basket import Basket
from parfait.checks import Outcomes, alignment, horizon_variance
from parfait.conditions import Outcome
from parfait.correlation import Given as Asked
from parfait.draft import (
    BATCH,
    Draft,
    Progress,
    Settings,
    Sources,
    derive_generator,
    differences,
    plain_options,
    unsure,
    whole_batches,
)
from parfait.guides import draw_outcomes, left_out, make_guides, strange_guides
from parfait.histories import Assets, Given
from parfait.microstructure import Microstructure, Mix
from parfait.microstructure.generate import DEFAULT_SAMPLER, MICRO_BATCH
from parfait.plan import Plan
from parfait.regime import Regime
from parfait.sde import MODES, Guide, Mode, Process, SdeWarning, load_process
from parfait.semantic import Reader, load_reader
from parfait.simulation import Simulation
from parfait.tables import bars_table, check_tables, guides_table
from parfait.utils.errors import UserError
from parfait.utils.timing import Stopwatch

Bars = Float64[Tensor, "paths steps 5"]
KEPT_HISTORY = 250  # bars of history that a Simulation carries for its figures


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
        semantic_options: options of the reader, such as ``run``, told with every result.
        trained: folder of the training run of ``microstructure``; ``None`` for what ships.

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
    semantic_options: Mapping[str, Any] = field(default_factory=dict)
    trained: str | None = None

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
            semantic_options=dict(semantic_options or {}),
            trained=None if run is None else str(run),
        )

    def run(
        self,
        source: Sources,
        history: Given = None,
        *,
        n_paths: int = 100,
        horizon: int = 20,
        seed: int = 0,
        asset: Assets = None,
        correlation: Asked = None,
        bars_per_year: float | None = None,
        guide_every: int = 4,
        jump_sigmas: float = 3.0,
        batch_size: int = BATCH,
        history_options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Simulation | Basket:
        """Reads the source, draws regimes, samples their guide curves and dresses them as bars.

        The randomness of every stage comes from (seed, stage), so the guides do not change with
        the sampler or the trained model, nor the bars with ``batch_size``.

        One history gives a ``Simulation``, several give a ``Basket``: the source is read for each
        with its own asset class and present market, path i is in the same scenario in all of them,
        and their bars are correlated.

        Args:
            source: a sentence, a ``Like`` (a stretch of history), an (edited)
                ``RegimeDistribution``, a ``Schedule`` of single regimes, or one ``Regime``; for
                several histories also a mapping of symbols to any of the last three.
            history: bars to continue: a polars frame, a file, or ``None`` for the embedded S&P 500.
                Several: a mapping of symbols to frames or files, a list of files or a folder of
                them (each file's stem is its symbol), or a frame or file with a column ``symbol``.
            n_paths: number of paths.
            horizon: bars per path.
            seed: any integer.
            asset: asset class of the history; ``None`` lets the sentence decide. For several
                histories one class or a mapping of symbols to classes; a symbol without one is
                looked up by its name.
            correlation: of the bar log returns of several histories: a number, a matrix, a mapping
                of pairs or a CSV file; ``None`` estimates it from their common bars, those of the
                stretch where ``source`` is one. See
                ``parfait.correlation.read_correlation``.
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
        report = progress or (lambda stage, done, total: None)
        plan = Plan.make(
            self.reader,
            source,
            history,
            n_paths=n_paths,
            horizon=horizon,
            seed=seed,
            asset=asset,
            correlation=correlation,
            bars_per_year=bars_per_year,
            guide_every=guide_every,
            jump_sigmas=jump_sigmas,
            batch_size=batch_size,
            history_options=history_options,
            progress=report,
        )
        return self.draw(plan, report)

    def draw(
        self, plan: Plan, progress: Progress, known: Bars | None = None
    ) -> Simulation | Basket:
        """Carries out a plan.

        Args:
            plan: what is to be drawn.
            progress: called with (stage, done, total).
            known: the bars of the only asset, where they were generated before; all that explains
                them is made anew.

        Raises:
            UserError: the plan cannot be carried out, in one sentence.
        """
        settings, pasts, joint = plan.settings, plan.pasts, plan.joint
        clock = Stopwatch()
        clock.seconds |= plan.seconds
        with clock("guide"):
            drafts = [
                Draft.draw(*each, settings, has_variance=self.process.has_variance)
                for each in zip(pasts, plan.contexts, plan.readings, strict=True)
            ]
            how: dict[str, Any] = {"make": self._process, "mode": self.condition}
            outcomes, noise, missed = draw_outcomes(drafts, settings, joint, **how)
            guides = make_guides(drafts, outcomes, settings)
            progress("guide", 1, 1)
        bars = [] if known is None else [known]
        with clock("bars"):
            parts = zip(drafts, outcomes, guides, strict=True)
            for k, (draft, outcome, (guide, _)) in enumerate(() if bars else parts):
                mix = None if noise is None else Mix(noise, k)
                tell = partial(_tell, progress, k, len(drafts))
                bars.append(self._bars(draft, guide, outcome.regime, settings, mix, tell))
        with clock("checks"):
            made = [
                self._simulation(draft, outcome, *guided, b, settings, clock.seconds)
                for draft, outcome, guided, b in zip(drafts, outcomes, guides, bars, strict=True)
            ]
        if joint is None:
            return made[0]
        symbols = [past.symbol for past in pasts]
        said = (*joint.notes, *missed, *plan.notes, *differences(drafts, settings.horizon))
        by_symbol = dict(zip(symbols, made, strict=True))
        return Basket(by_symbol, joint.asked, plan.estimated, said)

    def _process(self, regime: Regime) -> Process:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SdeWarning)  # said once, for the scenarios: left_out
            return self.process.from_regime(regime, **self.sde_options)

    def _bars(
        self,
        draft: Draft,
        guide: Guide,
        regime: Regime,
        settings: Settings,
        mix: Mix | None,
        tell: Callable[[int, int], None],
    ) -> Bars:
        """Bars of all paths, a batch at a time; path i has a stream of its own in every batch."""
        history = bars_to_tensor(draft.past.bars.tail(self.microstructure.history_length + 1))
        paths = guide.level.shape[0]
        group = whole_batches(settings.batch_size, MICRO_BATCH)
        parts = []
        tell(0, paths)
        for start in range(0, paths, group):
            rows = slice(start, min(start + group, paths))
            parts.append(
                self.microstructure.generate(
                    history,
                    Guide(guide.level[rows], guide.anchored[rows]),
                    regime[..., rows],
                    bars_per_year=draft.bars_per_year,
                    generator=derive_generator(settings.seed, "bars"),
                    sampler=self.sampler,
                    steps=self.sampler_steps,
                    first_path=start,
                    mix=mix,
                )
            )
            tell(rows.stop, paths)
        return torch.cat(parts)

    def _simulation(
        self,
        draft: Draft,
        outcome: Outcome,
        guide: Guide,
        notes: Sequence[str],
        bars: Bars,
        settings: Settings,
        seconds: dict[str, float],
    ) -> Simulation:
        """The tables of one asset, checked, with everything that explains them."""
        past, scenarios, index, regime = draft.past, draft.scenarios, draft.index, outcome.regime
        frequency = draft.bars_per_year
        table = bars_table(bars, index, draft.times(settings.horizon))
        guides = guides_table(guide)
        read = {} if settings.instruction is None else self.semantic_options
        years = settings.horizon / frequency
        variance = horizon_variance(regime, years, jumps=self.process.has_jumps)
        outcomes = Outcomes.of(bars, past.last_close, regime, variance, frequency)
        said = [
            *scenarios.warnings,
            *unsure(scenarios),
            *past.remarks(self.microstructure.history_length, scenarios.asset_class),
            *left_out(partial(self.process.from_regime, **self.sde_options), scenarios),
            *outcome.notes,
            *notes,
            *strange_guides(self.microstructure, draft, guide, regime),
        ]
        return Simulation(
            instruction=settings.instruction,
            bars=table,
            guides=guides,
            scenarios=scenarios,
            resolved=draft.resolved,
            regime=regime,
            history=past.bars.tail(KEPT_HISTORY),
            history_name=past.name,
            history_source=past.source,
            symbol=past.label,
            history_options=settings.history_options,
            spot=past.last_close,
            asset=draft.context.asset_class,
            seed=settings.seed,
            n_paths=settings.n_paths,
            horizon=settings.horizon,
            bars_per_year=frequency,
            frequency_given=settings.bars_per_year is not None,
            sde=self.sde,
            sde_options=plain_options(self.sde_options),
            semantic_options=plain_options(read),
            condition=self.condition,
            imposed=outcome.imposed,
            sampler=self.sampler,
            sampler_steps=self.sampler_steps,
            guide_every=settings.guide_every,
            jump_sigmas=settings.jump_sigmas,
            trained=self.trained,
            model=self.microstructure.fingerprint,
            warnings=tuple(dict.fromkeys(said)),
            checks=check_tables(table, guides),
            alignment=tuple(alignment(outcomes, index, years)),
            outcomes=outcomes,
            risk=outcomes.risk,
            seconds=seconds,
        )


def _tell(report: Progress, asset: int, assets: int, done: int, paths: int) -> None:
    report("bars", asset * paths + done, assets * paths)
