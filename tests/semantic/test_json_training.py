"""Training on the answers alone: prompts count nothing, what is learnt is told again, a run that
stopped ends as if it had not, and merged adapters answer as before.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import DictConfig

from parfait.regime import Component, MarketContext, Regime, RegimeDistribution
from parfait.semantic import load_reader
from parfait.semantic.examples import Example, write_examples
from parfait.semantic.lm.completion import (
    CompletionBatch,
    CompletionDataModule,
    Completions,
    completion_loss,
    prompt,
)
from parfait.semantic.lm.json_module import JsonModule
from parfait.semantic.lm.model import Design, Small, backbone
from parfait.semantic.lm.prompt import conversation, words
from parfait.semantic.lm.speaker import load_speaker, rows, save_speaker
from parfait.semantic.lm.tokens import learn_tokenizer
from parfait.semantic.spoken.grammar import Grammar
from parfait.semantic.spoken.schema import components, parse, to_text
from parfait.stages.callbacks import FiniteLoss
from parfait.stages.merge import merge
from parfait.stages.train import train
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.semantic.test_json_lm import tiny

MARKET = MarketContext("equity", volatility=0.2)
SAID = {
    "War breaks out": "crash",
    "Rates are cut": "trend_up",
    "央行意外加息50个基点": "grind_down",
    "A calm month": "calm",
    "Earnings beat expectations": "trend_up",
    "Short sellers are squeezed": "squeeze",
    "战争爆发": "crash",
    "A bank fails": "shock_and_recover",
}
SD = {"drift": 0.3, "volatility": 0.2, "jump_intensity": 0.3, "jump_mean": 0.02, "jump_std": 0.2}
TINY = Small(600, hidden=64, layers=2, heads=4, key_value_heads=2, intermediate=128, positions=512)


def example(k: int, text: str, slot: str, split: str = "train") -> Example:
    """A sentence with one scenario of its own."""
    regime = Regime(-0.5 + 0.12 * k, 0.1 + 0.05 * k, 1.0 + k, -0.05 + 0.01 * k, 0.03)
    part = Component.around(slot, f"scenario {k}", 1.0, regime, SD, rationale="So.")
    told = RegimeDistribution((part,), asset_class="equity")
    return Example(text, MARKET, told, language="en" if text.isascii() else "zh", split=split)


EXAMPLES = [example(k, text, slot) for k, (text, slot) in enumerate(SAID.items())]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = [t for e in EXAMPLES for t in (prompt(e)[-1]["content"], to_text(e.target))]
    return learn_tokenizer(texts, TINY.vocabulary, verbatim=True)


@pytest.fixture(scope="module")
def batch(tokenizer: Any) -> CompletionBatch:
    return Completions(tokenizer, EXAMPLES).batch(range(len(EXAMPLES)))


def test_prompts_and_padding_count_nothing(batch: CompletionBatch) -> None:
    torch.manual_seed(0)
    logits = torch.randn(*batch.ids.shape, TINY.vocabulary, requires_grad=True)
    loss = completion_loss(logits, batch)
    loss.backward()
    assert logits.grad is not None
    moved = logits.grad.abs().sum(-1) > 0
    told = []
    for i, (n, asked) in enumerate(
        zip(batch.lengths.tolist(), batch.prompts.tolist(), strict=True)
    ):
        wanted = torch.zeros_like(moved[i])
        wanted[asked - 1 : n - 1] = True
        assert torch.equal(moved[i], wanted)
        logs = logits[i, : n - 1].log_softmax(-1)
        told.append(-logs[torch.arange(n - 1), batch.ids[i, 1:n]][asked - 1 :])
    assert float(loss.detach()) == pytest.approx(float(torch.cat(told).mean().detach()), rel=1e-5)
    other = batch.ids.clone()
    other[torch.arange(other.shape[1]) >= batch.lengths[:, None]] = 17
    same = completion_loss(logits, CompletionBatch(other, batch.lengths, batch.prompts))
    assert torch.equal(same, loss)


def test_an_answer_ends_and_is_what_the_grammar_allows(
    tokenizer: Any, batch: CompletionBatch
) -> None:
    grammar = Grammar(tokenizer, TINY.vocabulary)
    readings = [load_reader("ontology").read(t, MARKET) for t in (*SAID, "Panic 'x' \\ \"y\" \n")]
    for told in (*readings, *(e.target for e in EXAMPLES)):
        text = to_text(told)
        answer = grammar.begin()
        for token in words(tokenizer, text):
            assert answer.allowed()[token]
            answer.take(token)
        assert answer.text == text
        assert answer.done
    ends = batch.ids[torch.arange(len(EXAMPLES)), batch.lengths - 1]
    assert (ends == tokenizer.eos_token_id).all()


def fitted(batch: CompletionBatch, steps: int) -> tuple[Any, list[float]]:
    """A model from nothing after so many steps in full, and the losses on its way."""
    torch.manual_seed(0)
    model = backbone(Design(small=TINY), pretrained=True, speaks=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.99))
    losses = []
    for _ in range(steps):
        told = model(input_ids=batch.ids, attention_mask=batch.seen, use_cache=False)
        loss = completion_loss(told.logits, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return model.eval(), losses


def test_a_few_steps_lower_the_loss_of_the_answers(batch: CompletionBatch) -> None:
    _, losses = fitted(batch, 12)
    assert losses[-1] < losses[0] - 1


def test_checkpointing_changes_no_gradient_and_keeps_less(batch: CompletionBatch) -> None:
    def gradients(checkpointing: bool) -> tuple[dict[str, torch.Tensor], int]:
        kept = 0

        def pack(x: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += x.numel()
            return x

        module = JsonModule(torch.optim.AdamW, small=asdict(TINY), checkpointing=checkpointing)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            module._loss(batch).backward()
        grads = {n: p.grad for n, p in module.net.named_parameters() if p.grad is not None}
        return grads, kept

    (whole, much), (again, little) = gradients(False), gradients(True)
    assert whole.keys() == again.keys() != set()
    for name, grad in whole.items():
        assert torch.allclose(grad, again[name], atol=1e-6), name
    assert little < 0.7 * much


@pytest.mark.slow
def test_what_was_learnt_is_told_again(
    tokenizer: Any, batch: CompletionBatch, tmp_path: Path
) -> None:
    model, losses = fitted(batch, 150)
    assert losses[-1] < 0.02
    save_speaker(tmp_path / "model", model, tokenizer, Design(small=TINY), {})
    reader: Any = load_reader("json_lm", run=str(tmp_path), strict=True)
    for e in EXAMPLES:  # cut into the tokens that were learnt
        assert words(reader.tokenizer, to_text(e.target)) == words(tokenizer, to_text(e.target))
        assert reader.tokenizer.encode(e.text) == tokenizer.encode(e.text)
    free: Any = load_reader("json_lm", run=str(tmp_path), strict=True, grammar=False)
    for e in EXAMPLES:
        assert reader.ask(prompt(e)).text == to_text(e.target)
        assert free.ask(prompt(e)).text == to_text(e.target)
        (found,) = reader.read(e.text, MARKET).components
        (wanted,) = components(parse(to_text(e.target)), "equity", MARKET)
        assert (found.slot, found.name) == (wanted.slot, wanted.name)
        assert torch.allclose(found.mean[:7], wanted.mean[:7])
        assert torch.allclose(found.sd[:7], wanted.sd[:7])


# Through the stage: files in, files out.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    held = [example(3, "War escalates", "crash", "val"), example(5, "A rally", "squeeze", "val")]
    write_examples(folder, [*EXAMPLES, *held])
    return folder


def config(folder: Path, data: Path, *overrides: str) -> DictConfig:
    first = [
        "model=student",
        "model.target=json",
        "trainer=cpu",
        "logger=none",
        f"data.path={data}",
        "data.tokens=512",
        "data.vocabulary=600",
        "model.small.hidden=32",
        "model.small.layers=1",
        "model.small.positions=4096",
        "trainer.max_epochs=2",
        f"output_dir={folder}",
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [*first, *overrides])


def merging(run: Path, out: Path) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("merge", [f"run={run}", f"output_dir={out}"])


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def stop_at(step: int) -> Any:
    """What a SIGTERM that arrives during ``step`` does."""

    def hook(self: Any, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step:
            trainer._signal_connector.received_sigterm = True

    return hook


def test_a_resumed_run_ends_with_the_same_bytes_and_is_read(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    value = train(config(whole, data))
    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", stop_at(2))
        with pytest.raises(SystemExit):
            train(config(torn, data))
    assert train(config(torn, data, "ckpt_path=last")) == value
    assert weights(whole) == weights(torn)
    told = load_speaker(whole / "model", trained=True)
    assert rows(told.model) == 600
    assert load_reader("json_lm", run=str(whole), strict=True).read("War breaks out").components
    with pytest.raises(UserError, match=r"model.target=json; read with semantic=json_lm"):
        load_reader("qwen2", run=str(whole))


def test_a_resumed_run_drops_out_what_an_uninterrupted_one_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny(tmp_path / "base", 19)
    more = [f"model.base={base}", "model.tuning=lora", "model.dropout=0.3"]
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    train(config(whole, data, *more))
    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", stop_at(2))
        with pytest.raises(SystemExit):
            train(config(torn, data, *more))
    train(config(torn, data, *more, "ckpt_path=last"))
    kept = sorted((torn / "checkpoints").glob("*.ckpt"))
    assert kept
    for checkpoint in kept:
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert state
        assert all("lora_" in name for name in state)  # nothing of the base
    file = Path("model", "adapter", "adapter_model.safetensors")
    assert (whole / file).read_bytes() == (torn / file).read_bytes()


def test_adapters_are_trained_merged_and_answer_alike(data: Path, tmp_path: Path) -> None:
    base = tiny(tmp_path / "base", 19)
    run, out = tmp_path / "run", tmp_path / "merged"
    more = [f"model.base={base}", "model.tuning=lora", "optim.optimizer.lr=0.02", "model.rank=4"]
    before = load_speaker(base).model.state_dict()
    train(config(run, data, *more))
    assert {p.name for p in (run / "model").iterdir()} >= {"adapter", "json_lm.json"}
    adapted: Any = load_reader("json_lm", run=str(run), strict=True)
    kept = [n for n in adapted.model.state_dict() if "lora" not in n]
    assert len(kept) == len(before)  # the base as it was
    for name in kept:
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        assert torch.equal(adapted.model.state_dict()[name], before[plain])
    told = adapted.read("War breaks out", MARKET)
    assert merge(merging(run, out)) < 1e-4
    shutil.rmtree(base)
    with pytest.raises(UserError, match=r"needs what it was trained on: model.base=.* cannot be"):
        load_reader("json_lm", run=str(run))
    shutil.rmtree(run)
    merged: Any = load_reader("json_lm", base=str(out / "model"), strict=True)
    assert merged.task == adapted.task
    assert not any("lora" in name for name in merged.model.state_dict())
    asked = prompt(EXAMPLES[0])
    plain = load_speaker(out / "model").tokenizer
    assert conversation(plain, asked) == conversation(adapted.tokenizer, asked)
    a, b = merged.ask(asked).text, adapted.ask(asked).text
    assert a == b
    assert merged.read("War breaks out", MARKET) == told
    assert json.loads((out / "model" / "json_lm.json").read_text())["design"]["tuning"] == "full"
    with pytest.raises(UserError, match="holds no adapter"):
        merge(merging(out, tmp_path / "again"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.target=xyz"], "model.target=xyz must be one of mixture, json"),
        (["model.tuning=frozen", "model.base=x"], "needs model.tuning=lora or full"),
        (["model.tuning=lora"], "needs model.base"),
        # The bytes and the control tokens alone are more.
        (["model.small.vocabulary=256"], r"the tokenizer has \d+ tokens, the model 256"),
        (["model.small.positions=64"], "the longest example has .* give model.small.positions="),
        (["data.target=mixture"], "learns from examples as json"),
        (["model.target=mixture", "data.target=json"], "learns from examples as mixture"),
        (["model.orderly=1"], "orderly"),
        (["model.quantization=nf4"], 'quantization="nf4" is for model.target=mixture alone'),
        (["model.compile=true"], "give model.compile=false"),
        (["data.hidden=0.1"], "data.hidden=0.1 .* give data.hidden=0.0"),
    ],
)
def test_a_mistake_is_one_sentence(
    data: Path, tmp_path: Path, overrides: list[str], words: str
) -> None:
    added = [o if not o.startswith("model.orderly") else f"+{o}" for o in overrides]
    with pytest.raises(UserError, match=words):
        train(config(tmp_path / "run", data, *added))


def test_weights_of_two_types_are_not_sharded(data: Path, tmp_path: Path) -> None:
    base = tiny(tmp_path / "base", 19)
    module: Any = JsonModule(torch.optim.AdamW, str(base), tuning="lora", dtype="bfloat16")
    known = CompletionDataModule(str(data), base=str(base))
    known.setup("fit")
    module.trainer = SimpleNamespace(strategy=FSDPStrategy(), datamodule=known)
    with pytest.raises(UserError, match=r"trainer=fsdp shards weights of one type"):
        module.setup("fit")
    module.trainer.strategy = None
    module.setup("fit")
