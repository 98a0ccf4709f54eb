"""History encoder: the past bars as a few tokens the denoiser attends to.

The codes of H past bars are cut into patches (Nie et al. 2023, PatchTST), so that 60 bars cost 12
tokens, and mixed by a small pre-norm Transformer. Histories shorter than H are padded on the left;
a patch without any real bar becomes a learnt null token, so "no history" is a legal input.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from parfait.microstructure.codec import N_CHANNELS
from parfait.utils.errors import UserError


class HistoryEncoder(nn.Module):
    """(windows, 5, bars) codes and a bar mask -> (windows, patches, width) tokens.

    Args:
        bars: history length H; a multiple of ``patch``.
        patch: bars per token.
        width, layers, heads: of the Transformer.
        dropout: inside the Transformer, training only.
    """

    def __init__(
        self,
        bars: int = 60,
        patch: int = 5,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if bars % patch:
            raise UserError(f"a history of {bars} bars is no multiple of the patch of {patch} bars")
        self.bars, self.patch = bars, patch
        self.embed = nn.Linear((N_CHANNELS + 1) * patch, width)
        self.null = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(0.02 * torch.randn(bars // patch, width))
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        codes: Float[Tensor, "windows 5 bars"],
        mask: Float[Tensor, "windows bars"],
    ) -> Float[Tensor, "windows patches width"]:
        """Tokens; ``mask`` is 1 for real bars. Masked codes are ignored."""
        n = codes.shape[0]
        masked = torch.cat([codes * mask[:, None], mask[:, None]], dim=1)
        patches = masked.reshape(n, N_CHANNELS + 1, -1, self.patch).transpose(1, 2).flatten(2)
        seen = mask.reshape(n, -1, self.patch).amax(-1, keepdim=True)
        tokens = seen * self.embed(patches) + (1 - seen) * self.null + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)
        x = x + self.dropout(self.out(attend(query, key, value, self.heads)))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


def attend(
    query: Float[Tensor, "windows queries width"],
    key: Float[Tensor, "windows keys width"],
    value: Float[Tensor, "windows keys width"],
    heads: int,
    key_mask: Float[Tensor, "windows keys"] | None = None,
) -> Float[Tensor, "windows queries width"]:
    """Multi-head scaled dot-product attention; keys with mask 0 are not seen."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    mask = None if key_mask is None else (key_mask > 0)[:, None, None, :]
    out = F.scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=mask)
    return out.transpose(1, 2).flatten(2)
