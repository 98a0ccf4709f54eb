"""Cont's (2001) eleven stylised facts of returns, for paths of a year of days or more.

Shorter paths cannot identify intermittency, slow decay and the asymmetry of time scales. Products
stay within a path and autocorrelations are centred on each path's own mean, whose bias of about
-1/T is the same on both sides when the paths are equally long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.functional import pooling
from parfait.metrics.functional.pooling import Draws, Weights
from parfait.metrics.functional.windows import WindowCode

CONT_STEPS = 252
LONGEST_LAG = 100
MONTH = 21
EWMA = 0.94
WARM_UP = 20
VOLUME_MEMORY = 61
BARRIER = 6.0  # deviations of a bar's return: about a tenth for a share's days


@dataclass(frozen=True)
class Reference:
    """Thresholds that are the real sample's on both sides of a comparison.

    Args:
        extreme: 99 % quantile of |r|.
        barrier: log move of first passages, ``BARRIER`` deviations of r.
    """

    extreme: float
    barrier: float

    @classmethod
    def of(cls, code: WindowCode) -> "Reference":
        """From real paths."""
        a = code.r.abs().flatten()
        rank = max(round(0.99 * a.numel()), 1)
        return cls(float(a.kthvalue(rank).values), BARRIER * float(code.r.std()))


def cont_facts(code: WindowCode, weights: Weights, reference: Reference) -> dict[str, Draws]:
    """The eleven facts of every draw of ``weights`` (``pooling``), of paths of at least 252 steps.

    1 ``acf_r_rms`` (lags 1..10) and ``acf_r_inside`` (``inside_share``); 2
    ``kurtosis``, ``hill`` of |r|, ``hill_left``, ``hill_right`` (top 5 %); 3 ``skewness``,
    ``gain_loss`` = E[T+] - E[T-], first passages of the log price in bars; 4 ``kurtosis_5``,
    ``_10``, ``_21`` of sums of bars; 5 ``fano_21``, var/mean of the number of |r| above the
    reference's extreme in 21 bars; 6 ``acf_abs_1_10``, ``acf_abs_20_60``, ``acf_sq_1_10``; 7
    ``kurtosis_conditional`` of r / EWMA(.94) volatility; 8 ``acf_abs_decay``, beta of ac ~ k^-beta,
    k = 1..100, centred on the common mean (own means turn far lags negative); 9
    ``leverage_1_10``; 10 ``volume_abs``, corr(ln V - its mean over 61 bars, |r|); 11
    ``time_asymmetry``, corr(c_t, f_{t+1}) - corr(c_{t+1}, f_t) of 5-bar blocks, c = |sum r|,
    f = sum |r| (Mueller et al. 1997).
    """
    r = code.r
    a, tens = r.abs(), range(1, 11)
    plain = pooling.autocorrelation(r, tens, weights, within=True)
    acf = pooling.autocorrelation(a, range(1, 61), weights, within=True)
    far = pooling.autocorrelation(a, range(1, LONGEST_LAG + 1), weights)
    squares = pooling.autocorrelation(r.square(), tens, weights, within=True)
    facts = {
        "acf_r_rms": plain.square().mean(1).sqrt(),
        "acf_r_inside": inside_share(r, tens, weights),
        "kurtosis": pooling.excess_kurtosis(r, weights),
        "hill": pooling.tail_index(a, weights),
        "hill_left": pooling.tail_index(-r, weights),
        "hill_right": pooling.tail_index(r, weights),
        "skewness": pooling.skewness(r, weights),
        "gain_loss": gain_loss(r, weights, reference.barrier),
    }
    for bars in (5, 10, MONTH):
        sums = blocks(r, bars).sum(-1)
        facts[f"kurtosis_{bars}"] = pooling.excess_kurtosis(sums, weights)
    return facts | {
        "fano_21": fano(a, weights, reference.extreme),
        "acf_abs_1_10": acf[:, :10].mean(1),
        "acf_abs_20_60": acf[:, 19:60].mean(1),
        "acf_sq_1_10": squares.mean(1),
        "kurtosis_conditional": pooling.excess_kurtosis(standardised(r), weights),
        "acf_abs_decay": decay(far),
        "leverage_1_10": pooling.leverage(r, tens, weights).mean(1),
        "volume_abs": pooling.correlation(
            volume_surprise(code.volume), a[:, VOLUME_MEMORY - 1 :], weights
        ),
        "time_asymmetry": time_asymmetry(r, weights),
    }


def blocks(x: Float64[Tensor, "paths steps"], bars: int) -> Float64[Tensor, "paths blocks bars"]:
    """Runs of ``bars`` elements; an incomplete last one is left out."""
    count = x.shape[1] // bars
    return x[:, : count * bars].unflatten(1, (count, bars))


def inside_share(r: Float64[Tensor, "paths steps"], lags: Sequence[int], weights: Weights) -> Draws:
    """Share of the autocorrelations of single paths within 1.96/sqrt(T): .95 for white noise, less
    where volatility clusters."""
    steps = r.shape[1]
    x = r - r.mean(1, keepdim=True)
    moving = x.square().sum(1) > pooling.ROUNDING * r.square().sum(1)
    total = torch.where(moving, x.square().sum(1), 1.0)
    acf = torch.stack([(x[:, k:] * x[:, :-k]).sum(1) / total for k in lags], dim=-1)
    hit = (acf.abs() < 1.96 / steps**0.5).double().mean(1)
    return pooling.ratio(weights @ (hit * moving), weights @ moving.double())


def fano(a: Float64[Tensor, "paths steps"], weights: Weights, extreme: float) -> Draws:
    """var/mean of how many of 21 bars lie above ``extreme``; 1 for a Poisson process."""
    count = (blocks(a, MONTH) > extreme).sum(-1).to(torch.float64)
    mean, variance, _, _ = pooling.central_moments(count, weights)
    return pooling.ratio(variance, mean)


def standardised(r: Float64[Tensor, "paths steps"]) -> Float64[Tensor, "paths rest"]:
    """r_t / sigma_t, sigma^2 the EWMA(.94) of *past* r^2, started at the mean of the first 20."""
    variance = r[:, :WARM_UP].square().mean(1)
    scaled = []
    for column in r[:, WARM_UP:].unbind(1):
        scaled.append(torch.where(variance > 0, column / variance.sqrt(), 0.0))
        variance = EWMA * variance + (1 - EWMA) * column.square()
    return torch.stack(scaled, dim=1)


def decay(acf: Float64[Tensor, "draws lags"]) -> Draws:
    """beta of ac(k) = A k^-beta, least squares in logs over the positive values; NaN where fewer
    than 60 % of them are positive, as without any memory."""
    lag = torch.arange(1, acf.shape[1] + 1, dtype=torch.float64).log()
    log_acf = torch.where(acf > 0, acf, torch.nan).log()
    return -pooling.slope(lag, log_acf, least=round(0.6 * acf.shape[1]))


def volume_surprise(volume: Float64[Tensor, "paths steps"]) -> Float64[Tensor, "paths rest"]:
    """ln V minus its mean over the 61 bars that end with it; 0 for bars that did not trade."""
    traded = torch.isfinite(volume)
    known = torch.where(traded, volume, 0.0)
    total, count = (
        torch.nn.functional.pad(x.cumsum(1), (1, 0)) for x in (known, traded.to(torch.float64))
    )
    recent = total[:, VOLUME_MEMORY:] - total[:, :-VOLUME_MEMORY]
    number = count[:, VOLUME_MEMORY:] - count[:, :-VOLUME_MEMORY]
    surprise = known[:, VOLUME_MEMORY - 1 :] - recent / number.clamp_min(1)
    return torch.where(traded[:, VOLUME_MEMORY - 1 :], surprise, 0.0)


def gain_loss(r: Float64[Tensor, "paths steps"], weights: Weights, barrier: float) -> Draws:
    """E[T+] - E[T-]: bars until the log price first stands ``barrier`` above or below its start,
    censored at half the path (Jensen, Johansen & Simonsen 2003); starts every 5 bars."""
    horizon = r.shape[1] // 2
    x = torch.nn.functional.pad(r.cumsum(1), (1, 0))
    gap = torch.zeros(r.shape[0], dtype=torch.float64)
    starts = range(0, r.shape[1] - horizon + 1, 5)
    for t in starts:
        moved = x[:, t + 1 : t + horizon + 1] - x[:, t : t + 1]
        gap += passage(moved >= barrier) - passage(moved <= -barrier)
    return weights @ (gap / len(starts)) / weights.sum(1) + _undefined(r, weights, barrier)


def passage(reached: Tensor) -> Float64[Tensor, " paths"]:
    """The first bar, from 1, at which ``reached`` (paths, bars) holds, the last one without."""
    first = reached.to(torch.int8).argmax(1) + 1
    return torch.where(reached.any(1), first, reached.shape[1]).to(torch.float64)


def _undefined(r: Tensor, weights: Weights, barrier: float) -> Draws:
    """NaN for draws that hardly ever move as far as the barrier, else 0."""
    reach = r.cumsum(1)
    wide = (reach.amax(1) - reach.amin(1) >= barrier) & (barrier > 0)
    rare = pooling.share(wide[:, None], weights) < 0.1
    return torch.where(rare, torch.nan, 0.0)


def time_asymmetry(r: Float64[Tensor, "paths steps"], weights: Weights) -> Draws:
    """corr(c_t, f_{t+1}) - corr(c_{t+1}, f_t): do coarse moves foretell fine volatility better
    than the reverse?"""
    runs = blocks(r, 5)
    coarse, fine = runs.sum(-1).abs(), runs.abs().sum(-1)
    ahead = pooling.correlation(coarse[:, :-1], fine[:, 1:], weights)
    return ahead - pooling.correlation(coarse[:, 1:], fine[:, :-1], weights)
