"""How much memory a training needs, told before any weight is loaded."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from parfait.semantic.lm.design import Design

CARDS = (24, 80, 96, 141)  # GB
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
# Of a weight of a quantized matrix: nf4 has 4 bits, and scales of 64 weights in 8 bits, which have
# scales of 256 in 32 bits (Dettmers et al. 2023, section 3); int8 has one scale per row.
_QUANTIZED = {"nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0}
_STATE = 16  # bytes of a trained parameter: float32 weight, gradient and two moments
_WORK = 1.7  # what is kept for the backward pass beside the tensors counted below
_RESERVE = 2.0  # GB: context, fragmentation
_LOGIT = 10  # bytes of a logit: float32 with its gradient, and the base's own
_LEAST = 1024  # tokens of a batch; fewer leave a card idle
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
        lighter: by card that this exceeds, the settings that fit it, if any do.
    """

    weights: float
    trained: float
    activations: float
    parameters: int
    trainable: int
    lighter: tuple[tuple[int, str | None], ...] = ()

    @property
    def total(self) -> float:
        """All of it, with a reserve."""
        return self.weights + self.trained + self.activations + _RESERVE

    def sentence(self) -> str:
        """What a person reads before the weights are loaded."""
        fits = [f"{card}" for card in CARDS if card >= self.total]
        where = f"fits cards of {', '.join(fits)} GB" if fits else "fits no card"
        others = [
            f"; a card of {card} GB needs {how}" if how else f"; a card of {card} GB is too small"
            for card, how in self.lighter
        ]
        return (
            f"{_count(self.parameters)} parameters, {_count(self.trainable)} trained: "
            f"about {self.total:.1f} GB (weights {self.weights:.1f}, training "
            f"{self.trained:.1f}, activations {self.activations:.1f}); {where}{''.join(others)}"
        )


def _count(n: int) -> str:
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if n >= size:
            return f"{n / size:.2f} {word}"
    return f"{n:,}"


def estimate(
    design: Design,
    config: Any,
    tokens: int,
    checkpointing: bool = False,
    advice: bool = True,
    speaks: bool = False,
) -> Estimate:
    """An estimate by arithmetic, not a measurement.

        weights      = bytes x embeddings + bytes of the quantization x matrices
        trained      = 16 x (rank (in + out) over adapted layers, or all parameters)
        activations  = 1.7 x bytes x tokens x layers (6 h + 2 k + 3 i)

    with hidden size h, key-value size k and intermediate size i. Gradient checkpointing keeps h
    per layer, and all of one layer. With ``frozen`` tuning nothing is kept for a backward pass.
    Packed or padded, a batch has as many tokens; of padded ones fewer are words. One
    that speaks has its logits beside the activations: 10 bytes x tokens x vocabulary.

    Args:
        design: what is trained.
        config: of the base, as transformers knows it.
        tokens: of a batch.
        checkpointing: activations are computed again in the backward pass.
        advice: say what would fit the cards that this does not.
        speaks: the model is trained with its language head, and not quantized.
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
    embeddings = config.vocab_size * h
    matrices = layers * sum(a * b for a, b in shapes.values())
    parameters = embeddings + matrices
    adapters = sum(design.rank * sum(shapes[m]) for m in design.modules if m in shapes)
    trainable = {"lora": layers * adapters, "full": parameters, "frozen": 0}[design.tuning]
    width = _BYTES[design.dtype]
    kept = _QUANTIZED.get(design.quantization or "", width)
    layer = _WORK * (6 * h + 2 * k + 3 * i)
    states = layers * h + layer if checkpointing else layers * layer
    states = 0 if design.tuning == "frozen" else states
    logits = _LOGIT * config.vocab_size if speaks else 0
    found = Estimate(
        (embeddings * width + matrices * kept) / _GB,
        trainable * _STATE / _GB,
        tokens * (width * states + logits) / _GB,
        parameters,
        trainable,
    )
    if not advice:
        return found
    small = [card for card in CARDS if card < found.total]
    ways = list(_lighter(design, tokens, checkpointing, not speaks)) if small else []
    totals = [
        (how, estimate(d, config, n, again, False, speaks).total) for how, (d, n, again) in ways
    ]
    fitting = ((card, next((how for how, gb in totals if gb <= card), None)) for card in small)
    return replace(found, lighter=tuple(fitting))


def _lighter(
    design: Design, tokens: int, checkpointing: bool, quantizable: bool
) -> Iterator[tuple[str, tuple[Design, int, bool]]]:
    """Settings that need less, those that cost the least first: words and what they mean."""
    ways: list[tuple[list[str], Design]] = [([], design)]
    if design.tuning == "full":
        ways = [(["model.tuning=lora"], replace(design, tuning="lora"))] if design.base else ways
    small = [
        ([*told, "model.quantization=nf4"], replace(d, quantization="nf4"))
        for told, d in ways
        if quantizable and d.tuning != "full" and d.quantization != "nf4"
    ]
    for told, changed in [*ways, *small]:
        for again in sorted({checkpointing, True}):
            fewer = tokens
            while True:
                words = [*told]
                words += ["model.checkpointing=true"] if again and not checkpointing else []
                words += [f"data.tokens={fewer}"] if fewer != tokens else []
                if words:
                    yield " ".join(words), (changed, fewer, again)
                if fewer // 2 < _LEAST:
                    break
                fewer //= 2
