"""Speed and memory of LoRA training, each lever on and off, with random weights.

    python benchmarks/lora.py --size 7b         # one GPU: the whole table; --seconds bounds a row
    python benchmarks/lora.py --size 7b --only packed padded
    python benchmarks/lora.py --size tiny       # the same code on a CPU, in about a minute

Nothing is downloaded: the architecture of Qwen2-7B is written below. A prompt has about
``--prompt`` tokens (log-normal, sd of the logarithm 0.4, at least 16) and eight queries; pads do
not count as tokens. Every row is written to ``lora.json`` as soon as it is known.

    FLOP / token = 4 N + 6 P + 12 L H d c          of which forward 2 N + 2 P + 4 L H d c
    MFU          = FLOP / token x tokens / second / peak

N: weights of the matrices of all layers, embeddings left out. They are frozen, hence no gradients
of weights: forward 2 N, backward 2 N ("6 N" would read 1.5 times higher). P: weights of adapters. L
layers, H heads of d numbers, c = (s + 1)/2 the mean context in a prompt of s tokens, by tokens: two
products of 2 H d c FLOP forward, four backward. With the language head 4 V h more. What
checkpointing computes again counts nothing. Peak: dense, bfloat16, by the name of the card, or
``--peak``; on a CPU that of a product of two matrices of 1024 x 1024 measured here.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _common import Table, run  # pyright: ignore[reportImplicitRelativeImport]
from _lora_parts import (  # pyright: ignore[reportImplicitRelativeImport]
    SHAPES,
    Prompts,
    peak_of,
    targets,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from parfait.semantic.lm import attention
from parfait.semantic.lm.base import adapted
from parfait.semantic.lm.design import Design
from parfait.semantic.lm.losses import slot_divergence
from parfait.semantic.lm.memory import estimate
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.packing import Packed
from parfait.semantic.lm.speed import layers_of, optimizer_of, prepare
from parfait.semantic.lm.targets import N_SLOTS

BATCHES = 4  # that take turns
SLOT = 512  # tokens of a row where every prompt is padded alike


@dataclass(frozen=True)
class Lever:
    """What a row of the table does.

    Args:
        rows: "packed"; "padded" to the longest of a batch of like lengths; "slots" of 512 tokens.
        mask: attention of transformers under a block mask, in place of our own.
        spoken: with the language head and the loss of every token.
        frozen: what a frozen base does once: forward alone.
        compile, checkpointing, dropout, fused: as they are called in training.
    """

    rows: str = "packed"
    mask: bool = False
    spoken: bool = False
    frozen: bool = False
    compile: bool = False
    checkpointing: bool = False
    dropout: float = 0.0
    fused: bool = True


LEVERS = {
    "packed": Lever(),
    "padded": Lever(rows="padded"),
    "slots": Lever(rows="slots"),
    "block-mask": Lever(mask=True),
    "lm-head": Lever(spoken=True),
    "dropout": Lever(dropout=0.05),
    "unfused": Lever(fused=False),
    "checkpointing": Lever(checkpointing=True),
    "frozen": Lever(frozen=True),
    "compile": Lever(compile=True),  # last: what is compiled stays so
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=SHAPES, default="tiny")
    parser.add_argument("--only", nargs="+", choices=LEVERS, help="all; without a GPU not compile")
    parser.add_argument("--tokens", type=int, help="of a batch; 8192, of the tiny one 1024")
    parser.add_argument("--prompt", type=float, default=60.0, help="tokens of a prompt, mean")
    parser.add_argument("--steps", type=int, default=20, help="timed steps at most")
    parser.add_argument("--seconds", type=float, default=20.0, help="of timed steps, about")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device")
    parser.add_argument("--output", default="outputs/benchmarks")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokens = args.tokens or (1024 if args.size == "tiny" else 8192)
    bench = Bench(SHAPES[args.size], tokens, args.prompt, device)
    peak = 1e12 * args.peak if args.peak else peak_of(device)
    threads = torch.get_num_threads()
    name = f"CPU, {threads} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    title = f"LoRA, {args.size}, {tokens} tokens a batch, {name}, peak {peak / 1e12:.3g} TFLOP/s"
    table = Table(title, ("lever", "tokens/s", "of slots", "ms/step", "MFU", "peak GB", "estimate"))
    found: list[dict[str, Any]] = []
    file = Path(args.output) / "lora.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    asked = args.only or [x for x in LEVERS if x != "compile" or device.type == "cuda"]
    for lever in sorted(asked, key=list(LEVERS).index):
        told = bench.measured(LEVERS[lever], args.steps, args.seconds)
        if "error" in told:
            table.add(lever, told["error"], *[""] * 5)
        else:
            told["mfu"] = told["flop_per_token"] * told["tokens_per_second"] / peak
            memory = f"{told['peak_gb']:.1f}" if told["peak_gb"] else "n/a"
            speed, share = f"{told['tokens_per_second']:,.0f}", f"{told['useful']:.0%}"
            ms, mfu = f"{1e3 * told['seconds']:.0f}", f"{told['mfu']:.1%}"
            table.add(lever, speed, share, ms, mfu, memory, f"{told['estimate_gb']:.1f}")
        found.append({"lever": lever, "title": title} | told)
        file.write_text(json.dumps(found, indent=1))
    table.print()
    (file.with_suffix(".md")).write_text(table.markdown())
    print(f"wrote {file} and {file.with_suffix('.md')}")


class Bench:
    """A model with random weights, and steps of its training."""

    def __init__(
        self, shape: dict[str, Any], tokens: int, prompt: float, device: torch.device
    ) -> None:
        from transformers import AutoModel, Qwen2Config

        torch.manual_seed(0)
        self.tokens, self.device = tokens, device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.config = Qwen2Config(**shape)
        with tempfile.TemporaryDirectory() as folder:
            self.config.save_pretrained(folder)
            self.design = Design(base=folder, tuning="lora", dtype=str(dtype).split(".")[-1])
            self.model = ScenarioModel(self.design, None)
        with device:
            base = AutoModel.from_config(self.config, dtype=dtype)
            self.words = nn.Linear(base.config.hidden_size, base.config.vocab_size, bias=False)
        self.words.to(dtype).requires_grad_(False)
        attention.use(base)
        self.model.backbone = adapted(base, self.design)
        self.model.to(device).train()
        spread = torch.randn(8 * BATCHES * tokens // int(prompt))
        self.lengths = (prompt * (0.4 * spread - 0.08).exp()).long().clamp(16, SLOT - N_SLOTS)

    def measured(self, lever: Lever, steps: int, seconds: float) -> dict[str, Any]:
        """Speed and memory of a lever, after three steps that are not timed."""
        self.set(lever)
        batches = self.batches(lever)
        optimizer = self.optimizer(lever)
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        try:
            for k in range(3):
                self.step(lever, batches[k % BATCHES], optimizer)
            self.wait()
            began, done, useful, real = time.perf_counter(), 0, 0, 0
            while done < steps and (done < 2 or time.perf_counter() - began < seconds):
                batch = batches[done % BATCHES]
                self.step(lever, batch, optimizer)
                done, useful, real = done + 1, useful + batch.words, real + batch.slots
                if done % BATCHES == 0:
                    self.wait()  # or the limit of time would count what is only asked for
            self.wait()
        except torch.cuda.OutOfMemoryError:
            return {"error": "out of memory"}
        finally:
            self.model.zero_grad(set_to_none=True)
        took = time.perf_counter() - began
        needs = estimate(self.design, self.config, self.tokens, lever.checkpointing)
        return {
            "tokens_per_second": useful / took,
            "useful": useful / real,
            "seconds": took / done,
            "steps": done,
            "flop_per_token": self.flop(lever, batches),
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0,
            "estimate_gb": needs.total,
        }

    def set(self, lever: Lever) -> None:
        """Puts the model into the state of a lever."""
        base = self.model.backbone.get_base_model()
        base.set_attn_implementation("sdpa" if lever.mask else attention.NAME)
        keep = base.gradient_checkpointing_disable  # transformers renames it
        getattr(base, "activation_checkpointing_disable", keep)()
        prepare(self.model.backbone, lever.compile, lever.checkpointing)
        for module in self.model.backbone.modules():
            for name in getattr(module, "lora_dropout", {}):
                module.lora_dropout[name] = (
                    nn.Dropout(lever.dropout) if lever.dropout else nn.Identity()
                )

    def optimizer(self, lever: Lever) -> torch.optim.Optimizer:
        """AdamW as training has it."""
        if lever.fused:
            return optimizer_of(torch.optim.AdamW, self.model, 10.0)
        return optimizer_of(lambda groups: torch.optim.AdamW(groups, fused=False), self.model, 10.0)

    def batches(self, lever: Lever) -> list[Prompts]:
        """Prompts of random tokens, in a budget of tokens that pads count in."""
        lengths = self.lengths.tolist()
        if lever.rows == "padded":  # of like lengths, as the data module sorts them
            lengths.sort()
        groups: list[list[int]] = [[]]
        for n in lengths:
            if groups[-1] and self.cost(lever, [*groups[-1], n]) > self.tokens:
                groups.append([])
            groups[-1].append(n)
        whole = groups[:-1] or groups
        chosen = [whole[len(whole) * (2 * k + 1) // (2 * BATCHES)] for k in range(BATCHES)]
        return [self.prompts(lever, mine).to(self.device) for mine in chosen]

    def prompts(self, lever: Lever, lengths: list[int]) -> Prompts:
        """A batch of those lengths."""
        ids = [torch.randint(0, self.config.vocab_size, (n,)) for n in lengths]
        words = sum(lengths) + N_SLOTS * len(lengths)
        told = (torch.tensor(lengths), targets(len(lengths)), words)
        if lever.rows == "packed":
            return Prompts(Packed.of(ids, N_SLOTS), *told, words)
        rows = pad_sequence(ids, batch_first=True)
        if lever.rows == "slots":
            rows = F.pad(rows, (0, SLOT - N_SLOTS - rows.shape[1]))
        return Prompts(rows, *told, len(ids) * (rows.shape[1] + N_SLOTS))

    def cost(self, lever: Lever, lengths: list[int]) -> int:
        """Tokens of a batch, pads included."""
        if lever.rows == "packed":
            return sum(lengths) + N_SLOTS * len(lengths)
        return len(lengths) * (SLOT if lever.rows == "slots" else max(lengths) + N_SLOTS)

    def step(self, lever: Lever, batch: Prompts, optimizer: torch.optim.Optimizer) -> None:
        """Forward, backward, clipping and a step."""
        on = torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda")
        if lever.frozen:
            with torch.no_grad(), on:
                self.model.pooled(batch.ids, batch.lengths)
            return
        with on:
            states, places = self.states(lever, batch)
        if lever.spoken:
            logits = self.words(states.to(self.words.weight.dtype)).flatten(0, -2)
            said = torch.zeros(len(logits), dtype=torch.int64, device=self.device)
            loss = F.cross_entropy(logits.float(), said)
        else:
            told = self.model.answer(states[places])
            loss = torch.stack([slot_divergence(batch.target, m).mean() for m in told]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def states(self, lever: Lever, batch: Prompts) -> tuple[Tensor, Any]:
        """Last hidden states, and the places of the queries among them."""
        if lever.mask:
            packed = batch.ids
            places = (packed.query_places(),)
            row = self.model.backbone.get_input_embeddings()(packed.ids).clone()
            row[places] = self.model.queries.to(row.dtype)
            told = {"inputs_embeds": row[None], "position_ids": packed.positions[None]}
            return self.model.backbone(**told, use_cache=False).last_hidden_state[0], places
        return self.model.states(batch.ids, batch.lengths)

    def flop(self, lever: Lever, batches: list[Prompts]) -> float:
        """FLOP per token; see the top of this file."""
        base = self.model.backbone.get_base_model()
        linear = [p for n, p in layers_of(base).named_parameters() if p.dim() == 2]
        matrices = sum(p.numel() for p in linear if not p.requires_grad)
        adapters = sum(p.numel() for p in linear if p.requires_grad)
        lengths = torch.cat([b.lengths for b in batches]).double() + N_SLOTS
        context = float((lengths * (lengths + 1) / 2).sum() / lengths.sum())
        c = self.config
        width = c.hidden_size * c.num_hidden_layers  # L H d
        if lever.frozen:
            return 2 * matrices + 2 * adapters + 4 * width * context
        words = 4 * c.vocab_size * c.hidden_size if lever.spoken else 0
        return 4 * matrices + 6 * adapters + 12 * width * context + words

    def wait(self) -> None:
        """Until the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    run(main)
