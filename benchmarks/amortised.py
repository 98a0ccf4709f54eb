"""The amortised posterior: error and coverage of every field, by nuisance, next to closed forms.

    OMP_NUM_THREADS=1 python benchmarks/amortised.py [--windows N] [--model FOLDER]

Prints tables and asserts nothing. Truths are drawn from the prior the network was trained on, which
the closed forms do not know; windows are fresh. Errors are root mean squares of the centre in its
coordinate (H and lambda also of the posterior mean, natural units), with the coverage of central
90 % intervals in brackets. A field that is no target of a world has no cell.
"""

import argparse
import time

import torch
from _common import Table

from parfait.labels import Labels, label_windows
from parfait.labels.amortised import amortised_labels
from parfait.labels.network import LabelerModel
from parfait.labels.simulator import RegimeSimulator
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import from_coordinate

YEAR = 252.0
LENGTHS = (20, 60, 250)
WORLDS: dict[str, dict[str, float]] = {
    "plain": {},
    "plain, no pull": {"reverting": 0.0},
    "fractional noise alone": {"reverting": 0.0, "jumpless": 1.0},
    "t innovations, 3 to 30": {"tails": 1.0},
    "clustering": {"clustering": 1.0},
    "overnight 0 to 40 %": {"overnight": 1.0},
    "rounding": {"rounding": 1.0},
    "10 to 1000 trades": {"trades": 1.0},
    "closes alone": {"closes": 1.0},
    "closes alone, no pull": {"closes": 1.0, "reverting": 0.0},
    "training's mix": {
        **{"plain": 0.4, "tails": 0.45, "clustering": 0.6, "overnight": 0.4},
        **{"rounding": 0.3, "trades": 0.35, "closes": 0.1},
    },
}
NATURAL = ("hurst", "jump_intensity")


def cells(labels: Labels, truth: torch.Tensor) -> dict[str, str]:
    """Error and coverage by field, and errors in natural units."""
    found = {}
    for j, name in enumerate(FIELD_NAMES):
        known = ~torch.isnan(truth[:, j])
        if not known.any():
            continue
        error = (labels.loc - truth)[known, j]
        inside = (error.abs() < 1.6448536 * labels.scale[known, j]).double().mean()
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
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = LabelerModel.load(options.model)
    for world, shares in WORLDS.items():
        columns: dict[str, list[str]] = {}
        for n in LENGTHS:
            count = options.windows if n < 100 else options.windows // 2
            generator = torch.Generator().manual_seed(7 + n)
            bars, truth = RegimeSimulator(**shares)(count, n, generator)
            start = time.process_time()
            frequency = torch.full((count,), YEAR, dtype=torch.float64)
            amortised = amortised_labels(bars, frequency, model=model)
            speed = count / (time.process_time() - start)
            closed = cells(label_windows(bars, YEAR, method="closed"), truth)
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
