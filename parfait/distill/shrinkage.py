"""What usually follows an event of a type: random effects over noisy labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

_LEAST = 1e-4  # smallest variance, in coordinates


@dataclass(frozen=True, eq=False)
class Baseline:
    """What follows when nothing is said, given the present volatility.

        z ~ N(a + b ln sigma, exp(c + d ln sigma))        coordinate by coordinate

    Args:
        mean: a and b.
        log_variance: c and d.
    """

    mean: Float64[Tensor, "2 d"]
    log_variance: Float64[Tensor, "2 d"]

    def at(self, log_sigma: Float64[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """Its mean where the present volatility is such."""
        return _line(log_sigma) @ self.mean

    def spread(self, log_sigma: Float64[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """Its standard deviation."""
        return (0.5 * (_line(log_sigma) @ self.log_variance)).exp()


def fit_baseline(
    loc: Float64[Tensor, "n d"],
    scale: Float64[Tensor, "n d"],
    log_sigma: Float64[Tensor, " n"],
) -> Baseline:
    """Least squares of posterior means, and of the logarithm of what they leave.

    What varies is Var z = Var E(z | window) + E Var(z | window): residuals and label widths
    together. The second line is shifted so that it holds on average.

    Args:
        loc, scale: label posteriors.
        log_sigma: ln of the volatility before each window.
    """
    x = _line(log_sigma)
    mean = torch.linalg.lstsq(x, loc).solution
    total = (loc - x @ mean).square() + scale.square() + _LEAST
    log_variance = torch.linalg.lstsq(x, total.log()).solution
    log_variance[0] += (total / (x @ log_variance).exp()).mean(0).log()
    return Baseline(mean, log_variance)


def observed(
    deviation: Float64[Tensor, "n d"], scale: Float64[Tensor, "n d"], spread: Float64[Tensor, "n d"]
) -> tuple[Float64[Tensor, "n d"], Float64[Tensor, "n d"]]:
    """What the bars alone say: posteriors N(deviation, scale^2) without the prior N(0, spread^2).

        1/noise^2 = 1/scale^2 - 1/spread^2,    value = deviation noise^2 / scale^2

    A posterior as wide as the prior says next to nothing: its noise is large, not infinite.
    """
    precision = (1 / scale.square() - 1 / spread.square()).clamp_min(0.01 / spread.square())
    noise = precision.rsqrt()
    return deviation * (noise / scale).square().clamp_max(100.0), noise


def _line(log_sigma: Tensor) -> Tensor:
    return torch.stack([torch.ones_like(log_sigma), log_sigma], 1)


@dataclass(frozen=True, eq=False)
class Effects:
    """Deviations from the baseline by group.

    Args:
        groups: names.
        mean: of each group's typical deviation.
        sd: how uncertain it is.
        between: spread of typical deviations over groups.
    """

    groups: tuple[str, ...]
    mean: Float64[Tensor, "groups d"]
    sd: Float64[Tensor, "groups d"]
    between: Float64[Tensor, " d"]


def shrink(
    value: Float64[Tensor, "n d"],
    noise: Float64[Tensor, "n d"],
    group: Sequence[str],
    weight: Float64[Tensor, " n"],
    spread: Float64[Tensor, "n d"],
) -> Effects:
    """Empirical Bayes by group (Morris 1983, with the moments of DerSimonian & Laird 1986).

        e_i ~ N(theta_g, v_i),   v_i = spread_i^2 + noise_i^2,   theta_g ~ N(0, between^2)
        E theta_g = sum_i (w_i e_i / v_i) / (sum_i w_i / v_i + 1 / between^2)

    Shrunk towards no effect at all, so a group of few events says little.

    Args:
        value, noise: what the bars after each event say of its deviation; see ``observed``.
        group: which group it belongs to.
        weight: 1 / number of rows that tell of the same event.
        spread: how far events of one group lie apart, as windows in general do.
    """
    names = tuple(sorted(set(group)))
    index = torch.tensor([names.index(g) for g in group])
    v = spread.square() + noise.square()
    w = weight[:, None] / v
    zero = torch.zeros(len(names), value.shape[1], dtype=torch.float64)
    total = zero.index_add(0, index, w)
    raw = zero.index_add(0, index, w * value) / total
    # E sum total raw^2 = groups + between^2 sum total, as theta is centred at 0.
    excess = (total * raw.square()).sum(0) - len(names)
    between = (excess / total.sum(0)).clamp_min(_LEAST)
    precision = total + 1 / between
    return Effects(names, raw * total / precision, precision.rsqrt(), between.sqrt())
