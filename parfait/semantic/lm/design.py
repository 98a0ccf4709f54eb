"""What a ``ScenarioModel`` is made of."""

from dataclasses import dataclass

from parfait.utils.errors import UserError

DTYPES = ("float32", "bfloat16", "float16")
TUNINGS = ("lora", "full", "frozen")
QUANTIZATIONS = ("nf4", "int8")


@dataclass(frozen=True)
class Small:
    """A Qwen2 architecture that starts from random weights, for a student without a base.

    Args:
        vocabulary, hidden, layers, heads, key_value_heads, intermediate: of the network.
        positions: tokens at most.
    """

    vocabulary: int = 4096
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 384
    positions: int = 512


@dataclass(frozen=True)
class Design:
    """What a ``ScenarioModel`` is made of.

    Args:
        base: name or folder of a causal language model; ``None`` for a small one.
        revision: of the base.
        small: the architecture without a base.
        tuning: ``lora`` trains adapters and queries, ``full`` everything, ``frozen`` the head.
        rank, alpha, dropout: of LoRA (Hu et al. 2022).
        modules: names of the layers that get adapters.
        hidden, ensemble: units and number of the heads.
        dtype: of the base's weights.
        quantization: ``nf4`` keeps the base's matrices in 4 bits (QLoRA, Dettmers et al. 2023),
            ``int8`` in 8 bits (Dettmers et al. 2022), ``None`` in ``dtype``.

    Raises:
        UserError: an unknown tuning, type or quantization, LoRA without a base, or a quantized
            base that is to be trained in full.
    """

    base: str | None = None
    revision: str | None = None
    small: Small = Small()
    tuning: str = "full"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    hidden: int = 128
    ensemble: int = 3
    dtype: str = "float32"
    quantization: str | None = None

    def __post_init__(self) -> None:
        if self.tuning not in TUNINGS:
            raise UserError(f"model.tuning={self.tuning} must be one of {', '.join(TUNINGS)}")
        if self.dtype not in DTYPES:
            raise UserError(f"model.dtype={self.dtype} must be float32, bfloat16 or float16")
        if self.base is None and self.tuning != "full":
            raise UserError(
                f"model.tuning={self.tuning} needs model.base, a causal language model; "
                "random weights are trained in full"
            )
        if self.quantization is not None and self.quantization not in QUANTIZATIONS:
            raise UserError(
                f"model.quantization={self.quantization} must be null or one of "
                f"{', '.join(QUANTIZATIONS)}"
            )
        if self.quantization is not None and self.tuning == "full":
            raise UserError(
                f"model.quantization={self.quantization} keeps the base as it is; train adapters "
                "on it (model.tuning=lora) or a head (model.tuning=frozen)"
            )
