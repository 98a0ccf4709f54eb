"""How many environment steps does a CPU second hold? Beside gym-anytrading and gym-trading-env.

    python benchmarks/environment.py [--seconds 1] [--repeats 5] [--output FOLDER]

All trade the same paths of 288 bars (geometric Brownian motion, 1000 of them; the peers hold one
path in each of 16 environments of a SyncVectorEnv, as AsyncVectorEnv is slower), see windows of
32 bars and act at random, with actions drawn beforehand; episodes begin again by themselves. Each
repeat measures every contender for so many CPU seconds, one after the other. The table tells the
median of the repeats: ratios hold, where other programs share the machine, times do not.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import cycle

import gymnasium
import numpy as np
import polars as pl
from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]
from gymnasium.vector import SyncVectorEnv
from numpy import ndarray

from parfait.envs import Market, TradingEnv, TradingVectorEnv
from parfait.envs.market import bar_features

# pyright: reportMissingImports=false
PATHS, BARS, WINDOW = 1000, 288, 32
PEER_ENVS = 16
SIZES = (128, 1024, 8192)
TARGETS = {"gym-anytrading": 50, "gym-trading-env": 250}
OURS = "parfait, N=1024"
Step = Callable[[], object]


def paths(n: int, seed: int = 0) -> ndarray:
    """(n, BARS, 5) bars of a geometric Brownian motion, 16 steps a bar."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.01 / 4, (n, BARS, 16))
    within = 100 * np.exp(moves.reshape(n, -1).cumsum(axis=1)).reshape(n, BARS, 16)
    volume = rng.lognormal(14, 0.5, (n, BARS))
    columns = (within[..., 0], within.max(-1), within.min(-1), within[..., -1], volume)
    return np.stack(columns, axis=-1)


def stepper(env: gymnasium.vector.VectorEnv) -> Step:
    """One step with the next of 64 sets of random actions."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions: Iterator[ndarray] = cycle([env.action_space.sample() for _ in range(64)])
    return lambda: env.step(next(actions))


def alone(env: TradingEnv) -> Step:
    """One step of a single environment, which begins again when it is over."""
    env.reset(seed=0)
    actions = cycle([env.action_space.sample() for _ in range(64)])

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(next(actions))
        if terminated or truncated:
            env.reset()

    return step


def peers(bars: ndarray) -> dict[str, tuple[int, Step]]:
    """Those that are installed, each with the number of its environments."""
    found = {}
    frames = [
        pl.DataFrame(path, schema=["Open", "High", "Low", "Close", "Volume"]).to_pandas()
        for path in bars[:PEER_ENVS]
    ]
    try:
        from gym_anytrading.envs import StocksEnv
    except ImportError:
        print("gym-anytrading is not installed: pip install 'parfait[bench]'")
    else:
        made = [lambda frame=frame: StocksEnv(frame, WINDOW, (WINDOW, BARS)) for frame in frames]
        found["gym-anytrading"] = PEER_ENVS, stepper(SyncVectorEnv(made))
    try:
        with warnings.catch_warnings():  # it turns every warning into an error
            from gym_trading_env.environments import TradingEnv as OtherEnv
    except ImportError:
        print("gym-trading-env is not installed: pip install 'parfait[bench]'")
    else:
        shown = bar_features(bars[:PEER_ENVS])[0]
        made = []
        for frame, features in zip(frames, shown, strict=True):
            frame = frame.rename(columns=str.lower)
            frame = frame.assign(**{f"feature_{k}": features[:, k] for k in range(5)})
            options = {"positions": [-1, 0, 1], "windows": WINDOW, "trading_fees": 1e-4}
            options |= {"borrow_interest_rate": 1e-5, "verbose": 0}
            made.append(lambda frame=frame, options=options: OtherEnv(frame, **options))
        found["gym-trading-env"] = PEER_ENVS, stepper(SyncVectorEnv(made))
    return found


def speed(envs: int, step: Step, seconds: float) -> float:
    """Environment steps per CPU second."""
    steps, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in range(20):
            step()
        steps += 20
    return steps * envs / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of a measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="folder for environment.md and .json")
    args = parser.parse_args()
    bars = paths(PATHS)
    market = Market.of(bars, bars_per_year=252)
    contenders = peers(bars)
    contenders["parfait, single"] = 1, alone(TradingEnv(market, window=WINDOW))
    for n in SIZES:
        env = TradingVectorEnv(market, n, window=WINDOW)
        contenders[f"parfait, N={n}"] = n, stepper(env)
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.repeats):
        for name, (envs, step) in contenders.items():
            found[name].append(speed(envs, step, args.seconds))
    median = {name: statistics.median(values) for name, values in found.items()}
    rivals = [name for name in TARGETS if name in median]
    table = Table(
        f"environment steps per CPU second, window {WINDOW}, random actions",
        ("environment", "steps/CPU s", "least", "most", *(f"x {name}" for name in rivals)),
    )
    for name, value in median.items():
        ratios = [f"{value / median[rival]:.1f}" for rival in rivals]
        table.add(
            name, *(f"{x:,.0f}" for x in (value, min(found[name]), max(found[name]))), *ratios
        )
    table.print()
    for rival in rivals:
        ratio = median[OURS] / median[rival]
        met = "met" if ratio >= TARGETS[rival] else "missed"
        print(f"target {TARGETS[rival]}x {rival}: {ratio:.0f}x, {met}")
    if args.output:
        write_results(args.output, "environment", [table], found)


if __name__ == "__main__":
    run(main)
