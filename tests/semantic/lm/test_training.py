"""Training as a user runs it: resumed = uninterrupted, checkpoints without the base."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import OmegaConf
from safetensors.torch import load_file

from parfait.semantic.examples import Example
from parfait.semantic.lm.datamodule import Examples
from parfait.semantic.lm.design import Design
from parfait.semantic.lm.losses import slot_divergence
from parfait.semantic.lm.merge import merge_run
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.speed import layers_of, optimizer_of, prepare
from parfait.stages.train import train
from parfait.utils.errors import UserError
from parfait.utils.instantiate import check, instantiate

CONF = Path(__file__).parents[3] / "conf"


def settings(folder: Path, base: Path, run: Path, *more: str) -> Any:
    told = [
        "model=qwen2_lora",
        f"model.base={base}",
        "model.dtype=float32",
        "model.rank=4",
        "model.hidden=16",
        "model.ensemble=1",
        f"model.cache={run.parent / 'features'}",
        "model.warmup_steps=2",
        f"data.path={folder}",
        "data.tokens=160",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "logger=none",
        f"output_dir={run}",
        *more,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=told)


def exported(run: Path) -> dict[str, torch.Tensor]:
    files = sorted(run.glob("model/**/*.safetensors"))
    return {f"{f.name}/{k}": v for f in files for k, v in load_file(f).items()}


@pytest.mark.parametrize(
    "more",
    [
        ["model.dropout=0.2", "data.packing=true"],
        ["model.dropout=0.2", "data.packing=false", "trainer.accumulate_grad_batches=2"],
        ["model.tuning=frozen"],
    ],
    ids=["lora packed", "lora padded", "frozen"],
)
def test_a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one(
    folder: Path, base: Path, tmp_path: Path, more: list[str]
) -> None:
    train(settings(folder, base, tmp_path / "whole", *more))
    half = settings(
        folder, base, tmp_path / "cut", *more, "callbacks.last_checkpoint.save_top_k=-1"
    )
    train(half)
    kept = sorted((tmp_path / "cut" / "checkpoints").glob("0*.ckpt"))
    assert len(kept) == 2
    for file in (kept[1], *(tmp_path / "cut" / "checkpoints").glob("best*")):
        file.unlink()  # as if killed in the second epoch
    shutil.rmtree(tmp_path / "cut" / "model")
    half.ckpt_path = "last"
    train(half)
    whole, cut = exported(tmp_path / "whole"), exported(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert any("lora_" in name for name in whole) is ("frozen" not in more[0])
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name


def test_what_a_frozen_base_cannot_do_is_one_sentence(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    more = ["model.tuning=frozen", "data.hidden=0.1"]
    with pytest.raises(UserError, match=r"data.hidden=0.1 .* give data.hidden=0,"):
        train(settings(folder, base, tmp_path / "run", *more))


def test_a_checkpoint_holds_what_is_trained_and_nothing_of_the_base(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    train(settings(folder, base, tmp_path / "run", "trainer.max_epochs=1"))
    (file,) = (tmp_path / "run" / "checkpoints").glob("0*.ckpt")
    state = torch.load(file, weights_only=True)["state_dict"]
    below = {name for name in state if name.startswith("net.backbone.")}
    assert below
    assert all("lora_" in name for name in below)
    assert {"net.queries", "net.head.slots"} <= state.keys()
    for more, words in (
        (["model.rank=8"], "another architecture"),
        (["model.tuning=frozen"], "another architecture"),
    ):
        other = settings(folder, base, tmp_path / "run2", *more, f"ckpt_path={file}")
        with pytest.raises(UserError, match=words):
            train(other)


def test_packed_training_ends_in_a_model_that_merges(
    folder: Path, base: Path, tmp_path: Path, examples: list[Example], tokenizer: Any
) -> None:
    run = tmp_path / "run"
    value = train(settings(folder, base, run, "data.packing=true", "trainer.max_epochs=3"))
    untrained = train(
        settings(folder, base, tmp_path / "none", "trainer.max_epochs=1", "optim.optimizer.lr=0.0")
    )
    assert value < untrained - 0.3
    model = ScenarioModel.load(run / "model")
    assert merge_run(run, tmp_path / "merged", 1e-3) < 1e-4
    merged = ScenarioModel.load(tmp_path / "merged")
    config = json.loads((tmp_path / "merged" / "base" / "config.json").read_text())
    assert "parfait" not in json.dumps(config)  # others can load it
    batch = Examples(tokenizer, examples[:8]).batch(range(8), packing=True)
    with torch.no_grad():
        (a,), (b,) = model(batch.ids, batch.lengths), merged(batch.ids, batch.lengths)
    assert torch.allclose(a.mean, b.mean, atol=1e-4)


def gradients(model: ScenarioModel, batch: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    slot_divergence(batch.target, model(batch.ids, batch.lengths)[0]).mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def tuned(base: Path) -> ScenarioModel:
    torch.manual_seed(1)
    design = Design(base=str(base), tuning="lora", rank=4, hidden=16, ensemble=1)
    model = ScenarioModel(design).train()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.1)
    return model


def test_checkpointing_changes_no_gradient_and_keeps_less(
    examples: list[Example], tokenizer: Any, base: Path
) -> None:
    model = tuned(base)
    batch = Examples(tokenizer, examples).batch(range(24), packing=True)

    def kept() -> tuple[dict[str, torch.Tensor], int]:
        total = 0

        def pack(x: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            found = gradients(model, batch)
        return found, total

    whole, much = kept()
    prepare(model.backbone, compile=False, checkpointing=True)
    again, little = kept()
    assert whole.keys() == again.keys()
    for name, grad in whole.items():
        assert torch.allclose(grad, again[name], atol=1e-6), name
    assert little < 0.9 * much


@pytest.mark.slow
def test_compiled_layers_change_no_gradient_and_no_name(
    examples: list[Example], tokenizer: Any, base: Path
) -> None:
    model = tuned(base)
    known = Examples(tokenizer, examples)
    batches = [known.batch(range(n), packing=True) for n in (12, 19, 24)]
    whole = [gradients(model, batch) for batch in batches]
    names = list(model.state_dict())
    prepare(model.backbone, compile=True, checkpointing=False)
    assert list(model.state_dict()) == names
    for batch, plain in zip(batches, whole, strict=True):
        for name, grad in gradients(model, batch).items():
            assert torch.allclose(grad, plain[name], atol=1e-5), name


def test_the_head_learns_at_a_rate_of_its_own(base: Path) -> None:
    model = tuned(base)

    def make(groups: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=0.1)

    slow, fast = optimizer_of(make, model, 10.0).param_groups
    assert (slow["lr"], fast["lr"]) == (0.1, 1.0)
    adapters = [p for n, p in model.named_parameters() if "lora_" in n]
    assert [id(p) for p in slow["params"]] == [id(p) for p in adapters]
    rest = {id(p) for p in (model.queries, *model.head.parameters())}
    assert {id(p) for p in fast["params"]} == rest
    assert len(layers_of(model.backbone)) == 2
    (one,) = optimizer_of(make, model, 1.0).param_groups
    assert one["lr"] == 0.1


def test_wandb_and_csv_are_told_of_calibration(folder: Path, base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["logger=wandb", "logger.wandb.mode=offline", "trainer.max_epochs=1"]
    made = settings(folder, base, run, *more)
    made.output_dir, made.logger.csv.save_dir = str(run), str(run)
    made.logger.wandb.folder = str(run)
    train(made)
    (csv,) = run.rglob("metrics.csv")
    header = csv.read_text().splitlines()[0].split(",")
    told = {"val/coverage_50", "val/coverage_80", "val/coverage_95", "val/pit_error"}
    assert told | {"val/weight_error"} <= set(header)
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/val/calibration*.png"))


@pytest.mark.slow
def test_two_processes_train_one_model(folder: Path, base: Path, tmp_path: Path) -> None:
    """DDP over gloo: each has batches of its own, and both end with the same weights."""
    run = tmp_path / "run"
    command = [sys.executable, str(CONF.parent / "train.py"), "model=qwen2_lora"]
    command += [f"model.base={base}", "model.dtype=float32", "model.rank=4", "model.hidden=16"]
    command += [f"data.path={folder}", "data.tokens=160", "trainer=ddp", "trainer.accelerator=cpu"]
    command += ["trainer.devices=2", "trainer.precision=32-true", "trainer.max_epochs=2"]
    command += [f"output_dir={run}", "logger=none", f"paths.outputs={tmp_path}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONF.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (last,) = sorted((run / "checkpoints").glob("0*.ckpt"))[-1:]
    steps = torch.load(last, weights_only=True)["global_step"]
    alone = tmp_path / "alone"
    train(settings(folder, base, alone, "model.ensemble=3"))
    (single,) = sorted((alone / "checkpoints").glob("0*.ckpt"))[-1:]
    assert steps == 2 * -(-torch.load(single, weights_only=True)["global_step"] // 4)
    assert ScenarioModel.load(run / "model")


def test_sharded_training_composes_and_refuses_weights_of_two_types(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    made = settings(folder, base, tmp_path / "run", "trainer=fsdp", "model.dtype=bfloat16")
    assert made.trainer.strategy == "fsdp"
    check(OmegaConf.to_container(made.trainer, resolve=True), "trainer")
    module, data = instantiate(made.model), instantiate(made.data)
    data.setup("fit")
    module.trainer = SimpleNamespace(strategy=FSDPStrategy(), datamodule=data)
    with pytest.raises(UserError, match=r"model\.dtype=float32"):
        module.setup("fit")


@pytest.mark.gpu
def test_a_few_steps_in_bfloat16_on_a_card(folder: Path, base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["trainer=gpu", "model.dtype=bfloat16", "data.packing=true", "trainer.max_epochs=3"]
    value = train(settings(folder, base, run, *more))
    untrained = train(settings(folder, base, tmp_path / "none", *more, "optim.optimizer.lr=0.0"))
    assert value < untrained - 0.3
    adapter = load_file(run / "model" / "adapter" / "adapter_model.safetensors")
    assert {v.dtype for v in adapter.values()} == {torch.float32}
