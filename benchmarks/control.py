"""Does a requested volatility arrive in the bars? Realised over requested, by history.

    python benchmarks/control.py [--run FOLDER] [--output FOLDER]

Gaussian guides of volatility sigma anchored every 4 bars and a regime of the same sigma, 128 paths
of 20 bars after two histories of the S&P 500: a lively one and a calm one. Anchored closes carry
sigma by construction, so the ratio shows what the network adds between them; range/vol is the
Brownian-scaled root mean square range over the realised volatility (real daily bars: about .80).
"""

import argparse
import math

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    load_model,
    run,
    write_results,
)

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.evaluation.windows import EVERY
from parfait.microstructure import Microstructure
from parfait.microstructure.training import regular_anchors
from parfait.regime import Regime
from parfait.sde import Guide

PATHS, STEPS, BARS_PER_YEAR = 128, 20, 252.0
SIGMAS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
ENDS = (None, 4600)  # last bar of the history: December 2018, April 2017


def realised(model: Microstructure, history: torch.Tensor, sigma: float) -> tuple[float, float]:
    """(annualised volatility of all closes, range/vol) of bars asked to have ``sigma``."""
    spot = history[-1, 3]
    noise = torch.Generator().manual_seed(5)
    steps = torch.randn(PATHS, STEPS, generator=noise, dtype=torch.float64)
    level = spot * torch.exp((sigma / BARS_PER_YEAR**0.5 * steps).cumsum(1))
    bars = model.generate(
        history,
        Guide(level, regular_anchors(PATHS, STEPS, EVERY)),
        Regime(0.0, sigma, initial_volatility=sigma).expand(PATHS),
        bars_per_year=BARS_PER_YEAR,
        generator=torch.Generator().manual_seed(1),
    )
    closes = torch.cat([spot.expand(PATHS, 1), bars[..., 3]], dim=1)
    deviation = torch.log(closes).diff(dim=1).std()
    size = torch.log(bars[..., 1] / bars[..., 2]).square().mean() / (4 * math.log(2))
    return float(deviation) * BARS_PER_YEAR**0.5, float(size.sqrt() / deviation)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    model = load_model(arguments.run)
    prices = bars_to_tensor(embedded_bars()["SP500"])
    table = Table(
        "Realised / requested volatility (range/vol)",
        ("history", *(f"{sigma:.0%}" for sigma in SIGMAS)),
    )
    data = {}
    for end in ENDS:
        history = prices[:end][-80:]
        past = float(torch.log(history[-61:, 3]).diff().std()) * BARS_PER_YEAR**0.5
        found = {sigma: realised(model, history, sigma) for sigma in SIGMAS}
        cells = [f"{vol / sigma:.2f} ({span:.2f})" for sigma, (vol, span) in found.items()]
        table.add(f"{past:.0%}", *cells)
        data[f"{past:.3f}"] = found
    table.print()
    write_results(arguments.output, "control", [table], data)


if __name__ == "__main__":
    run(main)
