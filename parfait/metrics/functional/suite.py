"""All stylised facts of a set of bars with their sampling errors, or the reason why there is none.

Windows of fewer than 252 bars get the facts of ``facts``; longer paths those of ``cont``, ``ohlc``
and ``memory``.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from parfait.metrics.functional.cont import CONT_STEPS, Reference, cont_facts
from parfait.metrics.functional.facts import short_facts
from parfait.metrics.functional.memory import memory_facts
from parfait.metrics.functional.ohlc import ohlc_facts
from parfait.metrics.functional.pooling import Draws, Weights, once
from parfait.metrics.functional.windows import WindowCode, encode_path, encode_window
from parfait.metrics.measured import Measured
from parfait.metrics.resampling import block_weights, known_sd
from parfait.utils.errors import UserError

Length = Literal["short", "long"]
LEAST_STEPS = 3
DRAWS = 300
SHARES = ("zero_wick", "zero_upper", "zero_lower", "zero_gap", "zero_volume")
SHORT_FACTS = (
    *("std", "kurtosis", "acf_abs_1", "acf_abs_1_10", "acf_abs_1_within", "leverage_1_5"),
    *("range_ratio", "volume_abs", "volume_range", "acf_volume"),
    *("zero_wick", "zero_gap", "zero_volume"),
)
CONT_FACTS = (
    *("acf_r_rms", "acf_r_inside", "kurtosis", "hill", "hill_left", "hill_right", "skewness"),
    *("gain_loss", "kurtosis_5", "kurtosis_10", "kurtosis_21", "fano_21", "acf_abs_1_10"),
    *("acf_abs_20_60", "acf_sq_1_10", "kurtosis_conditional", "acf_abs_decay", "leverage_1_10"),
    *("volume_abs", "time_asymmetry"),
)
OHLC_FACTS = (
    *("std", "range_ratio", "gap_ratio", "close_mean", "close_sd", "roll", "zero_upper"),
    *("zero_lower", "zero_gap", "zero_volume", "acf_volume", "volume_range"),
)
MEMORY_FACTS = ("hurst", "dfa_abs", "hurst_range", "vr_2", "vr_5", "vr_10", "vr_21")
LONG_FACTS = (*CONT_FACTS, *OHLC_FACTS, *MEMORY_FACTS)
_WHY = {
    "acf_abs_decay": "|r| has no memory that could decay",
    "gain_loss": "hardly any path moves six deviations",
    "fano_21": "no move beyond the real 99 % quantile",
}


@dataclass(frozen=True)
class Sampling:
    """How the sampling error of facts is found.

    Args:
        dates: of the windows, for a block bootstrap over time; ``None`` takes windows as
            independent, as generated paths are.
        block: length in the unit of ``dates``, about a year.
        draws: of the bootstrap.
        seed: of the draws.
    """

    dates: Int64[Tensor, " windows"] | None = None
    block: int = 1
    draws: int = DRAWS
    seed: int = 0

    def weights(self, windows: int) -> Weights:
        """Of every draw (``resampling.block_weights``)."""
        dates = torch.arange(windows) if self.dates is None else self.dates
        if len(dates) != windows:
            raise UserError(f"there are {len(dates)} dates for {windows} windows")
        generator = torch.Generator().manual_seed(self.seed)
        return block_weights(dates, self.block, self.draws, generator)


def fact_code(
    history: Float[Tensor, "windows bars 5"], bars: Float[Tensor, "windows steps 5"]
) -> WindowCode:
    """Short windows in units of their histories; paths of 252 bars and more, which are long enough
    to have a scale of their own, in plain log units."""
    if bars.shape[1] >= CONT_STEPS:
        return encode_path(history, bars)
    return encode_window(history, bars)


def measure_facts(
    code: WindowCode,
    sampling: Sampling | None = None,
    *,
    reference: Reference | None = None,
    length: Length | None = None,
) -> dict[str, Measured]:
    """Every fact of one set of windows: value and sampling error, or the reason why not.

    Args:
        code: ``fact_code`` of the bars.
        sampling: ``None`` gives no errors. Where the dates cover too few blocks the values stand
            without error and say so.
        reference: thresholds of the *real* set, for both sides of a comparison; by default those of
            ``code``.
        length: which facts; by default "long" from 252 bars on. Long facts of shorter windows are
            n/a.

    Raises:
        UserError: no windows, windows of fewer than three bars, or dates of another number.
    """
    windows, steps = code.r.shape
    if windows < 1 or steps < LEAST_STEPS:
        raise UserError(
            f"facts of {windows} windows of {steps} bars: give at least one window of {LEAST_STEPS}"
        )
    kind: Length = length or ("long" if steps >= CONT_STEPS else "short")
    why_no_error, weights = "", once(code.r)
    if sampling is not None:
        if sampling.dates is not None and len(sampling.dates) != windows:
            raise UserError(f"there are {len(sampling.dates)} dates for {windows} windows")
        try:
            weights = torch.cat([weights, sampling.weights(windows)])
        except UserError as error:
            why_no_error = str(error)
    finite = all(bool(torch.isfinite(part).all()) for part in code[:4])
    values = _values(code, weights, kind, reference) if finite else {}
    measured = {}
    for name in SHORT_FACTS if kind == "short" else LONG_FACTS:
        if name not in values:
            measured[name] = Measured(None, None, _reason(name, code, finite))
            continue
        value, draws = values[name][0], values[name][1:]
        if not bool(torch.isfinite(value)):
            measured[name] = Measured(None, None, _reason(name, code, finite))
        elif len(draws) == 0:
            measured[name] = Measured(float(value), None, why_no_error)
        else:
            error = float(known_sd(draws))
            if name in SHARES:  # of no case among n we know only that they are rarer than 1 in n
                error = max(error, 1 / code.r.numel())
            why = "defined on too few of the draws"
            measured[name] = Measured.of(float(value), error, why)
    return measured


def _values(
    code: WindowCode, weights: Weights, kind: Length, reference: Reference | None
) -> dict[str, Draws]:
    if kind == "short":
        return short_facts(code, weights)
    values = ohlc_facts(code, weights)
    if code.r.shape[1] >= CONT_STEPS:
        reference = Reference.of(code) if reference is None else reference
        values |= cont_facts(code, weights, reference) | memory_facts(code, weights)
    return values


def _reason(name: str, code: WindowCode, finite: bool) -> str:
    steps = code.r.shape[1]
    if not finite:
        return "some bars have impossible prices"
    if name in (*CONT_FACTS, *MEMORY_FACTS) and name not in SHORT_FACTS and steps < CONT_STEPS:
        return f"needs paths of {CONT_STEPS} bars, these have {steps}"
    if _constant(code.r):
        return "prices move by a constant, if at all"
    if name in ("volume_abs", "volume_range", "acf_volume"):
        if not bool(torch.isfinite(code.volume).any()):
            return "no bar has volume"
        if _constant(code.volume[torch.isfinite(code.volume)]):
            return "volume is constant"
    if name in ("close_mean", "close_sd", "hurst_range", "volume_range"):
        return "bars have no range"
    return _WHY.get(name, "not defined on these windows")


def _constant(x: Float64[Tensor, "*shape"]) -> bool:
    return float(x.max() - x.min()) <= 1e-12 * float(x.abs().max())
