"""What each part of the training recipe is worth: one network per row, the same steps and seed.

    python benchmarks/ablations.py [--steps 2000] [--rows pace,width] [--output FOLDER]

Every row trains ``experiment=embedded`` for ``--steps`` with one thing changed and is judged on the
held-out windows with every fourth true close given, neutral. *null sd* is the deviation of returns
around their segments' means, generated over real, in all windows and in the quarter whose guide
moves most. Rows that are in the output folder are not computed again.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]
from hydra import compose, initialize_config_dir
from torch import Tensor

from parfait.evaluation.windows import EVERY, Windows, load_split
from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.windows import encode_window, judge_channels
from parfait.microstructure import Microstructure, generate, module, training, unet1d
from parfait.microstructure.constraint import Segments
from parfait.stages.train import train
from parfait.utils.paths import conf_dir

EPOCH = 250  # steps
JUDGES = (("bar", "cnn"), ("bar", "gru"), ("close", "cnn"), ("close", "gru"))
SEEDS = (1, 2)


@dataclass(frozen=True)
class Variant:
    """One change.

    Args:
        name: of the row.
        settings: Hydra overrides of the training.
        training: name in ``PATCHES``: what is taken out of the code while it trains.
        sampling: the same while it generates.
        sampler: options of ``generate``.
        weights: row whose network is used instead of one of its own.
    """

    name: str
    settings: tuple[str, ...] = ()
    training: str | None = None
    sampling: str | None = None
    sampler: tuple[tuple[str, Any], ...] = ()
    weights: str | None = None


def same_pace(moves: Tensor, *_: Any) -> Tensor:
    return torch.ones_like(moves)


def no_size(x: Tensor, _: Any) -> Tensor:
    return x.new_zeros(x.shape[0], 2 * x.shape[1])


PATCHES = {
    "pace": tuple((place, "guide_pace", same_pace) for place in (training, module, generate)),
    "size": ((unet1d, "_level_and_size", no_size),),
    "null space": ((Segments, "project", lambda _, x: x),),
}
BASE = "the recipe"
VARIANTS = (
    Variant(BASE),
    Variant("one unit per window (no pace)", training="pace", sampling="pace"),
    Variant("size of the input not told", training="size", sampling="size"),
    Variant("projection at sampling only, no null space", training="null space"),
    Variant("real windows only", ("data.simulated_share=0",)),
    Variant("simulated windows only", ("data.simulated_share=1",)),
    Variant("daily bars only", ("data.bar_sizes=[1]",)),
    Variant("history never shown", ("model.augmentation.drop_history=1",)),
    Variant("regime never told", ("model.augmentation.drop_regime=1",)),
    Variant("width 32", ("model.net.width=32",)),
    Variant("width 48", ("model.net.width=48",)),
    Variant("dropout .15", ("model.net.dropout=0.15",)),
    Variant("sampler dpmpp_2m, 10 steps", sampler=(("sampler", "dpmpp_2m"),), weights=BASE),
    Variant("sampler heun, 40 steps", sampler=(("sampler", "heun"), ("steps", 40)), weights=BASE),
    Variant("sampler angle_euler, 4 steps", sampler=(("steps", 4),), weights=BASE),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rows", help="parts of names, separated by commas")
    parser.add_argument("--output", default="outputs/ablations")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(args.output)
    asked = [v for v in VARIANTS if not args.rows or any(r in v.name for r in args.rows.split(","))]
    held = load_split(stride=2, train_stride=1000).held
    columns = ["", "loss", *(f"C2ST {v}, {j}" for v, j in JUDGES)]
    columns += ["null sd", "of the wildest quarter", "kurtosis", "acf |r| 1-10"]
    table = Table(
        f"{args.steps} steps, {len(held)} held-out windows, ± sd over judges", (*columns,)
    )
    found = {}
    for variant in asked:
        found[variant.name] = result = measured(variant, folder, args.steps, held)
        print(variant.name, json.dumps(result), flush=True)
        table.add(variant.name, *result.values())
    table.print()
    write_results(args.output, "ablations", [table], found)


def measured(variant: Variant, folder: Path, steps: int, held: Windows) -> dict[str, Any]:
    """Loss, judges and moments of one row."""
    slug = "".join(c if c.isalnum() else "_" for c in variant.name)
    file = folder / f"{slug}.json"
    if not file.exists():
        slug = slug if variant.weights is None else variant.weights.replace(" ", "_")
        loss = trained(variant, folder / slug, steps)
        result = {"loss": loss} | judged(variant, folder / slug, held)
        file.write_text(json.dumps(result))
    return json.loads(file.read_text())


def trained(variant: Variant, run: Path, steps: int) -> float:
    """Held-out loss of a training run, which is made if it is missing."""
    kept = run / "loss.json"
    if not kept.exists():
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            limits = [f"trainer.max_epochs={-(-steps // EPOCH)}", f"output_dir={run}"]
            settings = ["experiment=embedded", *limits, *variant.settings]
            cfg = compose("train", overrides=settings)
        with patched(variant.training):
            kept.write_text(json.dumps(train(cfg)))
    return json.loads(kept.read_text())


@contextmanager
def patched(name: str | None) -> Iterator[None]:
    """The code without one of its parts."""
    changes = [patch.object(*change) for change in PATCHES.get(name or "", ())]
    for change in changes:
        change.start()
    try:
        yield
    finally:
        for change in changes:
            change.stop()


def judged(variant: Variant, run: Path, held: Windows) -> dict[str, Any]:
    model = Microstructure.load(str(run))
    codes, deviations, made = [], [], []
    with patched(variant.sampling):
        for seed in SEEDS:
            generator = torch.Generator().manual_seed(seed)
            how: dict[str, Any] = {"bars_per_year": held.bars_per_year, **dict(variant.sampler)}
            made.append(
                model.generate(held.history, held.guide(), None, generator=generator, **how)
            )
    real = judge_channels(encode_window(held.history, held.future))
    for bars in made:
        codes.append(judge_channels(encode_window(held.history, bars)))
        deviations.append(null_deviation(held, bars))
    told: dict[str, Any] = {}
    for view, judge in JUDGES:
        options: dict[str, Any] = {"view": view, "judge": judge, "steps": 300}
        verdict = c2st(real, codes, held.time, purge=held.purge, **options)
        told[f"{view} {judge}"] = f"{verdict.mean:.3f} ± {verdict.sd:.3f}"
    true, mean = null_deviation(held, held.future), torch.stack(deviations).mean(0)
    told["null sd"], told["wildest"] = (mean / true).tolist()
    code = encode_window(held.history.repeat(len(SEEDS), 1, 1), torch.cat(made))
    facts = stylised_facts(code)
    return told | {"kurtosis": facts["kurtosis"], "acf": facts["acf_abs_1_10"]}


def null_deviation(held: Windows, bars: Tensor) -> Tensor:
    """(of all windows, of the quarter whose guide moves most), in units of the history."""

    def segments(bars: Tensor) -> Tensor:
        return encode_window(held.history, bars).r.unflatten(1, (-1, EVERY))

    moves, r = segments(held.future).sum(-1).square().mean(1), segments(bars)
    null = (r - r.mean(-1, keepdim=True)).square().mean((1, 2))
    wild = moves >= moves.quantile(0.75)
    return torch.stack([null.mean(), null[wild].mean()]).sqrt()


if __name__ == "__main__":
    run(main)
