"""Several assets at once: correlated noise, and systemic jumps that hit all of them."""

import warnings
from dataclasses import dataclass, fields
from functools import reduce
from itertools import combinations

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.sde.checks import check_request
from parfait.sde.correlation import cholesky, nearest_correlation
from parfait.sde.diffusive import Solution
from parfait.sde.joint import JointStreams, Noise
from parfait.sde.process import CHUNK, CHUNK_BY_BAR, Chunk, Paths, Process, SdeWarning
from parfait.sde.profile import Profile, profile
from parfait.sde.streams import BLOCK, Streams, asset_root, draw_root
from parfait.utils.errors import UserError
from parfait.utils.threads import one_thread

_HELD = 2**26  # numbers of noise held at a time, over all assets
_SAME = 1e-6  # a matrix that changes by less was valid but for rounding
_TOLD = 0.02  # a correlation missed by more, on average over the paths, is worth a sentence


@dataclass(frozen=True, eq=False)
class Correlations:
    """What correlation can be had, and what it takes.

    Args:
        diffusive: correlation of the price noise, one matrix per path.
        attainable: correlation of bar log returns that results, with jumps, moving variances and
            memories.
        notes: sentences about what was asked and cannot be.
    """

    diffusive: Float64[Tensor, "paths assets assets"]
    attainable: Float64[Tensor, "paths assets assets"]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MultiAsset:
    """Processes of several assets that move together.

    The price noise of asset i is w_i = sum_j L_ij w_j of independent w_j, L L^T = D, and so is what
    is orthogonal to it in the noise of the variance: prices have the correlation D whatever their
    leverages rho = cos theta, and the noises of two variances have cos(theta_i - theta_j) D_ij,
    which is D_ij for equal leverages. D is solved path by path so that

        C_ij sqrt(V_i V_j) = D_ij h_ij E[sqrt(v_i v_j)] + lam_ij (m_i m_j + C_ij s_i s_j)

    averaged over the bars: C is the correlation of bar log returns that is asked for, V the
    variance of a bar with its jumps, h the overlap of two memories (1 for equal H and kappa), and
    lam_ij the smaller of the two jump rates, times ``shared_jumps``. Where that leaves [-1, 1] D
    stops there, and where the whole D is no correlation matrix its negative eigenvalues are
    clipped; ``correlations`` says what is left. E[sqrt(v_i v_j)] is approximate for square-root
    variances, and ranks of ``Kou``'s sizes take the place of normals.

    Common jumps come at the largest rate of any asset; each is taken by asset i with probability
    lam_i / max lam, the same draw deciding for all, and the normals (ranks, for ``Kou``) of the
    sizes have the correlation C. Each asset alone keeps the law of its process exactly. Fractional
    noise is causal here, since only then do innovations of the same bar correspond, and its H is
    rounded to 0.01. The first asset's diffusion is the very one its process has alone, but for
    fractional noise.

    Args:
        processes: one per asset, of any kind, with numbers or parameters for the same paths.
        correlation: of bar log returns, (assets, assets) or (paths, assets, assets); repaired where
            it is not a correlation matrix.
        shared_jumps: share in [0, 1] of every asset's jumps that are common ones.
        names: of the assets, for messages.

    Raises:
        UserError: no process, a matrix of the wrong shape or with entries outside [-1, 1], a share
            outside [0, 1].

    Warns:
        SdeWarning: the matrix was repaired; says by how much.
    """

    processes: tuple[Process, ...]
    correlation: Tensor
    shared_jumps: float = 1.0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "processes", tuple(self.processes))
        count = len(self.processes)
        if not count or not all(isinstance(p, Process) for p in self.processes):
            raise UserError("MultiAsset.processes: give one process per asset")
        share = self.shared_jumps
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise UserError(f"MultiAsset.shared_jumps = {share!r} is outside [0, 1]")
        names = tuple(self.names) or tuple(f"asset {i + 1}" for i in range(count))
        if len(names) != count:
            raise UserError(f"MultiAsset.names: {len(names)} names for {count} processes")
        object.__setattr__(self, "names", names)
        given = torch.as_tensor(self.correlation)
        if given.ndim not in (2, 3) or tuple(given.shape[-2:]) != (count, count):
            raise UserError(
                f"MultiAsset.correlation has shape {tuple(given.shape)}; "
                f"give ({count}, {count}) or (paths, {count}, {count})"
            )
        repaired, change = nearest_correlation(given.to(torch.float64))
        object.__setattr__(self, "correlation", repaired)
        if change > _SAME:
            text = f"no assets can be correlated as given; entries moved by up to {change:.2f}"
            warnings.warn(f"MultiAsset.correlation: {text}", SdeWarning, stacklevel=3)

    def sample(
        self,
        paths: int,
        steps: int,
        years: float,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Paths, ...]:
        """The paths of every asset; path i of one belongs to path i of the others.

        Takes one integer from ``generator``, as ``Process.sample`` does, and path i depends on the
        same things.

        Raises:
            UserError: as ``Process.sample``; a correlation for another number of paths.

        Warns:
            SdeWarning: the notes of ``correlations``.
        """
        root, device = draw_root(generator), generator.device
        check_request(paths, steps, years, dtype)
        self._check(paths, steps, years)
        tables = [_Tables.empty(process, paths, steps, dtype, device) for process in self.processes]
        parts = []
        with one_thread():
            for columns in self._chunks(paths, steps):
                width, first = columns.stop - columns.start, columns.start // BLOCK
                own = tuple(
                    Streams(asset_root(root, i), first, width, dtype, device)
                    for i in range(len(self.processes))
                )
                wanted, profiles = self._asked(columns, steps, years, device)
                parts.append(Solution.of(profiles, wanted, self.shared_jumps, steps))
                noise = Noise(
                    own,
                    cholesky(parts[-1].diffusive)[0],
                    tuple(p.leverage for p in profiles),
                    cholesky(wanted)[0],
                    _largest([p.rate for p in profiles]),
                    self.shared_jumps,
                )
                for i, process in enumerate(self.processes):
                    chunk = tables[i].chunk(columns, years, JointStreams(noise, i))
                    process._rows(columns)._fill(chunk)
        for note in self._notes(Solution.joined(parts)):
            warnings.warn(f"MultiAsset: {note}", SdeWarning, stacklevel=2)
        return tuple(table.paths() for table in tables)

    def correlations(
        self, paths: int, steps: int, years: float, *, device: torch.device | None = None
    ) -> Correlations:
        """What correlation of bar log returns these processes can have on this grid.

        Raises:
            UserError: as ``sample``.
        """
        device = device or torch.device("cpu")
        self._check(paths, steps, years)
        parts = []
        with one_thread():
            for columns in self._chunks(paths, steps):
                wanted, profiles = self._asked(columns, steps, years, device)
                parts.append(Solution.of(profiles, wanted, self.shared_jumps, steps))
        solution = Solution.joined(parts)
        return Correlations(solution.diffusive, solution.attainable, self._notes(solution))

    def _check(self, paths: int, steps: int, years: float) -> None:
        for process in self.processes:
            process._check_grid(paths, steps, years)
        if self.correlation.ndim == 3 and len(self.correlation) != paths:
            raise UserError(
                f"MultiAsset.correlation has {len(self.correlation)} matrices for {paths} paths"
            )

    def _chunks(self, paths: int, steps: int) -> list[slice]:
        per_path = 2 * len(self.processes) * steps
        changing = any(process._changes() for process in self.processes)
        step = min(CHUNK_BY_BAR if changing else CHUNK, BLOCK * max(1, _HELD // (per_path * BLOCK)))
        return [slice(start, min(start + step, paths)) for start in range(0, paths, step)]

    def _asked(
        self, columns: slice, steps: int, years: float, device: torch.device
    ) -> tuple[Tensor, list[Profile]]:
        """Correlation matrices and profiles of some paths."""
        matrix, width = self.correlation.to(device), columns.stop - columns.start
        wanted = matrix[columns] if matrix.ndim == 3 else matrix.expand(width, -1, -1)
        return wanted, [
            profile(p._rows(columns), width, steps, years, device) for p in self.processes
        ]

    def _notes(self, solution: Solution) -> tuple[str, ...]:
        """A sentence for every pair that misses its correlation on average over the paths."""
        wanted = self.correlation.to(solution.diffusive.device).expand_as(solution.diffusive)
        notes = []
        for i, j in combinations(range(len(self.processes)), 2):
            tables = (wanted, *(getattr(solution, field.name) for field in fields(solution)))
            asked, _, got, *rest = (t[:, i, j] for t in tables)
            miss = float((got - asked).abs().mean())
            if miss <= _TOLD:
                continue
            c, low, high, jumps, memory = (float(t.mean()) for t in (asked, *rest))
            pair = f"correlation {c:.2f} of {self.names[i]} and {self.names[j]}"
            if low - _TOLD <= c <= high + _TOLD:
                notes.append(f"{pair} is missed by {miss:.2f}, since not all paths can have it")
                continue
            causes = []
            if (c < low and jumps > _TOLD) or (c > high and self._jumping(i, j)):
                causes.append("jumps")
            if memory < 1 - _TOLD:
                causes.append("memories")
            reason = f" with their {' and '.join(causes)}" if causes else ""
            end = f"{low:.2f} is the least" if c < low else f"{high:.2f} is the most"
            notes.append(f"{pair} cannot be reached{reason}: {end}")
        return tuple(notes)

    def _jumping(self, *assets: int) -> bool:
        return any(self.processes[i].has_jumps for i in assets)


@dataclass(frozen=True)
class _Tables:
    """Time-major results of one asset."""

    log_price: Tensor
    variance: Tensor | None
    jumps: Tensor | None

    @classmethod
    def empty(
        cls, process: Process, paths: int, steps: int, dtype: torch.dtype, device: torch.device
    ) -> "_Tables":
        def table(rows: int) -> Tensor:
            return torch.zeros((rows, paths), dtype=dtype, device=device)

        return cls(
            table(steps + 1),
            table(steps + 1) if process.has_variance else None,
            table(steps) if process.has_jumps else None,
        )

    def chunk(self, columns: slice, years: float, streams: Streams) -> Chunk:
        v = None if self.variance is None else self.variance[:, columns]
        j = None if self.jumps is None else self.jumps[:, columns]
        return Chunk(self.log_price[:, columns], v, j, years, streams)

    def paths(self) -> Paths:
        x, v, j = self.log_price, self.variance, self.jumps
        weight = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
        return Paths(x.T, None if v is None else v.T, None if j is None else j.T, weight)


def _largest(rates: list[Tensor]) -> Tensor:
    return reduce(torch.maximum, rates)
