"""How much memory a training needs, told before any weight is loaded."""

from dataclasses import dataclass
from typing import Any

from parfait.semantic.lm.model import Design

CARDS = (24, 80, 96, 141)  # GB
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_STATE = 16  # bytes of a trained parameter: float32 weight, gradient and two moments
_WORK = 1.7  # what is kept for the backward pass beside the tensors counted below
_RESERVE = 2.0  # GB: context, fragmentation
_GB = 1e9


@dataclass(frozen=True)
class Estimate:
    """Gigabytes by what needs them.

    Args:
        weights: of the base, as they are kept.
        trained: states of what is trained.
        activations: of a batch, kept for the backward pass.
        parameters: of the base.
        trainable: of them or of the adapters.
    """

    weights: float
    trained: float
    activations: float
    parameters: int
    trainable: int

    @property
    def total(self) -> float:
        """All of it, with a reserve."""
        return self.weights + self.trained + self.activations + _RESERVE

    def sentence(self) -> str:
        """What a person reads before the weights are loaded."""
        fits = [f"{card} GB" for card in CARDS if card >= self.total]
        where = f"fits cards of {', '.join(fits)}" if fits else f"fits no card of {CARDS[-1]} GB"
        return (
            f"{self.parameters / 1e9:.2f} billion parameters, {self.trainable / 1e6:.1f} million "
            f"trained: about {self.total:.1f} GB (weights {self.weights:.1f}, training "
            f"{self.trained:.1f}, activations {self.activations:.1f}); {where}"
        )


def estimate(design: Design, config: Any, tokens: int) -> Estimate:
    """An estimate by arithmetic, not a measurement.

        weights      = bytes x parameters
        trained      = 16 x (rank (in + out) over adapted layers, or all parameters)
        activations  = 1.7 x bytes x tokens x layers (6 h + 2 k + 3 i)

    with hidden size h, key-value size k and intermediate size i; no gradient checkpointing. With
    ``frozen`` tuning nothing is kept for a backward pass.

    Args:
        design: what is trained.
        config: of the base, as transformers knows it.
        tokens: of a batch.
    """
    h, i, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head = getattr(config, "head_dim", None) or h // config.num_attention_heads
    k = head * config.num_key_value_heads
    shapes = {
        "q_proj": (h, head * config.num_attention_heads),
        "k_proj": (h, k),
        "v_proj": (h, k),
        "o_proj": (head * config.num_attention_heads, h),
        "gate_proj": (h, i),
        "up_proj": (h, i),
        "down_proj": (i, h),
    }
    parameters = config.vocab_size * h + layers * sum(a * b for a, b in shapes.values())
    adapters = sum(design.rank * sum(shapes[m]) for m in design.modules if m in shapes)
    trainable = {"lora": layers * adapters, "full": parameters, "frozen": 0}[design.tuning]
    width = _BYTES[design.dtype]
    kept = 0 if design.tuning == "frozen" else tokens * layers * (6 * h + 2 * k + 3 * i)
    return Estimate(
        parameters * width / _GB,
        trainable * _STATE / _GB,
        _WORK * width * kept / _GB,
        parameters,
        trainable,
    )
