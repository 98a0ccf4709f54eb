"""``LiveScenarios``: paths that are generated from sentences while an agent trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parfait.envs.market import Market, chances
from parfait.envs.scenarios import of_simulation
from parfait.simulation import Simulation
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

if TYPE_CHECKING:
    from parfait.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveScenarios:
    """A source of fresh paths every so many episodes; running episodes end on the paths they began.

    Args:
        pipeline: what generates.
        sentences: instructions, equally likely, or a mapping of them to how likely they are. The
            ``scenario`` of a path is the index of its sentence.
        every: episodes, of all accounts together, before the paths are generated anew.
        paths: that are generated of each sentence at a time.
        horizon: bars of a path.
        options: further ones of ``Pipeline.run``, such as ``history`` or ``asset``.

    Raises:
        UserError: no sentence, weights that are no chances, or a number outside its bounds.
    """

    pipeline: "Pipeline"
    sentences: Sequence[str] | Mapping[str, float]
    every: int = 1000
    paths: int = 100
    horizon: int = 20
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.sentences, str) or not self.sentences:
            raise UserError("sentences must be a list of instructions, or a mapping to weights")
        for name in ("every", "paths", "horizon"):
            require(f"live.{name}", getattr(self, name), 1)
        chances("the weights of sentences", self._weights, len(self.sentences))

    @property
    def _weights(self) -> list[float] | None:
        return list(self.sentences.values()) if isinstance(self.sentences, Mapping) else None

    def market(self, seed: int, generation: int, window: int) -> Market:
        """The paths of a generation: the same seed gives the same.

        Args:
            seed: any integer.
            generation: from 0 on.
            window: so many bars of the history are put before every path.

        Raises:
            UserError: a sentence that cannot be read, or an option that cannot be used.
        """
        markets = []
        for k, sentence in enumerate(self.sentences):
            made = self.pipeline.run(
                sentence,
                n_paths=self.paths,
                horizon=self.horizon,
                seed=derive_seed(seed, "live", generation, k),
                **self.options,
            )
            if not isinstance(made, Simulation):
                raise UserError("live scenarios have one history; give that of one symbol")
            market = of_simulation(made, window)
            one = np.zeros_like(market.scenario)
            markets.append(replace(market, scenario=one, scenarios=(sentence,)))
        return Market.join(markets, self._weights)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LiveScenarios":
        # Gymnasium deep-copies what an environment was made with; networks never change here.
        return self
