"""Tables of risk: by horizon, by size of the loss, of drawdowns, and by scenario."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from parfait.checks import expected_shortfall, max_drawdowns, under_water, value_at_risk
from parfait.report.content import Array, Content, Scenario

LADDER = (1, 2, 5, 10, 20, 40, 60, 120, 250, 500, 1000, 2500)  # bars
MOST_HORIZONS = 5
LOSSES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)
MOST_LOSSES = 8
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
LEVELS = (0.95, 0.99)


@dataclass(frozen=True)
class RiskTables:
    """What the page says about losses; shares of the price at the start, losses positive.

    Args:
        horizons: rows ``{bars, date, VaR95, ES95, VaR99, ES99, loss, drawdown}``; ``loss`` is the
            share of paths that close below the start, ``drawdown`` the median of the largest fall
            up to there.
        losses: sizes x of a loss.
        beyond: (label, share of paths with a loss above each x).
        quantiles: levels.
        water: (label, values at these levels, whether they are shares rather than bars).
        scenarios: rows ``{label, index, paths, mean, q05, q50, q95, loss, drawdown}``.
        tail: paths beyond the VaR at 99 %, on which its ES rests.
    """

    horizons: list[dict[str, Any]]
    losses: list[float]
    beyond: list[tuple[str, list[float]]]
    quantiles: tuple[float, ...]
    water: list[tuple[str, list[float], bool]]
    scenarios: list[dict[str, Any]]
    tail: int


def risk_tables(content: Content) -> RiskTables:
    """The tables of a simulation.

    What the last bar and the largest fall tell is of all paths of the run, the rest of those that
    ``content`` holds.
    """
    close = torch.from_numpy(content.bars[..., 3].copy())
    every = content.every_return, content.every_drawdown
    steps = close.shape[1]
    horizons = [_horizon(content, close[:, :bars]) for bars in horizons_of(steps)[:-1]]
    horizons.append(_row(content, steps, torch.from_numpy(-every[0]), every[1]))
    lowest = 1 - close.numpy().min(1) / content.spot
    worst = max(float(every[1].max()), float((-every[0]).max()), 0.0)
    sizes = [x for x in LOSSES if x <= worst][-MOST_LOSSES:] or [0.0]
    share, longest = under_water(close, content.spot)
    water = (
        ("maximum drawdown", every[1], True),
        ("time under water", share.numpy(), True),
        ("longest time under water [bars]", longest.numpy(), False),
    )
    return RiskTables(
        horizons=horizons,
        losses=sizes,
        beyond=[
            ("at the last close", _beyond(-every[0], sizes)),
            ("at any close", _beyond(lowest, sizes)),
            ("as a drawdown", _beyond(every[1], sizes)),
        ],
        quantiles=QUANTILES,
        water=[
            (name, np.quantile(values, QUANTILES).tolist(), is_share)
            for name, values, is_share in water
        ],
        scenarios=[_scenario(content, c) for c in content.scenarios],
        tail=max(int(len(every[0]) * (1 - LEVELS[-1]) + 1e-9), 1),
    )


def horizons_of(steps: int) -> list[int]:
    """Bars at which risk is told: the last one and few round numbers before it."""
    before = [bars for bars in LADDER if bars < steps]
    return [*before[-(MOST_HORIZONS - 1) :], steps]


def _horizon(content: Content, close: torch.Tensor) -> dict[str, Any]:
    losses = 1 - close[:, -1] / content.spot
    return _row(content, close.shape[1], losses, max_drawdowns(close, content.spot).numpy())


def _row(content: Content, bars: int, losses: torch.Tensor, drawdowns: Array) -> dict[str, Any]:
    found: dict[str, Any] = {"bars": bars, "date": content.dates[len(content.history) + bars - 1]}
    for level in LEVELS:
        found[f"VaR{round(100 * level)}"] = value_at_risk(losses, level)
        found[f"ES{round(100 * level)}"] = expected_shortfall(losses, level)
    loss = float((losses > 0).double().mean())
    return found | {"loss": loss, "drawdown": float(np.median(drawdowns))}


def _beyond(losses: Array, sizes: list[float]) -> list[float]:
    return [float((losses > x).mean()) for x in sizes]


def _scenario(content: Content, c: Scenario) -> dict[str, Any]:
    returns = content.returns[c.rows]
    low, middle, high = np.quantile(returns, (0.05, 0.5, 0.95)).tolist()
    return {
        "label": c.label,
        "index": c.index,
        "paths": len(c.rows),
        "mean": float(returns.mean()),
        "q05": low,
        "q50": middle,
        "q95": high,
        "loss": float((returns < 0).mean()),
        "drawdown": float(np.median(content.drawdowns[c.rows])),
    }
