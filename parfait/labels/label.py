"""``label_windows``: windows of bars -> posteriors over regimes."""

import math
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.amortised import amortised_labels
from parfait.labels.estimate import CHUNK, check_windows, closed_labels
from parfait.labels.posterior import Labels
from parfait.utils.errors import UserError

METHODS = ("amortised", "closed")


def label_windows(
    bars: Float64[Tensor, "windows n 5"],
    bars_per_year: float | Float64[Tensor, " windows"],
    before: Float64[Tensor, "windows m 5"] | None = None,
    method: Literal["amortised", "closed"] = "amortised",
    range_correction: float = 1.0,
) -> Labels:
    """Posterior over the regime of every window, Gaussian in each unconstrained coordinate.

    "amortised": a network trained on simulated windows with fat tails, clustering, gaps, rounding
    and few prices reads their features (``amortised_labels``).

    "closed": volatility (diffusive) and jumps by ``split_jumps`` and ``jump_posterior``, Hurst
    exponent and mean reversion by ``hurst_posterior`` and ``reversion_posterior`` of the returns
    without their jumps. The two explain the same thing, so one of them is set to none: H where the
    evidence for reversion is three times that for memory and for a random walk, else kappa. The
    initial volatility is the diffusive one of the bars ``before``, of the window itself without,
    widened by what a variance moves in that time; the variance process keeps its prior, with xi
    centred at 2 sigma.

    Drift, of either: with mean log return g over T years and prior g ~ N(0, (S sigma)^2), S = 1,
    sigma total, g | window ~ N(g T/f / (T/f + 1/S^2), sigma^2 / (T/f + 1/S^2)), f = E n^{2H-1} for
    memory, and mu = g + sigma^2/2 + lambda (e^{m + s^2/2} - 1 - m) with the diffusive sigma; the
    Gaussian in the drift coordinate has the same 5 % and 95 % quantiles.

    Args:
        bars: valid bars as ``BAR_FIELDS``; the first serves as "before" only.
        bars_per_year: frequency, one for all windows or one each.
        before: the bars that precede each window.
        method: "amortised", or "closed".
        range_correction: factor on volatilities from ranges, sqrt(sum var_close / sum var_range)
            of a symbol; ticks make ranges too small.

    Raises:
        UserError: fewer than 3 bars, a wrong shape, invalid prices, ``bars_per_year`` or
            ``range_correction`` <= 0, or an unknown method.
    """
    if method not in METHODS:
        raise UserError(f"method = {method!r} is unknown; use one of {', '.join(METHODS)}")
    check_windows(bars, "bars")
    if before is not None:
        check_windows(before, "before")
        if len(before) != len(bars):
            raise UserError(f"before has {len(before)} windows, bars has {len(bars)}")
    if not (math.isfinite(range_correction) and range_correction > 0):
        raise UserError(f"range_correction = {range_correction} must be finite and above 0")
    frequency = torch.as_tensor(bars_per_year, dtype=torch.float64).expand(len(bars))
    if not bool(((frequency > 0) & torch.isfinite(frequency)).all()):
        raise UserError(f"bars_per_year = {bars_per_year} must be finite and above 0")
    if not len(bars):
        return label_windows(bars.new_ones(1, *bars.shape[1:]), 1.0, None, method).first(0)
    if method == "amortised":
        return amortised_labels(bars, frequency, before, range_correction)
    size = max(CHUNK // bars.shape[1], 1)
    chunks = []
    for i in range(0, len(bars), size):
        earlier = None if before is None else before[i : i + size]
        chunk = bars[i : i + size], frequency[i : i + size], earlier
        chunks.append(closed_labels(*chunk, range_correction))
    return Labels.concatenate(chunks)
