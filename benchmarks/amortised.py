"""The amortised posterior: error and coverage of every field, by nuisance, next to closed forms.

    OMP_NUM_THREADS=1 python benchmarks/amortised.py [--windows N] [--before BARS] [--model FOLDER]

Prints tables and asserts nothing. Truths are drawn from the prior the network was trained on (but
for the shares of pulls and of random walks), which the closed forms do not know; windows are fresh.
Errors are root mean squares of the centre in its coordinate (H and lambda also of the posterior
mean, natural units), with the coverage of central 90 % intervals in brackets. A field that is no
target of a world has no cell.
"""

import argparse
import time

import torch
from _common import Table

from parfait.labels import Labels, label_windows
from parfait.labels.amortised import amortised_labels
from parfait.labels.network import TOTAL, LabelerModel
from parfait.labels.simulator import RegimeSimulator
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import from_coordinate

YEAR = 252.0
LENGTHS = (20, 60, 250)
WORLDS: dict[str, dict[str, float]] = {
    "plain": {},
    "plain, no pull": {"reverting": 0.0},
    "fractional noise alone": {"reverting": 0.0, "jumpless": 1.0},
    "plain, random walk": {"reverting": 0.0, "memory": 0.0},
    "t innovations, 3 to 30": {"tails": 1.0},
    "clustering": {"clustering": 1.0},
    "overnight 0 to 60 %": {"overnight": 1.0},
    "rounding": {"rounding": 1.0},
    "10 to 1000 trades": {"trades": 1.0},
    "5 to 40 steps": {"steps": 1.0},
    "closes alone": {"closes": 1.0},
    "closes alone, no pull": {"closes": 1.0, "reverting": 0.0},
    "training's mix": {
        **{"memory": 0.85, "reverting": 0.57},
        **{"plain": 0.35, "tails": 0.55, "clustering": 0.7, "overnight": 0.4},
        **{"rounding": 0.3, "trades": 0.25, "steps": 0.25, "closes": 0.1},
    },
}
NATURAL = ("hurst", "jump_intensity")


def cells(labels: Labels, truth: torch.Tensor) -> dict[str, str]:
    """Error and coverage by field, and errors in natural units."""
    found = {}
    loc = torch.cat([labels.loc, labels.total_volatility.log()[:, None]], dim=1)
    scale = torch.cat([labels.scale, labels.total_spread[:, None]], dim=1)
    for j, name in enumerate((*FIELD_NAMES, TOTAL)):
        known = ~torch.isnan(truth[:, j])
        if not known.any():
            continue
        error = (loc - truth)[known, j]
        inside = (error.abs() < 1.6448536 * scale[known, j]).double().mean()
        found[name] = f"{float(error.square().mean().sqrt()):.3f} ({float(inside):.2f})"
        if name in NATURAL:
            error = getattr(labels.mean, name) - from_coordinate(name, truth[:, j])
            found[f"{name}, natural"] = f"{float(error[known].square().mean().sqrt()):.3f}"
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=4000)
    parser.add_argument("--model", default=None)
    parser.add_argument("--before", type=int, default=0, help="bars before each window")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = LabelerModel.load(options.model)
    for world, shares in WORLDS.items():
        columns: dict[str, list[str]] = {}
        for n in LENGTHS:
            count = options.windows if n < 100 else options.windows // 2
            generator = torch.Generator().manual_seed(7 + n)
            windows = RegimeSimulator(**shares)(count, n, generator, options.before)
            bars, before, truth = windows.bars, windows.before, windows.truth
            start = time.process_time()
            frequency = torch.full((count,), YEAR, dtype=torch.float64)
            amortised = amortised_labels(bars, frequency, before, model=model)
            speed = count / (time.process_time() - start)
            closed = cells(label_windows(bars, YEAR, before, method="closed"), truth)
            found = cells(amortised, truth)
            found["foreign"] = f"{float(amortised.flagged('foreign').double().mean()):.4f}"
            found["windows/CPU-s"] = f"{speed:,.0f}"
            for name, cell in found.items():
                columns.setdefault(name, []).extend([cell, closed.get(name, "")])
        heads = [f"{method} n = {n}" for n in LENGTHS for method in ("net", "closed")]
        table = Table(world, ("field", *heads))
        for name, row in columns.items():
            table.add(name, *row)
        table.print()


if __name__ == "__main__":
    main()
