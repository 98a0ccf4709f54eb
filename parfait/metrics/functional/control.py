"""Does what was asked for arrive? Requested regimes against what an estimator recovers.

An estimator misses even on perfect paths: every error stands beside that of the same estimator on
the SDE path of the same seed (the ceiling), and their paired difference is the loss of control.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.labels import Labels
from parfait.metrics.measured import Measured
from parfait.regime import FIELD_NAMES, Regime, RegimeDistribution
from parfait.utils.errors import UserError

FEWEST = 8  # paths below which no rank or slope is given
_Z90 = 1.6448536269514722


@dataclass(frozen=True)
class Recovery:
    """How a field came back. Slope below 1 is attenuation: the answer is weaker than the request.

    Args:
        bias: mean of recovered - requested.
        rmse: root mean square of it.
        spearman: rank correlation.
        slope: of recovered on requested, least squares.
        coverage: share of requests within the 90 % interval of the estimator.
    """

    bias: Measured
    rmse: Measured
    spearman: Measured
    slope: Measured
    coverage: Measured


@dataclass(frozen=True)
class Trip:
    """A field's recovery from bars, its ceiling from paths, and the paired loss of control.

    Args:
        bars: what the bars tell.
        path: what the SDE paths tell; ``None`` without them.
        loss: RMSE of the bars less that of the paths.
    """

    bars: Recovery
    path: Recovery | None
    loss: Measured


def recovery(
    requested: Float64[Tensor, " paths"],
    recovered: Float64[Tensor, " paths"],
    inside: Float64[Tensor, " paths"] | None = None,
) -> Recovery:
    """Bias, RMSE, rank correlation, slope and coverage, each with its standard error.

    What a sample cannot tell is no number but a reason: rank and slope need requests that differ.

    Args:
        requested, recovered: one field, in one unit.
        inside: 1 where the request lies in the estimator's interval.

    Raises:
        UserError: different lengths, or values that are not finite.
    """
    error = _errors(requested, recovered)
    n = len(error)
    if n < 2:
        few = Measured(None, None, f"{n} path(s)")
        return Recovery(few, few, few, few, few)
    root = math.sqrt(n)
    rmse = float(error.square().mean().sqrt())
    rmse_error = float(error.square().std()) / (2 * rmse * root) if rmse > 0 else 0.0
    rank, slope = _association(requested, recovered)
    share = Measured(None, None, "the estimator gives no interval")
    if inside is not None:
        p = float(inside.mean())
        share = Measured(p, math.sqrt(max(p * (1 - p), 1 / n) / n))
    return Recovery(
        Measured(float(error.mean()), float(error.std()) / root),
        Measured(rmse, rmse_error),
        rank,
        slope,
        share,
    )


def control_loss(
    requested: Float64[Tensor, " paths"],
    bars: Float64[Tensor, " paths"],
    path: Float64[Tensor, " paths"],
) -> Measured:
    """RMSE of the bars less RMSE of the paths; errors of one seed are paired, so what the
    estimator cannot see cancels from the standard error (delta method).

    Raises:
        UserError: as ``recovery``.
    """
    b, p = _errors(requested, bars).square(), _errors(requested, path).square()
    if len(b) < FEWEST:
        return Measured(None, None, f"{len(b)} path(s)")
    roots = [max(float(e.mean().sqrt()), 1e-300) for e in (b, p)]
    if min(roots) <= 1e-300:
        return Measured(roots[0] - roots[1], None, "one side has no error at all")
    each = b / (2 * roots[0]) - p / (2 * roots[1])
    return Measured(roots[0] - roots[1], float(each.std()) / math.sqrt(len(b)))


def round_trip(
    requested: Regime, bars: Labels, path: Labels | None = None, *, natural: bool = False
) -> dict[str, Trip]:
    """Every field of the regimes asked for against what their bars (and paths) tell.

    Args:
        requested: (paths,), resolved.
        bars: labels of the generated bars, a window a path.
        path: labels of the SDE paths of the same seeds.
        natural: in the field's own unit instead of its coordinate; posterior medians.

    Raises:
        UserError: numbers of paths that differ, or an open initial volatility.
    """
    n = len(bars)
    if len(requested) != n or (path is not None and len(path) != n):
        raise UserError(f"round trip: {len(requested)} regimes, {n} windows; give one for each")
    if requested.initial_volatility is None:
        raise UserError("round trip: the regimes leave initial_volatility open; resolve them first")
    asked = requested.to_unconstrained()
    trips = {}
    for j, name in enumerate(FIELD_NAMES):
        found = [_field(asked[:, j], labels, j, natural) for labels in (bars, path) if labels]
        wanted = Regime.from_unconstrained(asked) if natural else None
        truth = torch.as_tensor(getattr(wanted, name)) if natural else asked[:, j]
        first = recovery(truth, *found[0])
        if path is None:
            trips[name] = Trip(first, None, Measured(None, None, "no SDE paths were given"))
        else:
            loss = control_loss(truth, found[0][0], found[1][0])
            trips[name] = Trip(first, recovery(truth, *found[1]), loss)
    return trips


def growth_error(
    last: Float64[Tensor, " paths"], spot: float, drift: Float64[Tensor, " paths"], years: float
) -> Measured:
    """E[S_T e^{-mu T}] / S_0 - 1 over paths: 0 when drift is the total expected return.

    Raises:
        UserError: prices or spot not above 0.
    """
    if not spot > 0 or not bool((last > 0).all()):
        raise UserError("growth error: prices must be above 0")
    ratio = last / spot * torch.exp(-drift * years) - 1
    if len(ratio) < 2:
        return Measured(None, None, f"{len(ratio)} path(s)")
    return Measured(float(ratio.mean()), float(ratio.std()) / math.sqrt(len(ratio)))


def volatility_control(
    requested: Float64[Tensor, " paths"],
    closes: Float64[Tensor, "paths points"],
    bars_per_year: float,
) -> dict[str, Measured]:
    """Realised against requested volatility of all bars.

    Args:
        requested: total volatility that each regime implies over the horizon [1/sqrt(year)].
        closes: with the price before the first bar.
        bars_per_year: of the bars.

    Returns:
        ``ratio``, root mean realised variance over root mean requested variance, less 1 (the
        bias), and ``rank``, the rank correlation by path.

    Raises:
        UserError: shapes that differ, or prices not above 0.
    """
    if not bool((closes > 0).all()):
        raise UserError("volatility control: prices must be above 0")
    variance = closes.log().diff(dim=1).square().mean(1) * bars_per_year
    _errors(requested, variance)
    n, asked = len(variance), requested.square()
    if n < FEWEST:
        few = Measured(None, None, f"{n} path(s)")
        return {"ratio": few, "rank": few}
    ratio = float((variance.mean() / asked.mean()).sqrt())
    # Delta method of the root of a ratio of two means over the same paths.
    each = variance / variance.mean() - asked / asked.mean()
    error = ratio * float(each.std()) / (2 * math.sqrt(n))
    rank, _ = _association(requested, variance.sqrt())
    return {"ratio": Measured(ratio - 1, error), "rank": rank}


@dataclass(frozen=True, eq=False)
class Mix:
    """Scenario weights asked for, dealt, and recognised.

    Args:
        requested: w_k.
        dealt: share of the paths in each scenario.
        excess: largest |n_k - N w_k|; below 1 by systematic resampling.
        recognised: mean probability of each scenario given what the paths look like.
        confusion: (scenarios, scenarios), row k: mean probabilities of the paths dealt to k.
    """

    requested: Float64[Tensor, " scenarios"]
    dealt: Float64[Tensor, " scenarios"]
    excess: float
    recognised: Float64[Tensor, " scenarios"]
    confusion: Float64[Tensor, "scenarios scenarios"]


def scenario_mix(
    scenarios: RegimeDistribution,
    index: Int64[Tensor, " paths"],
    labels: Labels,
    fields: tuple[str, ...] = ("volatility", "drift"),
) -> Mix:
    """Deals and recognises scenarios: P(k | path) from w_k N(loc_j; m_kj, s_kj^2 + scale_j^2) over
    ``fields``.

    The labels' own prior is not divided out: it is wide beside the scenarios where a field is
    identified. Labels of SDE paths give the ceiling.

    Args:
        scenarios: resolved.
        index: scenario of every path.
        labels: of the paths.
        fields: what is compared.

    Raises:
        UserError: a field that does not exist, or numbers of paths that differ.
    """
    for name in fields:
        if name not in FIELD_NAMES:
            raise UserError(
                f"scenario mix: no field {name!r}; use some of {', '.join(FIELD_NAMES)}"
            )
    if len(index) != len(labels):
        raise UserError(f"scenario mix: {len(index)} paths and {len(labels)} labels")
    columns = [FIELD_NAMES.index(name) for name in fields]
    mean = torch.stack([c.mean[columns] for c in scenarios.components])
    sd = torch.stack([c.sd[columns] for c in scenarios.components])
    weights, n = scenarios.weights, len(index)
    wide = sd.square() + labels.scale[:, None, columns].square()
    gap = labels.loc[:, None, columns] - mean
    log = (-gap.square() / (2 * wide) - wide.log() / 2).sum(-1) + weights.log()
    probability = log.softmax(1)
    counts = torch.bincount(index, minlength=len(weights)).to(torch.float64)
    rows = torch.zeros(len(weights), len(weights), dtype=torch.float64)
    rows.index_add_(0, index, probability)
    return Mix(
        weights,
        counts / n,
        float((counts - n * weights).abs().max()),
        probability.mean(0),
        rows / counts.clamp_min(1)[:, None],
    )


def wasserstein(x: Float64[Tensor, " n"], y: Float64[Tensor, " m"]) -> float:
    """W1 distance of two samples, the area between their quantile functions."""
    if not len(x) or not len(y):
        raise UserError("the distance of samples needs at least one value on both sides")
    points = torch.cat([x, y]).sort().values
    shares = [torch.searchsorted(v.sort().values, points[:-1], right=True) / len(v) for v in (x, y)]
    return float(((shares[0] - shares[1]).abs() * points.diff()).sum())


def ranks(x: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Ranks from 0, ties at their mean."""
    _, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).to(torch.float64)
    return (ends - (counts.to(torch.float64) + 1) / 2)[inverse]


