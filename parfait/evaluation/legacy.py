"""The suite ``legacy``: scores that papers report, beside the null and the copies they pass.

Windows of 24 bars at stride 1 of one series, six columns (open, high, low, close, the close again
in the place of an adjusted one, volume), scaled by the extremes of the whole history.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.data import Segment
from parfait.evaluation.cells import Cell, Found, Score
from parfait.metrics.functional.legacy import (
    correlational_score,
    dependency_shift,
    discriminative_scores,
    predictive_scores,
    value_shift,
)
from parfait.metrics.functional.validity import validity
from parfait.microstructure import Microstructure
from parfait.utils.errors import UserError

LENGTH = 24  # bars
COLUMNS = (0, 1, 2, 3, 3, 4)  # the close stands for the adjusted close
NULL = "real vs real, random halves"
COPY = "copy of the training set"
NETWORK = "network, neutral, after real histories"
NEAR = 252  # bars on either side from which local blocks are drawn
SUBSTEPS = 13  # prices within a simulated bar


@dataclass(frozen=True, eq=False)
class Protocol:
    """What the scores are computed from, and how long judges learn.

    Args:
        model: the network.
        bars: the series.
        bars_per_year: of it.
        judges: of the discriminative and predictive scores.
        steps: of both.
        history: bars that the network looks back.
    """

    model: Microstructure
    bars: Float64[Tensor, "n 5"]
    bars_per_year: float
    judges: int = 5
    steps: tuple[int, int] = (2000, 5000)
    history: int = 60
    low: Tensor = field(init=False, repr=False)
    span: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        least = self.history + 1 + 2 * LENGTH
        if len(self.bars) < least:
            raise UserError(f"the series has {len(self.bars)} bars, suite=legacy needs {least}")
        table = self.bars[:, COLUMNS]
        low, high = table.amin(0), table.amax(0)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "span", high - low + 1e-7)

    @property
    def windows(self) -> Float64[Tensor, "windows steps 5"]:
        """All windows of the series."""
        return self.bars.unfold(0, LENGTH, 1).transpose(1, 2)

    def scaled(self, windows: Float64[Tensor, "windows steps 6"]) -> Tensor:
        """To [0, 1]."""
        return (windows - self.low) / self.span

    @property
    def starts(self) -> Tensor:
        """First rows of the windows that have a history before them."""
        return torch.arange(self.history + 1, len(self.bars) - LENGTH + 1)


def series(segments: list[Segment]) -> Segment:
    """The one series of the protocol.

    Raises:
        UserError: there are several symbols.
    """
    symbols = sorted({s.symbol for s in segments})
    if len(symbols) != 1:
        raise UserError(
            f"suite=legacy takes one series, the data hold {len(symbols)} ({', '.join(symbols[:5])}"
            "); choose one with data.path or data.options.symbol"
        )
    return max(segments, key=len)


def legacy_cells(p: Protocol, rows: tuple[str, ...] | None = None) -> list[Cell]:
    """A cell for every row; null and copy always come first."""
    wanted = [row for row in ROWS if rows is None or row in (NULL, COPY, *rows)]
    return [Cell(f"legacy/{row}", lambda row=row: _scores(p, row)) for row in wanted]


def _scores(p: Protocol, row: str) -> Found:
    generator = torch.Generator().manual_seed(0)
    made = ROWS[row](p, generator)
    real = p.windows[:, :, COLUMNS]
    if row == NULL:
        real, made = made[0::2], made[1::2]
    real, scaled = p.scaled(real), p.scaled(made)
    settings = {"judges": p.judges, "seed": 1}
    ds = discriminative_scores(real, scaled, steps=p.steps[0], **settings)
    ps = predictive_scores(real, scaled, steps=p.steps[1], **settings)
    n = len(made)
    corr, vds, fdds = (
        correlational_score(real, scaled),
        value_shift(real, scaled),
        dependency_shift(real, scaled),
    )
    invalid = 1 - validity(made[..., [0, 1, 2, 3, 5]])["valid"]
    numbers = {"DS": ds, "PS": ps, "Corr": corr, "VDS": vds, "FDDS": fdds, "invalid bars": invalid}
    scores = [
        Score("legacy", row, name, float(value.mean()), error=_error(value), n=n)
        if isinstance(value, Tensor)
        else Score("legacy", row, name, value, n=n)
        for name, value in numbers.items()
    ]
    return Found(scores, [0, 1], {"DS": ds.tolist(), "PS": ps.tolist()})


def _error(values: Tensor) -> float | None:
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def _real(p: Protocol) -> Tensor:
    return p.windows[:, :, COLUMNS].clone()


def _halves(p: Protocol, g: torch.Generator) -> Tensor:
    windows = _real(p)
    return windows[torch.randperm(len(windows), generator=g)]


def _jittered(p: Protocol, g: torch.Generator) -> Tensor:
    windows = _real(p)
    noise = torch.randn(windows.shape, generator=g, dtype=torch.float64)
    return windows + 0.01 * noise * p.span


def _shuffled(p: Protocol, g: torch.Generator) -> Tensor:
    windows = _real(p)
    order = torch.rand(windows.shape[:2], generator=g).argsort(1)
    return windows.gather(1, order[..., None].expand_as(windows))


def _bootstrap(p: Protocol, g: torch.Generator, block: int, near: int | None) -> Tensor:
    """Runs of days, ``near`` the window's own place or from anywhere, after a real close; volume
    relative to the mean of the bars around it."""
    bars, starts = p.bars, p.starts
    runs, last = -(-LENGTH // block), len(bars) - block
    draw = torch.rand((len(starts), runs), generator=g, dtype=torch.float64)
    low = torch.ones_like(starts) if near is None else (starts - near).clamp_min(1)
    high = torch.full_like(starts, last) if near is None else (starts + near).clamp_max(last)
    first = low[:, None] + (draw * (high - low + 1)[:, None]).long()
    rows = (first[..., None] + torch.arange(block)).flatten(1)[:, :LENGTH]
    before = bars[rows - 1, 3]
    shape = bars[rows][..., :4].log() - before.log()[..., None]
    path = shape[..., 3].cumsum(1)
    start = torch.cat([torch.zeros_like(path[:, :1]), path[:, :-1]], dim=1)
    price = bars[starts - 1, 3][:, None, None] * (start[..., None] + shape).exp()
    level = _local_level(bars[:, 4])
    volume = bars[rows, 4] * (level[starts][:, None] - level[rows]).exp()
    return torch.cat([price, volume[..., None]], dim=2)[..., COLUMNS]


def _local_level(volume: Tensor) -> Tensor:
    """Mean log volume of the 61 bars around each; bars that did not trade are left out."""
    traded = (volume > 0).to(torch.float64)
    sums = [
        torch.nn.functional.avg_pool1d(
            x[None, None], 61, stride=1, padding=30, count_include_pad=False
        )[0, 0]
        for x in (torch.where(volume > 0, volume, 1.0).log(), traded)
    ]
    return sums[0] / sums[1].clamp_min(1e-9)


def _gbm(p: Protocol, g: torch.Generator) -> Tensor:
    """Constant volatility, lognormal volume of the whole history, after a real close."""
    r = p.bars[:, 3].log().diff()
    volume = p.bars[:, 4][p.bars[:, 4] > 0].log()
    n = len(p.starts)
    noise = torch.randn((n, LENGTH * SUBSTEPS), generator=g, dtype=torch.float64)
    fine = (r.mean() / SUBSTEPS + noise * r.std() / SUBSTEPS**0.5).cumsum(1)
    path = fine.unflatten(1, (LENGTH, SUBSTEPS))
    start = torch.cat([torch.zeros_like(path[:, :1, -1]), path[:, :-1, -1]], dim=1)
    inside = torch.cat([start[..., None], path], dim=2)
    ohlc = torch.stack([start, inside.amax(2), inside.amin(2), path[..., -1]], dim=2)
    price = p.bars[p.starts - 1, 3][:, None, None] * ohlc.exp()
    traded = torch.randn((n, LENGTH), generator=g, dtype=torch.float64)
    level, spread = (volume.mean(), volume.std()) if len(volume) > 1 else (0.0, 0.0)
    return torch.cat([price, (level + spread * traded).exp()[..., None]], dim=2)[..., COLUMNS]


def _network(p: Protocol, g: torch.Generator) -> Tensor:
    before = torch.arange(-p.history - 1, 0)
    history = p.bars[p.starts[:, None] + before]
    how = {"bars_per_year": p.bars_per_year, "generator": g}
    bars = p.model.generate(history, None, None, shape=(len(history), LENGTH), **how)
    return bars[..., COLUMNS]


ROWS: dict[str, Callable[[Protocol, torch.Generator], Tensor]] = {
    NULL: _halves,
    COPY: lambda p, g: _real(p),
    "copy + N(0, .01) jitter": _jittered,
    "days shuffled inside each window": _shuffled,
    "windows time-reversed": lambda p, g: _real(p).flip(1),
    "block bootstrap, local, 4 days": lambda p, g: _bootstrap(p, g, 4, NEAR),
    "block bootstrap, global, 12 days": lambda p, g: _bootstrap(p, g, 12, None),
    "GBM of constant volatility, lognormal volume": _gbm,
    NETWORK: _network,
}
