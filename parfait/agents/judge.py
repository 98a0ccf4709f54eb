"""What accounts earned in the held-out years, beside each other, with intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from parfait.agents.episodes import HeldOut
from parfait.utils.ratios import ratio
from parfait.utils.seeding import derive_seed

METRICS = {
    "log_return": "log return a year",
    "sharpe": "Sharpe",
    "sortino": "Sortino",
    "max_drawdown": "largest drawdown",
    "turnover": "turnover a year",
    "exposure": "mean position",
}
RIVALS = {"hold": "buy and hold", "flat": "no position", "random": "random"}
LEVEL = 0.95
Policy = Callable[[ndarray], ndarray]


@dataclass(frozen=True)
class Traded:
    """Accounts of several seeds in the test.

    Args:
        returns: log returns of the account over every bar, after costs.
        turnover: value traded over the account, summed over an episode.
        exposure: weight of the position that was asked for, averaged over an episode; 0 after ruin.
    """

    returns: Float64[ndarray, "seeds symbols episodes bars"]
    turnover: Float64[ndarray, "seeds symbols episodes"]
    exposure: Float64[ndarray, "seeds symbols episodes"]

    def of(self, seeds: ndarray, episodes: ndarray) -> "Traded":
        """Some seeds and some episodes, in this order; a single seed stands for any."""
        rows = seeds % len(self.returns)
        parts = self.returns, self.turnover, self.exposure
        return Traded(*(part[rows][:, :, episodes] for part in parts))


def trade(test: HeldOut, policies: Sequence[Policy], bars_per_year: float, settings: Any) -> Traded:
    """Every policy trades every episode, each with a fresh account."""
    from parfait.envs import Market, TradingVectorEnv

    count, length = test.times.shape
    past = test.bars.shape[1] - length
    market = Market.of(test.bars, bars_per_year=bars_per_year, past=past)
    env = TradingVectorEnv(market, count, **settings)
    each = [_episodes(env, policy, count, length, past) for policy in policies]
    symbols = len(dict.fromkeys(test.symbol))
    returns, turnover, exposure = (np.stack(part) for part in zip(*each, strict=True))
    shape = (len(policies), symbols, count // symbols)
    return Traded(returns.reshape(*shape, length), turnover.reshape(shape), exposure.reshape(shape))


def _episodes(
    env: Any, policy: Policy, count: int, length: int, past: int
) -> tuple[ndarray, ndarray, ndarray]:
    returns, weights = np.zeros((2, count, length))
    turnover = np.zeros(count)
    paths = np.arange(count)
    seen, _ = env.reset(seed=0, options={"path": paths, "bar": np.full(count, past - 1)})
    running = np.ones(count, dtype=bool)
    for t in range(length):
        asked = policy(seen)
        weights[:, t] = np.where(running, asked[:, 0], 0.0)
        seen, rewards, terminated, truncated, told = env.step(asked)
        returns[:, t] = np.where(running, rewards, 0.0)  # a bankrupt account stays where it is
        ended = running & (terminated | truncated)
        if ended.any():
            turnover[ended] = told["episode"]["turnover"][ended]
        running &= ~ended
    return returns, turnover, weights.mean(1)


def rival_policies(seeds: int, weights: Sequence[float], seed: int) -> dict[str, list[Policy]]:
    """``hold`` is fully invested, ``flat`` never, ``random`` draws a weight at every bar."""

    low, high = weights

    def always(weight: float) -> Policy:
        return lambda seen: np.full((len(seen), 1), weight, dtype=np.float32)

    def draw(k: int) -> Policy:
        generator = np.random.default_rng(derive_seed(seed, "random", k))
        return lambda seen: generator.uniform(low, high, (len(seen), 1)).astype(np.float32)

    return {"hold": [always(1)], "flat": [always(0)], "random": [draw(k) for k in range(seeds)]}


def measure(
    returns: Float64[ndarray, "*each bars"],
    turnover: Float64[ndarray, "*each"],
    exposure: Float64[ndarray, "*each"],
    bars_per_year: float,
) -> dict[str, Float64[ndarray, "*each"]]:
    """Of log returns l over bars, r = exp(l) - 1: ``log_return`` mean(l), ``sharpe`` mean(r)/sd(r),
    ``sortino`` mean(r)/sqrt(mean(min(r, 0)^2)), all annualised, 0 where nothing moves;
    ``max_drawdown`` the largest 1 - account/peak; ``turnover`` a year; ``exposure`` as it is.

    Args:
        returns: of one account over consecutive bars.
        turnover: over all of these bars.
        exposure: mean weight of the position.
        bars_per_year: to annualise.
    """
    r = np.expm1(returns)
    mean, annual = r.mean(-1), np.sqrt(bars_per_year)
    down = np.sqrt(np.square(np.minimum(r, 0.0)).mean(-1))
    worth = np.cumsum(returns, -1)
    peak = np.maximum(np.maximum.accumulate(worth, -1), 0.0)
    return {
        "log_return": returns.mean(-1) * bars_per_year,
        "sharpe": ratio(mean, r.std(-1)) * annual,
        "sortino": ratio(mean, down) * annual,
        "max_drawdown": -np.expm1((worth - peak).min(-1)),
        "turnover": turnover * (bars_per_year / returns.shape[-1]),
        "exposure": exposure,
    }


def together(traded: Traded) -> tuple[ndarray, ndarray, ndarray]:
    """Log returns (seeds, bars), turnover and exposure (seeds,) of equal parts of every symbol,
    balanced at every bar, over the episodes one after the other.
    """
    simple = np.expm1(traded.returns).mean(1)
    turnover, exposure = traded.turnover.mean(1).sum(-1), traded.exposure.mean((1, 2))
    return np.log1p(simple).reshape(len(simple), -1), turnover, exposure


def compare(
    traded: Mapping[str, Traded],
    pairs: Sequence[tuple[str, str]],
    *,
    bars_per_year: float,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Every metric of every arm, averaged over seeds, and of every pair its difference.

    A draw of the bootstrap takes as many seeds and as many episodes as there are, with
    replacement, the same ones for all arms and symbols; drawdowns are of the episodes in the order
    of the draw.

    Args:
        traded: by arm.
        pairs: arms (a, b), told as a - b.
        bars_per_year: to annualise.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        Rows ``arm, minus, metric, value, low, high`` with the interval of 95 % of the draws, and
        ``seed_sd``, the deviation of the seeds around their mean; ``minus`` is empty but for
        pairs.
    """
    generator = np.random.default_rng(derive_seed(seed, "intervals"))
    seeds = max(len(t.returns) for t in traded.values())
    episodes = next(iter(traded.values())).returns.shape[2]

    def told(seed_rows: ndarray, episode_rows: ndarray) -> dict[tuple[str, str, str], ndarray]:
        each = {
            arm: measure(*together(t.of(seed_rows, episode_rows)), bars_per_year)
            for arm, t in traded.items()
        }
        alone = {(arm, "", m): values for arm, found in each.items() for m, values in found.items()}
        paired = {(a, b, m): each[a][m] - each[b][m] for a, b in pairs for m in METRICS}
        return alone | paired

    real = told(np.arange(seeds), np.arange(episodes))
    drawn = [
        {
            key: values.mean()
            for key, values in told(
                generator.integers(seeds, size=seeds), generator.integers(episodes, size=episodes)
            ).items()
        }
        for _ in range(draws)
    ]
    tail = 50 * (1 - LEVEL)
    rows = []
    for (arm, minus, metric), values in real.items():
        low, high = np.percentile([d[arm, minus, metric] for d in drawn], [tail, 100 - tail])
        sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        rows.append(
            {"arm": arm, "minus": minus, "metric": metric, "value": float(values.mean())}
            | {"low": float(low), "high": float(high), "seed_sd": sd}
        )
    return rows


def episode_rows(
    traded: Mapping[str, Traded], test: HeldOut, bars_per_year: float
) -> Iterator[dict[str, Any]]:
    """A row per arm, seed, symbol and episode, with its days and metrics."""
    symbols = list(dict.fromkeys(test.symbol))
    for arm, t in traded.items():
        found = measure(t.returns, t.turnover, t.exposure, bars_per_year)
        for seed, s, episode in np.ndindex(t.turnover.shape):
            times = test.times[s * t.turnover.shape[2] + episode]
            yield {
                "arm": arm,
                "seed": seed,
                "symbol": symbols[s],
                "episode": episode,
                "first": times[0].item(),
                "last": times[-1].item(),
                **{m: float(values[seed, s, episode]) for m, values in found.items()},
            }
