"""One table: Parfait beside installed peers, in ratios, each with a column of quality.

    OMP_NUM_THREADS=1 python benchmarks/bench.py [--rounds 5] [--run FOLDER]

CPU time, one thread, interleaved rounds; a ratio is the median over rounds of what peer and
Parfait took in the same one (above 1: Parfait is faster). A fast biased scheme is no win, so every
row also says how far the peer and Parfait are from what was asked. Peers that are not installed say
so: ``pip install .[bench]``, and see ``benchmarks/sde.py``. The other files of this folder measure
one layer each, in depth.
"""

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import sampling  # pyright: ignore[reportImplicitRelativeImport]
import sde  # pyright: ignore[reportImplicitRelativeImport]
import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    load_model,
    run,
    write_results,
)
from _sde_peers import (  # pyright: ignore[reportImplicitRelativeImport]
    Job,
    Market,
    final_variance,
)
from torch import Tensor

from parfait.evaluation.candidates import NEUTRAL, Ingredients
from parfait.evaluation.realism import standard_error
from parfait.evaluation.windows import load_split
from parfait.labels import label_windows
from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.windows import encode_window, judge_channels
from parfait.microstructure import Microstructure
from parfait.sde import Heston
from parfait.sde.fractional import fractional_noise

PATHS, BARS, EXPONENT = 8192, 250, 0.7
HESTON = (
    "torchsde Euler",
    "diffrax Euler, jit, one wide state",
    "QuantLib QE-M, by path from Python",
    "pfhedge Heston, one parameter set",
)
NOISE = ("stochastic 252, H by path", "fbm 252, H by path")


def speed_rows(
    table: Table,
    what: str,
    own: Job,
    peers: Mapping[str, Job | None],
    quality: Callable[[Any], str],
    rounds: int,
) -> None:
    """A row per peer of one task."""
    known = {name: job for name, job in peers.items() if job is not None}
    times = sde.measure({"": own, **known}, rounds + 1)
    times = {name: spent[1:] for name, spent in times.items()}  # the first round warms up
    mine = quality(own.run()) if known else ""
    for name, job in peers.items():
        if job is None:
            table.add(what, name, "not installed", "", "", "")
            continue
        ratios = [a / b for a, b in zip(times[name], times[""], strict=True)]
        middle = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        cells = (f"{statistics.median(times[n]):.3g} µs" for n in ("", name))
        table.add(what, name, middle, *cells, f"{mine}; peer {quality(job.run())}")


def heston_rows(table: Table, peers: Mapping[str, Job | None], rounds: int) -> None:
    """Heston paths with parameters of their own; quality: how many standard errors the mean price
    and the mean variance at the end are away from their laws."""
    model = Heston.from_regime(
        sde.regimes(PATHS, jump_intensity=0.0, hurst=0.5, mean_reversion=0.0)
    )
    market = Market(model, sde.STEPS, sde.YEARS)

    def run() -> tuple[Tensor, Tensor]:
        paths = model.sample(
            PATHS, sde.STEPS, sde.YEARS, generator=torch.Generator().manual_seed(0)
        )
        assert paths.variance is not None
        return paths.log_price[:, -1], paths.variance[:, -1]

    def quality(made: Any) -> str:
        if not isinstance(made, tuple):
            return "unchecked"
        x, v = (part.double() for part in made)
        n = len(x)
        price = torch.exp(x - market.tensors(n)["mu"].double() * sde.YEARS)
        off = price - 1, v - final_variance(market, n).double()
        z = [float(d.mean() / d.std() * math.sqrt(n)) for d in off]
        return f"price {z[0]:+.1f}, variance {z[1]:+.1f} s.e."

    speed_rows(table, "Heston, 252 steps", Job(PATHS, run), peers, quality, rounds)


def noise_rows(table: Table, peers: Mapping[str, Job | None], rounds: int) -> None:
    """Fractional Gaussian noise, an exponent for every path; its variance is 1."""
    hurst = torch.as_tensor(sde.regimes(PATHS).hurst)
    own = Job(PATHS, lambda: sde.noise(hurst, PATHS, sde.STEPS)().T)

    def quality(made: Tensor) -> str:
        return f"variance {float(made.double().square().mean()):.3f}"

    speed_rows(table, "fractional noise, 252 steps", own, peers, quality, rounds)


