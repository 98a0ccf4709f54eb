"""What every process shares: parameters that may differ by path, checks, ``sample``, ``Paths``."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.regime import Regime
from parfait.sde.checks import Bound, Value, check_bound, check_jumps, check_request, check_shape
from parfait.sde.streams import BLOCK, Streams, draw_root
from parfait.utils.errors import UserError
from parfait.utils.threads import one_thread

P = TypeVar("P", bound="Process")  # not Self: runtime type checkers of tests cannot resolve that
# Paths stepped together: wide enough that arithmetic outweighs dispatch, small enough that the
# noise of a chunk (about 0.5 KB per path and purpose for a year of days) never fills the memory.
CHUNK = 8 * BLOCK
CHUNK_BY_BAR = 2 * BLOCK  # where parameters change by bar, each is a table as large as the noise


class SdeWarning(UserWarning):
    """The simulation went ahead, but not entirely as asked."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Simulated paths; ``steps`` bars have ``steps + 1`` points.

    Args:
        log_price: x = log(S / S_0), so every path starts at 0.
        variance: annualised v at every point, ``None`` where volatility is constant.
        jumps: sum of the log jumps inside each bar, ``None`` for a process without jumps.
        log_weight: log importance weight, 0 unless the paths were conditioned.
    """

    log_price: Float[Tensor, "paths points"]
    variance: Float[Tensor, "paths points"] | None
    jumps: Float[Tensor, "paths steps"] | None
    log_weight: Float64[Tensor, " paths"]


@dataclass(frozen=True)
class Chunk:
    """What a process fills, time-major, for consecutive paths; ``log_price[0]`` is already 0."""

    log_price: Float[Tensor, "points width"]
    variance: Float[Tensor, "points width"] | None
    jumps: Float[Tensor, "steps width"] | None
    years: float
    streams: Streams

    @property
    def steps(self) -> int:
        return self.log_price.shape[0] - 1

    @property
    def width(self) -> int:
        return self.log_price.shape[1]

    @property
    def dt(self) -> float:
        return self.years / self.steps

    def exact(self, value: Value) -> Tensor:
        """The parameter in float64: constants are computed exactly, then cast.

        Of shape (), (width,) or (steps, width); a table that is one row repeated is that row.
        """
        exact = torch.as_tensor(value, dtype=torch.float64, device=self.log_price.device)
        return exact[0] if exact.ndim == 2 and exact.stride(0) == 0 else exact

    def cast(self, constant: Tensor) -> Tensor:
        """A float64 constant in the precision of the paths."""
        return constant.to(self.log_price.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Process(ABC):
    """A stochastic differential equation with annualised parameters.

    Parameters are numbers, ``(paths,)`` tensors, so every path may live under its own, or
    ``(steps, paths)`` tensors that change from bar to bar: row k holds from point k to point k + 1.
    Those in ``whole_path`` hold for whole paths and cannot change. The drift ``mu`` is total:
    E[S_t] = S_0 exp(sum of mu dt) at every point unless the docstring of a process says otherwise.

    Raises:
        UserError: a parameter is not finite or out of its bounds; names field, value and bound.
    """

    bounds: ClassVar[dict[str, Bound]] = {}
    options: ClassVar[tuple[str, ...]] = ()
    expresses: ClassVar[tuple[str, ...]] = ()
    whole_path: ClassVar[tuple[str, ...]] = ()
    has_variance: ClassVar[bool] = False
    has_jumps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, bound in self.bounds.items():
            value: Any = getattr(self, name)
            if value is not None or getattr(type(self), name, self) is not None:  # not left out
                check_bound(type(self).__name__, name, value, bound)
                if value is not None and not isinstance(value, Tensor):
                    object.__setattr__(self, name, float(value))

        for name in ("compensate", "compile"):
            switch = getattr(self, name, False)
            if not isinstance(switch, bool):
                raise UserError(f"{type(self).__name__}.{name} = {switch!r} must be true or false")

    @classmethod
    def from_regime(cls: type[P], regime: Regime, **options: Any) -> P:
        """The process with a regime's parameters; an unresolved initial volatility starts at the
        long-run level.

        Args:
            regime: one regime (floats), a batch of shape ``(paths,)``, or of shape ``(steps,
                paths)``, one per bar (``Schedule.regime``); starting values are those of its first
                bar.
            options: the fields named in ``cls.options``, such as ``compensate`` or ``scheme``.

        Raises:
            UserError: an option this process does not have.

        Warns:
            SdeWarning: the regime sets a field that this process cannot express.
        """
        for name in options:
            if name not in cls.options:
                known = ", ".join(cls.options) or "none"
                raise UserError(f"{cls.__name__} has no option {name!r}; its options are: {known}")
        cls._warn_unexpressed(regime)
        return cls(**cls._parameters(regime.resolve(), **options))

    @classmethod
    @abstractmethod
    def _parameters(cls, regime: Regime, **options: Any) -> dict[str, Any]:
        """Constructor arguments from a resolved regime and the options the caller gave."""

    @abstractmethod
    def _fill(self, chunk: Chunk) -> None:
        """Writes the paths of one chunk."""

    def sample(
        self,
        paths: int,
        steps: int,
        years: float,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Paths:
        """``paths`` independent paths of ``steps`` bars that span ``years`` together.

        Takes one integer from ``generator``, on whose device the paths are made. Path i depends on
        that integer and on the parameters of its own block of 4096 paths, not on how many paths
        follow.

        Raises:
            UserError: ``paths`` or ``steps`` below 1, ``years`` not positive, a dtype other than
                float32 or float64, or a parameter of the wrong shape.
        """
        root = draw_root(generator)
        return self.replay(paths, steps, years, root, generator.device, dtype)

    def replay(
        self,
        paths: int,
        steps: int,
        years: float,
        root: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        still: bool = False,
    ) -> Paths:
        """``sample`` from its integer; ``still`` without the noise of the price alone."""
        check_request(paths, steps, years, dtype)
        self._check_grid(paths, steps, years)

        def buffer(rows: int, wanted: bool) -> Tensor | None:
            return torch.empty((rows, paths), dtype=dtype, device=device) if wanted else None

        log_price = torch.empty((steps + 1, paths), dtype=dtype, device=device)
        log_price[0] = 0
        variance, jumps = buffer(steps + 1, self.has_variance), buffer(steps, self.has_jumps)
        with one_thread():
            widest = CHUNK_BY_BAR if self._changes() else CHUNK
            for start in range(0, paths, widest):
                columns = slice(start, min(start + widest, paths))
                width = columns.stop - start
                streams = Streams(root, start // BLOCK, width, dtype, device, still=still)
                x = log_price[:, columns]
                v = None if variance is None else variance[:, columns]
                j = None if jumps is None else jumps[:, columns]
                self._rows(columns)._fill(Chunk(x, v, j, years, streams))
        return Paths(
            log_price.T,
            None if variance is None else variance.T,
            None if jumps is None else jumps.T,
            torch.zeros(paths, dtype=torch.float64, device=device),
        )

    def _rows(self, columns: slice) -> "Process":
        """The same process for some of its paths."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        sliced = {n: v[..., columns] for n, v in values.items() if isinstance(v, Tensor) and v.ndim}
        return replace(self, **sliced)

    def _changes(self) -> bool:
        """Does some parameter change from bar to bar?"""
        return any(getattr(getattr(self, name), "ndim", 0) == 2 for name in self.bounds)

    def _check_grid(self, paths: int, steps: int, years: float) -> None:
        """``UserError`` where the parameters do not fit the grid, or would not fit the memory."""
        for name in self.bounds:
            allowed = [(paths,)] if name in self.whole_path else [(paths,), (steps, paths)]
            check_shape(f"{type(self).__name__}.{name}", getattr(self, name), allowed)
        if "lam" in self.bounds:
            lam: Value = getattr(self, "lam", 0.0)
            check_jumps(type(self).__name__, lam, years)

    @classmethod
    def _warn_unexpressed(cls, regime: Regime) -> None:
        neutral = {"jump_intensity": 0.0, "mean_reversion": 0.0, "hurst": 0.5}
        # Measured or sampled regimes are never exactly neutral: what moves no path visibly is not
        # worth a warning.
        tolerance = {"jump_intensity": 1e-3, "mean_reversion": 1e-2, "hurst": 0.02}
        lost = []
        for name in neutral.keys() - set(cls.expresses):
            value = torch.as_tensor(getattr(regime, name), dtype=torch.float64)
            off = (value - neutral[name]).abs()
            if bool((off > tolerance[name]).any()):
                lost.append(f"{name} ({value.flatten()[off.argmax()]:.3g})")
        if lost:
            names = ", ".join(sorted(lost))
            warnings.warn(
                f"{cls.__name__} cannot express {names}; ignored", SdeWarning, stacklevel=3
            )


def at_bar(value: Tensor, k: int) -> Tensor:
    """A parameter as it holds for bar k, whether it changes from bar to bar or not."""
    return value[k] if value.ndim == 2 else value


def at_start(value: Value) -> Value:
    """A parameter as it holds for the first bar."""
    return value[0] if isinstance(value, Tensor) and value.ndim == 2 else value


def phi(y: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """(1 - exp(-y)) / y, continuous at y = 0, which makes a zero reversion speed legal."""
    small = y.abs() < 1e-4
    safe = torch.where(
        small, torch.ones_like(y), y
    )  # keeps the gradient of the unused branch finite
    return torch.where(small, 1 - y / 2 + y * y / 6, -torch.expm1(-safe) / safe)
