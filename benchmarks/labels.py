"""Labels: error, coverage and windows per CPU-second, next to per-window loops.

    OMP_NUM_THREADS=1 python benchmarks/labels.py [--accuracy-only | --speed-only] [--windows N]
    OMP_NUM_THREADS=1 python benchmarks/labels.py --scale 500 1500 5000

Prints tables and asserts nothing. Errors are of posterior means in the coordinate named, coverage
is that of central 90 % intervals; truths are drawn, the worlds stressed one at a time. The loops
are what scripts do: a structure-function Hurst exponent of prices, a 3-sd jump rule, a realised
volatility and a GARCH(1,1) fit by `arch`; or `nolds.dfa` with `AutoReg` of `statsmodels`. Packages
that are not installed are left out.

``--scale`` runs the ``label`` stage itself, from Parquet files to labels, in two processes with a
shard each, on so many symbols of 30 years of daily bars; it needs 0.1 GB of disk
per million bars.
"""

import argparse
import importlib.util
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import Table
from torch import Tensor

from parfait.labels import label_windows, total_variance
from parfait.labels.amortised import embedded_labeler
from parfait.labels.features import summarise
from parfait.labels.hurst import autocovariance, hurst_posterior
from parfait.labels.jump_posterior import jump_posterior
from parfait.labels.jumps import split_jumps
from parfait.labels.label import METHODS
from parfait.labels.reversion import HIGH, LOW, reversion_posterior
from parfait.labels.synthetic import bars_around, clustered_variances, jump_sums
from parfait.labels.volatility import window_parts
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import to_coordinate

YEAR = 252.0
LENGTHS = (20, 60, 250)
RAW = "hurst, of raw returns"
WORLDS: dict[str, dict[str, float]] = {
    "plain": {},
    "t(4) returns": {"freedom": 4.0},
    "clustering": {"clustering": 0.5},
    "40 % overnight": {"overnight": 0.4},
    "ticks of sd/5": {"tick": 0.2},
}


class World:
    """Windows of one stressed market, truths drawn from wide priors."""

    def __init__(self, windows: int, n: int, seed: int, **stress: float) -> None:
        self.windows, self.n, self.stress = windows, n, stress
        self.generator = torch.Generator().manual_seed(seed)
        self.sigma = 0.05 * 16 ** self.uniform()

    def uniform(self) -> Tensor:
        return torch.rand(self.windows, generator=self.generator, dtype=torch.float64)

    def normal(self, *shape: int) -> Tensor:
        shape = shape or (self.windows,)
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def bars(self, noise: Tensor, mean: Tensor, jumps: Tensor | None = None) -> Tensor:
        """Bars around ``noise`` of unit variance, stressed, plus ``mean`` a bar."""
        relative, mixing = torch.ones_like(noise), torch.ones_like(noise)
        if "clustering" in self.stress:
            shape = self.windows, self.n + 1
            relative = clustered_variances(*shape, self.generator, self.stress["clustering"] / 2)
        if "freedom" in self.stress:
            df = self.stress["freedom"]
            gamma = torch.distributions.Gamma(torch.tensor(df / 2), torch.tensor(0.5))
            with torch.random.fork_rng():
                torch.manual_seed(int(self.generator.initial_seed()))
                mixing = (df - 2) / gamma.sample(noise.shape).to(torch.float64)
        variances = (self.sigma.square() / YEAR)[:, None] * relative
        moves = (variances * mixing).sqrt() * noise + mean[:, None]
        tick = 100 * self.stress.get("tick", 0.0) * 0.2 / math.sqrt(YEAR)
        overnight = self.stress.get("overnight", 0.2)
        # A label speaks of its window: what the volatility was in it is the truth. Innovations
        # with fat tails are no volatility that moves.
        self.realised = variances[:, 1:].mean(dim=1) * YEAR
        jumped = torch.zeros_like(noise) if jumps is None else jumps
        self.total = self.realised + jumped[:, 1:].square().mean(dim=1) * YEAR
        pace = variances * mixing
        return bars_around(moves, pace, self.generator, jumps, overnight, tick)


