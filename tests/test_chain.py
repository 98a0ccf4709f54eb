"""The whole chain from one file of prices, by the commands a user types: label, distill, train the
network and two readers, simulate with what was trained.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from parfait.bars import bar_violations
from parfait.data import embedded_bars
from parfait.regime import RegimeDistribution
from parfait.semantic import Reader, load_reader
from parfait.semantic.examples import Example, read_examples
from parfait.semantic.lm.tokens import learn_tokenizer

ROOT = Path(__file__).parents[1]
TEXT = "War breaks out and stocks fall"
BARS = 1500
COLUMNS = {
    "open": "Erster",
    "high": "Hoch",
    "low": "Tief",
    "close": "Schlusskurs",
    "volume": "Volumen",
}
TINY = ["model.small.hidden=32", "model.small.layers=2", "model.small.intermediate=64"]
SHORT = ["trainer=cpu", "trainer.max_epochs=8", "model.warmup_steps=5"]
TABLES = ("paths.parquet", "guides.parquet", "scenarios.json")

pytestmark = pytest.mark.slow


def write_prices(file: Path) -> None:
    """A vendor's file: other names, dates day first, semicolons, decimal commas."""
    bars = embedded_bars()["SP500"].tail(BARS)
    prices = [
        pl.col(name).round(2).cast(pl.String).str.replace(".", ",", literal=True).alias(other)
        for name, other in COLUMNS.items()
        if name != "volume"
    ]
    date = pl.col("timestamp").dt.strftime("%d.%m.%Y").alias("Datum")
    volume = pl.col("volume").cast(pl.Int64).alias(COLUMNS["volume"])
    bars.select(date, *prices, volume).write_csv(file, separator=";")


def parfait(*arguments: str) -> str:
    """A command as a user types it, on one thread; what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_base(folder: Path, examples: list[Example]) -> None:
    """A causal language model with random weights, as one would download it."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = learn_tokenizer((e.text for e in examples), 600)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=len(tokenizer), **sizes, **heads)
    Qwen2ForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def forgetful(name: str, run: Path, part: str) -> Reader:
    """A reader whose trained ``part`` has learnt nothing."""
    reader: Any = load_reader(name, run=str(run))
    found = [p for n, p in reader.model.named_parameters() if part in n]
    assert found
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in found:
            p.copy_(0.02 * torch.randn(p.shape, generator=generator))
    return reader


def centre(told: RegimeDistribution) -> torch.Tensor:
    """Mean of drift, volatility and jumps in their coordinates."""
    rows = torch.stack([c.weight * c.mean[:4] for c in told.components])
    return rows.sum(0)


def losses(run: Path) -> list[float]:
    """On held-out examples, after every epoch."""
    table = pl.read_csv(run / "csv" / "version_0" / "metrics.csv")
    return table["val/loss"].drop_nulls().to_list()


def test_the_chain_from_one_file_to_bars(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    write_prices(prices)
    data, kept = f"data.path={prices}", f"cache={tmp_path / 'cache'}"
    out = {
        name: tmp_path / name
        for name in ("labels", "windows", "examples", "network", "student", "lora")
    }
    command = ["-m", "parfait"]

    parfait(*command, "label", data, f"output_dir={out['labels']}")
    labels = pl.read_parquet(next(out["labels"].rglob("*.parquet")))
    assert labels.height > 10

    parfait(*command, "distill", "teacher=windows", data, kept, f"output_dir={out['windows']}")
    followed = read_examples(out["windows"])
    assert {c.slot for c in followed[0].target.components}
    assert json.loads((out["windows"] / "dataset.json").read_text())["effects"]

    sized = ["n=400", "workers=1", kept, f"output_dir={out['examples']}"]
    parfait(*command, "distill", "teacher=ontology", *sized)
    examples = read_examples(out["examples"])
    assert len(examples) == 400

    few = ["data.steps_per_epoch=5", "data.batch_size=8", "data.validation_windows=16"]
    network = [*SHORT, *few, data, f"data.{kept}", f"output_dir={out['network']}"]
    parfait("train.py", "model=unet1d_tiny", *network)
    taught = [*SHORT, f"data.path={out['examples']}"]
    student = [*TINY, "data.vocabulary=600", f"output_dir={out['student']}"]
    parfait("train.py", "model=student", *taught, *student)
    write_base(tmp_path / "base", examples)
    adapted = [f"model.base={tmp_path / 'base'}", "model.rank=4", f"output_dir={out['lora']}"]
    parfait("train.py", "model=qwen2_lora", *taught, *adapted)

    for name, run in (("student", "student"), ("qwen2", "lora")):
        assert losses(out[run])[-1] < losses(out[run])[0] - 0.1
        learnt = centre(load_reader(name, run=str(out[run])).read(TEXT))
        for part in ("head", "lora_" if run == "lora" else "backbone"):
            assert not torch.equal(learnt, centre(forgetful(name, out[run], part).read(TEXT)))

    made = []
    runs = (("student", "student"), ("student", "student"), ("qwen2", "lora"))
    for number, (reader, run) in enumerate(runs):
        folder = tmp_path / f"bars {number}"
        read_by = [f"semantic={reader}", f"semantic.run={out[run]}", f"run={out['network']}"]
        asked = ["n_paths=12", "horizon=16", f"history={prices}", f"output_dir={folder}"]
        printed = parfait("simulate.py", TEXT, *read_by, *asked)
        assert str(folder / "report.html") in printed
        made.append(folder)
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["semantic"] == reader
        assert summary["semantic_options"]["run"] == str(out[run])
        assert summary["run"] == str(out["network"])
        bars, guides = (pl.read_parquet(folder / f"{t}.parquet") for t in ("paths", "guides"))
        assert bars.height == 12 * 16
        assert not any(bar_violations(bars).values())
        anchored = guides["anchored"]
        assert anchored.sum() >= 12 * 4
        assert bars["close"].filter(anchored).equals(guides["guide"].filter(anchored))
        last = embedded_bars()["SP500"]["timestamp"][-1]
        assert bars["timestamp"].min() > last
    for table in TABLES:
        first, again, other = ((folder / table).read_bytes() for folder in made)
        assert first == again
        assert first != other