def _field(asked: Tensor, labels: Labels, j: int, natural: bool) -> tuple[Tensor, Tensor]:
    """Recovered values, and whether the 90 % interval holds the request."""
    inside = ((asked - labels.loc[:, j]).abs() <= _Z90 * labels.scale[:, j]).to(torch.float64)
    if not natural:
        return labels.loc[:, j], inside
    return torch.as_tensor(getattr(labels.quantile(0.5), FIELD_NAMES[j])), inside


def _association(x: Tensor, y: Tensor) -> tuple[Measured, Measured]:
    """Rank correlation and slope of y on x."""
    n = len(x)
    if n < FEWEST or not float(x.std()) > 0:
        none = Measured(None, None, f"{n} paths" if n < FEWEST else "all requests are alike")
        return none, none
    a = x - x.mean()
    slope = float((a @ (y - y.mean())) / (a @ a))
    left = y - y.mean() - slope * a
    slope_error = math.sqrt(float((a.square() * left.square()).sum())) / float(a @ a)
    u, v = ranks(x), ranks(y)
    u, v = u - u.mean(), v - v.mean()
    scale = float((u.square().sum() * v.square().sum()).sqrt())
    if not scale > 0:
        return Measured(None, None, "all answers are alike"), Measured(slope, slope_error)
    rho = min(max(float(u @ v) / scale, -1.0), 1.0)
    # Fisher's z with the variance of Bonett and Wright (2000).
    spread = (1 - rho**2) * math.sqrt((1 + rho**2 / 2) / max(n - 3, 1))
    return Measured(rho, spread), Measured(slope, slope_error)


def _errors(requested: Tensor, recovered: Tensor) -> Tensor:
    if requested.shape != recovered.shape or requested.ndim != 1:
        raise UserError(
            f"requested has shape {tuple(requested.shape)}, recovered {tuple(recovered.shape)}; "
            "give one value a path"
        )
    if not bool((torch.isfinite(requested) & torch.isfinite(recovered)).all()):
        raise UserError("requested and recovered values must be finite")
    return recovered.to(torch.float64) - requested.to(torch.float64)
