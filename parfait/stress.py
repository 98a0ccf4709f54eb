"""What the scenarios of a run do to a portfolio: profit and loss, tail risk, who causes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.basket import Basket
from parfait.checks import drawdown_quantiles, expected_shortfall, max_drawdowns, value_at_risk
from parfait.holdings import CASH, Holdings, known_symbol, read_holdings
from parfait.simulation import Simulation
from parfait.utils.errors import UserError
from parfait.utils.files import json_bytes, write_files

LEVELS = (0.95, 0.99)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
WORST = 5  # paths that are told one by one
FILE = "portfolio.json"

Given = Holdings | Mapping[str, float] | str | Path


@dataclass(frozen=True, eq=False)
class Stress:
    """The profit and loss of a portfolio that is held from the last close to the last bar.

    Args:
        holdings: positions as they were given.
        weights: of every symbol that is held, as shares of ``value``; cash left out.
        value: of the portfolio at the last close, cash included: money where units were given,
            else 1.
        growth: V_t / V_0 at every bar, (paths, steps).
        contributions: w_i (S_i,T / S_i,0 - 1) of every symbol, (paths, symbols).
        scenario: index into ``names`` of every path.
        names: of the scenarios.
    """

    holdings: Holdings
    weights: dict[str, float]
    value: float
    growth: Float64[Tensor, "paths steps"]
    contributions: Float64[Tensor, "paths symbols"]
    scenario: Int64[Tensor, " paths"]
    names: tuple[str, ...]

    @property
    def cash(self) -> float:
        """Share of the value that is in no position; negative where positions are borrowed for."""
        return 1 - math.fsum(self.weights.values())

    @cached_property
    def pnl(self) -> Float64[Tensor, " paths"]:
        """Profit and loss of every path as a share of ``value``."""
        return self.contributions.sum(1)

    @cached_property
    def money(self) -> Float64[Tensor, " paths"]:
        """The same in the money that ``value`` is in."""
        return self.pnl * self.value

    @cached_property
    def drawdowns(self) -> Float64[Tensor, " paths"]:
        """Largest fall of the value from its running maximum; above 1 where it falls below 0."""
        return max_drawdowns(self.growth, 1.0)

    @cached_property
    def risk(self) -> dict[str, Any]:
        """VaR and ES at 95 and 99 %, P(loss), quantiles of the drawdown, and the share of paths on
        which the value falls to 0 or below; shares of ``value``, losses positive."""
        tails = {
            f"{name}{round(100 * level)}": of(-self.pnl, level)
            for level in LEVELS
            for name, of in (
                ("VaR", value_at_risk),
                ("ES", expected_shortfall),
            )
        }
        return tails | {
            "loss": _share(self.pnl < 0),
            "ruin": _share(self.growth.amin(1) <= 0),
            "max_drawdown": drawdown_quantiles(self.drawdowns),
        }

    def component_shortfall(self, level: float = 0.95) -> dict[str, float]:
        """What each symbol adds to the expected shortfall: its mean loss over the worst 1 - level
        of the paths, the last of them counted in part. They sum to the expected shortfall.

        Source: Tasche (1999), the Euler allocation E[-c_i | worst paths].
        """
        tail = len(self.pnl) * (1 - level)
        ranks = torch.arange(len(self.pnl), dtype=torch.float64)
        share = torch.empty_like(ranks)
        share[self.pnl.argsort(stable=True)] = (tail - ranks).clamp(0, 1) / tail
        parts = -(share @ self.contributions)
        return dict(zip(self.weights, parts.tolist(), strict=True))

    def by_scenario(self) -> list[dict[str, Any]]:
        """Number of paths, mean and quantiles of the profit and loss, by scenario that has some."""
        rows: list[dict[str, Any]] = []
        for index, name in enumerate(self.names):
            mine = self.pnl[self.scenario == index]
            if len(mine):
                row = {"name": name, "n_paths": len(mine), "loss": _share(mine < 0)}
                rows.append(row | _spread(mine))
        return rows

    def worst(self, count: int = WORST) -> list[dict[str, Any]]:
        """The paths with the largest losses, the worst first, and who causes them."""
        return [
            {
                "path": path,
                "scenario": self.names[int(self.scenario[path])],
                "pnl": float(self.pnl[path]),
                "contributions": dict(
                    zip(self.weights, self.contributions[path].tolist(), strict=True)
                ),
            }
            for path in self.pnl.argsort(stable=True)[:count].tolist()
        ]

    def summary(self) -> dict[str, Any]:
        """Plain data, as in ``portfolio.json``: shares of ``value``, losses of risk positive."""
        parts = {level: self.component_shortfall(level) for level in LEVELS}
        mean = self.contributions.mean(0).tolist()
        return {
            "source": self.holdings.source,
            "measure": self.holdings.measure,
            "value": self.value,
            "cash": self.cash,
            "n_paths": len(self.pnl),
            "horizon": self.growth.shape[1],
            "pnl": _spread(self.pnl),
            "risk": self.risk,
            "positions": {
                symbol: {
                    "given": self.holdings.amounts[symbol],
                    "weight": weight,
                    "mean_pnl": mean[k],
                    **{f"ES{round(100 * level)}": parts[level][symbol] for level in LEVELS},
                }
                for k, (symbol, weight) in enumerate(self.weights.items())
            },
            "scenarios": self.by_scenario(),
            "worst": self.worst(),
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Writes portfolio.json; returns its path.

        Raises:
            UserError: the folder cannot be made or written.
        """
        return write_files(folder, {FILE: json_bytes(self.summary())})


