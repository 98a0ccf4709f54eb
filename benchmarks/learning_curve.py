"""Data or compute? Losses and judges against steps, with and without simulated markets.

    python benchmarks/learning_curve.py [--steps 8000] [--output FOLDER]

Trains ``experiment=embedded`` on real windows alone, on half and on simulated ones alone, all at a
constant width, keeps the averaged weights along the way, and has the held-out windows judged with
every fourth true close given. The learning rate follows its cosine, so a point along the way is not
the end of a shorter run. ``curve.png`` shows training and held-out loss (of the real windows) and
C2ST. What is in the output folder is not computed again.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]
from hydra import compose, initialize_config_dir
from matplotlib import pyplot as plt
from omegaconf import DictConfig, open_dict

from parfait.evaluation.windows import Windows, load_split
from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.windows import encode_window, judge_channels
from parfait.microstructure import Microstructure
from parfait.stages.checkpoints import AtomicCheckpointIO
from parfait.stages.train import train
from parfait.utils.instantiate import instantiate
from parfait.utils.paths import conf_dir

EPOCH, EVERY = 250, 4  # steps; epochs between two judgements
RECIPES = {"real": 0.0, "half simulated": 0.5, "simulated": 1.0}  # share of simulated windows
JUDGES = (("bar", "cnn"), ("bar", "gru"), ("close", "gru"))
SEEDS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--output", default="outputs/learning_curve")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder, held = Path(args.output), load_split(stride=2, train_stride=1000).held
    table = Table(
        f"{len(held)} held-out windows; C2ST, mean over judges",
        ("recipe", "steps", "loss, training", "loss, held out", *(f"{v}, {j}" for v, j in JUDGES)),
    )
    found = {}
    for name, share in RECIPES.items():
        found[name] = points(folder / name.replace(" ", "_"), share, args.steps, held)
        for point in found[name]:
            table.add(name, *point.values())
    table.print()
    draw(found, folder / "curve.png")
    write_results(args.output, "learning_curve", [table], found)


def configuration(run: Path, share: float, steps: int) -> DictConfig:
    """The embedded recipe with a checkpoint at every point, and no early end."""
    settings = [f"trainer.max_epochs={steps // EPOCH}", f"data.simulated_share={share}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["experiment=embedded", f"output_dir={run}", *settings])
    with open_dict(cfg):
        cfg.callbacks.pop("early_stopping", None)
        cfg.callbacks["points"] = {
            "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
            "dirpath": str(run / "points"),
            "filename": "{step}",
            "every_n_epochs": EVERY,
            "save_top_k": -1,
        }
    return cfg


def points(run: Path, share: float, steps: int, held: Windows) -> list[dict[str, Any]]:
    """Losses and judgements along one run."""
    cfg = configuration(run, share, steps)
    if not (run / "model").exists():
        train(cfg)
    losses = logged(run)
    told = []
    for step in range(EVERY * EPOCH, steps + 1, EVERY * EPOCH):
        file = run / f"judged{step}.json"
        if not file.exists():
            file.write_text(json.dumps(judged(exported(cfg, run, step), held)))
        told.append({"step": step, **losses[step], **json.loads(file.read_text())})
    return told


def exported(cfg: DictConfig, run: Path, step: int) -> Microstructure:
    """The averaged network of a checkpoint."""
    module = instantiate(cfg.model)
    checkpoint = AtomicCheckpointIO().load_checkpoint(run / "points" / f"step={step}.ckpt")
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    module.export(run / f"model{step}")
    return Microstructure.load(str(run / f"model{step}"))


def logged(run: Path) -> dict[int, dict[str, float]]:
    """Mean training loss of the steps since the last point, and held-out loss, by step."""
    file = next(run.rglob("metrics.csv"))
    rows = list(csv.DictReader(file.open()))
    seen: dict[int, dict[str, float]] = {}
    recent: list[float] = []
    for row in rows:
        step = int(row["step"]) + 1
        if row.get("train/loss"):
            recent.append(float(row["train/loss"]))
        if row.get("val/loss") and step % (EVERY * EPOCH) == 0:
            seen[step] = {"training": statistics.fmean(recent), "held out": float(row["val/loss"])}
            recent = []
    return seen


def judged(model: Microstructure, held: Windows) -> dict[str, float]:
    real = judge_channels(encode_window(held.history, held.future))
    codes = []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        how: dict[str, Any] = {"bars_per_year": held.bars_per_year, "generator": generator}
        bars = model.generate(held.history, held.guide(), None, **how)
        codes.append(judge_channels(encode_window(held.history, bars)))
    told = {}
    for view, judge in JUDGES:
        options: dict[str, Any] = {"view": view, "judge": judge, "steps": 300}
        told[f"{view} {judge}"] = c2st(real, codes, held.time, purge=held.purge, **options).mean
    return told


def draw(found: dict[str, list[dict[str, Any]]], file: Path) -> None:
    mpl.use("agg")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for number, (name, told) in enumerate(found.items()):
        steps, colour = [p["step"] for p in told], f"C{number}"
        axes[0].plot(steps, [p["training"] for p in told], ":", color=colour)
        axes[0].plot(steps, [p["held out"] for p in told], "-", color=colour, label=name)
        scores = [statistics.fmean(p[f"{v} {j}"] for v, j in JUDGES) for p in told]
        axes[1].plot(steps, scores, "o-", color=colour, label=name)
    axes[0].set(xlabel="steps", ylabel="loss: held out (line), in training (dots)")
    axes[1].set(xlabel="steps", ylabel="C2ST above chance, mean over judges", ylim=(0, None))
    for axis in axes:
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    run(main)