def merton(world: World) -> tuple[Tensor, dict[str, Tensor]]:
    """Jumps from the labels' own prior, Sharpe ratios of the diffusion from N(0, 1)."""
    if "tick" in world.stress:
        world.sigma = torch.full_like(world.sigma, 0.2)
    intensity = (8 * torch.exp(1.2 * world.normal())).clamp_max(100)
    spread = (0.05 * torch.exp(0.5 * world.normal()) - 0.01).clamp_min(1e-3)
    mean = 0.03 * world.normal()
    growth = world.sigma * world.normal()
    shape = world.windows, world.n + 1
    jumps = jump_sums(*shape, intensity / YEAR, mean, spread, world.generator)
    bars = world.bars(world.normal(*shape), (growth - intensity * mean) / YEAR, jumps)
    compensation = intensity * (torch.exp(mean + spread.square() / 2) - 1 - mean)
    truth = {
        "volatility": world.realised.sqrt(),
        "total volatility": world.total.sqrt(),
        "jump_intensity": intensity,
        "jump_mean": mean,
        "jump_std": spread,
        "drift": growth + world.sigma.square() / 2 + compensation,
    }
    return bars, truth


def diffusion(world: World) -> tuple[Tensor, dict[str, Tensor]]:
    """No jumps at all."""
    if "tick" in world.stress:
        world.sigma = torch.full_like(world.sigma, 0.2)
    growth = world.sigma * world.normal()
    bars = world.bars(world.normal(world.windows, world.n + 1), growth / YEAR)
    return bars, {
        "volatility": world.realised.sqrt(),
        "total volatility": world.total.sqrt(),
        "drift": growth + world.sigma.square() / 2,
    }


def memory(world: World) -> tuple[Tensor, dict[str, Tensor]]:
    """Fractional noise, H uniform on nine values from 0.1 to 0.9; Sharpe ratios from N(0, 1)."""
    if "tick" in world.stress:
        world.sigma = torch.full_like(world.sigma, 0.2)
    grid = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    lag = torch.arange(world.n + 1)
    rows = autocovariance(grid, world.n + 1)[:, (lag[:, None] - lag).abs()]
    index = torch.arange(world.windows) % len(grid)
    factor = torch.linalg.cholesky(rows)[index]
    noise = (factor @ world.normal(world.windows, world.n + 1)[..., None])[..., 0]
    return world.bars(noise, world.sigma * world.normal() / YEAR), {
        "hurst": grid[index],
        RAW: grid[index],
    }


def reverting(world: World) -> tuple[Tensor, dict[str, Tensor]]:
    """Stationary Ornstein-Uhlenbeck log prices around a line, kappa log-uniform on [0.3, 200]."""
    speed = LOW * (HIGH / LOW) ** world.uniform()
    phi = torch.exp(-speed)
    noise = world.normal(world.windows, world.n + 2)
    level = [noise[:, 0]]
    for t in range(1, world.n + 2):
        level.append(phi * level[-1] + (1 - phi.square()).sqrt() * noise[:, t])
    returns = torch.stack(level, dim=1).diff(dim=1) / (2 * (1 - phi)).sqrt()[:, None]
    return world.bars(returns, 0.2 * world.normal() / YEAR), {"mean_reversion": speed * YEAR}


def accuracy(windows: int, method: str) -> list[Table]:
    """Error and coverage of every field of one method, by world and length."""
    makers = {"merton": merton, "diffusion": diffusion, "memory": memory, "reverting": reverting}
    tables = []
    for title, make in makers.items():
        table = Table(
            f"{method}, {title}: error (90 % coverage)",
            ("field", "world", "prior", *(f"n = {n}" for n in LENGTHS)),
        )
        for world, stress in WORLDS.items():
            if make is reverting and ("freedom" in stress or "clustering" in stress):
                continue  # a level cannot take the variance of its moves
            found = {n: _errors(make, windows, n, stress, method) for n in LENGTHS}
            for name, (_, _, prior) in found[LENGTHS[0]].items():
                cells = (f"{found[n][name][0]:.3f} ({found[n][name][1]:.2f})" for n in LENGTHS)
                table.add(name, world, prior, *cells)
        tables.append(table)
    return tables


