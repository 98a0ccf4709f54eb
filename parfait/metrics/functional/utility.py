"""Are generated bars good for something? A volatility forecaster trained on them, and the tail
risk they tell.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.metrics.measured import Measured
from parfait.metrics.resampling import block_weights
from parfait.utils.errors import UserError

LAGS = (1, 5, 22)  # bars of the means (Corsi 2009)
AHEAD = 5  # bars of realised volatility to forecast
_SMALL = 1e-12  # of the typical variance: keeps the log of a still bar finite


@dataclass(frozen=True, eq=False)
class Ridge:
    """y = mean_y + (x - mean_x) / sd_x @ weights."""

    mean: Float64[Tensor, " features"]
    sd: Float64[Tensor, " features"]
    weights: Float64[Tensor, " features"]
    target: float

    @classmethod
    def fit(
        cls, x: Float64[Tensor, "rows features"], y: Float64[Tensor, " rows"], penalty: float = 1.0
    ) -> "Ridge":
        """min ||y - x w||^2 + penalty ||w||^2 in standardised features."""
        mean, sd = x.mean(0), x.std(0).clamp_min(1e-12)
        z, target = (x - mean) / sd, float(y.mean())
        gram = z.T @ z + penalty * torch.eye(x.shape[1], dtype=x.dtype)
        return cls(mean, sd, torch.linalg.solve(gram, z.T @ (y - target)), target)

    def __call__(self, x: Float64[Tensor, "rows features"]) -> Float64[Tensor, " rows"]:
        return self.target + (x - self.mean) / self.sd @ self.weights


def volatility_rows(
    bars: Float64[Tensor, "paths bars 5"],
) -> tuple[Float64[Tensor, "rows features"], Float64[Tensor, " rows"]]:
    """Features and targets of the HAR-style forecaster, at every bar of every path that has 22 bars
    before it and 5 after it.

    Features: ln of mean squared returns and of mean squared ranges ln(H/L) over 1, 5 and 22 bars.
    Target: ln of the mean squared return of the next 5 bars.

    Raises:
        UserError: paths of fewer than 28 bars, prices not above 0, or prices that do not move.
    """
    need = max(LAGS) + AHEAD + 1
    if bars.ndim != 3 or bars.shape[1] < need:
        raise UserError(
            f"bars of shape {tuple(bars.shape)}: the volatility forecaster needs (paths, bars, 5) "
            f"with at least {need} bars a path"
        )
    if not bool((bars[..., :4] > 0).all()):
        raise UserError("the volatility forecaster needs prices above 0")
    log = bars[..., :4].log()
    square = log[..., 3].diff(dim=1).square()
    ranged = (log[:, 1:, 1] - log[:, 1:, 2]).square()
    typical = float(square.mean())
    if not typical > 0:
        raise UserError("the volatility forecaster needs prices that move")
    columns, last = [], max(LAGS)
    ends = square.shape[1] - AHEAD
    for series in (square, ranged):
        total = torch.cat([torch.zeros_like(series[:, :1]), series.cumsum(1)], dim=1)
        for lag in LAGS:
            mean = (total[:, last : ends + 1] - total[:, last - lag : ends + 1 - lag]) / lag
            columns.append((mean.clamp_min(0) + _SMALL * typical).log())
    total = torch.cat([torch.zeros_like(square[:, :1]), square.cumsum(1)], dim=1)
    ahead = (total[:, last + AHEAD :] - total[:, last : ends + 1]) / AHEAD
    target = (ahead.clamp_min(0) + _SMALL * typical).log()
    return torch.stack(columns, dim=-1).flatten(0, 1), target.flatten()


def train_on_synthetic(
    generated: Float64[Tensor, "paths bars 5"],
    train: Float64[Tensor, "windows bars 5"],
    test: Float64[Tensor, "others bars 5"],
    dates: Int64[Tensor, " others"],
    block: int,
    *,
    draws: int = 500,
    generator: torch.Generator,
) -> dict[str, Measured]:
    """Error of the volatility forecaster on real test windows, trained on generated and on real
    ones.

    Args:
        generated: what to train on.
        train: real training windows; as many bars in all as ``generated``, for a fair comparison.
        test: real windows of later years.
        dates: of the test windows.
        block: of the bootstrap over dates.
        draws: of the bootstrap.
        generator: of the draws.

    Returns:
        ``synthetic`` and ``real``, mean squared errors of ln variance, and ``ratio`` of the two
        (1: as good as real data; Esteban, Hyland & Raetsch 2017), with errors from a paired block
        bootstrap of the test windows.

    Raises:
        UserError: windows too short, or dates that cover fewer than three blocks.
    """
    if len(dates) != len(test):
        raise UserError(f"train on synthetic: {len(test)} test windows and {len(dates)} dates")
    x, y = volatility_rows(test)
    errors = []
    for source in (generated, train):
        model = Ridge.fit(*volatility_rows(source))
        errors.append((model(x) - y).square().reshape(len(test), -1).mean(1))
    weights = block_weights(dates, block, draws, generator)
    sums = torch.stack([weights @ e for e in errors])
    means = sums / weights.sum(1).clamp_min(1)
    ratio = sums[0] / sums[1]
    synthetic, real = (float(e.mean()) for e in errors)
    return {
        "synthetic": Measured.of(synthetic, float(means[0].std())),
        "real": Measured.of(real, float(means[1].std())),
        "ratio": Measured.of(synthetic / real, float(ratio.std())),
    }


def tail_forecast(
    samples: Float64[Tensor, "forecasts paths"], level: float
) -> tuple[Float64[Tensor, " forecasts"], Float64[Tensor, " forecasts"]]:
    """Quantile v at 1 - level and mean e of what lies at or below it, of sampled returns: VaR and
    ES of buying and holding, as (negative) returns.

    Raises:
        UserError: a level outside (.5, 1), or fewer than one sample in the tail.
    """
    alpha = 1 - level
    count = round(alpha * samples.shape[1])
    if not 0.5 < level < 1 or count < 1:
        raise UserError(
            f"VaR at level {level} of {samples.shape[1]} samples: give a level in (.5, 1) and at "
            f"least {math.ceil(1 / max(alpha, 1e-9))} samples"
        )
    lowest = samples.sort(dim=1).values[:, :count]
    return lowest[:, -1], lowest.mean(1)


def fz0(
    returns: Float64[Tensor, " forecasts"],
    v: Float64[Tensor, " forecasts"],
    e: Float64[Tensor, " forecasts"],
    level: float,
) -> Float64[Tensor, " forecasts"]:
    """Joint score of VaR and ES, lower is better, least in the mean at the true pair:

        -1{y <= v} (v - y) / (alpha e) + v / e + ln(-e) - 1,     e <= v < 0,  alpha = 1 - level

    Raises:
        UserError: forecasts that are not e <= v < 0.

    Source: Patton, Ziegel and Chen (2019), equation 6.
    """
    if not bool(((e <= v) & (v < 0)).all()):
        raise UserError("FZ0 needs e <= v < 0: VaR and ES as negative returns")
    hit = (returns <= v).to(torch.float64)
    return -hit * (v - returns) / ((1 - level) * e) + v / e + (-e).log() - 1


def tail_risk(
    samples: Float64[Tensor, "forecasts paths"],
    returns: Float64[Tensor, " forecasts"],
    dates: Int64[Tensor, " forecasts"],
    block: int,
    *,
    level: float = 0.95,
    draws: int = 500,
    generator: torch.Generator,
) -> dict[str, Measured]:
    """VaR and ES of buy-and-hold against what came.

    Returns:
        ``breaches``, share of returns at or below VaR (1 - level when right); ``shortfall``, mean
        of return / ES over the breaches (1 when right); ``fz0``, mean score; errors by a block
        bootstrap over dates.

    Raises:
        UserError: see ``tail_forecast`` and ``fz0``, or dates that cover fewer than three blocks.
    """
    if not len(samples) == len(returns) == len(dates):
        raise UserError("tail risk: give samples, returns and dates of the same forecasts")
    v, e = tail_forecast(samples, level)
    score, hit = fz0(returns, v, e, level), (returns <= v).to(torch.float64)
    weights = block_weights(dates, block, draws, generator)
    total = weights.sum(1).clamp_min(1)
    count = weights @ hit
    beyond = hit * returns / e
    drawn = ((weights @ beyond) / count)[count > 0]
    none = Measured(None, None, "no return fell below VaR")
    return {
        "breaches": Measured.of(float(hit.mean()), float((count / total).std())),
        "shortfall": Measured.of(float(beyond.sum() / hit.sum()), float(drawn.std()))
        if float(hit.sum()) > 0
        else none,
        "fz0": Measured.of(float(score.mean()), float((weights @ score / total).std())),
    }
