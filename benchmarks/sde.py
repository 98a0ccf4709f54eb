"""Speed of the theory layer: µs of CPU per path of 252 steps, one thread, next to installed peers.

    OMP_NUM_THREADS=1 python benchmarks/sde.py [--rounds 7] [--no-compile]

Prints tables and asserts nothing: times depend on the machine, ratios less so. Every round runs
every job once, so that all see the same load; a time is the best of the rounds, a ratio the median
over rounds of what the two took in the same one. Every process has parameters of its own for every
path, as scenarios need; peers get what they can take. Peers: ``pip install .[bench]``, and
``pip install --no-deps pfhedge stochastic``, which ask for a numpy of before 2.0 and run with later
ones.
"""

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import torch
from _common import Table  # pyright: ignore[reportImplicitRelativeImport]
from _sde_peers import (  # pyright: ignore[reportImplicitRelativeImport]
    Job,
    Market,
    diffrax_heston,
    fbm_noise,
    final_variance,
    naive_loop,
    pfhedge_heston,
    quantlib_heston,
    stochastic_noise,
    torchsde_heston,
)
from torch import Tensor

from parfait.regime import Regime
from parfait.sde import GBM, PROCESSES, Heston, RegimeSDE
from parfait.sde.fractional import autocovariance, fractional_noise
from parfait.sde.fused import compiled_step
from parfait.sde.jumps import normal_sizes, scatter_jumps
from parfait.sde.process import Chunk
from parfait.sde.streams import Streams
from parfait.utils.errors import UserError

STEPS, YEARS, PATHS = 252, 1.0, 32_768
LONG = 1024
NORMALS = "normals only (2 x 252)"
FULL = "regime: memory and reversion (all by path)"
MANY_PATHS = 1_000_000


def regimes(n: int, **fixed: float) -> Regime:
    """n different regimes; ``fixed`` fields are equal in all of them."""
    generator = torch.Generator().manual_seed(1)
    spans = {
        "drift": (-0.1, 0.2),
        "volatility": (0.1, 0.4),
        "jump_intensity": (5.0, 15.0),
        "jump_mean": (-0.04, 0.02),
        "jump_std": (0.05, 0.07),
        "mean_reversion": (0.1, 8.0),
        "hurst": (0.3, 0.7),
        "variance_reversion": (1.0, 6.0),
        "vol_of_vol": (0.1, 0.9),
        "leverage": (-0.9, 0.0),
    }
    values = {
        name: low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)
        for name, (low, high) in spans.items()
    }
    values |= {name: torch.full((n,), value, dtype=torch.float64) for name, value in fixed.items()}
    return Regime(**values)


def ours(compiles: bool) -> dict[str, Job]:
    """Every process, and the classes of ``RegimeSDE``."""

    def job(process: Any) -> Job:
        return Job(
            PATHS,
            lambda: process.sample(PATHS, STEPS, YEARS, generator=torch.Generator().manual_seed(0)),
        )

    everything = regimes(PATHS)
    jobs = {NORMALS: Job(PATHS, lambda: torch.randn(2 * STEPS, PATHS))}
    for name, process in PROCESSES.items():
        if name != "regime":
            jobs[name] = job(process.from_regime(everything))
    jobs["heston, scheme=euler"] = job(Heston.from_regime(everything, scheme="euler"))
    classes = {
        "regime: neither memory nor reversion": {"hurst": 0.5, "mean_reversion": 0.0},
        "regime: reversion": {"hurst": 0.5},
        "regime: memory, constant variance": {"vol_of_vol": 0.0},
        "regime: memory, one H": {"hurst": 0.6, "mean_reversion": 0.0},
        "regime: memory, H by path": {"mean_reversion": 0.0},
        FULL: {},
    }
    for name, fixed in classes.items():
        jobs[name] = job(RegimeSDE.from_regime(regimes(PATHS, **fixed)))
    if compiles:
        try:
            compiled_step(torch.float32)
        except UserError as error:
            print(error)
        else:
            for name, process in (("heston", Heston), (FULL, RegimeSDE)):
                jobs[f"{name}, compiled"] = job(process.from_regime(everything, compile=True))
    for steps in (STEPS, LONG):
        few = PATHS if steps == STEPS else PATHS // 4
        for name, fixed in (("one H", {"hurst": 0.7}), ("H by path", {})):
            hurst = torch.as_tensor(regimes(few, **fixed).hurst)
            jobs[f"fractional noise {steps}, {name}"] = Job(few, noise(hurst, few, steps))
    return jobs | jump_jobs()


