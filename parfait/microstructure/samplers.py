r"""Deterministic samplers: data prediction D(x, sigma) in, clean codes out.

All start at P eps sqrt(sigma_max^2 + 1) and step linearly in (x, D), so iterates never leave the
null space of the guide when D is projected. ``sigmas`` falls to 0 in its last entry.

| name | order | source |
|---|---|---|
| dpmpp_2m | 2 (multistep) | Lu et al. (2022), algorithm 2 |
| angle_euler | 1, exact for unit Gaussians | dx/dtau = -F, tau = atan(sigma), Lu & Song (2024) |
| heun | 2 (two evaluations a step) | Karras et al. (2022), algorithm 1 without churn |
| euler | 1 | Karras et al. (2022) |
"""

import itertools
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]  # (x, sigma) -> D
Sampler = Callable[[Denoiser, Tensor, Tensor], Tensor]


def dpmpp_2m(
    denoise: Denoiser, x: Float[Tensor, "..."], sigmas: Float64[Tensor, " grid"]
) -> Float[Tensor, "..."]:
    """DPM-Solver++(2M): x <- (s'/s) x + (1 - e^{-h}) [D + (D - D_prev)/(2 q)], h = ln(s/s')."""
    grid = sigmas.tolist()
    previous, h_previous = None, 0.0
    for sigma, sigma_next in itertools.pairwise(grid):
        d = denoise(x, sigma)
        if sigma_next == 0:
            return d
        ratio = sigma_next / sigma
        h = -torch.log(torch.tensor(ratio, dtype=torch.float64)).item()
        slope = d if previous is None else d + (d - previous) * (h / (2 * h_previous))
        x = ratio * x + (1 - ratio) * slope
        previous, h_previous = d, h
    return x


def angle_euler(
    denoise: Denoiser, x: Float[Tensor, "..."], sigmas: Float64[Tensor, " grid"]
) -> Float[Tensor, "..."]:
    """Euler in the angle: y <- y + (tau - tau') F, y = x/sqrt(1+s^2), F = (D - c_skip x)/c_out."""
    grid, angles = sigmas.tolist(), torch.atan(sigmas).tolist()
    y = x / (1 + grid[0] ** 2) ** 0.5
    for i, sigma in enumerate(grid[:-1]):
        root = (1 + sigma**2) ** 0.5
        d = denoise(y * root, sigma)
        f = (d * root - y) / sigma
        y = y + (angles[i] - angles[i + 1]) * f
    return y


def heun(
    denoise: Denoiser, x: Float[Tensor, "..."], sigmas: Float64[Tensor, " grid"]
) -> Float[Tensor, "..."]:
    """Trapezoidal rule on dx/dsigma = (x - D)/sigma; the last step, to 0, is Euler's."""
    grid = sigmas.tolist()
    for sigma, sigma_next in itertools.pairwise(grid):
        slope = (x - denoise(x, sigma)) / sigma
        euler_step = x + (sigma_next - sigma) * slope
        if sigma_next == 0:
            return euler_step
        slope_next = (euler_step - denoise(euler_step, sigma_next)) / sigma_next
        x = x + (sigma_next - sigma) * 0.5 * (slope + slope_next)
    return x


def euler(
    denoise: Denoiser, x: Float[Tensor, "..."], sigmas: Float64[Tensor, " grid"]
) -> Float[Tensor, "..."]:
    """x <- x + (s' - s)(x - D)/s."""
    grid = sigmas.tolist()
    for sigma, sigma_next in itertools.pairwise(grid):
        x = x + (sigma_next - sigma) * (x - denoise(x, sigma)) / sigma
    return x


SAMPLERS: dict[str, Sampler] = {
    "dpmpp_2m": dpmpp_2m,
    "angle_euler": angle_euler,
    "heun": heun,
    "euler": euler,
}
