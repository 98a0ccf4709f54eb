"""Fractional Gaussian noise: exact, one Hurst exponent per path, by circulant embedding."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

_BLOCK = 512  # paths transformed at a time
_BLOCK = 512
HURST_GRID = 1e-3  # exponents this close share a spectrum; the sd of a bar is exact whatever H


def autocovariance(hurst: Float64[Tensor, "*batch"], lags: int) -> Float64[Tensor, "*batch lags"]:
    """gamma(k) = (|k+1|^2H - 2 |k|^2H + |k-1|^2H) / 2 for k = 0 .. lags - 1, in float64."""
    k = torch.arange(lags, dtype=torch.float64, device=hurst.device)
    power = 2 * hurst[..., None]
    return 0.5 * ((k + 1) ** power - 2 * k**power + (k - 1).abs() ** power)


def power(
    base: float | Float64[Tensor, "*#shape"], exponent: Float64[Tensor, "*#shape"]
) -> Float64[Tensor, "*#shape"]:
    """base^exponent, each number by itself.

    The last few numbers of a table go through other instructions in torch's own power, which round
    differently, and a path must not depend on how many others come along.
    """
    exact = torch.as_tensor(base, dtype=exponent.dtype, device=exponent.device)
    return torch.exp(exponent * exact.log())


def hurst_levels(
    hurst: Float64[Tensor, " width"],
) -> tuple[Float64[Tensor, " levels"], Int64[Tensor, " width"]]:
    """The distinct exponents on ``HURST_GRID``, and which of them every path has."""
    levels, which = torch.unique((hurst / HURST_GRID).round(), return_inverse=True)
    return levels * HURST_GRID, which


def fractional_noise(
    white: Float[Tensor, "rows width"], hurst: Float64[Tensor, " width"]
) -> Float[Tensor, "steps width"]:
    """Unit-variance noise g with autocovariance gamma_H, one column per path.

    g = irfft(W sqrt(2 n lambda)) where lambda is the spectrum of the circulant row gamma(0) ..
    gamma(n) .. gamma(1). With gamma(n), and not 0, in the middle it is positive for every H.

    Args:
        white: independent N(0, 1), two rows for every step.
        hurst: H in (0, 1), rounded to ``HURST_GRID``.

    Source: Davies & Harte (1987); Dietrich & Newsam (1997).
    """
    n = white.shape[0] // 2
    levels, which = hurst_levels(hurst)
    gamma = autocovariance(levels, n + 1)
    spectrum = torch.fft.rfft(torch.cat([gamma, gamma[:, 1:n].flip(1)], dim=1)).real
    scale = (2 * n * spectrum.clamp(min=0)).sqrt()
    scale[:, 1:n] *= 0.5**0.5  # these are complex, with half the variance in each part
    scale = scale.to(white.dtype)
    noise = torch.empty_like(white[:n])
    # Some paths at a time, within the cache, and with copies of contiguous tables, the only ones
    # torch transposes fast: a quarter of the time of the whole table at once.
    for start in range(0, white.shape[1], _BLOCK):
        columns = slice(start, min(start + _BLOCK, white.shape[1]))
        own = scale.index_select(0, which[columns])
        rows = white[:, columns].contiguous().T.contiguous()
        real = rows[:, : n + 1] * own
        imaginary = torch.nn.functional.pad(rows[:, n + 1 :] * own[:, 1:n], (1, 1))
        path = torch.fft.irfft(torch.complex(real, imaginary), n=2 * n, dim=1)[:, :n]
        noise[:, columns] = path.contiguous().T.contiguous()
    return noise


def reverting_variance(
    hurst: Float64[Tensor, " width"], decay: Float64[Tensor, " width"], steps: int
) -> Iterator[Float64[Tensor, " width"]]:
    """Var(y_k) for k = 1 .. steps where y_k = a y_(k-1) + g_k and g is fractional noise.

    q_k = a^2 q_(k-1) + 2 a r_k + 1 with r_k = sum_(0<l<k) a^(l-1) gamma(l); k^2H where a = 1.
    """
    levels, which = hurst_levels(hurst)
    gamma = autocovariance(levels, steps)
    q, r, power = (torch.zeros_like(decay) for _ in range(3))
    for k in range(steps):
        if k > 0:
            power = torch.ones_like(decay) if k == 1 else power * decay
            r = r + power * gamma[which, k]
        q = decay**2 * q + 2 * decay * r + 1
        yield q


def summed_variance(
    scale: Float64[Tensor, "steps width"], hurst: Float64[Tensor, " width"]
) -> Float64[Tensor, "steps width"]:
    """Var(y_k) for k = 1 .. steps where y_k = scale_1 g_1 + ... + scale_k g_k.

    Var(y_k) - Var(y_(k-1)) = 2 scale_k c_k - scale_k^2, c_k = sum_(j<=k) scale_j gamma(k - j) by
    Fourier transform; scale^2 k^2H where the scale does not change.
    """
    steps, width = scale.shape
    levels, which = hurst_levels(hurst)
    kernel = torch.fft.rfft(autocovariance(levels, steps), n=2 * steps, dim=1)
    variance = torch.empty_like(scale)
    for start in range(0, width, _BLOCK):
        columns = slice(start, min(start + _BLOCK, width))
        rows = scale[:, columns].T.contiguous()
        spectrum = torch.fft.rfft(rows, n=2 * steps, dim=1) * kernel[which[columns]]
        c = torch.fft.irfft(spectrum, n=2 * steps, dim=1)[:, :steps]
        variance[:, columns] = (rows * (2 * c - rows)).cumsum(dim=1).T
    return variance