def noise(hurst: Tensor, paths: int, steps: int) -> Callable[[], Tensor]:
    """Fractional noise, its normals included."""
    return lambda: fractional_noise(torch.randn(2 * steps, paths), hurst)


def jump_jobs() -> dict[str, Job]:
    """The same compound Poisson law twice: scattered, and with a count for every bar."""
    r = regimes(PATHS)
    lam, mean, std = (
        torch.as_tensor(v, dtype=torch.float64) for v in (r.jump_intensity, r.jump_mean, r.jump_std)
    )
    buffer = torch.zeros(STEPS, PATHS)

    def scattered() -> Tensor:
        streams = Streams(0, 0, PATHS, torch.float32, torch.device("cpu"))
        chunk = Chunk(torch.zeros(STEPS + 1, PATHS), None, buffer, YEARS, streams)
        scatter_jumps(chunk, lam, normal_sizes(chunk, mean, std))
        return buffer

    def by_bar() -> Tensor:
        counts = torch.poisson((lam.float() * YEARS / STEPS).expand(STEPS, PATHS))
        spread = counts.sqrt().mul_(std.float()).mul_(torch.randn(STEPS, PATHS))
        return counts.mul_(mean.float()).add_(spread)

    return {"jumps scattered": Job(PATHS, scattered), "jumps bar by bar": Job(PATHS, by_bar)}


def peers() -> dict[str, Job | None]:
    """Installed peers; ``None`` for the others."""
    clean = regimes(8192, jump_intensity=0.0, hurst=0.5, mean_reversion=0.0)
    market = Market(Heston.from_regime(clean), STEPS, YEARS)
    hurst = torch.as_tensor(regimes(400).hurst).tolist()
    one = [0.7] * 400
    builders: dict[str, Callable[[], Job]] = {
        "torchsde Euler": lambda: torchsde_heston(market, fresh=False),
        "torchsde Euler, own Brownian motion": lambda: torchsde_heston(market, fresh=True),
        "diffrax Euler, jit and vmap": lambda: diffrax_heston(market, batched=False),
        "diffrax Euler, jit, one wide state": lambda: diffrax_heston(market, batched=True),
        "QuantLib QE-M, by path from Python": lambda: quantlib_heston(market),
        "pfhedge Heston, one parameter set": lambda: pfhedge_heston(market),
        "loop over numpy scalars, GBM and jumps": lambda: naive_loop(market),
        "stochastic 252, one H": lambda: stochastic_noise(one, STEPS),
        "stochastic 252, H by path": lambda: stochastic_noise(hurst, STEPS),
        "stochastic 1024, H by path": lambda: stochastic_noise(hurst, LONG),
        "fbm 252, one H": lambda: fbm_noise(one[:60], STEPS),
        "fbm 252, H by path": lambda: fbm_noise(hurst[:60], STEPS),
        "fbm 1024, H by path": lambda: fbm_noise(hurst[:30], LONG),
    }
    jobs: dict[str, Job | None] = {}
    for name, build in builders.items():
        try:
            jobs[name] = build()
        except ImportError:
            jobs[name] = None
    check_laws(jobs, market, {"one H": one, "H by path": hurst})
    return jobs


def check_laws(
    jobs: dict[str, Job | None], market: Market, exponents: dict[str, list[float]]
) -> None:
    """Prints how far every peer is from what it was asked for, in standard errors."""
    table = Table("what the peers simulate", ("peer", "mean price, z", "mean variance, z"))
    for name, job in jobs.items():
        made = None if job is None else job.run()
        if isinstance(made, tuple):
            x, v = made
            n = len(x)
            ratio = torch.exp(x.double() - market.tensors(n)["mu"].double() * market.years)
            off = v.double() - final_variance(market, n).double()
            z = [float(d.mean() / d.std() * math.sqrt(n)) for d in (ratio - 1, off)]
            table.add(name, *(f"{score:+.1f}" for score in z))
        elif isinstance(made, Tensor):
            h = torch.tensor(exponents[name.split(", ")[1]][: len(made)], dtype=torch.float64)
            lag = (made[:, 1:] * made[:, :-1]).mean(dim=1) - autocovariance(h, 2)[:, 1]
            power = (made**2).mean(dim=1) - 1
            z = [float(d.mean() / d.std() * math.sqrt(len(d))) for d in (lag, power)]
            table.add(name, f"{z[0]:+.1f} (lag 1)", f"{z[1]:+.1f}")
    table.print()


