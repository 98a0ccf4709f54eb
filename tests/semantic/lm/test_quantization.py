"""A quantized base under adapters: they stay trainable, and merging keeps the answers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parfait.semantic.examples import Example
from parfait.semantic.lm import base as bases
from parfait.semantic.lm.datamodule import Examples
from parfait.semantic.lm.design import Design
from parfait.semantic.lm.losses import slot_divergence
from parfait.semantic.lm.memory import CARDS, estimate
from parfait.semantic.lm.merge import merge_run
from parfait.semantic.lm.model import ScenarioModel
from parfait.utils.errors import UserError

QWEN2_7B = SimpleNamespace(
    vocab_size=152064,
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
)


def test_adapters_come_after_the_base_is_prepared_and_stay_trainable(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round every adapter would be frozen."""
    import peft

    calls: list[str] = []
    for name in ("prepare_model_for_kbit_training", "get_peft_model"):
        real = getattr(peft, name)

        def noted(*args: Any, _real: Any = real, _name: str = name, **kwargs: Any) -> Any:
            calls.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(peft, name, noted)
    monkeypatch.setattr(bases, "_quantized", lambda design, dtype: {})
    design = Design(base=str(base), tuning="lora", rank=4, quantization="nf4")
    model = ScenarioModel(design)
    assert calls == ["prepare_model_for_kbit_training", "get_peft_model"]
    trained = {n for n, p in model.backbone.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in model.backbone.named_parameters() if "lora_" in n}
    frozen = peft.prepare_model_for_kbit_training(model.backbone, use_gradient_checkpointing=False)
    assert not any(p.requires_grad for p in frozen.parameters())


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_quantized_base_trains_and_merges_into_an_ordinary_one(
    examples: list[Example], tokenizer: Any, wide_base: Path, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    design = Design(
        base=str(wide_base), tuning="lora", rank=4, hidden=16, ensemble=1, quantization=kind
    )
    model = ScenarioModel(design)
    model.train()
    before = {n: p.clone() for n, p in model.backbone.named_parameters()}
    batch = Examples(tokenizer, examples[:8]).batch(range(8), packing=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        loss = slot_divergence(batch.target, model(batch.ids, batch.lengths)[0]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.5
    moved = {n for n, p in model.backbone.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert all("lora_" in n for n in moved)
    assert any(p.dtype in (torch.uint8, torch.int8) for p in model.backbone.parameters())

    # In training mode: to infer on a CPU, bitsandbytes computes in bfloat16.
    with torch.no_grad():
        told = model(batch.ids, batch.lengths)[0]
    model.save(tmp_path / "run" / "model", tokenizer, {})
    assert merge_run(tmp_path / "run", tmp_path / "merged", 1e-3) < 1e-3
    merged = ScenarioModel.load(tmp_path / "merged")
    assert {p.dtype for p in merged.backbone.parameters()} == {torch.float32}
    with torch.no_grad():
        again = merged(batch.ids, batch.lengths)[0]
    # int8 rounds what comes into a layer as well.
    assert torch.allclose(told.mean, again.mean, atol=1e-3 if kind == "nf4" else 0.3)


def test_the_estimate_knows_quantization_and_says_what_would_fit() -> None:
    design = Design(base="x", tuning="lora", dtype="bfloat16")
    whole = estimate(design, QWEN2_7B, 8192)
    small = estimate(
        Design(base="x", tuning="lora", dtype="bfloat16", quantization="nf4"), QWEN2_7B, 8192
    )
    # 6.53 billion weights in matrices, half a byte and scales each; embeddings stay in bfloat16.
    assert whole.weights - small.weights == pytest.approx(6.526 * (2 - 0.516), rel=0.01)
    assert dict(whole.lighter).keys() == {card for card in CARDS if card < whole.total}
    for told in (whole, small, estimate(Design(base="x", dtype="bfloat16"), QWEN2_7B, 65536)):
        for card, how in told.lighter:
            assert how is not None
            assert f"a card of {card} GB needs {how}" in told.sentence()
            again = "model.checkpointing=true" in how
            kind = "nf4" if "quantization=nf4" in how or told is small else None
            tokens = next((int(w[12:]) for w in how.split() if w.startswith("data.tokens=")), None)
            lighter = estimate(
                Design(base="x", tuning="lora", dtype="bfloat16", quantization=kind),
                QWEN2_7B,
                tokens or (65536 if told.trainable > 1e9 else 8192),
                again,
            )
            assert lighter.total <= card < told.total


def test_a_model_that_speaks_pays_for_its_logits_and_is_told_of_what_it_can_do() -> None:
    design = Design(base="x", tuning="lora", dtype="bfloat16")
    told = estimate(design, QWEN2_7B, 8192, speaks=True)
    more = told.activations - estimate(design, QWEN2_7B, 8192).activations
    assert more == pytest.approx(10 * 8192 * QWEN2_7B.vocab_size / 1e9)
    ways = dict(told.lighter)
    assert ways.keys() == {c for c in CARDS if c < told.total}
    for card, how in ways.items():
        assert how is None or "quantization" not in how, card


def test_a_student_too_large_for_every_card_is_told_so() -> None:
    huge = SimpleNamespace(**(vars(QWEN2_7B) | {"num_hidden_layers": 2000}))
    told = estimate(Design(base="x", tuning="lora", dtype="bfloat16"), huge, 8192)
    assert "fits no card" in told.sentence()
    assert "a card of 24 GB is too small" in told.sentence()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quantization": "int4"}, r"model\.quantization=int4 must be null or one of nf4, int8"),
        ({"quantization": "nf4", "tuning": "full"}, "keeps the base as it is"),
    ],
)
def test_a_quantization_that_cannot_be_is_one_sentence(settings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Design(**({"base": "x", "tuning": "lora"} | settings))


def test_without_its_library_the_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bases, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'parfait\[qlora\]'"):
        bases.require_quantization(Design(base="x", tuning="lora", quantization="nf4"))
