"""Are generated windows copies of the training set? Distances to the nearest real windows.

A window is compared by its shape: its bars in units of its *own* deviation. Sets of equal size are
searched on both sides, and real windows that overlap the queried one in time are nobody's
neighbours, so that fresh real windows come out near one half.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from parfait.metrics.functional.windows import WindowCode
from parfait.metrics.measured import Measured
from parfait.metrics.resampling import block_sd
from parfait.utils.errors import UserError

PIECE = 8
COPY_QUANTILE = 0.01
LEAST = 20
DRAWS = 300
_CELLS = 20_000_000  # of a table of distances that is held at once


@dataclass(frozen=True)
class Shapes:
    """Windows by their shape, with the dates of their histories' ends.

    Args:
        code: (windows, steps, 5): return, gap, wicks in units of the window's own deviation,
            standardised log volume.
        dates: in any integer unit.
    """

    code: Float64[Tensor, "windows steps 5"]
    dates: Int64[Tensor, " windows"]

    @classmethod
    def of(cls, code: WindowCode, dates: Int64[Tensor, " windows"]) -> "Shapes":
        """From coded bars; windows whose price does not move have no shape and are left out.

        Raises:
            UserError: another number of dates, or fewer than 20 windows with a shape.
        """
        if len(dates) != len(code.r):
            raise UserError(f"there are {len(dates)} dates for {len(code.r)} windows")
        volume = torch.where(torch.isfinite(code.volume), code.volume, torch.nan)
        volume = torch.nan_to_num(volume - volume.nanmean(1, keepdim=True))
        parts = torch.stack([code.r, code.gap, code.upper, code.lower, volume], dim=-1)
        parts, moving = _own_units(parts)
        if int(moving.sum()) < LEAST:
            raise UserError(
                f"only {int(moving.sum())} windows have prices that move; memorisation needs "
                f"{LEAST} of each set"
            )
        return cls(parts[moving], dates[moving])

    def __len__(self) -> int:
        return len(self.dates)

    def thinned(self, windows: int) -> "Shapes":
        """At most so many windows, evenly spread in time."""
        order = torch.argsort(self.dates, stable=True)
        count = min(windows, len(self))
        rows = order[torch.arange(count) * len(self) // count]
        return Shapes(self.code[rows], self.dates[rows])

    def pieces(self, size: int, stride: int) -> "Shapes":
        """Every run of ``size`` bars that starts at a multiple of ``stride``, as a window in its
        own units; pieces keep the date of their window."""
        runs = self.code.unfold(1, size, stride).transpose(2, 3)
        parts, moving = _own_units(runs.flatten(0, 1))
        dates = self.dates.repeat_interleave(runs.shape[1])
        return Shapes(parts[moving], dates[moving])

    def distinct(self) -> "Shapes":
        """Without repetitions, which pieces of overlapping windows are; the earliest stays."""
        order = torch.argsort(self.dates, stable=True)
        flat = self.code[order].flatten(1)
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(flat.shape[1], generator=generator, dtype=torch.float64)
        # Equal pieces differ by rounding, others hardly ever agree to seven digits.
        _, group = (flat @ direction).mul(1e7).round().unique(return_inverse=True)
        position = torch.arange(len(group))
        first = torch.full_like(position, len(group)).scatter_reduce(0, group, position, "amin")
        rows = order[first[first < len(group)].sort().values]
        return Shapes(self.code[rows], self.dates[rows])


@dataclass(frozen=True)
class Closeness:
    """How near a set of windows lies to the training set.

    Args:
        share: of windows nearer to training than to held-out windows, sets of equal size.
        ratio: median of d_train / d_held over the same sets.
        copies: share nearer to *any* training window than 99 % of real held-out windows are.
    """

    share: Measured
    ratio: Measured
    copies: Measured


@dataclass(frozen=True)
class Memorisation:
    """Generated windows beside the null of real ones.

    Args:
        generated, null: of the generated and of the held-out windows themselves.
        sets: windows (distinct pieces) on either side for ``share`` and ``ratio``.
        training: windows searched for ``copies``.
    """

    generated: Closeness
    null: Closeness
    sets: int
    training: int


def memorisation(
    generated: Shapes,
    train: Shapes,
    held: Shapes,
    *,
    purge: int,
    piece: int | None = None,
    most: int = 1000,
    seed: int = 0,
) -> Memorisation:
    """Distances to the nearest training and held-out windows (Euclidean).

    A query sees no held-out window less than ``purge`` from its own date, of any asset. What it may
    see and the training set are thinned evenly in time to equal number, so training windows are
    left out unless the others are more. Copies of those that stay have a ``share`` of 1, fresh
    windows one of about 1/2: eras differ, so read it against ``null``.

    Args:
        generated: windows with the dates of the histories they continue.
        train, held: real windows.
        purge: history + horizon in the unit of the dates.
        piece: compares runs of so many bars instead of windows (``PIECE``): every run of real
            bars, but only disjoint generated ones. Shows what was stitched from copies.
        most: queries and windows per set at most; ``copies`` searches all of ``train``.
        seed: of the bootstrap over dates, blocks of one purge, behind the standard errors.

    Raises:
        UserError: windows of different lengths, a piece that does not fit, or a purge below 1.
    """
    lengths = {shapes.code.shape[1] for shapes in (generated, train, held)}
    if len(lengths) > 1:
        raise UserError(f"windows are {sorted(lengths)} bars long; compare equal lengths")
    steps = lengths.pop()
    if purge < 1:
        raise UserError(
            f"purge {purge} must be at least 1: history + horizon in units of the dates"
        )
    if piece is not None and not 2 <= piece <= steps:
        raise UserError(f"pieces of {piece} bars do not fit windows of {steps}; take 2 to {steps}")
    queries, limit = (generated.thinned(most), held.thinned(most)), most
    held = held.thinned(2 * most)
    windows = len(train)
    if piece is not None:
        limit = most * (steps - piece + 1)
        queries = queries[0].pieces(piece, piece), queries[1].pieces(piece, piece)
        train, held = train.pieces(piece, 1).distinct(), held.pieces(piece, 1).distinct()
    free = [_free(query.dates, held.dates, purge) for query in queries]
    size = min(len(train), limit, *free)
    if size < LEAST:
        why = f"only {size} held-out windows lie outside a window's own time; {LEAST} are needed"
        none = Closeness(*(Measured(None, None, why),) * 3)
        return Memorisation(none, none, size, windows)
    searched = train.thinned(size)
    near = [_nearest(query, searched, held, train, purge) for query in queries]
    edge = float(near[1][2].quantile(COPY_QUANTILE))
    closeness = [
        _closeness(query.dates, distances, edge, purge, seed)
        for query, distances in zip(queries, near, strict=True)
    ]
    return Memorisation(closeness[0], closeness[1], size, windows)


def _own_units(parts: Float64[Tensor, "windows steps 5"]) -> tuple[Tensor, Bool[Tensor, " w"]]:
    """Prices over the window's own deviation of returns, volume standardised; which move."""
    r, volume = parts[..., 0], parts[..., 4]
    deviation = r.std(1, keepdim=True)
    moving = deviation[:, 0] > 1e-9 * (1e-9 + r.abs().amax(1))
    deviation = torch.where(moving[:, None], deviation, 1.0)
    volume = volume - volume.mean(1, keepdim=True)
    spread = volume.std(1, keepdim=True)
    volume = volume / torch.where(spread > 1e-9, spread, 1.0)
    return torch.cat([parts[..., :4] / deviation[..., None], volume[..., None]], dim=-1), moving


