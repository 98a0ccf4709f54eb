"""Packed prompts are the same prompts: outputs and gradients, whatever stands beside them."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from parfait.semantic.examples import Example
from parfait.semantic.lm import attention
from parfait.semantic.lm.datamodule import DistilledDataModule, Examples, plan
from parfait.semantic.lm.design import Design
from parfait.semantic.lm.losses import slot_divergence
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.packing import Packed
from parfait.semantic.lm.targets import N_SLOTS
from parfait.utils.errors import UserError


def model_of(base: Path, tuning: str) -> ScenarioModel:
    torch.manual_seed(1)
    model = ScenarioModel(Design(base=str(base), tuning=tuning, rank=4, hidden=16, ensemble=2))
    for name, p in model.named_parameters():
        if "lora_B" in name or name == "queries":  # adapters start at zero, queries near it
            nn.init.normal_(p, std=0.3)
    return model


def prompts(generator: torch.Generator, lengths: tuple[int, ...] = (5, 1, 17, 9)) -> list[Any]:
    return [torch.randint(0, 600, (n,), generator=generator) for n in lengths]


def test_rows_and_row_are_the_same_tokens() -> None:
    packed = Packed.of(prompts(torch.Generator().manual_seed(0)), extra=3)
    flat = torch.arange(len(packed.ids), dtype=torch.float32)[:, None]
    assert torch.equal(packed.flat(packed.rows(flat)), flat)
    assert packed.query_places().flatten().tolist() == [
        *(5, 6, 7, 9, 10, 11, 29, 30, 31, 41, 42, 43)
    ]
    assert [int(packed.positions[i]) for i in packed.bounds[:-1]] == [0] * 4
    assert packed.longest == 20
    assert len(packed) == 4


@pytest.mark.parametrize("tuning", ["full", "lora", "frozen"])
def test_packed_outputs_and_gradients_are_those_of_padded_rows(
    examples: list[Example], tokenizer: Any, base: Path, tuning: str
) -> None:
    model = model_of(base, tuning)
    known = Examples(tokenizer, examples[:12])
    found = []
    for packing in (False, True):
        batch = known.batch(range(12), packing)
        if tuning == "frozen":  # it has no queries, and skips their places
            state = model.pooled(batch.ids, batch.lengths)
        else:
            state = model.read(batch.ids, batch.lengths)
        told = model(batch.ids, batch.lengths)
        model.zero_grad()
        torch.stack([slot_divergence(batch.target, m).mean() for m in told]).mean().backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((state.detach(), grads))
    (states, grads), (packed_states, packed_grads) = found
    assert torch.allclose(states, packed_states, atol=1e-5)
    assert grads.keys() == packed_grads.keys()
    assert ("queries" in grads) is (tuning != "frozen")
    for name, grad in grads.items():
        assert torch.allclose(grad, packed_grads[name], atol=1e-5), name


def test_the_attention_is_that_of_transformers_with_its_masks(base: Path) -> None:
    """Rows that are padded, and a packed row under a block mask."""
    from transformers import AutoModel

    model = model_of(base, "full")
    stock = AutoModel.from_pretrained(base, attn_implementation="eager")
    packed = Packed.of(prompts(torch.Generator().manual_seed(2)))
    ids = packed.rows(packed.ids[:, None])[..., 0]
    lengths = packed.bounds.diff().long()
    seen = (torch.arange(packed.longest) < lengths[:, None]).long()
    with torch.no_grad():
        padded = stock(input_ids=ids, attention_mask=seen).last_hidden_state
        # With a cache, which is the default, transformers does not look for packed rows.
        told = {"input_ids": packed.ids[None], "position_ids": packed.positions[None]}
        block = stock(**told, use_cache=False)
        ours = model._states(packed, input_ids=packed.ids[None])
        rows = model._states(None, lengths, input_ids=ids)
    assert torch.allclose(ours, packed.flat(padded), atol=1e-5)
    assert torch.allclose(ours, block.last_hidden_state[0], atol=1e-5)
    assert torch.allclose(packed.flat(rows), ours, atol=1e-5)


def test_another_prompt_in_the_row_moves_nothing_and_the_own_words_do(base: Path) -> None:
    model = model_of(base, "full")
    generator = torch.Generator().manual_seed(3)
    mine, beside, other = prompts(generator, (7, 11, 11))
    lengths = torch.tensor([11, 7])
    with torch.no_grad():
        first, second = (
            model.read(Packed.of([x, mine], N_SLOTS), lengths)[1] for x in (beside, other)
        )
        changed = mine.clone()
        changed[0] = (changed[0] + 1) % 600
        third = model.read(Packed.of([beside, changed], N_SLOTS), lengths)[1]
    assert torch.equal(first, second)
    assert float((first - third).abs().max()) > 1e-3


def test_packed_batches_hold_every_example_once_within_the_budget(
    examples: list[Example], tokenizer: Any
) -> None:
    known = Examples(tokenizer, examples)
    batches = plan(known, 300, 0, packing=True)
    assert sorted(i for rows in batches for i in rows) == list(range(len(examples)))
    for rows in batches:
        batch = known.batch(rows, packing=True)
        assert isinstance(batch.ids, Packed)
        assert len(batch.ids.ids) <= 300
        assert len([i for i in rows if examples[i].pair]) in (0, 2)
    assert plan(known, 300, 0, True) == batches != plan(known, 300, 1, True)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("together", [1, 3])
def test_processes_share_an_epoch_and_a_resumed_one_goes_on(
    folder: Path, base: Path, world: int, together: int
) -> None:
    data = DistilledDataModule(str(folder), base=str(base), tokens=100, packing=True)
    data.setup("fit")

    def numbers(rank: int, step: int) -> list[int]:
        data.trainer = SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
            global_rank=rank,
            world_size=world,
            accumulate_grad_batches=together,
            global_step=step,
            num_training_batches=math.inf,
        )
        return list(data.train_dataloader().sampler)

    shares = [numbers(rank, 0) for rank in range(world)]
    assert len({len(s) for s in shares}) == 1  # or a process would wait for ever
    assert sorted({k for share in shares for k in share}) == list(range(len(data.plan)))
    assert sum(len(s) for s in shares) < len(data.plan) + world
    assert numbers(0, 1) == shares[0][together:]
    steps = -(-len(shares[0]) // together)
    assert len(numbers(0, steps)) == len(shares[0])  # the next epoch is whole
    assert steps == 1 or numbers(0, steps) != shares[0]


def test_attention_of_another_kind_is_left_alone_and_refuses_packing(base: Path) -> None:
    model = model_of(base, "full")
    assert attention.used(model.backbone)
    config = model.backbone.config
    for name, value in (("attn_logit_softcapping", 30.0), ("sliding_window", 8)):
        setattr(config, name, value)
        assert not attention.is_plain(model.backbone)
        setattr(config, name, None)
    assert attention.is_plain(model.backbone)
    model.backbone.set_attn_implementation("sdpa")
    batch = prompts(torch.Generator().manual_seed(4))
    with torch.no_grad():
        padded = Packed.of(batch).rows(Packed.of(batch).ids[:, None])[..., 0]
        by_masks = model(padded, torch.tensor([5, 1, 17, 9]))[0]
        with pytest.raises(UserError, match=r"data\.packing=false"):
            model(Packed.of(batch, N_SLOTS), torch.tensor([5, 1, 17, 9]))
        attention.use(model.backbone)
        ours = model(padded, torch.tensor([5, 1, 17, 9]))[0]
    assert torch.allclose(by_masks.mean, ours.mean, atol=1e-5)


def test_the_kernel_for_sequences_is_told_of_every_prompt(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that computes what the kernel is documented to, sequence by sequence."""
    from torch.nn.attention import varlen
    from torch.nn.functional import scaled_dot_product_attention

    def kernel(
        q: Any, k: Any, v: Any, ends: Any, _: Any, most: int, __: int, *, scale: float, **kw: Any
    ) -> Any:
        assert kw["window_size"] == (-1, 0)  # causal
        assert most >= int(ends.diff().max())
        assert ends.dtype == torch.int32
        parts = []
        for a, b in zip(ends.tolist(), ends[1:].tolist(), strict=False):
            one = (x[a:b].transpose(0, 1) for x in (q, k, v))
            told = {"is_causal": True, "scale": scale, "enable_gqa": q.shape[1] != k.shape[1]}
            parts.append(scaled_dot_product_attention(*one, **told).transpose(0, 1))
        return torch.cat(parts)

    model = model_of(base, "full")
    packed = Packed.of(prompts(torch.Generator().manual_seed(5)), N_SLOTS)
    lengths = packed.bounds.diff().long() - N_SLOTS
    with torch.no_grad():
        by_rows = model.read(packed, lengths)
        monkeypatch.setattr(attention, "_has_kernel", lambda q, v: True)
        monkeypatch.setattr(varlen, "varlen_attn", kernel)
        by_kernel = model.read(packed, lengths)
    assert torch.allclose(by_rows, by_kernel, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_packed_is_padded_on_a_card(
    examples: list[Example], tokenizer: Any, base: Path, dtype: str
) -> None:
    """The kernel for sequences of any length in half precision, rows in single precision."""
    design = Design(base=str(base), tuning="lora", rank=4, hidden=16, ensemble=1, dtype=dtype)
    model = ScenarioModel(design).cuda()
    known = Examples(tokenizer, examples[:12])
    found = []
    for packing in (False, True):
        batch = known.batch(range(12), packing).to("cuda")
        told = model(batch.ids, batch.lengths)[0]
        model.zero_grad()
        slot_divergence(batch.target, told).mean().backward()
        grads = torch.cat([p.grad.flatten().float() for p in model.parameters() if p.requires_grad])
        found.append((told.mean.detach(), grads))
    (mean, grads), (packed_mean, packed_grads) = found
    near = 3e-2 if dtype == "bfloat16" else 1e-5
    assert torch.allclose(mean, packed_mean, atol=near)
    assert float((grads - packed_grads).norm() / grads.norm()) < near
