"""The denoiser: a 1-D U-Net over bars with AdaGN and attention (0.74 M parameters by default).

Resolution halves twice; each level has one residual block of two 3-tap convolutions on the way
down and one on the way up (the skip is concatenated *after* upsampling). Noise level, window-wide
conditions and the pooled history modulate every block through AdaGN (Dhariwal & Nichol 2021); the
history's tokens are attended to from half resolution downwards, the window attends to itself at
the lowest. Norms forget how large a window is, which a denoiser must know: mean and size of every
channel are told to all blocks, and each channel's own input reaches the output with a gain: one of
low rank over the bars that follows from what is told, and one of every bar from the last layer, for
the best denoiser of a mixture of variances multiplies its input by a guess of the variance there.
Any horizon is legal: the window is padded on the right to a multiple of 4 and the padding is masked
out of convolutions, norms and attention, so it changes nothing.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from parfait.microstructure.codec import N_CHANNELS
from parfait.microstructure.features import N_BAR_FEATURES, N_WINDOW_FEATURES
from parfait.microstructure.history import HistoryEncoder, attend
from parfait.utils.errors import UserError, require

_GAIN_RANK = 8


class UNet1D(nn.Module):
    """F(c_in x; c_noise | guide, regime, history), see ``diffusion``.

    Args:
        width: channels at full resolution; ``multipliers`` scale it per level.
        multipliers: one factor per level; each level but the last halves the resolution.
        embedding: width of the conditioning vector.
        heads: attention heads.
        dropout: inside residual blocks and the history encoder, training only.
        history_bars, history_patch, history_width, history_layers: of ``HistoryEncoder``.
    """

    def __init__(
        self,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        embedding: int = 128,
        heads: int = 4,
        dropout: float = 0.0,
        history_bars: int = 60,
        history_patch: int = 5,
        history_width: int = 64,
        history_layers: int = 2,
    ) -> None:
        super().__init__()
        if not multipliers or min(multipliers) < 1 or min(width, embedding, heads) < 1:
            raise UserError("model.net: width, multipliers, embedding and heads must be at least 1")
        for name, channels in (("width", width), ("history_width", history_width)):
            if channels % heads:
                raise UserError(f"model.net.{name}={channels} must be a multiple of heads={heads}")
        require("model.net.dropout", dropout, 0.0, 0.99)
        self.config: dict[str, Any] = {
            "width": width,
            "multipliers": list(multipliers),
            "embedding": embedding,
            "heads": heads,
            "dropout": dropout,
            "history_bars": history_bars,
            "history_patch": history_patch,
            "history_width": history_width,
            "history_layers": history_layers,
        }
        widths = [width * m for m in multipliers]
        self.stride = 2 ** (len(widths) - 1)
        self.history = HistoryEncoder(
            history_bars, history_patch, history_width, history_layers, heads, dropout
        )
        self.noise_frequencies = nn.Buffer(
            torch.exp(torch.linspace(math.log(0.5), math.log(64), 16))
        )
        self.condition = nn.Sequential(
            nn.Linear(32 + 2 * N_CHANNELS + N_WINDOW_FEATURES + history_width, embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
            nn.SiLU(),
        )
        self.stem = nn.Conv1d(N_CHANNELS + N_BAR_FEATURES, widths[0], 3, padding=1)

        def stage(level: int, in_width: int) -> nn.ModuleDict:
            block = _Block(in_width, widths[level], embedding, dropout)
            parts: dict[str, nn.Module] = {"block": block}
            if level > 0:
                parts["cross"] = _Attention(widths[level], heads, history_width)
            return nn.ModuleDict(parts)

        self.down = nn.ModuleList(stage(i, widths[i]) for i in range(len(widths)))
        self.shrink = nn.ModuleList(
            nn.Conv1d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths)
        )
        self.middle = _Attention(widths[-1], heads, None)
        self.middle_block = _Block(widths[-1], widths[-1], embedding, dropout)
        self.grow = nn.ModuleList(
            nn.Conv1d(b, a, 3, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(stage(i, 2 * widths[i]) for i in range(len(widths) - 1))
        self.head_norm = _MaskedGroupNorm(widths[0])
        self.head = nn.Conv1d(widths[0], 2 * N_CHANNELS, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]
        self.gain_basis = nn.Conv1d(N_BAR_FEATURES, _GAIN_RANK, 1)
        modulated = widths[0] + N_CHANNELS * (_GAIN_RANK + 2)
        self.head_modulation = nn.Linear(embedding, modulated)
        nn.init.zeros_(self.head_modulation.weight)
        nn.init.zeros_(self.head_modulation.bias)

    def encode_history(
        self, codes: Float[Tensor, "windows 5 history"], mask: Float[Tensor, "windows history"]
    ) -> Float[Tensor, "windows patches width"]:
        """History tokens; one call serves every step of a sampler."""
        return self.history(codes, mask)

    def forward(
        self,
        x: Float[Tensor, "windows 5 bars"],
        c_noise: Float[Tensor, " windows"],
        bar_features: Float[Tensor, "windows features bars"],
        window_features: Float[Tensor, "windows globals"],
        tokens: Float[Tensor, "rows patches width"],
        valid: Float[Tensor, "windows bars"] | None = None,
    ) -> Float[Tensor, "windows 5 bars"]:
        """F at c_in x.

        Args:
            x: scaled noisy codes.
            c_noise: ln(sigma)/4.
            bar_features, window_features: of ``features``.
            tokens: of ``encode_history``; one row serves all windows.
            valid: 1 for bars, 0 for padding; ``None`` when every bar is real.
        """
        bars = x.shape[-1]
        missing = -bars % self.stride
        if missing and valid is None:
            valid = x.new_ones(x.shape[0], bars)
        h = torch.cat([x, bar_features], dim=1)
        if missing:
            h, valid = F.pad(h, (0, missing)), F.pad(valid, (0, missing))  # pyright: ignore
        masks = _pyramid(valid, len(self.down))
        tokens = tokens.expand(x.shape[0], -1, -1)

        phase = c_noise[:, None] * self.noise_frequencies
        wave = torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)
        told = [wave, _level_and_size(h[:, :N_CHANNELS], masks[0]), window_features, tokens.mean(1)]
        emb = self.condition(torch.cat(told, dim=1))

        h = self.stem(_masked(h, masks[0]))
        skips = []
        for level, stage in enumerate(self.down):
            h = _run(stage, h, emb, tokens, masks[level])
            if level < len(self.shrink):
                skips.append(h)
                h = self.shrink[level](_masked(h, masks[level]))
        h = self.middle(h, None, masks[-1])
        h = self.middle_block(h, emb, masks[-1])
        for level in reversed(range(len(self.grow))):
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = self.grow[level](_masked(h, masks[level]))
            h = _run(self.up[level], torch.cat([h, skips.pop()], 1), emb, tokens, masks[level])
        rest = N_CHANNELS * _GAIN_RANK, N_CHANNELS, N_CHANNELS
        parts = self.head_modulation(emb)[:, :, None].split([h.shape[1], *rest], dim=1)
        size, by_bar, gain, shift = parts
        basis = torch.tanh(self.gain_basis(bar_features))
        gain = gain + by_bar.reshape(-1, N_CHANNELS, _GAIN_RANK) @ basis
        h = F.silu(self.head_norm(h, masks[0])) * (1 + size)
        answer, local = self.head(_masked(h, masks[0]))[..., :bars].chunk(2, dim=1)
        return answer + (gain + local) * x + shift


def _run(stage: Any, h: Tensor, emb: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
    h = stage["block"](h, emb, mask)
    return stage["cross"](h, tokens, mask) if "cross" in stage else h


def _level_and_size(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean and log root mean square of each channel over the real bars: (windows, 2 channels)."""
    moments = torch.stack([x, x.square()])
    if mask is None:
        level, square = moments.mean(-1)
    else:
        level, square = (moments * mask[:, None]).sum(-1) / mask.sum(-1, keepdim=True)
    return torch.cat([level, 0.5 * torch.log(square + 1e-4)], dim=1)


