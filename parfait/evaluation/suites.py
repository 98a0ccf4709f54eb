"""Suites of the task ``microstructure``: how much of everything is computed."""

from dataclasses import dataclass, replace
from importlib.util import find_spec

from parfait.evaluation.candidates import CANDIDATES, NEUTRAL


@dataclass(frozen=True)
class Suite:
    """How much is computed.

    Args:
        windows: held-out windows at most.
        train: training windows at most.
        rows: candidates.
        views, judges: of the C2ST.
        steps: of a judge.
        samples: sampling seeds.
        repeats: of the null, by blocks of 63 and of 5 bars.
        controls: whether the control rows are judged.
        draws: of the bootstrap behind errors of facts.
        origins, paths: of the forecasts; no origins leave the question out.
        probes: paths of the round trip of regimes; 0 leaves it out.
        ablation: windows on which the network is also tried without its history; 0 leaves it out.
        rollout: bars of the long paths; 0 leaves them out.
    """

    windows: int
    rows: tuple[str, ...]
    train: int = 4000
    views: tuple[str, ...] = ("bar", "close")
    judges: tuple[str, ...] = ("cnn", "gru", "trees")
    steps: int = 300
    samples: int = 2
    repeats: tuple[int, int] = (5, 2)
    controls: bool = True
    draws: int = 300
    origins: int = 200
    paths: int = 500
    probes: int = 400
    ablation: int = 300
    rollout: int = 252

    @property
    def seeds(self) -> range:
        """Sampling seeds."""
        return range(1, self.samples + 1)

    def available(self) -> "Suite":
        """Without the judge that is not installed."""
        if find_spec("sklearn") is not None:
            return self
        return replace(self, judges=tuple(name for name in self.judges if name != "trees"))


SUITES = {
    "smoke": Suite(
        windows=300,
        rows=(NEUTRAL, "block bootstrap projected on guide", "Brownian bridge on guide"),
        train=1000,
        views=("bar",),
        steps=60,
        samples=1,
        repeats=(0, 2),
        controls=False,
        draws=100,
        origins=40,
        paths=200,
        probes=100,
        ablation=0,
        rollout=0,
    ),
    "full": Suite(windows=850, rows=tuple(CANDIDATES)),
}
