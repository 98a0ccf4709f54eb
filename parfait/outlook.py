"""The volatility to come, as far as past bars tell: a filter of ranges and returns.

One set of weights for all markets, in bars, chosen on daily bars of 2005 to 2014 and before
(docs/evaluation.md): scales multiply through, so none needs to be fitted to a series.
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.volatility import LEAST_SD
from parfait.regime import Outlook

LOOK_BACK = 1500  # bars: more change nothing, the longest half-life is 150
HALF_LIVES = (1.5, 15.0, 45.0, 150.0)
PRESENT = (0.45, 0.4, 0.15, 0.0)  # weights of ln variance at these half-lives: the next bar's
LEVEL = (0.3, 0.1, 0.2, 0.4)  # where it returns to
RANGE_SHARE = 0.8  # of a bar's range beside its squared return
_WILDEST = 8.0  # a range beyond so many expected ones is a misprint rather than news
_SETTLED, _START = 60, 15.0  # bars of the first mean; half-life of what a range is measured by
_CORRECTION, _USELESS = 500.0, 4.0  # half-life of the range correction; beyond it, closes alone
_FALLS = 5.0


def outlook(bars: Float64[Tensor, "bars 5"], bars_per_year: float) -> Outlook | None:
    """Present volatility and the level it returns to, from valid bars; ``None`` where fewer than
    two of them moved.

    A bar's variance is q = .8 c p + .2 r^2 with r = ln C/C', p = o^2 + u (u - c) + d (d - c)
    (overnight and Rogers-Satchell), cut at eight times what is usual, and c the ratio of past r^2
    to past p, since ticks make ranges too small. ln of its means at half-lives of 1.5, 15, 45 and
    150 bars are averaged with fixed weights (Corsi 2009 in logarithms). Closes alone serve where
    ranges tell nothing.

    Args:
        bars: columns as ``BAR_FIELDS``; the first gives its close alone.
        bars_per_year: frequency.
    """
    log = bars[-LOOK_BACK:, :4].log()
    if len(log) < 3:
        return None
    before, r = log[:-1, 3], log[:, 3].diff()
    square = r.square()
    if not float(square.mean()) > LEAST_SD**2 or int((square > 0).sum()) < 2:
        return None
    o, u, d, c = (log[1:, 0] - before, *(log[1:, k] - log[1:, 0] for k in (1, 2, 3)))
    ranged = _tamed(o.square() + u * (u - c) + d * (d - c), square)
    ratio = _recent(square, _CORRECTION) / max(_recent(ranged, _CORRECTION), 1e-300)
    share = RANGE_SHARE if ratio < _USELESS else 0.0
    variance = share * min(ratio, _USELESS) * ranged + (1 - share) * square
    floor = 1e-6 * float(variance.mean())
    logs = [math.log(max(_recent(variance, h), floor)) for h in HALF_LIVES]
    fallen = _recent(torch.where(r < 0, square, 0.0), _FALLS)
    both = _recent(square, _FALLS)
    present, level = (
        math.exp(sum(w * v for w, v in zip(weights, logs, strict=True)) / 2)
        for weights in (PRESENT, LEVEL)
    )
    annual = math.sqrt(bars_per_year)
    return Outlook(
        present=present * annual,
        level=level * annual,
        falls=fallen / both - 0.5 if both > floor else 0.0,
        doubt=1 / math.sqrt(2 * len(r)),
    )


def _recent(x: Tensor, half_life: float) -> float:
    """Exponential mean at the end, begun with the mean of the first 60."""
    fade = 0.5 ** (1 / half_life)
    age = torch.arange(len(x) - 1, -1, -1, dtype=torch.float64)
    return float((1 - fade) * (fade**age @ x) + fade ** len(x) * x[:_SETTLED].mean())


def _tamed(ranged: Tensor, square: Tensor) -> Tensor:
    """Ranges cut at eight times the larger of what is usual and the bar's own squared return."""
    fade = 0.5 ** (1 / _START)
    usual = float(ranged[:_SETTLED].median())
    kept = []
    for p, r2 in zip(ranged.tolist(), square.tolist(), strict=True):
        p = min(p, _WILDEST * max(usual, r2))
        kept.append(p)
        usual = fade * usual + (1 - fade) * p
    return torch.tensor(kept, dtype=torch.float64)
