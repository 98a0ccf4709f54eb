"""``RegimeDistribution``: weighted, named scenarios, as a mixture over regimes."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.regime.component import Component, Override
from parfait.regime.fields import (
    COORDINATES_VERSION,
    FIELD_NAMES,
    INITIAL_VOLATILITY,
    N_FIELDS,
    to_coordinate,
)
from parfait.regime.regime import Regime
from parfait.utils.errors import MISFITS, UserError
from parfait.utils.strict_json import parse_object

MAX_COMPONENTS = 8
_MIN_SD = 1e-6  # density floor of a coordinate that is known exactly


@dataclass(frozen=True, eq=False)
class RegimeDistribution:
    """A mixture over regimes; what the reading of an instruction returns and what a user may edit.

    Args:
        components: 1 to 8 scenarios whose weights sum to 1 (within 1e-6).
        source: which backend read it.
        confidence: in [0, 1], one minus the out-of-domain score of the text.
        overrides: numbers taken literally.
        warnings: sentences for the user.
        asset_class: the market the reading is about.
        reading: why the scenarios are what they are, as plain JSON data; each reader decides on its
            keys (the events found, the words used), nothing is computed from it, and a report
            shows it. Empty when nothing was read.
        file: the ``scenarios.json`` it was read from, no part of what it holds; a changed copy
            (``dataclasses.replace``) is of none.

    Two distributions are equal when all they hold is; like batches of regimes they have no hash.
    """

    components: tuple[Component, ...]
    source: str = "user"
    confidence: float = 1.0
    overrides: tuple[Override, ...] = ()
    warnings: tuple[str, ...] = ()
    asset_class: str = "equity"
    reading: dict[str, Any] = field(default_factory=dict)
    file: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.components) <= MAX_COMPONENTS:
            raise UserError(
                f"a distribution has 1 to {MAX_COMPONENTS} scenarios, not {len(self.components)}"
            )
        total = sum(c.weight for c in self.components)
        if abs(total - 1) > 1e-6:
            raise UserError(f"scenario weights sum to {total:g}; they must sum to 1")
        if not (math.isfinite(self.confidence) and 0 <= self.confidence <= 1):
            raise UserError(f"confidence {self.confidence} must be within [0, 1]")

    @classmethod
    def single(cls, regime: Regime, name: str = "given regime") -> "RegimeDistribution":
        """One certain scenario, for callers who know the numbers."""
        return cls(
            (Component.around("baseline", name, 1.0, regime, rationale="Given by the caller."),)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegimeDistribution):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # holds tensors and a dictionary

    @property
    def weights(self) -> Float64[Tensor, " components"]:
        """Scenario probabilities, normalised in float64."""
        weights = torch.tensor([c.weight for c in self.components], dtype=torch.float64)
        return weights / weights.sum()

    def allocate(self, n: int, generator: torch.Generator) -> Int64[Tensor, " n"]:
        """Component index per path, ascending, by systematic resampling: |n_k - n w_k| < 1 and
        counts sum to n.
        """
        return torch.repeat_interleave(systematic_counts(self.weights, n, generator))

    def sample(
        self, n: int, generator: torch.Generator, components: Int64[Tensor, " n"] | None = None
    ) -> Regime:
        """n regimes, shape (n,), grouped by component (``components`` defaults to ``allocate``)."""
        index = self.allocate(n, generator) if components is None else components
        mean = torch.stack([c.mean for c in self.components])[index]
        cholesky = torch.stack([c.cholesky for c in self.components])[index]
        # One draw per path and coordinate whatever the mixture, so an edited component leaves the
        # others' paths alone.
        noise = torch.randn((index.shape[0], N_FIELDS), generator=generator, dtype=torch.float64)
        return Regime.from_unconstrained(mean + (cholesky @ noise.unsqueeze(-1)).squeeze(-1))

    def sample_course(
        self,
        n: int,
        steps: int,
        dt: float,
        generator: torch.Generator,
        components: Int64[Tensor, " n"] | None = None,
    ) -> Regime:
        """n regimes with what follows them, shape (steps, n); those of ``sample``, shape (n,), when
        no component has phases.

        A path has the same standard normals in all its phases: one that is severe is severe
        throughout. Beginnings are rounded to whole bars, and every phase lasts one at
        least. The initial volatility is that of the first phase.

        Args:
            n: number of paths.
            steps: bars.
            dt: length of a bar in years.
            generator: the same draws as ``sample``.
            components: scenario of every path; ``allocate`` decides where there is none.
        """
        phases = max(len(c.phases) for c in self.components)
        if phases == 0:
            return self.sample(n, generator, components)
        index = self.allocate(n, generator) if components is None else components
        noise = torch.randn((index.shape[0], N_FIELDS), generator=generator, dtype=torch.float64)
        drawn = []
        for number in range(phases + 1):
            # A scenario with fewer phases stays in its last one.
            parts = [[c, *c.phases][min(number, len(c.phases))] for c in self.components]
            mean = torch.stack([part.mean for part in parts])[index]
            cholesky = torch.stack([part.cholesky for part in parts])[index]
            z = mean + (cholesky @ noise.unsqueeze(-1)).squeeze(-1)
            drawn.append(Regime.from_unconstrained(z))
        never = [[steps] * (phases - len(c.phases)) for c in self.components]
        begun = [c.starts(dt) + n for c, n in zip(self.components, never, strict=True)]
        starts = torch.tensor(begun)[index]
        bars = torch.arange(steps)[:, None]
        which = (bars[..., None] >= starts).sum(-1)  # (steps, n): how many phases have begun
        columns: dict[str, Any] = {}
        for name in FIELD_NAMES:
            values = [getattr(regime, name) for regime in drawn]
            if values[0] is None:
                columns[name] = None
            elif name == "initial_volatility" or all(torch.equal(v, values[0]) for v in values):
                columns[name] = values[0].expand(steps, -1)
            else:
                columns[name] = torch.stack(values).gather(0, which)
        return Regime(**columns)

    def log_prob(self, regime: Regime) -> Float64[Tensor, "*batch"]:
        """Mixture density of the regime's unconstrained coordinates.

        The initial volatility is left out (its marginal is taken) when a component or the regime
        leaves it unresolved. A coordinate a component knows exactly has a narrow Gaussian of sd
        1e-6 for its density.
        """
        z = regime.to_unconstrained()
        unresolved = torch.isnan(z[..., INITIAL_VOLATILITY]).any() or any(
            torch.isnan(c.mean[-1]) for c in self.components
        )
        d = INITIAL_VOLATILITY if unresolved else N_FIELDS
        terms = []
        for weight, c in zip(self.weights, self.components, strict=True):
            covariance = (c.cholesky @ c.cholesky.T)[:d, :d] + _MIN_SD**2 * torch.eye(
                d, dtype=torch.float64
            )
            normal = torch.distributions.MultivariateNormal(
                c.mean[:d], covariance, validate_args=False
            )
            terms.append(weight.log() + normal.log_prob(z[..., :d]))
        return torch.logsumexp(torch.stack(terms), dim=0)

    @property
    def mean(self) -> Regime:
        """The regime at the mixture mean of every coordinate (a geometric mean for sigma, lambda,
        kappa).
        """
        return Regime.from_unconstrained(
            (self.weights[:, None] * torch.stack([c.mean for c in self.components])).sum(0)
        )

    def quantile(self, q: float) -> Regime:
        """Marginal mixture quantile of every field, by bisection of the mixture distribution
        function.
        """
        if not 0 < q < 1:
            raise UserError(f"quantile {q} must be inside (0, 1)")
        mean, sd = (
            torch.stack([c.mean for c in self.components]),
            torch.stack([c.sd for c in self.components]),
        )
        low, high = (mean - 12 * sd).amin(0), (mean + 12 * sd).amax(0)
        for _ in range(80):
            middle = 0.5 * (low + high)
            z = (middle - mean) / sd.clamp_min(1e-12)
            below = (self.weights[:, None] * torch.special.ndtr(z)).sum(0) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return Regime.from_unconstrained(
            torch.where(torch.isnan(mean).any(0), math.nan, 0.5 * (low + high))
        )

    def interval(self, q: float = 0.9) -> tuple[Regime, Regime]:
        """The central interval of probability q, per field."""
        return self.quantile(0.5 - q / 2), self.quantile(0.5 + q / 2)

    def resolve(self, initial_volatility: float, sd: float = 0.0) -> "RegimeDistribution":
        """Starts every unresolved component at the given present volatility (``sd`` in log
        units).
        """
        start = to_coordinate(
            "initial_volatility", torch.tensor(initial_volatility, dtype=torch.float64)
        )
        components = []
        for c in self.components:
            if torch.isnan(c.mean[INITIAL_VOLATILITY]):
                mean, cholesky = c.mean.clone(), c.cholesky.clone()
                mean[INITIAL_VOLATILITY] = start
                cholesky[INITIAL_VOLATILITY] = 0.0
                cholesky[INITIAL_VOLATILITY, INITIAL_VOLATILITY] = sd
                c = replace(c, mean=mean, cholesky=cholesky)
            components.append(c)
        return replace(self, components=tuple(components))

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the version of the coordinate map."""
        return {
            "coordinates_version": COORDINATES_VERSION,
            "components": [c.to_dict() for c in self.components],
            "source": self.source,
            "confidence": self.confidence,
            "overrides": [asdict(o) for o in self.overrides],
            "warnings": list(self.warnings),
            "asset_class": self.asset_class,
            "reading": self.reading,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RegimeDistribution":
        """Inverse of ``to_dict``; whatever does not fit raises ``UserError``."""
        version = data.get("coordinates_version")
        if version != COORDINATES_VERSION:
            raise UserError(
                f"coordinates_version {version!r} is not {COORDINATES_VERSION}; read the text again"
            )
        try:
            told = cls(
                tuple(Component.from_dict(c) for c in data["components"]),
                source=str(data.get("source", "user")),
                confidence=float(data.get("confidence", 1.0)),
                overrides=tuple(Override(**o) for o in data.get("overrides", ())),
                warnings=tuple(str(w) for w in data.get("warnings", ())),
                asset_class=str(data.get("asset_class", "equity")),
                reading=dict(data.get("reading", {})),
            )
            told._check_words()
            return told
        except UserError:
            raise
        except MISFITS as error:
            raise UserError(f"distribution JSON does not fit: {error!r}") from error

    def _check_words(self) -> None:
        """``ValueError`` for what no strict JSON in UTF-8 can hold: half a character, an infinite
        number.
        """
        words = [
            [c.name, c.rationale, [x.quote for x in c.conditions], [p.name for p in c.phases]]
            for c in self.components
        ]
        overrides = [asdict(o) for o in self.overrides]
        told = [words, overrides, self.source, self.warnings, self.asset_class, self.reading]
        json.dumps(told, allow_nan=False, ensure_ascii=False).encode()

    def to_json(self) -> str:
        """Strict JSON (no NaN or Infinity)."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "RegimeDistribution":
        """Inverse of ``to_json``; malformed text raises ``UserError``."""
        return cls.from_dict(parse_object(text, "distribution JSON"))


def systematic_counts(
    weights: Float64[Tensor, " components"], n: int, generator: torch.Generator
) -> Int64[Tensor, " components"]:
    """Counts with E[n_k] = n w_k, |n_k - n w_k| < 1 and sum exactly n (Carpenter, Clifford &
    Fearnhead 1999).
    """
    if n < 1:
        raise UserError(f"the number of paths is {n}; it must be at least 1")
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    edges = torch.cumsum(weights, 0) / weights.sum() * n
    edges[-1] = n  # rounding must not lose the last path
    counted = torch.ceil(edges - offset).clamp(0, n).to(torch.int64)
    return torch.diff(counted, prepend=torch.zeros(1, dtype=torch.int64))


def normalise_weights(components: Sequence[Component]) -> tuple[Component, ...]:
    """Scales the weights to sum to 1; all-zero weights raise ``UserError``."""
    total = sum(c.weight for c in components)
    if total <= 0:
        raise UserError("every scenario has weight 0; give at least one a positive weight")
    return tuple(replace(c, weight=c.weight / total) for c in components)