def hurst_row(table: Table, rounds: int) -> None:
    """Hurst exponent of 250 bars: bias and RMSE at H = .7."""
    if find_spec("nolds") is None:
        table.add("Hurst exponent, 250 bars", "nolds", "not installed", "", "", "")
        return
    import nolds  # pyright: ignore[reportMissingImports]

    n = 64
    g = torch.Generator().manual_seed(0)
    noise = fractional_noise(torch.randn(2 * BARS, n, generator=g), torch.full((n,), EXPONENT)).T
    close = 100 * torch.exp(0.01 * noise.double().cumsum(1))
    bars = torch.stack([close] * 4 + [torch.ones_like(close)], dim=-1)

    def ours() -> Tensor:
        return torch.as_tensor(label_windows(bars, 252.0).quantile(0.5).hurst)

    def theirs() -> Tensor:
        return torch.tensor([nolds.hurst_rs(row.numpy()) for row in noise])

    times = sde.measure({"": Job(n, ours), "peer": Job(n, theirs)}, rounds)
    ratios = [a / b for a, b in zip(times["peer"], times[""], strict=True)]
    errors = [float((x - EXPONENT).square().mean().sqrt()) for x in (ours(), theirs())]
    table.add(
        "Hurst exponent, 250 bars",
        "nolds",
        f"{statistics.median(ratios):.1f}",
        f"{statistics.median(times['']):.3g} µs",
        f"{statistics.median(times['peer']):.3g} µs",
        f"RMSE {errors[0]:.3f}; peer {errors[1]:.3f}",
    )


def sampler_row(table: Table, model: Microstructure, rounds: int) -> None:
    """Windows of 32 bars beside a plain 1000-step diffusion."""
    speeds = sampling.measure(model, sampling.PlainUNet().eval(), 64, (16,), rounds)
    mine, peer = (
        1e6 / statistics.median(speeds[n]) for n in ("angle_euler 6", "stand-in, batch 16")
    )
    name = "1000-step DDPM, 16.7 M (stand-in)"
    cells = (f"{peer / mine:.0f}", f"{mine:.3g} µs", f"{peer:.3g} µs")
    table.add("window of 32 bars", name, *cells, "speed alone; the stand-in is untrained")


def realism_rows(table: Table, model: Microstructure) -> None:
    """C2ST of guided bars: worse of two judges of 100 steps."""
    split = load_split(most=300, most_train=1000)
    i = Ingredients(model, split)
    real = judge_channels(encode_window(split.held.history, split.held.future))

    def judged(row: str) -> tuple[str, float]:
        start = time.process_time()
        bars, _ = i.draw(row, 1)
        seconds = (time.process_time() - start) / len(split.held) * 1e6
        code = judge_channels(encode_window(split.held.history, bars))
        how: dict[str, Any] = {"purge": split.held.purge, "steps": 100}
        told = [c2st(real, [code], split.held.time, judge=j, **how) for j in ("cnn", "gru")]
        worst = max(told, key=lambda v: v.mean)
        return f"{worst.mean:.3f} ± {standard_error(worst):.3f}", seconds

    mine, own = judged(NEUTRAL)
    for row in ("block bootstrap projected on guide", "Brownian bridge on guide"):
        peer, theirs = judged(row)
        cells = (f"{theirs / own:.2g}", f"{own:.3g} µs", f"{theirs:.3g} µs")
        table.add("guided bars, C2ST", row, *cells, f"{mine}; peer {peer}")
    for name, module in (("Diffusion-TS", "diffusion_ts"), ("Kronos", "kronos")):
        state = "installed, not driven here" if find_spec(module) else "not installed"
        table.add("guided bars, C2ST", name, state, "", "", "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model = load_model(arguments.run)
    table = Table(
        f"Parfait and peers, CPU time per path or window, median of {arguments.rounds} rounds",
        ("task", "peer", "peer / Parfait", "Parfait", "peer ", "quality"),
    )
    peers = sde.peers()
    heston_rows(table, {name: peers[name] for name in HESTON}, arguments.rounds)
    noise_rows(table, {name: peers[name] for name in NOISE}, arguments.rounds)
    hurst_row(table, arguments.rounds)
    sampler_row(table, model, arguments.rounds)
    realism_rows(table, model)
    table.print()
    write_results(arguments.output, "bench", [table], {"model": model.fingerprint})


if __name__ == "__main__":
    run(main)
