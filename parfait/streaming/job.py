"""What a streamed run is made of: numbered parts, each a small run of its own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import parfait
import parfait.labels
import parfait.microstructure
import parfait.regime
import parfait.sde
from parfait.draft import Progress
from parfait.likeness import Like
from parfait.pipeline import Bars, Pipeline
from parfait.plan import Plan
from parfait.regime import RegimeDistribution
from parfait.simulation import Simulation
from parfait.streaming.reading import KeptReader
from parfait.utils.code import code_hash
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

FORMAT = 1  # raised when the same paths are written in another form
LARGEST = 2**31 - 1  # a path's number is an i32
PATHS, GUIDES, OUTCOMES = "paths.parquet", "guides.parquet", "outcomes.parquet"
TABLES = (PATHS, GUIDES, OUTCOMES)  # folders of parts, which readers of Parquet take for one table
ACCOUNTS = "parts"
# Measured on daily bars and rounded up, see docs/scale.md.
BYTES_PER_BAR, BYTES_PER_PATH = 52, 56


def part_seed(seed: int, number: int) -> int:
    """Seed of a part; part 0 is the run of ``seed`` itself."""
    return seed if number == 0 else derive_seed(seed, "part", number)


@cache
def code_key() -> str:
    """SHA-256 of the files that paths are made by."""
    packages = (parfait.sde, parfait.microstructure, parfait.labels, parfait.regime)
    return code_hash(packages, sorted(Path(parfait.__path__[0]).glob("*.py")))


@dataclass(frozen=True, eq=False)
class Job:
    """A run of ``n_paths`` paths of one asset in parts of ``part_paths``, the last one shorter.

    Part k is ``Pipeline.run`` with ``part_seed(seed, k)``: scenarios are dealt within it, and no
    number of it depends on how many parts there are or who makes them.

    Args:
        pipeline: the layers.
        plan: what to draw; its number of paths is that of a part.
        n_paths: all paths.
        part_paths: paths of a part.

    Raises:
        UserError: a size out of range, or several assets.
    """

    pipeline: Pipeline
    plan: Plan
    n_paths: int
    part_paths: int

    @classmethod
    def load(
        cls,
        layers: Mapping[str, Any],
        asked: Mapping[str, Any],
        part_paths: int,
        source: str | RegimeDistribution | Like,
        folder: Path,
    ) -> "Job":
        """The run that somebody asked for; the same one in every process.

        Args:
            layers: arguments of ``Pipeline.load``.
            asked: arguments of ``Pipeline.run`` beside the source.
            part_paths: paths of a part.
            source: the sentence, or its scenarios, or the stretch of history in their place.
            folder: of the run, where its reading is kept.

        Raises:
            UserError: whatever in them cannot be used, in one sentence.
        """
        options = {**layers}
        words = options.pop("semantic_options")
        reader = KeptReader(folder, options.pop("semantic"), words)
        pipeline = replace(Pipeline.load(**options), reader=reader, semantic_options=words)
        given = {**asked, "progress": lambda stage, done, total: None}
        n_paths, history = given.pop("n_paths"), given.pop("history")
        given["n_paths"] = min(n_paths, part_paths)
        plan = Plan.make(reader, source, history, **given)
        return cls(pipeline, plan, n_paths, part_paths)

    def __post_init__(self) -> None:
        require("n_paths", self.n_paths, 1, LARGEST)
        require("part_paths", self.part_paths, 1, LARGEST)
        if self.plan.joint is not None:
            raise UserError(
                "a streamed run is of one asset; give one history, or fewer paths and stream=false"
            )

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-self.n_paths // self.part_paths)

    def first(self, number: int) -> int:
        """The number of a part's first path."""
        return number * self.part_paths

    def size(self, number: int) -> int:
        """Paths of a part."""
        return min(self.part_paths, self.n_paths - self.first(number))

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides about the paths: settings, bars, reading, network, code."""
        pipeline = self.pipeline
        told = {
            "format": FORMAT,
            "code": code_key(),
            "seed": self.plan.settings.seed,
            "part_paths": self.part_paths,
            "sde": [pipeline.sde, dict(pipeline.sde_options), pipeline.condition],
            "sampler": [pipeline.sampler, pipeline.sampler_steps],
            "model": pipeline.microstructure.fingerprint,
            **self.plan.describe(),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    def part_key(self, number: int) -> str:
        """SHA-256 of all that decides about one part: the key of the run, its number and size."""
        told = f"{self.key}/{number}/{self.size(number)}"
        return hashlib.sha256(told.encode()).hexdigest()

    def draw(
        self, number: int, progress: Progress | None = None, known: Bars | None = None
    ) -> Simulation:
        """The part as a run of its own, whose paths count from 0; see ``Pipeline.draw``."""
        seed = part_seed(self.plan.settings.seed, number)
        plan = replace(self.plan.sized(self.size(number), seed), seconds={})
        made = self.pipeline.draw(plan, progress or (lambda stage, done, total: None), known)
        assert isinstance(made, Simulation)
        return made


def part_file(number: int, ending: str = "parquet") -> str:
    """The name of a part's file in each folder."""
    return f"{number:06d}.{ending}"
