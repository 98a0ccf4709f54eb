"""Which sampler keeps the volatility? Each against a long reference run with common noise.

    python benchmarks/samplers.py [--run FOLDER] [--windows 400]

The total deviation hides a solver's bias because the guide fixes part of it; the null component,
n = r - (mean of r over its segment), shows it. With every close given (k = 1) nothing of the
returns is free, so the bias there is that of the range. ``real`` is the data itself.
"""

import argparse
import time
from typing import Any

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    load_model,
    run,
    write_results,
)
from torch import Tensor

from parfait.evaluation.windows import HORIZON, load_split
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.windows import WindowCode, encode_window
from parfait.microstructure.constraint import Segments

REFERENCE = ("dpmpp_2m", 40)
CONTENDERS = (
    ("dpmpp_2m", 20),
    ("dpmpp_2m", 10),
    ("dpmpp_2m", 6),
    ("angle_euler", 10),
    ("angle_euler", 6),
    ("angle_euler", 5),
    ("angle_euler", 4),
    ("heun", 10),
    ("heun", 5),
    ("euler", 10),
)
SPACINGS = (1, 4, 16, HORIZON)
COLUMNS = ("", "NFE", "null std", "total std", "bias %", "kurtosis", "wick=0", "windows/CPU-s")


def evaluations(sampler: str, steps: int) -> int:
    """Network calls: Heun needs two in every step but the last."""
    return 2 * steps - 1 if sampler == "heun" else steps


def measure(code: WindowCode, segments: Segments) -> dict[str, float]:
    """Facts and the deviation of returns per free degree of freedom (0 where none is free)."""
    null = code.r - segments.spread(code.r)
    freedom = float(segments.degrees_of_freedom.sum())
    free_std = float((null.square().sum() / freedom).sqrt()) if freedom else 0.0
    return {"null_std": free_std, **stylised_facts(code)}


def bias(values: dict[str, float], reference: dict[str, float], every: int) -> float:
    """Relative error of the null deviation, or of the range where no return is free [%]."""
    name = "null_std" if every > 1 else "range_ratio"
    return 100 * (values[name] / reference[name] - 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--windows", type=int, default=400, help="held-out windows, evenly spaced")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.run)
    held = load_split(stride=1).held
    held = held.rows(torch.linspace(0, len(held) - 1, arguments.windows).round().long())
    tables: list[Table] = []
    data: dict[str, Any] = {}

    def run(sampler: str, steps: int, every: int) -> tuple[Tensor, float]:
        start = time.process_time()
        bars = model.generate(
            held.history,
            held.guide(every),
            None,
            bars_per_year=held.bars_per_year,
            generator=torch.Generator().manual_seed(0),
            sampler=sampler,
            steps=steps,
        )
        return bars, len(held) / (time.process_time() - start)

    run("dpmpp_2m", 1, 4)  # warm the caches of the machine before the clock counts
    for every in SPACINGS:
        segments = Segments.from_anchors(held.guide(every).anchored)
        title = "terminal only" if every == HORIZON else f"anchored every {every}"
        table = Table(f"Samplers, {title} (bias of the {_biased(every)})", COLUMNS)
        real = measure(encode_window(held.history, held.future), segments)
        table.add("real", "", *_cells(real), "")
        reference: dict[str, float] = {}
        data[str(every)] = {"real": real}
        for sampler, steps in (REFERENCE, *CONTENDERS):
            bars, speed = run(sampler, steps, every)
            values = measure(encode_window(held.history, bars), segments)
            reference = reference or values
            values |= {"bias": bias(values, reference, every), "windows_per_cpu_second": speed}
            cells = _cells(values, f"{values['bias']:+.1f}")
            table.add(f"{sampler} {steps}", evaluations(sampler, steps), *cells, f"{speed:.0f}")
            data[str(every)][f"{sampler} {steps}"] = values
        table.print()
        tables.append(table)
    settings = {"run": arguments.run, "model": model.fingerprint, "windows": len(held)}
    write_results(arguments.output, "samplers", tables, {"settings": settings, "rows": data})


def _biased(every: int) -> str:
    return "null std" if every > 1 else "range"


def _cells(values: dict[str, float], biased: str = "") -> tuple[object, ...]:
    tails = values["kurtosis"], values["zero_wick"]
    return values["null_std"], values["std"], biased, *tails


if __name__ == "__main__":
    run(main)