def _pyramid(valid: Tensor | None, levels: int) -> list[Tensor | None]:
    """The bar mask at every resolution; a coarse cell is real when any of its bars is."""
    masks = [valid]
    for _ in range(levels - 1):
        last = masks[-1]
        masks.append(None if last is None else F.max_pool1d(last[:, None], 2)[:, 0])
    return masks


def _masked(h: Tensor, mask: Tensor | None) -> Tensor:
    return h if mask is None else h * mask[:, None]


class _MaskedGroupNorm(nn.Module):
    """GroupNorm whose statistics ignore padded bars; groups of about 12 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = max(g for g in range(1, channels // 8 + 2) if channels % g == 0)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return F.group_norm(x, self.groups, self.weight, self.bias, 1e-5)
        grouped = x.unflatten(1, (self.groups, -1))
        m = mask[:, None, None]
        count = m.sum(-1, keepdim=True) * grouped.shape[2]
        mean = (grouped * m).sum((2, 3), keepdim=True) / count
        centred = grouped - mean
        variance = (centred.square() * m).sum((2, 3), keepdim=True) / count
        normal = (centred * torch.rsqrt(variance + 1e-5)).flatten(1, 2)
        return normal * self.weight[:, None] + self.bias[:, None]


class _Block(nn.Module):
    """norm, SiLU, conv, AdaGN, SiLU, conv, plus the input; the last conv starts at zero."""

    def __init__(self, in_width: int, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm_in, self.norm_out = _MaskedGroupNorm(in_width), _MaskedGroupNorm(width)
        self.conv_in = nn.Conv1d(in_width, width, 3, padding=1)
        self.conv_out = nn.Conv1d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.skip = nn.Conv1d(in_width, width, 1) if in_width != width else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, emb: Tensor, mask: Tensor | None) -> Tensor:
        h = self.conv_in(_masked(F.silu(self.norm_in(x, mask)), mask))
        gain, shift = self.modulation(emb)[:, :, None].chunk(2, dim=1)
        h = self.norm_out(h, mask) * (1 + gain) + shift
        return self.skip(x) + self.conv_out(_masked(self.dropout(F.silu(h)), mask))


class _Attention(nn.Module):
    """Residual attention over the window itself (``source_width=None``) or over history tokens."""

    def __init__(self, width: int, heads: int, source_width: int | None) -> None:
        super().__init__()
        self.heads, self.own = heads, source_width is None
        self.norm = _MaskedGroupNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(source_width or width, 2 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Tensor, source: Tensor | None, mask: Tensor | None) -> Tensor:
        normal = self.norm(h, mask).transpose(1, 2)
        key, value = self.key_value(normal if source is None else source).chunk(2, dim=-1)
        mixed = attend(self.query(normal), key, value, self.heads, mask if self.own else None)
        return h + self.out(mixed).transpose(1, 2)
