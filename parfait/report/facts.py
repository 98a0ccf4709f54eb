"""Stylised facts of the generated bars beside those of the history: one table, one figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from parfait.metrics.functional import pooling
from parfait.metrics.functional.suite import LEAST_STEPS, Sampling, measure_facts
from parfait.metrics.functional.windows import WindowCode, encode_whole
from parfait.metrics.measured import Measured
from parfait.metrics.resampling import LEAST_BLOCKS, known_sd

Array = NDArray[np.float64]

LONGEST = 40  # bars of a window: a year of history still holds six
BLOCK = 20  # bars of history that a bootstrap keeps together
MOST_LAGS = 10
MOST_PATHS = 2000  # evenly out of all: errors are then those of the history
FEWEST_FOR_QUANTILES = 60  # returns; the line of a scenario with fewer would be its extremes
SHOWN = {
    "kurtosis": ("excess kurtosis of returns", "0 for a normal distribution"),
    "acf_r_1": ("autocorrelation of r, lag 1", "0 where returns cannot be foretold"),
    "acf_abs_1_within": ("autocorrelation of |r|, lag 1", "above 0 where volatility clusters"),
    "leverage_1_5": ("leverage, lags 1 to 5", "below 0 where falls are followed by turbulence"),
    "range_ratio": ("range against close-to-close volatility", "1 without gaps or drift"),
    "volume_range": ("correlation of log volume and range", "wide bars trade more"),
    "volume_abs": ("correlation of log volume and |r|", "large moves trade more"),
    "acf_volume": ("autocorrelation of log volume, lag 1", "busy days follow busy days"),
}


@dataclass(frozen=True, eq=False)
class Curve:
    """A statistic by lag, from lag 1, and twice its standard error (NaN where unknown)."""

    value: Array
    band: Array


@dataclass(frozen=True, eq=False)
class Side:
    """The facts of one set of windows; its returns in units of their own deviation."""

    facts: dict[str, Measured]
    curves: dict[str, Curve]
    scaled: Array


@dataclass(frozen=True, eq=False)
class Facts:
    """Both sides of the comparison.

    Args:
        window: bars of the windows that both sides are cut into; equal lengths share their bias.
        history, generated: the two sides.
        by_scenario: returns of each scenario that has enough of them, with its colour.
    """

    window: int
    history: Side
    generated: Side
    by_scenario: list[tuple[str, Array]]

    @classmethod
    def of(
        cls, history: Array, bars: Array, groups: Sequence[tuple[str, NDArray[np.int64]]]
    ) -> "Facts | str":
        """From the arrays of a simulation, or the sentence that says why there are none.

        Args:
            history: (bars, 5) before the first generated one.
            bars: (paths, steps, 5).
            groups: colour and paths of each scenario.
        """
        past, horizon = len(history) - 1, bars.shape[1]
        window = min(horizon, past, LONGEST)
        if window < LEAST_STEPS:
            short = "horizon" if horizon < LEAST_STEPS else "history"
            count = horizon if short == "horizon" else past + 1
            return f"Facts of returns need windows of {LEAST_STEPS} bars; the {short} has {count}."
        picked = np.unique(np.linspace(0, len(bars) - 1, min(len(bars), MOST_PATHS)).astype(int))
        groups = [(c, np.flatnonzero(np.isin(picked, rows))) for c, rows in groups]
        bars = bars[picked]
        before = torch.from_numpy(history).expand(len(bars), -1, -1)
        whole = encode_whole(before, torch.from_numpy(bars))
        if not all(bool(torch.isfinite(part).all()) for part in whole[:4]):
            return "Some prices are not finite, so there are no facts of returns."
        real = WindowCode(*(_cut(x[:1, :past], window) for x in whole))
        made = WindowCode(*(_cut(x[:, past:], window) for x in whole))
        block = max(BLOCK // window, 1)
        enough = len(real.r) >= LEAST_BLOCKS * block
        dated = Sampling(torch.arange(len(real.r)), block) if enough else None
        independent = Sampling() if len(made.r) >= LEAST_BLOCKS else None
        r = whole.r[:, past:]
        owners = [(colour, _scaled(r[torch.from_numpy(rows)])) for colour, rows in groups]
        kept = [(colour, x) for colour, x in owners if len(x) >= FEWEST_FOR_QUANTILES]
        return cls(window, _side(real, dated), _side(made, independent), kept)

    def rows(self) -> list[dict[str, str]]:
        """The table: both values with their standard errors, and their distance in these."""
        found = []
        for name, (title, meaning) in SHOWN.items():
            real, made = self.history.facts[name], self.generated.facts[name]
            found.append(
                {
                    "name": title,
                    "meaning": meaning,
                    "history": _told(real),
                    "generated": _told(made),
                    "distance": _distance(real, made),
                }
            )
        return found


def _cut(x: Float64[Tensor, "paths steps"], window: int) -> Float64[Tensor, "windows window"]:
    """Windows that do not overlap, the last of every path at its end."""
    start = x.shape[1] % window
    return x[:, start:].reshape(-1, window)


def _scaled(r: Float64[Tensor, "paths steps"]) -> Array:
    """Returns in units of their own deviation, ascending; empty where they do not move."""
    flat = r.flatten()
    deviation = float(flat.std()) if len(flat) > 1 else 0.0
    return (flat / deviation).sort().values.numpy() if deviation > 0 else np.empty(0)


def _side(code: WindowCode, sampling: Sampling | None) -> Side:
    r, window = code.r, code.r.shape[1]
    weights = pooling.once(r)
    if sampling is not None:
        weights = torch.cat([weights, sampling.weights(len(r))])
    lags = range(1, min(MOST_LAGS + 1, window))
    curves = {
        "acf_r": _curve(pooling.autocorrelation(r, lags, weights, within=True)),
        "acf_abs": _curve(pooling.autocorrelation(r.abs(), lags, weights, within=True)),
        "leverage": _curve(pooling.leverage(r, lags, weights)),
    }
    facts = measure_facts(code, sampling, length="short")
    first = curves["acf_r"]
    facts["acf_r_1"] = Measured.of(float(first.value[0]))
    if np.isfinite(first.band[0]):
        facts["acf_r_1"] = Measured.of(float(first.value[0]), float(first.band[0]) / 2)
    return Side(facts, curves, _scaled(r))


def _curve(draws: Float64[Tensor, "draws lags"]) -> Curve:
    value, rest = draws[0], draws[1:]
    band = [2 * float(known_sd(x)) if len(x) else float("nan") for x in rest.unbind(1)]
    return Curve(value.numpy(), np.asarray(band))


def _told(found: Measured) -> str:
    if found.value is None:
        return f"– ({found.reason})"
    text = f"{found.value:.2f}" + ("" if found.error is None else f" ± {found.error:.2f}")
    return text.replace("-", "−")


def _distance(real: Measured, made: Measured) -> str:
    if real.value is None or made.value is None or real.error is None or made.error is None:
        return "–"
    error = float(np.hypot(real.error, made.error))
    return f"{(made.value - real.value) / error:+.1f}".replace("-", "−") if error > 0 else "–"
