"""Is a volatility forecaster trained on generated bars as good as one trained on real ones?

    python benchmarks/utility.py [--run FOLDER] [--output FOLDER]

After every training history (60 returns) 32 bars are made: by the network on guides of the neutral
forecast, and by rivals. A HAR-style ridge learns from them to forecast the realised volatility of
5 bars, and is tested on what really followed the held-out histories.
"""

import argparse

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    load_model,
    run,
    write_results,
)
from torch import Tensor

from parfait.evaluation.windows import EVERY, HORIZON, Windows, load_split
from parfait.metrics.baselines import bootstrap_bars, bridge_bars
from parfait.metrics.functional.utility import train_on_synthetic
from parfait.metrics.neutral import neutral_paths
from parfait.microstructure import Microstructure
from parfait.microstructure.training import regular_anchors
from parfait.sde import Guide


def neutral_guide(windows: Windows, generator: torch.Generator) -> Guide:
    """One path of the neutral forecast after every history."""
    last = torch.tensor([windows.history.shape[1] - 1])
    returns = [
        neutral_paths(
            history,
            last,
            HORIZON,
            1,
            bars_per_year=windows.bars_per_year,
            asset="equity",
            generator=generator,
        )[0, 0]
        for history in windows.history
    ]
    level = windows.history[:, -1:, 3] * torch.stack(returns).cumsum(1).exp()
    return Guide(level, regular_anchors(len(windows), HORIZON, EVERY))


def candidates(model: Microstructure, train: Windows, seed: int) -> dict[str, Tensor]:
    """Generated futures of the training histories."""

    def stream(k: int) -> torch.Generator:
        return torch.Generator().manual_seed(10 * seed + k)

    guide = neutral_guide(train, stream(0))
    how = {"bars_per_year": train.bars_per_year, "generator": stream(1)}
    return {
        "network, neutral guides": model.generate(train.history, guide, None, **how),
        "block bootstrap of the training part": bootstrap_bars(
            train.history, train.future, train.history, HORIZON, generator=stream(2)
        ),
        "GBM": bridge_bars(train.history, HORIZON, generator=stream(3)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    split = load_split()
    train, held = split.train, split.held
    table = Table(
        f"Train on synthetic, test on real: {len(train)} and {len(held)} windows",
        ("trained on", "seed", "MSE of ln variance", "on real", "ratio"),
    )
    for seed in (1, 2):
        for name, made in candidates(load_model(arguments.run), train, seed).items():
            found = train_on_synthetic(
                made,
                train.future,
                held.future,
                held.time,
                held.purge,
                generator=torch.Generator().manual_seed(0),
            )
            table.add(name, seed, found["synthetic"], found["real"], found["ratio"])
    table.print()
    write_results(arguments.output, "utility", [table], {"rows": table.rows})


if __name__ == "__main__":
    run(main)
