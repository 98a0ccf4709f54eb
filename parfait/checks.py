"""What a simulation says about itself: its tail risk, and whether the bars obey the regimes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.labels import total_variance
from parfait.regime import Regime, mean_volatility

MIN_BARS_FOR_VOLATILITY = (
    10  # below this the range-based estimate says more about its prior than about the bars
)
DRAWDOWN_LEVELS = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Alignment:
    """One regime field of one scenario: the value asked for, and the value found in the bars.

    Args:
        field: name of the ``Regime`` field.
        scenario: index of the scenario, ``None`` for all paths together.
        requested: what the sampled regimes imply over the horizon [unit of the field].
        recovered: the estimate from the bars; ``None`` where so few bars or paths identify nothing.
        standard_error: sampling error of ``recovered``; ``None`` with it.
    """

    field: str
    scenario: int | None
    requested: float
    recovered: float | None
    standard_error: float | None


def terminal_losses(
    close: Float64[Tensor, "paths steps"], spot: float
) -> Float64[Tensor, " paths"]:
    """Loss of buying at ``spot`` and holding to the last bar, 1 - S_T / S_0; a gain is negative."""
    return 1 - close[:, -1] / spot


def value_at_risk(losses: Float64[Tensor, " paths"], level: float = 0.95) -> float:
    """The smallest loss l with share(losses <= l) >= level (Artzner et al. 1999, lower VaR)."""
    rank = math.ceil(losses.numel() * level - 1e-9)
    return float(losses.sort().values[max(rank, 1) - 1])


def expected_shortfall(losses: Float64[Tensor, " paths"], level: float = 0.95) -> float:
    """Mean of the worst 1 - level of the losses, the last of them counted in part.

    Source: Acerbi and Tasche (2002), proposition 4.1.
    """
    tail = losses.numel() * (1 - level)
    descending = losses.sort(descending=True).values
    whole = min(math.floor(tail + 1e-9), losses.numel())
    part = max(tail - whole, 0.0)
    total = float(descending[:whole].sum())
    if part > 1e-9:
        total += part * float(descending[whole])
    return total / tail


def max_drawdowns(close: Float64[Tensor, "paths steps"], spot: float) -> Float64[Tensor, " paths"]:
    """Largest fall of the closes below their running maximum, which starts at ``spot``; >= 0."""
    levels = torch.cat([torch.full_like(close[:, :1], spot), close], dim=1)
    return (1 - levels / levels.cummax(dim=1).values).amax(dim=1)


def under_water(
    close: Float64[Tensor, "paths steps"], spot: float
) -> tuple[Float64[Tensor, " paths"], Float64[Tensor, " paths"]]:
    """Share of the bars that close below the running maximum, which starts at ``spot``, and the
    longest run of such bars [bars].
    """
    levels = torch.cat([torch.full_like(close[:, :1], spot), close], dim=1)
    below = (levels < levels.cummax(dim=1).values)[:, 1:]
    count = torch.arange(1, close.shape[1] + 1).expand_as(close)
    last_peak = torch.where(below, 0, count).cummax(dim=1).values
    return below.double().mean(1), (count - last_peak).amax(1).double()


def risk_measures(close: Float64[Tensor, "paths steps"], spot: float) -> dict[str, Any]:
    """``risk_of`` the closes of all paths."""
    return risk_of(terminal_losses(close, spot), max_drawdowns(close, spot))


def risk_of(
    losses: Float64[Tensor, " paths"], drawdowns: Float64[Tensor, " paths"]
) -> dict[str, Any]:
    """VaR and ES at 95 % of holding to the horizon, and quantiles of the maximum drawdown.

    All are shares of the price, losses positive.
    """
    return {
        "VaR95": value_at_risk(losses),
        "ES95": expected_shortfall(losses),
        "max_drawdown": drawdown_quantiles(drawdowns),
    }


def drawdown_quantiles(drawdowns: Float64[Tensor, " paths"]) -> dict[str, float]:
    """Quantiles of the maximum drawdown, ``q50`` and so on."""
    # As torch.quantile, which takes 16 million numbers at most.
    ordered = drawdowns.sort().values
    ranks = torch.tensor(DRAWDOWN_LEVELS, dtype=torch.float64) * (ordered.numel() - 1)
    low, high = ranks.floor().long(), ranks.ceil().long()
    quantiles = ordered[low].lerp(ordered[high], ranks - low)
    return {
        f"q{round(100 * level)}": value
        for level, value in zip(DRAWDOWN_LEVELS, quantiles.tolist(), strict=True)
    }


def horizon_variance(regime: Regime, years: float, *, jumps: bool) -> Float64[Tensor, " paths"]:
    """Mean annualised variance of the log return that each regime implies over the horizon.

    The diffusive part is the mean of the square-root process (``mean_volatility``). Jumps add
    lambda (m^2 + s^2), because the volatility that is measured on bars holds them too. Where the
    regime changes from bar to bar, both are means over its bars.

    Args:
        regime: shape (paths,), or (steps, paths) for the bars of the horizon.
        years: the horizon T [years].
        jumps: the process jumps.
    """
    dt = years / regime.shape[0] if len(regime.shape) == 2 else None
    variance = mean_volatility(regime, 0.0, years, dt).square()
    if jumps:
        size = (
            torch.as_tensor(regime.jump_mean).square() + torch.as_tensor(regime.jump_std).square()
        )
        added = torch.as_tensor(regime.jump_intensity) * size
        variance = variance + (added.mean(0) if added.ndim == 2 else added)
    return variance


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the checks and the risk of a run need of every path, each of shape (paths,).

    Args:
        gross: S_T / S_0.
        growth: what the path's regime expects of it, exp(mu T).
        variance: annualised variance that the regime implies, from ``horizon_variance``.
        measured: annualised variance found in the bars; ``None`` where they are too few.
        drawdown: largest fall, see ``max_drawdowns``.
    """

    gross: Float64[Tensor, " paths"]
    growth: Float64[Tensor, " paths"]
    variance: Float64[Tensor, " paths"]
    measured: Float64[Tensor, " paths"] | None
    drawdown: Float64[Tensor, " paths"]

    @classmethod
    def of(
        cls,
        bars: Float64[Tensor, "paths steps 5"],
        spot: float,
        regime: Regime,
        variance: Float64[Tensor, " paths"],
        bars_per_year: float,
    ) -> "Outcomes":
        """From generated bars.

        Args:
            bars: of all paths.
            spot: the close before the first of them.
            regime: sampled regimes, shape (paths,), or (steps, paths) where they change.
            variance: what they imply.
            bars_per_year: bars per year.
        """
        years = bars.shape[1] / bars_per_year
        drift = torch.as_tensor(regime.drift)
        growth = ((drift.mean(0) if drift.ndim == 2 else drift) * years).exp()
        measured = None
        if bars.shape[1] >= MIN_BARS_FOR_VOLATILITY:
            # The label layer uses the first bar of a window for its close alone.
            first = torch.full_like(bars[:, :1], spot)
            measured = total_variance(torch.cat([first, bars], dim=1)) * bars_per_year
        close = bars[..., 3]
        return cls(close[:, -1] / spot, growth, variance, measured, max_drawdowns(close, spot))

    @property
    def risk(self) -> dict[str, Any]:
        """As ``risk_measures``."""
        return risk_of(1 - self.gross, self.drawdown)


