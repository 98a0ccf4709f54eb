"""What makes training fast or small without changing what is learnt."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from parfait.semantic.lm.model import ScenarioModel


def prepare(backbone: Any, compile: bool, checkpointing: bool) -> None:
    """Compiles every layer of the backbone, and lets it compute activations again in the backward
    pass instead of keeping them. Names of parameters stay.
    """
    if checkpointing:
        # transformers renames it on its way to version 6.
        old = backbone.gradient_checkpointing_enable
        getattr(backbone, "activation_checkpointing_enable", old)({"use_reentrant": False})
    if compile:
        # Layer by layer: they are alike, so that one compilation serves all. The number of tokens
        # and prompts changes from batch to batch.
        for layer in layers_of(backbone):
            layer.compile(dynamic=True)


def layers_of(backbone: Any) -> Any:
    """The decoder layers, below adapters or not."""
    return getattr(backbone, "get_base_model", lambda: backbone)().layers


def optimizer_of(
    make: Callable[..., torch.optim.Optimizer], net: ScenarioModel, head_rate: float
) -> torch.optim.Optimizer:
    """The optimiser of what is trained: adapters or the whole backbone at the rate given, head
    and queries, which start at random, at ``head_rate`` times it. Fused on a CUDA device where the
    optimiser can be.
    """
    trained = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
    groups = [
        [p for n, p in trained if n.startswith("backbone.")],
        [p for n, p in trained if not n.startswith("backbone.")],
    ]
    if not groups[0] or head_rate == 1:
        groups = [[p for _, p in trained]]  # in their order, of which sums of gradients depend
    fused: dict[str, bool] = {}
    if all(p.is_cuda for _, p in trained) and "fused" in inspect.signature(make).parameters:
        fused["fused"] = True
    optimizer = make([{"params": group} for group in groups], **fused)
    if fused:
        # Lightning refuses to clip gradients of an optimiser that could unscale them itself; with
        # bfloat16 nothing is scaled. Of float16 it then unscales them before clipping.
        optimizer._step_supports_amp_scaling = False  # pyright: ignore[reportAttributeAccessIssue]
    if head_rate != 1:
        optimizer.param_groups[-1]["lr"] *= head_rate
    return optimizer
