"""Volatility of a window of bars, and how well it is known."""

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

# Bars whose high equals their low carry no range: beyond this share the range understates.
FLAT_SHARE = 0.1


def yang_zhang(bars: Float64[Tensor, "windows n 5"]) -> Float64[Tensor, " windows"]:
    """Variance per bar from open, high, low and close (Yang & Zhang 2000, eq. 7).

    With the first bar giving only the previous close, n = bars - 1 and, per bar,
    o = ln(O_t / C_{t-1}), u = ln(H / O), d = ln(L / O), c = ln(C / O):

        var(o) + k var(c) + (1 - k) mean[u (u - c) + d (d - c)],   k = 0.34 / (1.34 + (n+1)/(n-1))

    Unbiased under Brownian motion with any drift and any overnight share; about eight times as
    efficient as squared returns.
    """
    return _yang_zhang_parts(bars)[0]


def close_to_close(bars: Float64[Tensor, "windows n 5"]) -> Float64[Tensor, " windows"]:
    """Sample variance per bar of the log returns of closes."""
    return log_returns(bars).var(dim=1)


def log_returns(bars: Float64[Tensor, "windows n 5"]) -> Float64[Tensor, "windows m"]:
    """Log returns of closes, one fewer than bars."""
    return bars[..., 3].log().diff(dim=1)


def volatility_posterior(
    bars: Float64[Tensor, "windows n 5"],
) -> tuple[Float64[Tensor, " windows"], Float64[Tensor, " windows"], Bool[Tensor, " windows"]]:
    """Per-bar standard deviation of log returns, the standard error of its logarithm, fallback.

    Yang-Zhang, whose variance under Brownian motion with overnight share f is
    2 sigma^4 [f^2 / (n-1) + (1-f)^2 / ((n-1)(1 + 1/k))] (Yang & Zhang 2000, eqs. 9-11), about
    0.034 sqrt(60/n) relative to sigma; from closes with
    relative error sqrt((kurtosis - 1) / (4 n)) where more than 10 % of the bars are flat.
    """
    n = bars.shape[1] - 1
    variance, overnight, k = _yang_zhang_parts(bars)
    share = (overnight / variance.clamp_min(1e-300)).clamp(0, 1)
    relative = 2 / (n - 1) * (share.square() + (1 - share).square() / (1 + 1 / k))

    returns = log_returns(bars)
    deviation = returns - returns.mean(dim=1, keepdim=True)
    second = deviation.square().mean(dim=1)
    kurtosis = deviation.pow(4).mean(dim=1) / second.square().clamp_min(1e-300)
    closes_relative = (kurtosis.clamp_min(3) - 1) / n  # of the variance: Var(s^2)/s^4

    flat = (bars[:, 1:, 1] == bars[:, 1:, 2]).to(torch.float64).mean(dim=1) > FLAT_SHARE
    flat = flat | (variance <= 0)
    variance = torch.where(flat, close_to_close(bars), variance)
    # Half of the variance's relative error is the volatility's.
    error = torch.where(flat, closes_relative, relative).sqrt() / 2
    return variance.clamp_min(0).sqrt(), error, flat


def _yang_zhang_parts(
    bars: Float64[Tensor, "windows n 5"],
) -> tuple[Tensor, Tensor, float]:
    n = bars.shape[1] - 1
    log = bars[..., :4].log()
    o = log[:, 1:, 0] - log[:, :-1, 3]
    u, d, c = (log[:, 1:, j] - log[:, 1:, 0] for j in (1, 2, 3))
    k = 0.34 / (1.34 + (n + 1) / (n - 1)) if n > 1 else math.nan
    overnight = o.var(dim=1)
    range_part = (u * (u - c) + d * (d - c)).mean(dim=1)
    return overnight + k * c.var(dim=1) + (1 - k) * range_part, overnight, k