def measure(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """µs of CPU per path of every job in every round."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.process_time()
            job.run()
            times[name].append((time.process_time() - start) / job.paths * 1e6)
    return times


def ratio(times: dict[str, list[float]], one: str, other: str) -> tuple[float, float, float]:
    """(median, lowest, highest) over rounds of ``one`` over ``other``."""
    ratios = [a / b for a, b in zip(times[one], times[other], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


# (numerator, denominator, target, at least or at most)
TARGETS = [
    ("torchsde Euler", "heston", 2.5, True),
    ("torchsde Euler, own Brownian motion", "heston", 2.5, True),
    ("diffrax Euler, jit and vmap", "heston", 2.5, True),
    ("diffrax Euler, jit, one wide state", "heston", 2.5, True),
    ("QuantLib QE-M, by path from Python", "heston", 20.0, True),
    ("pfhedge Heston, one parameter set", "heston", 5.0, True),
    ("loop over numpy scalars, GBM and jumps", "heston", 30.0, True),
    ("heston", NORMALS, 6.0, False),
    ("heston, compiled", NORMALS, 4.5, False),
    ("heston, compiled", NORMALS, 2.0, False),
    (FULL, "heston", 4.0, False),
    ("stochastic 252, one H", "fractional noise 252, one H", 3.0, True),
    ("stochastic 252, H by path", "fractional noise 252, H by path", 3.0, True),
    ("stochastic 1024, H by path", "fractional noise 1024, H by path", 3.0, True),
    ("fbm 252, one H", "fractional noise 252, one H", 100.0, True),
    ("fbm 252, H by path", "fractional noise 252, H by path", 100.0, True),
    ("fbm 1024, H by path", "fractional noise 1024, H by path", 100.0, True),
    ("jumps bar by bar", "jumps scattered", 5.0, True),
]


def memory() -> tuple[float, float]:
    """MB before and at the peak of a million paths of GBM, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory"],
        capture_output=True,
        text=True,
        check=True,
    )
    before, peak = done.stdout.split()
    return float(before), float(peak)


def print_memory() -> None:
    """What ``memory`` reads: MB before and at the peak of the paths."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model = GBM(mu=torch.zeros(MANY_PATHS), sigma=torch.full((MANY_PATHS,), 0.2))
    model.sample(MANY_PATHS, STEPS, YEARS, generator=torch.Generator().manual_seed(0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{before:.0f} {peak:.0f}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.memory:
        print_memory()
        return
    before, peak = memory()  # first: a process inherits the peak of the one that starts it
    own, others = ours(not options.no_compile), peers()
    jobs = own | {name: job for name, job in others.items() if job is not None}
    times = measure(jobs, options.rounds)

    table = Table("Parfait", ("process", "µs/path", "x normals"))
    for name in own:
        table.add(name, f"{min(times[name]):.2f}", f"{ratio(times, name, NORMALS)[0]:.2f}")
    table.print()
    table = Table("peers", ("peer", "µs/path"))
    for name in others:
        table.add(name, f"{min(times[name]):.1f}" if name in times else "not installed")
    table.print()
    table = Table("targets", ("ratio", "median", "range", "target", "reached"))
    for one, other, target, least in TARGETS:
        title = f"{one} / {other}"
        bound = f"{'at least' if least else 'at most'} {target:g}"
        if one not in times or other not in times:
            table.add(title, "not installed", "", bound, "")
            continue
        middle, low, high = ratio(times, one, other)
        reached = middle >= target if least else middle <= target
        spread = f"{low:.2f} to {high:.2f}"
        table.add(title, f"{middle:.2f}", spread, bound, "yes" if reached else "no")
    paths_mb = MANY_PATHS * STEPS * 4 / 2**20
    title = f"GBM, {MANY_PATHS:,} paths: peak MB ({paths_mb:.0f} paths, {before:.0f} imports)"
    table.add(title, f"{peak:.0f}", "", "at most 3072", "yes" if peak <= 3072 else "no")
    table.print()


if __name__ == "__main__":
    main()
