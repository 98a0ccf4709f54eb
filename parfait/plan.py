"""What all paths of a run share: histories, their markets, and what was read of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from parfait.correlation import Given as Asked
from parfait.correlation import Request, joint_request
from parfait.data.embedded import fingerprint
from parfait.draft import (
    Progress,
    Settings,
    Sources,
    plain_options,
    read_source,
    source_of_each,
)
from parfait.histories import Assets, Given, load_histories, market_contexts
from parfait.history import History
from parfait.likeness import Like
from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import Reader
from parfait.utils.timing import Stopwatch


@dataclass(frozen=True, eq=False)
class Plan:
    """A run before its first random number; ``Pipeline.draw`` carries it out.

    Args:
        settings: sizes, seed and how guides are anchored.
        pasts, contexts, readings: history, present market and scenarios of every asset.
        joint: correlation of several; ``None`` for one.
        estimated: that correlation is the histories' own.
        notes: sentences on what the histories do not share.
        seconds: wall time spent so far, by stage.
    """

    settings: Settings
    pasts: tuple[History, ...]
    contexts: tuple[MarketContext, ...]
    readings: tuple[RegimeDistribution, ...]
    joint: Request | None
    estimated: bool
    notes: tuple[str, ...]
    seconds: dict[str, float]

    @classmethod
    def make(
        cls,
        reader: Reader,
        source: Sources,
        history: Given,
        *,
        asset: Assets,
        correlation: Asked,
        bars_per_year: float | None,
        history_options: Mapping[str, Any] | None,
        progress: Progress,
        **sizes: Any,
    ) -> "Plan":
        """Loads the histories and reads the source for each; see ``Pipeline.run``.

        Args:
            sizes: the fields of ``Settings`` that are not taken from the other arguments.

        Raises:
            UserError: whatever in the arguments cannot be used, in one sentence.
        """
        settings = Settings(
            instruction=source if isinstance(source, str) else None,
            bars_per_year=bars_per_year,
            history_options=plain_options(history_options),
            **sizes,
        )
        clock = Stopwatch()
        with clock("history"):
            pasts = load_histories(history, history_options)
            settings.check_assets(len(pasts))
            contexts, notes = market_contexts(pasts, bars_per_year, asset)
            like = source if isinstance(source, Like) else None
            stretches = like.stretches(pasts) if like else []
            together = like.correlated(stretches) if like and len(pasts) > 1 else None
            joint = joint_request(correlation, together or pasts)
        with clock("read"):
            if isinstance(source, Like):
                readings = tuple(source.read(stretches, contexts))
            else:
                pairs = zip(source_of_each(source, pasts), contexts, strict=True)
                readings = tuple(read_source(reader, *pair) for pair in pairs)
            progress("read", 1, 1)
        shared = (joint, correlation is None, tuple(notes), clock.seconds)
        return cls(settings, tuple(pasts), tuple(contexts), readings, *shared)

    def sized(self, n_paths: int, seed: int) -> "Plan":
        """The same run with another number of paths and another seed."""
        return replace(self, settings=replace(self.settings, n_paths=n_paths, seed=seed))

    def describe(self) -> dict[str, Any]:
        """What decides about the paths but their number and seed, as plain data."""
        settings = self.settings
        return {
            "horizon": settings.horizon,
            "guide_every": settings.guide_every,
            "jump_sigmas": settings.jump_sigmas,
            "histories": [fingerprint({past.symbol: past.bars}) for past in self.pasts],
            "markets": [asdict(context) for context in self.contexts],
            "readings": [reading.to_dict() for reading in self.readings],
        }
