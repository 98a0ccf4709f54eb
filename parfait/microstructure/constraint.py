r"""The guide as a linear operator, and the null space in which the diffusion lives.

Let x in R^T be the returns of a window in units of the volatility s, and let the anchored bars cut
it into segments S_1..S_m of lengths k_i. The guide demands (A x)_i = sum_{j in S_i} x_j = g_i. Then

    A A^T = diag(k_i),   A^+ = A^T diag(1/k_i)   (spread each demand evenly),
    P = I - A^+ A        (remove each segment's mean),   rank P = T - m.

Every x with A x = g is A^+ g + n with n in null(A), and an isotropic Gaussian stays isotropic in
null(A). Bars after the last anchor belong to no row of A: there P is the identity, so "no guide at
all" is the same code path.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from parfait.microstructure.codec import MAX_LOG_RETURN, RETURN, by_bar


@dataclass(frozen=True)
class Segments:
    """Anchor sets of a batch of windows.

    Attributes:
        anchored: True at the last bar of every guided segment.
        index: segment number per bar, counted from 0.
        length: k of the bar's own segment, in bars (of the free tail for free bars).
        free: True for bars after the last anchor.
        averaging: A^+ A, (windows, bars, bars).
    """

    anchored: Bool[Tensor, "windows bars"]
    index: Int64[Tensor, "windows bars"]
    length: Float[Tensor, "windows bars"]
    free: Bool[Tensor, "windows bars"]
    averaging: Float[Tensor, "windows bars bars"]

    @classmethod
    def from_anchors(cls, anchored: Bool[Tensor, "windows bars"]) -> "Segments":
        """Segments that end at each anchored bar."""
        closed = torch.cumsum(anchored.to(torch.int64), dim=1)
        index = closed - anchored.to(torch.int64)
        free = index >= closed[:, -1:]
        same = (index[:, :, None] == index[:, None, :]).to(torch.float32)
        length = same.sum(-1)
        averaging = same / length[:, :, None] * (~free).to(torch.float32)[:, :, None]
        return cls(anchored, index, length, free, averaging)

    def project(self, x: Float[Tensor, "windows 5 bars"]) -> Float[Tensor, "windows 5 bars"]:
        """P on the return channel, identity on the others."""
        returns = x[:, RETURN]
        mean = torch.matmul(self.averaging.to(x.dtype), returns.unsqueeze(-1)).squeeze(-1)
        return torch.cat([(returns - mean).unsqueeze(1), x[:, 1:]], dim=1)

    def root_mean_square(
        self, values: Float64[Tensor, "windows bars"]
    ) -> Float64[Tensor, "windows bars"]:
        """Of each segment at each of its bars; free bars keep their own, windows of ones all."""
        mean = torch.matmul(self.averaging.double(), values.square().unsqueeze(-1)).squeeze(-1)
        ones = (values == 1).all(dim=1, keepdim=True)
        return torch.where(self.free | ones, values, mean.sqrt())

    def spread(self, returns: Float[Tensor, "windows bars"]) -> Float[Tensor, "windows bars"]:
        """A^+ A x: each segment's mean return at each of its bars, 0 on free bars."""
        return torch.matmul(self.averaging.to(returns.dtype), returns.unsqueeze(-1)).squeeze(-1)

    @property
    def degrees_of_freedom(self) -> Float[Tensor, " windows"]:
        """Free return dimensions per window: T - m."""
        return (~self.anchored).sum(1).to(torch.float32)

    def rows(self, pick: Tensor | slice) -> "Segments":
        """The same for a subset of the windows."""
        return Segments(
            self.anchored[pick],
            self.index[pick],
            self.length[pick],
            self.free[pick],
            self.averaging[pick],
        )


def guide_increments(
    level: Float64[Tensor, "windows bars"],
    segments: Segments,
    previous_close: Float64[Tensor, " windows"],
) -> Float64[Tensor, "windows bars"]:
    """A^+ g as log returns: the guide's move over each segment, spread evenly; 0 on free bars.

    Reads the guide at anchored bars only.
    """
    log_level = torch.where(segments.anchored, torch.log(level), 0.0)
    start = torch.log(previous_close)[:, None].expand_as(level)
    # The last anchored level at or before each bar, found by the position of the last anchor.
    position = torch.arange(level.shape[1]).expand_as(segments.index)
    last = torch.where(segments.anchored, position, -1).cummax(dim=1).values
    filled = torch.where(last >= 0, log_level.gather(1, last.clamp_min(0)), start)
    before = torch.cat([start[:, :1], filled[:, :-1]], dim=1)
    moves = torch.where(segments.anchored, filled - before, 0.0)
    return segments.spread(moves)


def close_path(
    returns: Float[Tensor, "windows bars"],
    level: Float64[Tensor, "windows bars"],
    segments: Segments,
    previous_close: Float64[Tensor, " windows"],
    scale: Float64[Tensor, "windows *bars"],
) -> Float64[Tensor, "windows bars"]:
    """Closes in float64; at anchored bars the close *is* the guide, bit for bit.

    Inside a segment ln C_j = ln C_start + s sum x, started from the guide at each anchor, so that
    float32 rounding never accumulates across segments; the anchored bar takes the remainder.

    Args:
        returns: A^+ g + P n in units of s, which may change from segment to segment.
        level: guide prices, read at anchored bars only.
    """
    limit = MAX_LOG_RETURN
    steps = (returns.to(torch.float64) * by_bar(scale)).clamp(-limit, limit)
    total = torch.cumsum(steps, dim=1)
    position = torch.arange(level.shape[1]).expand_as(segments.index)
    # Position of the last anchor strictly before each bar; -1 where there is none.
    last = torch.where(segments.anchored, position, -1).cummax(dim=1).values
    last = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], dim=1)
    started = last >= 0
    origin = torch.where(started, total.gather(1, last.clamp_min(0)), 0.0)
    log_start = torch.where(
        started, torch.log(level).gather(1, last.clamp_min(0)), torch.log(previous_close)[:, None]
    )
    inner = torch.exp((log_start + total - origin).clamp(-600.0, 600.0))
    return torch.where(segments.anchored, level, inner)