def stress(result: Simulation | Basket, holdings: Given) -> Stress:
    """Holds a portfolio through every path of a run, without trading.

    V_t / V_0 = 1 + sum_i w_i (S_i,t / S_i,0 - 1), with S_i,0 the last close of the history: cash
    earns nothing, short positions (negative) pay no fee. Weights are shares of V_0 and what they
    leave of 1 is cash. Units are valued at the last close: w_i = u_i S_i,0 / V_0.

    Args:
        result: of ``Pipeline.run``.
        holdings: weights by symbol, ``Holdings``, or a file for ``read_holdings``.

    Raises:
        UserError: a symbol without a history, no position, a weight of cash, units that are worth
            nothing together, a streamed run, or a file that cannot be read.
    """
    if isinstance(result, Simulation) and result.whole is not None:
        raise UserError(STREAMED)
    assets = result.simulations if isinstance(result, Basket) else {result.symbol: result}
    if isinstance(holdings, str | Path):
        held = read_holdings(holdings, list(assets))
    elif isinstance(holdings, Mapping):
        held = _known(Holdings(holdings), list(assets))
    else:
        held = _known(holdings, list(assets))
    if held.measure == "weight" and CASH in held.amounts.keys() - assets:
        where = "the portfolio" if held.source is None else f"portfolio={held.source}"
        raise UserError(
            f"{where} gives {CASH} a weight; leave it out, what the weights leave of 1 is cash"
        )
    positions = {k: v for k, v in held.amounts.items() if k in assets}
    if not any(positions.values()):
        raise UserError("the portfolio holds no position; give at least one symbol an amount")
    weights, value = positions, 1.0
    if held.measure == "units":
        worth = {symbol: units * assets[symbol].spot for symbol, units in positions.items()}
        value = math.fsum(worth.values()) + held.amounts.get(CASH, 0.0) * (CASH not in assets)
        if not value > 0:
            raise UserError(
                f"the portfolio is worth {value:,.6g} at the last close, and only one worth more "
                f"than 0 has shares of it; give the money beside short positions as a row {CASH}"
            )
        weights = {symbol: worth[symbol] / value for symbol in positions}
    growth = [assets[symbol].column("close") / assets[symbol].spot - 1 for symbol in weights]
    parts = [weight * moved for weight, moved in zip(weights.values(), growth, strict=True)]
    names, scenario = _scenarios(list(assets.values()))
    ends = torch.stack([part[:, -1] for part in parts], dim=1)
    return Stress(held, weights, value, sum(parts[1:], parts[0]) + 1, ends, scenario, names)


STREAMED = (
    "a portfolio needs every path in memory, and this run is made in parts on disk; give fewer "
    "paths or bars and stream=false, or leave out portfolio="
)


def _known(held: Holdings, symbols: list[str]) -> Holdings:
    """The same with the symbols as the histories spell them, and finite amounts."""
    amounts: dict[str, float] = {}
    for given, amount in held.amounts.items():
        symbol = known_symbol(str(given), symbols, "the portfolio")
        if symbol in amounts:
            raise UserError(f"the portfolio holds {symbol!r} twice; give its sum once")
        if not math.isfinite(amount):
            raise UserError(f"the portfolio holds {amount} of {symbol}; give a finite number")
        amounts[symbol] = float(amount)
    return Holdings(amounts, held.measure, held.source)


def _scenarios(assets: list[Simulation]) -> tuple[tuple[str, ...], Int64[Tensor, " paths"]]:
    """Scenarios of the paths; where assets are in different ones, each combination that occurs."""
    rows = torch.tensor([s.scenario_of_path for s in assets]).T
    components = [s.resolved.components for s in assets]
    if bool((rows == rows[:, :1]).all()):
        found, index = [[k] * len(assets) for k in range(min(map(len, components)))], rows[:, 0]
    else:
        kinds, index = rows.unique(dim=0, return_inverse=True)
        found = kinds.tolist()
    names = [
        " / ".join(dict.fromkeys(c[k].name for c, k in zip(components, row, strict=True)))
        for row in found
    ]
    return tuple(names), index


def _spread(pnl: Float64[Tensor, " paths"]) -> dict[str, float]:
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    values = torch.quantile(pnl, levels).tolist()
    return {"mean": float(pnl.mean())} | {
        f"q{round(100 * level):02d}": value for level, value in zip(QUANTILES, values, strict=True)
    }


def _share(hit: Tensor) -> float:
    return float(hit.double().mean())
