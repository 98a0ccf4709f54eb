"""``MixtureHead``: features of the slots -> a mixture of Gaussians over regimes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from parfait.regime.fields import N_FIELDS
from parfait.semantic.lm.targets import N_SLOTS, SD_FLOOR

CORE = 7  # fields whose deviations may be correlated: drift to Hurst
_PAIRS = torch.tril_indices(CORE, CORE, -1)


@dataclass(frozen=True)
class Mixture:
    """A batch of predicted mixtures, in prior units.

    Args:
        logits: of the weights.
        mean: of every slot.
        cholesky: lower triangular, its diagonal not below ``SD_FLOOR``.
        open: logits that the initial volatility is left to the history.
    """

    logits: Float[Tensor, "batch slots"]
    mean: Float[Tensor, "batch slots fields"]
    cholesky: Float[Tensor, "batch slots fields fields"]
    open: Float[Tensor, "batch slots"]


class MixtureHead(nn.Module):
    """Heads with parameters of their own on one feature per slot; their mixtures count alike.

    A head tells 41 numbers of a slot: the logit of its weight, the mean of eleven coordinates,
    their log scales, the 21 correlations of the first seven, and whether the initial volatility is
    open. The answer of several heads is the mixture of theirs, whose slots are collapsed: where
    heads disagree it is wider.

    Args:
        features: of a slot.
        hidden: units of a head.
        heads: how many.
    """

    def __init__(self, features: int, hidden: int = 128, heads: int = 3) -> None:
        super().__init__()
        out = 2 + 2 * N_FIELDS + _PAIRS.shape[1]
        self.slots = nn.Parameter(torch.zeros(N_SLOTS, features))
        nn.init.normal_(self.slots, std=0.02)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(features),
                nn.Linear(features, hidden),
                nn.GELU(),
                nn.Linear(hidden, out),
            )
            for _ in range(heads)
        )
        for head in self.heads:
            last = head[-1]  # pyright: ignore[reportIndexIssue]
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)

    def forward(self, features: Float[Tensor, "batch slots d"]) -> list[Mixture]:
        """The mixture of every head."""
        return [_mixture(head(features + self.slots)) for head in self.heads]


def _mixture(raw: Float[Tensor, "batch slots out"]) -> Mixture:
    logits, is_open = raw[..., 0], raw[..., 1]
    mean = raw[..., 2 : 2 + N_FIELDS]
    scale = SD_FLOOR + F.softplus(raw[..., 2 + N_FIELDS : 2 + 2 * N_FIELDS] + 0.54)
    cholesky = torch.diag_embed(scale)
    rows, columns = _PAIRS.to(raw.device)
    off = torch.tanh(raw[..., 2 + 2 * N_FIELDS :]) * scale[..., rows]
    cholesky = cholesky.clone()
    cholesky[..., rows, columns] = off
    return Mixture(logits, mean, cholesky, is_open)


def combine(told: list[Mixture]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights, mean, Cholesky factor and openness of the equal mixture of several heads, slot by
    slot collapsed to mean and covariance.
    """
    shares = torch.stack([m.logits.softmax(-1) for m in told])  # (heads, batch, slots)
    weights = shares.mean(0)
    part = shares / shares.sum(0, keepdim=True)
    means = torch.stack([m.mean for m in told])
    mean = (part[..., None] * means).sum(0)
    apart = means - mean
    roots = torch.stack([m.cholesky for m in told])
    covariance = roots @ roots.mT + apart[..., :, None] * apart[..., None, :]
    whole = (part[..., None, None] * covariance).sum(0).to(torch.float64)
    is_open = torch.stack([m.open.sigmoid() for m in told]).mean(0) > 0.5
    return weights, mean, torch.linalg.cholesky(whole), is_open
