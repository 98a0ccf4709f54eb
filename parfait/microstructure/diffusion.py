"""EDM preconditioning, noise law and loss (Karras, Aittala, Aila & Laine 2022), sigma_data = 1.

    D(x; sigma) = P( c_skip x + c_out F(c_in x; c_noise) ),
    c_skip = 1/(1+sigma^2),  c_out = sigma/sqrt(1+sigma^2),  c_in = 1/sqrt(1+sigma^2),
    c_noise = ln(sigma)/4,   ln sigma ~ N(p_mean, p_std^2),   weight (1+sigma^2)/sigma^2.

P projects the return channel onto the null space of the guide (``constraint``); the data there are
n = P x and the noise is P eps, still isotropic, so the scalars hold with sigma_data = 1 per degree
of freedom. With this weight the loss is the mean square of F minus a unit-variance target.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.microstructure.codec import RETURN
from parfait.microstructure.constraint import Segments

Denoise = Callable[[Tensor, Tensor], Tensor]  # (c_in x, c_noise per window) -> F


@dataclass(frozen=True)
class EDM:
    """Noise law of training and noise grid of sampling.

    Args:
        p_mean, p_std: mean and sd of ln sigma in training.
        sigma_min, sigma_max, rho: grid of Karras et al. (2022), eq. 5.
    """

    p_mean: float = -0.4
    p_std: float = 1.3
    sigma_min: float = 0.02
    sigma_max: float = 10.0
    rho: float = 7.0

    def draw_sigma(self, n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
        """n training noise levels, stratified over the law: one per n-tile, in random order.

        Stratification keeps the law and lowers the variance of the batch gradient.
        """
        offset = torch.rand(n, generator=generator)
        strata = (torch.randperm(n, generator=generator) + offset) / n
        return self.sigma_quantile(strata)

    def sigma_quantile(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Quantile function of the training law."""
        return torch.exp(self.p_mean + self.p_std * torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)))

    def grid(self, steps: int) -> Float64[Tensor, " grid"]:
        """steps noise levels from sigma_max to sigma_min, then 0 (float64)."""
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return torch.cat([(high + ramp * (low - high)) ** self.rho, ramp.new_zeros(1)])


def _column(sigma: Tensor) -> Tensor:
    return sigma.reshape(-1, 1, 1)


def network_target(x0: Tensor, noise: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(c_in x, target of F) at x = x0 + sigma noise: target = (x0 sigma - noise) / sqrt(1+sigma^2).

    From (x0 - c_skip x)/c_out, written without the cancellation at small sigma.
    """
    root = torch.sqrt(1 + sigma.square())
    return (x0 + sigma * noise) / root, (x0 * sigma - noise) / root


def diffusion_loss(
    network: Denoise,
    x0: Float[Tensor, "windows 5 bars"],
    noise: Float[Tensor, "windows 5 bars"],
    sigma: Float[Tensor, " windows"],
    segments: Segments,
) -> Float[Tensor, ""]:
    """Weighted denoising loss, averaged over channels.

    The return channel is averaged over its T - m free dimensions, not over T, or windows with short
    segments would weigh less; a window whose every close is given has no return loss.

    Args:
        network: F, called with (c_in x, c_noise).
        x0, noise: clean codes and unit noise, both already projected.
    """
    scaled, target = network_target(x0, noise, _column(sigma))
    error = segments.project(network(scaled, sigma.log() / 4)) - target
    square = error.square()
    returns = square[:, RETURN].sum(-1)
    dof = segments.degrees_of_freedom
    others = square[:, 1:].mean(-1).sum(-1)
    per_window = torch.where(dof > 0, returns / dof.clamp_min(1), 0.0) + others
    channels = (dof > 0).to(square.dtype) + (square.shape[1] - 1)
    # Channels, not windows, are the unit: the ratio of sums keeps k = 1 windows from being diluted.
    return per_window.sum() / channels.sum()
