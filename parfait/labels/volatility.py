"""Volatility of a window of bars, and how well it is known."""

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

# Bars whose high equals their low carry no range: beyond this share the range understates.
FLAT_SHARE = 0.1
RANGE_VARIANCE = 0.331  # of u (u - c) + d (d - c) for Brownian motion without drift, unit variance


def yang_zhang(bars: Float64[Tensor, "windows n 5"]) -> Float64[Tensor, " windows"]:
    """Variance per bar from open, high, low and close (Yang & Zhang 2000).

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
    """Centre exp(E[ln sigma]) per bar, standard deviation of ln sigma, and fallback.

    The variance estimate v behaves as sigma^2 chi^2_nu / nu with 2 / nu = r its relative variance,
    so that ln sigma has mean ln sqrt(v) + r/4 and variance (r + r^2/2) / 4 to second order in r.

    v is Yang-Zhang with r = 2 [f^2 + (1-f)^2 k^2] / (n-1) + 0.331 (1-f)^2 (1-k)^2 / n at overnight
    share f, 0.331 being the relative variance of one bar's range term (Rogers, Satchell & Yoon
    1994): sigma to 0.034 sqrt(60/n). Where more than 10 % of the bars are flat the
    variance is that of closes, with r = (kurtosis - 1) / (n - 1).
    """
    n = bars.shape[1] - 1
    variance, overnight, k = _yang_zhang_parts(bars)
    share = (overnight / variance.clamp_min(1e-300)).clamp(0, 1)
    day = (1 - share).square()
    relative = 2 * (share.square() + day * k**2) / (n - 1)
    relative = relative + RANGE_VARIANCE * day * (1 - k) ** 2 / n

    returns = log_returns(bars)
    deviation = returns - returns.mean(dim=1, keepdim=True)
    second = deviation.square().mean(dim=1)
    kurtosis = deviation.pow(4).mean(dim=1) / second.square().clamp_min(1e-300)
    # A sample kurtosis below the Gaussian one is chance, not precision.
    closes_relative = (kurtosis.clamp_min(3) - 1) / (n - 1)

    flat = (bars[:, 1:, 1] == bars[:, 1:, 2]).to(torch.float64).mean(dim=1) > FLAT_SHARE
    flat = flat | (variance <= 0)
    variance = torch.where(flat, close_to_close(bars), variance)
    r = torch.where(flat, closes_relative, relative)
    centre = variance.clamp_min(0).sqrt() * torch.exp(r / 4)
    return centre, (r + r.square() / 2).sqrt() / 2, flat


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
