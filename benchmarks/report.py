"""What a report costs: CPU seconds and bytes of ``report.write`` by number of paths and assets.

    OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python benchmarks/report.py

The least of a few repetitions, in one thread, after one report that loads what all others share,
such as fonts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from parfait import Pipeline, report
from parfait.data import embedded_bars
from parfait.stress import stress

SENTENCE = "Global conflict escalates, leading to a liquidity crisis and gold price surge."
HORIZON = 20  # bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, nargs="+", default=[20, 100, 1000])
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = Pipeline.load(sampler_steps=2)
    histories = {"one asset": None, "two assets": embedded_bars()}
    cost(pipeline.run(SENTENCE, n_paths=2, horizon=HORIZON), None, 1)
    print(f"{'':24}{'paths':>7}{'CPU s':>8}{'page kB':>9}")
    for name, history in histories.items():
        for n_paths in options.paths:
            made = pipeline.run(SENTENCE, history, n_paths=n_paths, horizon=HORIZON, seed=1)
            held = stress(made, {"SP500": 0.6})
            for label, portfolio in ((name, None), (f"{name}, portfolio", held)):
                seconds, size = cost(made, portfolio, options.repetitions)
                print(f"{label:24}{n_paths:7d}{seconds:8.2f}{size / 1e3:9.0f}", flush=True)


def cost(made, portfolio, repetitions: int) -> tuple[float, int]:
    """CPU seconds of writing, and bytes of the page."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repetitions):
            start = time.process_time()
            report.write(made, folder, portfolio=portfolio)
            seconds.append(time.process_time() - start)
        return min(seconds), (Path(folder) / "report.html").stat().st_size


if __name__ == "__main__":
    main()
