"""Losses of the distillation, pure functions of mixtures in prior units.

    D(p, q) = sum_k w_k ln(w_k / w'_k) + sum_k w_k KL(N_k || N'_k)  >=  KL(p || q)

is the closed form that typed slots allow: slot k of the teacher is compared with slot k of the
student and with no other (convexity of the divergence, Cover & Thomas 2006, theorem 2.7.2).
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from parfait.regime.fields import INITIAL_VOLATILITY
from parfait.semantic.lm.head import Mixture
from parfait.semantic.lm.targets import SlotTargets

_LN_2PI = math.log(2 * math.pi)


def gaussian_kl(
    mean: Float[Tensor, "*batch d"],
    cholesky: Float[Tensor, "*batch d d"],
    other_mean: Float[Tensor, "*batch d"],
    other_cholesky: Float[Tensor, "*batch d d"],
) -> Float[Tensor, "*batch"]:
    """KL(N(m, L L^T) || N(m', L' L'^T)) in nats."""
    solved = torch.linalg.solve_triangular(other_cholesky, cholesky, upper=False)
    gap = torch.linalg.solve_triangular(
        other_cholesky, (other_mean - mean)[..., None], upper=False
    )[..., 0]
    logs = [x.diagonal(dim1=-2, dim2=-1).log().sum(-1) for x in (other_cholesky, cholesky)]
    trace = solved.square().sum((-2, -1))
    return logs[0] - logs[1] + 0.5 * (trace + gap.square().sum(-1) - mean.shape[-1])


def slot_divergence(target: SlotTargets, told: Mixture) -> Float[Tensor, " batch"]:
    """D(teacher, student), with the cross-entropy of the openness of the initial volatility.

    Where the teacher leaves the initial volatility open, its coordinate counts nothing.
    """
    weights = target.weights
    log_weights = told.logits.log_softmax(-1)
    entropy = torch.xlogy(weights, weights) - weights * log_weights
    d = INITIAL_VOLATILITY
    core = gaussian_kl(
        target.mean[..., :d],
        target.cholesky[..., :d, :d],
        told.mean[..., :d],
        told.cholesky[..., :d, :d],
    )
    # The last coordinate of the student is independent of the others.
    variance = target.cholesky[..., d, :].square().sum(-1)
    sd = told.cholesky[..., d, d]
    gap = (target.mean[..., d] - told.mean[..., d]).square()
    last = sd.log() - 0.5 * variance.log() + 0.5 * ((variance + gap) / sd.square() - 1)
    last = torch.where(target.open, 0.0, last)
    is_open = F.binary_cross_entropy_with_logits(
        told.open, target.open.to(told.open.dtype), reduction="none"
    )
    return (entropy + weights * (core + last + is_open)).sum(-1)


def mixture_nll(
    told: Mixture, draws: Float[Tensor, "batch draws fields"]
) -> Float[Tensor, "batch draws"]:
    """-ln p(u) of the first ten coordinates under the student, prior units."""
    d = INITIAL_VOLATILITY
    root = told.cholesky[:, None, :, :d, :d]
    gap = (draws[:, :, None, :d] - told.mean[:, None, :, :d])[..., None]
    solved = torch.linalg.solve_triangular(root.expand(*gap.shape[:3], d, d), gap, upper=False)
    logs = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    density = -0.5 * solved[..., 0].square().sum(-1) - logs - 0.5 * d * _LN_2PI
    return -torch.logsumexp(told.logits.log_softmax(-1)[:, None] + density, dim=-1)


def draw(target: SlotTargets, n: int, generator: torch.Generator) -> Tensor:
    """n draws of every teacher's mixture, (batch, n, fields)."""
    slots = torch.multinomial(target.weights.cpu(), n, replacement=True, generator=generator)
    shape = (*slots.shape, target.mean.shape[-1])
    noise = torch.randn(shape, generator=generator, dtype=target.mean.dtype)
    rows = torch.arange(len(slots))[:, None]
    mean, root = target.mean.cpu()[rows, slots], target.cholesky.cpu()[rows, slots]
    return (mean + (root @ noise[..., None])[..., 0]).to(target.mean.device)


def expected(told: Mixture) -> Float[Tensor, "batch fields"]:
    """Mean of the mixtures."""
    return (told.logits.softmax(-1)[..., None] * told.mean).sum(1)


def order_loss(
    high: Float[Tensor, " pairs"], low: Float[Tensor, " pairs"], margin: Float[Tensor, " pairs"]
) -> Float[Tensor, ""]:
    """mean max(0, margin - (E high - E low)), of contrast pairs; 0 without pairs."""
    if len(high) == 0:
        return high.sum()
    return F.relu(margin - (high - low)).mean()


def consistency_loss(
    told: Mixture, a: Int64[Tensor, " pairs"], b: Int64[Tensor, " pairs"]
) -> Float[Tensor, ""]:
    """mean (D(a, b) + D(b, a)) / 2 over paraphrases: row a[i] says what row b[i] says."""
    if len(a) == 0:
        return told.logits.sum() * 0
    parts = [_rows(told, rows) for rows in (a, b)]
    total = told.logits.new_zeros(())
    for p, q in (parts, parts[::-1]):
        weights = p.logits.softmax(-1)
        gap = p.logits.log_softmax(-1) - q.logits.log_softmax(-1)
        kl = gaussian_kl(p.mean, p.cholesky, q.mean, q.cholesky)
        total = total + 0.5 * (weights * (gap + kl)).sum(-1).mean()
    return total


def _rows(told: Mixture, rows: Tensor) -> Mixture:
    return Mixture(told.logits[rows], told.mean[rows], told.cholesky[rows], told.open[rows])
