"""What ``lora.py`` measures on: shapes, cards, and batches of prompts."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from parfait.semantic.lm.targets import N_SLOTS, SlotTargets
from parfait.utils.errors import UserError

SHAPES: dict[str, dict[str, Any]] = {
    "7b": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "1.5b": {
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
    "tiny": {
        "vocab_size": 1000,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
# Dense bfloat16 with float32 sums, in TFLOP/s, from the makers' data sheets.
PEAKS = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
    "4090": 165,
    "3090": 71,
}


@dataclass(frozen=True)
class Prompts:
    """A batch, its words (queries included) and its slots (pads included)."""

    ids: Any
    lengths: Tensor
    target: SlotTargets
    words: int
    slots: int

    def to(self, device: torch.device) -> "Prompts":
        """On a device."""
        moved = (self.ids.to(device), self.lengths.to(device), self.target.to(device))
        return Prompts(*moved, self.words, self.slots)


def targets(n: int) -> SlotTargets:
    """A teacher that tells the prior in every slot."""
    weights = torch.full((n, N_SLOTS), 1 / N_SLOTS)
    root = torch.eye(11).expand(n, N_SLOTS, 11, 11)
    return SlotTargets(weights, torch.zeros(n, N_SLOTS, 11), root, torch.zeros(n, N_SLOTS) > 0)


def peak_of(device: torch.device) -> float:
    """FLOP/s at most."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for card, peak in PEAKS.items():
            if re.search(rf"\b{card}\b", name):  # an L40 is no L4
                return 1e12 * peak
        raise UserError(f"the peak of {name} is not known; give --peak in TFLOP/s")
    a, b = torch.randn(2, 1024, 1024)
    best = min(_timed(lambda: a @ b) for _ in range(8))
    return 2 * 1024**3 / best


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