def _errors(
    make: Callable[[World], tuple[Tensor, dict[str, Tensor]]],
    windows: int,
    n: int,
    stress: dict[str, float],
    method: Any,
) -> dict[str, tuple[float, float, float]]:
    count = windows if n < 100 else windows // 4
    bars, truths = make(World(count, n, n, **stress))
    labels = label_windows(bars, YEAR, method=method)
    closed = method == "closed"
    found = {}
    for name, truth in truths.items():
        if name == RAW and not closed:
            continue
        if name.startswith("hurst"):
            target, mean = to_coordinate("hurst", truth), torch.as_tensor(labels.mean.hurst)
            loc, scale = (t[:, FIELD_NAMES.index("hurst")] for t in (labels.loc, labels.scale))
            if name == RAW:
                frequency = torch.full((count,), 1 / YEAR, dtype=torch.float64)
                grid = hurst_posterior(window_parts(bars).returns, frequency)
                mean = grid.moments()[0]
                loc, scale = grid.moments(to_coordinate("hurst", grid.values))
            error, prior = mean - truth, truth.std()
        else:
            if name == "mean_reversion" and closed:  # of the grid, before it competes with memory
                grid = reversion_posterior(window_parts(bars).returns)
                loc, scale = grid.moments(grid.values.log())
                target = (truth / YEAR).log()
            elif name == "total volatility":
                loc, scale, target = labels.total_volatility.log(), labels.total_spread, truth.log()
            else:
                j = FIELD_NAMES.index(name)
                loc, scale, target = (
                    labels.loc[:, j],
                    labels.scale[:, j],
                    to_coordinate(name, truth),
                )
            error, prior = loc - target, target.std()
        inside = (loc - target).abs() < 1.6448536 * scale
        rmse = float(error.square().mean().sqrt())
        found[name] = (rmse, float(inside.to(torch.float64).mean()), float(prior))
    return found


def rate(run: Callable[[], Any], windows: int, repeats: int = 3) -> float:
    """Windows per CPU-second, best of some repeats."""
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return windows / best


