"""Causal attention of rows that are padded on the right, and of packed rows, without any mask.

A real token of a row that is padded on the right never looks at a pad, since all pads come after
it; in a packed row every prompt is a sequence of its own. So neither needs a mask, and the fastest
kernels, which know only "causal", apply to both.
"""

import inspect
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from parfait.semantic.lm.packing import Packed

NAME = "parfait"
_WINDOW = 1024  # tokens; no prompt is as long, so that a sliding window of this size hides nothing
_AMPERE = (8, 0)  # the oldest cards that the kernel for sequences of any length runs on
_HEAD_DIM = 256  # of that kernel, at most


def attend(
    module: Any,
    query: Float[Tensor, "batch heads tokens d"],
    key: Float[Tensor, "batch key_heads tokens d"],
    value: Float[Tensor, "batch key_heads tokens d"],
    attention_mask: None = None,
    scaling: float | None = None,
    packed: Packed | None = None,
    **unused: Any,
) -> tuple[Float[Tensor, "batch tokens heads d"], None]:
    """softmax(Q K^T scaling) V over the tokens of the same prompt up to one's own.

    An attention function of transformers (``AttentionInterface``). A packed row goes through the
    kernel for sequences of any length (Dao 2023) on a CUDA card in half precision; elsewhere its
    queries, keys and values alone are padded, which costs prompts x longest^2 where a block mask
    over the row costs tokens^2.

    Args:
        packed: the prompts of the single row; ``None`` for one prompt per row.
    """
    # Under autocast rotations leave queries and keys in float32; values are in the right type.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if packed is None:
        out = _causal(query, key, value, scaling)
        return out.transpose(1, 2).contiguous(), None
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # (tokens, heads, d)
    if _has_kernel(q, v):
        out = _varlen(q, k, v, packed, scaling)
    else:
        q, k, v = (packed.rows(x).transpose(1, 2) for x in (q, k, v))
        out = packed.flat(_causal(q, k, v, scaling).transpose(1, 2))
    return out[None], None


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    return scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


def _has_kernel(query: Tensor, value: Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] == value.shape[-1] <= _HEAD_DIM
        and torch.cuda.get_device_capability(query.device) >= _AMPERE
    )


def _varlen(q: Tensor, k: Tensor, v: Tensor, packed: Packed, scaling: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    # Rounded, so that a compiled layer meets few lengths; the kernel wants no more than a bound.
    longest = -(-packed.longest // 64) * 64
    grouped: dict[str, Any] = {"enable_gqa": True} if _asks_for_groups() else {}
    q, k, v = (x.contiguous() for x in (q, k, v))
    told = (packed.bounds, packed.bounds, longest, longest)
    out = varlen_attn(q, k, v, *told, scale=scaling, window_size=(-1, 0), **grouped)
    return out if isinstance(out, Tensor) else out[0]


@lru_cache(maxsize=1)
def _asks_for_groups() -> bool:
    """Whether this torch wants to be told that keys have fewer heads than queries."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def is_plain(backbone: Any) -> bool:
    """Whether ``attend`` is the attention of this network: causal, without soft caps, sinks or
    windows that are shorter than a prompt.
    """
    config = backbone.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    return (
        bool(getattr(backbone, "_supports_attention_backend", False))
        and getattr(config, "is_causal", True)
        and not getattr(config, "attn_logit_softcapping", None)
        and not any(name.endswith("sinks") for name, _ in backbone.named_parameters())
        and kinds <= {"full_attention", "sliding_attention"}
        and (window is None or window >= _WINDOW)
    )


def use(backbone: Any) -> None:
    """Makes ``attend`` the attention of a network where it may be."""
    from transformers import AttentionInterface

    if is_plain(backbone):
        AttentionInterface.register(NAME, attend)
        backbone.set_attn_implementation(NAME)


def used(backbone: Any) -> bool:
    """Whether ``attend`` is the attention of this network."""
    return backbone.config._attn_implementation == NAME