def _nearest(
    query: Shapes, searched: Shapes, held: Shapes, known: Shapes, purge: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances to the nearest of the equal sets and of all training windows."""
    flat = [x.code.flatten(1).to(torch.float32) for x in (query, searched, held, known)]
    rows = max(_CELLS // max(len(known), len(held)), 1)
    found = []
    for q, dates in zip(flat[0].split(rows), query.dates.split(rows), strict=True):
        allowed = ~_overlap(dates, held.dates, purge)
        rank, count = allowed.cumsum(1), allowed.sum(1, keepdim=True)
        # Of every row's allowed windows as many as the training set has, evenly spread.
        step = len(searched) * rank // count > len(searched) * (rank - 1) // count
        gone = ~(allowed & (step | (count <= len(searched))))
        distances = [torch.cdist(q, pool) for pool in flat[1:]]
        distances[1].masked_fill_(gone, torch.inf)
        found.append(torch.stack([d.amin(1) for d in distances]))
    near = torch.cat(found, dim=1).to(torch.float64)
    return near[0], near[1], near[2]


def _free(dates: Tensor, others: Tensor, purge: int) -> int:
    """The fewest of ``others`` that some date may see."""
    ordered, each = others.sort().values, dates.unique()
    low = torch.searchsorted(ordered, each - purge, right=True)
    high = torch.searchsorted(ordered, each + purge)
    return len(others) - int((high - low).max())


def _overlap(dates: Tensor, others: Tensor, purge: int) -> Bool[Tensor, "queries pool"]:
    return (dates[:, None] - others[None]).abs() < purge


def _closeness(
    dates: Tensor, near: tuple[Tensor, Tensor, Tensor], edge: float, block: int, seed: int
) -> Closeness:
    train, held, anywhere = near
    nearer = (train < held).double() + 0.5 * (train == held)
    table = torch.stack([nearer, train / held.clamp_min(1e-12), (anywhere < edge).double()], dim=-1)

    def statistic(rows: Tensor) -> Tensor:
        picked = table[rows]
        return torch.stack([picked[:, 0].mean(), picked[:, 1].median(), picked[:, 2].mean()])

    values = statistic(torch.arange(len(table)))
    try:
        generator = torch.Generator().manual_seed(seed)
        errors = block_sd(statistic, dates, block, DRAWS, generator)
    except UserError as error:
        cells = [Measured(float(v), None, str(error)) for v in values]
    else:
        cells = [Measured.of(float(v), float(e)) for v, e in zip(values, errors, strict=True)]
    return Closeness(*cells)