def speed(n: int, windows: int = 16_384) -> Table:
    """Every part of the labels, batched, and the loops over single windows."""
    table = Table(f"n = {n}: windows per CPU-second, one thread", ("what", "windows/s", "ratio"))
    bars, _ = merton(World(windows, n, 1))
    frequency = torch.full((windows,), YEAR, dtype=torch.float64)
    whole = rate(lambda: label_windows(bars, YEAR), windows)
    table.add("label_windows, all fields", f"{whole:,.0f}", "1")
    summary, model = summarise(bars[:1536]), embedded_labeler()
    found = rate(lambda: summarise(bars[:1536]), 1536, 10)
    table.add("  features", f"{found:,.0f}", "")
    found = rate(lambda: model.posterior(summary), 1536, 10)
    table.add("  network", f"{found:,.0f}", "")
    closed = rate(lambda: label_windows(bars, YEAR, method="closed"), windows)
    table.add("closed forms, all fields", f"{closed:,.0f}", f"{whole / closed:.1f}")
    chunk, f = bars[: 65_536 // n], frequency[: 65_536 // n]
    parts = window_parts(chunk)
    split = split_jumps(parts)
    cleaned = split.cleaned(parts.returns)
    pieces: dict[str, Callable[[], Any]] = {
        "parts of the bars": lambda: window_parts(chunk),
        "diffusion and jumps (EM)": lambda: split_jumps(parts),
        "jump posterior": lambda: jump_posterior(split, parts.returns, f),
        "Hurst, exact": lambda: hurst_posterior(cleaned, 1 / f, "exact"),
        "Hurst, Whittle": lambda: hurst_posterior(cleaned, 1 / f, "whittle"),
        "mean reversion": lambda: reversion_posterior(cleaned),
        "total variance alone": lambda: total_variance(chunk),
    }
    for name, run in pieces.items():
        table.add(f"  {name}", f"{rate(run, len(chunk), 10):,.0f}", "")
    closes = bars[:200, :, 3].numpy()
    for name, loop, count in loops():
        rows = closes[:count]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = rate(lambda loop=loop, rows=rows: [loop(p) for p in rows], count, 2)
        table.add(name, f"{found:,.0f}", f"{whole / found:,.0f}")
    return table


def loops() -> list[tuple[str, Callable[[np.ndarray], Any], int]]:
    """(name, function of one window's closes, windows to time it on)."""
    found: list[tuple[str, Callable[[np.ndarray], Any], int]] = [
        ("loop: structure function, 3-sd rule, realised volatility", simple, 200)
    ]
    if importlib.util.find_spec("arch"):
        from arch import arch_model  # pyright: ignore[reportMissingImports]

        def with_garch(prices: np.ndarray) -> tuple:
            returns = np.diff(np.log(prices))
            fit = arch_model(100 * returns, vol="GARCH", p=1, q=1).fit(disp="off")
            return (*simple(prices), fit.params)

        found.append(("loop: the same with arch GARCH(1,1)", with_garch, 60))
    dfa = detrended_fluctuation()
    if dfa is not None and importlib.util.find_spec("statsmodels"):
        from statsmodels.tsa.ar_model import AutoReg  # pyright: ignore[reportMissingImports]

        def peers(prices: np.ndarray) -> tuple:
            log = np.log(prices)
            return dfa(np.diff(log)), AutoReg(log, 1).fit().params

        found.append(("loop: nolds.dfa and statsmodels AutoReg", peers, 100))
    return found


def simple(prices: np.ndarray) -> tuple:
    """What a script computes of one window, in plain NumPy."""
    returns = np.diff(np.log(prices))
    lags = np.arange(2, min(20, len(prices) // 2))
    spread = [np.std(prices[lag:] - prices[:-lag]) for lag in lags]
    hurst = np.polyfit(np.log(lags), np.log(spread), 1)[0]
    jumps = returns[np.abs(returns - returns.mean()) > 3 * returns.std()]
    rate_of = len(jumps) / len(returns)
    size = (jumps.mean(), jumps.std()) if len(jumps) else (0.0, 0.0)
    return hurst, rate_of, size, returns.std() * math.sqrt(252), returns.mean() * 252


def detrended_fluctuation() -> Callable[[np.ndarray], Any] | None:
    """``nolds.dfa``; its measures are loaded alone, since the package fails to import where its
    data set is no package (Python 3.11).
    """
    spec = importlib.util.find_spec("nolds")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("measures.py")
    alone = importlib.util.spec_from_file_location("nolds_measures", file)
    if alone is None or alone.loader is None:
        return None
    module = importlib.util.module_from_spec(alone)
    alone.loader.exec_module(module)
    return module.dfa


def main() -> None:
    """Tables on the terminal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accuracy-only", action="store_true")
    parser.add_argument("--speed-only", action="store_true")
    parser.add_argument("--windows", type=int, default=8000, help="windows per table cell")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    parser.add_argument("--scale", type=int, nargs="+", metavar="SYMBOLS", help="run the stage")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.scale:
        from _scale import scale

        table = scale(arguments.scale)
        print(table.markdown()) if arguments.markdown else table.print()
        return
    tables: list[Table] = []
    for method in () if arguments.speed_only else METHODS:
        tables += accuracy(arguments.windows, method)
    tables += [] if arguments.accuracy_only else [speed(n) for n in (20, 60)]
    for table in tables:
        print(table.markdown()) if arguments.markdown else table.print()


if __name__ == "__main__":
    main()