def alignment(
    outcomes: Outcomes, scenario: Int64[Tensor, " paths"], years: float
) -> list[Alignment]:
    """Drift and volatility asked for and found: every scenario, then all paths (``None``).

    Drift is ln(mean S_T/S_0)/T, a law about the mean of many paths: one path of horizon T
    identifies it no better than sigma/sqrt(T). Volatility is the root mean square over paths of
    their total volatility, which the label layer measures.

    Args:
        outcomes: of the paths.
        scenario: scenario index of every path.
        years: the horizon T.
    """
    groups: list[int | None] = [*scenario.unique().tolist(), None]
    found = []
    for group in groups:
        rows = slice(None) if group is None else scenario == group
        mean, error = _mean_and_error(outcomes.gross[rows])
        asked = math.log(float(outcomes.growth[rows].mean())) / years
        if error is None:
            found.append(Alignment("drift", group, asked, None, None))
        else:
            found.append(
                Alignment("drift", group, asked, math.log(mean) / years, error / (mean * years))
            )
        asked = math.sqrt(float(outcomes.variance[rows].mean()))
        if outcomes.measured is None:
            found.append(Alignment("volatility", group, asked, None, None))
        else:
            mean, error = _mean_and_error(outcomes.measured[rows])
            level = math.sqrt(mean)
            spread = None if error is None else error / (2 * level)
            found.append(Alignment("volatility", group, asked, level, spread))
    return found


def _mean_and_error(values: Float64[Tensor, " n"]) -> tuple[float, float | None]:
    """Mean and its standard error; ``None`` for a single value."""
    n = values.numel()
    return float(values.mean()), float(values.std() / math.sqrt(n)) if n > 1 else None
